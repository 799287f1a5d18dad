#include "server/job/comments.h"

#include <stdlib.h>
#include <string.h>

/* Two passes of the WebUI in one: a comment line goes with the breaks around it, a comment behind
 * words with the break after it, and either leaves one line break. */
char *comments_strip(const char *prompt)
{
    char *out = malloc(strlen(prompt) + 2), *end = out;
    if (!out)
        return NULL;
    for (const char *s = prompt; *s;) {
        if (*s != '#') {
            *end++ = *s++;
            continue;
        }
        if (end > out && end[-1] == '\n')
            end--;
        *end++ = '\n';
        s += strcspn(s, "\n");
        if (*s)
            s++;
    }
    *end = '\0';
    return out;
}

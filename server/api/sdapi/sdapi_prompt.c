#include "server/api/sdapi/sdapi_prompt.h"

#include <stdlib.h>
#include <string.h>

#include "server/job/lora_tags.h"

/* ---- what is taken out ---- */

/* Two passes of the WebUI in one: a comment line goes with the breaks around it, a comment behind
 * words with the break after it, and either leaves one line break. */
char *sdapi_prompt_strip_comments(const char *prompt)
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

/* ---- what is not done ---- */

#define DEPTH 64 /* the engine refuses prompts nested deeper (engine/text/prompt.h) */

/* An open bracket and what its own level holds so far. */
struct group {
    char open;
    int colons, bars;
    const char *colon; /* the last one */
};

/* Whether nothing but a number stands from `s` to `end`. */
static bool is_number(const char *s, const char *end)
{
    char text[32], *stop;
    while (s < end && strchr(" \t\r\n", *s))
        s++;
    while (end > s && strchr(" \t\r\n", end[-1]))
        end--;
    size_t n = (size_t)(end - s);
    if (n == 0 || n >= sizeof text || strspn(s, "+-.0123456789eE") < n)
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    strtod(text, &stop);
    return *stop == '\0';
}

static bool is_editing(const struct group *g, const char *end)
{
    if (g->open != '[')
        return false;
    if (g->bars > 0)
        return g->colons == 0;
    return (g->colons == 1 || g->colons == 2) && is_number(g->colon + 1, end);
}

bool sdapi_prompt_has_editing(const char *prompt)
{
    struct group stack[DEPTH];
    int depth = 0;
    for (const char *s = prompt; *s; s++) {
        struct group *top = depth > 0 ? &stack[depth - 1] : NULL;
        if (*s == '\\' && s[1]) {
            s++;
        } else if (*s == '[' || *s == '(') {
            if (depth == DEPTH)
                return false;
            stack[depth++] = (struct group){.open = *s};
        } else if (top && *s == (top->open == '[' ? ']' : ')')) {
            if (is_editing(top, s))
                return true;
            depth--;
        } else if (top && *s == ':') {
            top->colons++;
            top->colon = s;
        } else if (top && *s == '|') {
            top->bars++;
        }
    }
    return false;
}

bool sdapi_prompt_has_and(const char *prompt)
{
    for (const char *s = prompt; (s = strstr(s, "AND")); s += 3)
        if ((s == prompt || !lora_tags_is_word(s[-1])) && !lora_tags_is_word(s[3]))
            return true;
    return false;
}

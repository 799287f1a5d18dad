#include "server/base/words.h"

#include <string.h>

bool words_have(const char *words, const char *word)
{
    size_t size = strlen(word);
    if (size == 0 || strchr(word, ' '))
        return false;
    for (const char *at = words; (at = strstr(at, word)); at += size)
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

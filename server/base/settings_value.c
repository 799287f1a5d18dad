#include "server/base/settings_value.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/settings.h"

bool settings_value_no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for settings");
}

bool settings_value_replace(char **to, const char *text, struct err *err)
{
    char *copy = strdup(text);
    if (!copy)
        return settings_value_no_memory(err);
    free(*to);
    *to = copy;
    return true;
}

void settings_value_list_free(struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct setting_list){0};
}

/* Adds the items of "a, b,c"; empty ones are left out. */
bool settings_value_list_add(struct setting_list *list, const char *text, struct err *err)
{
    while (*text) {
        size_t length = strcspn(text, ",");
        const char *from = text, *to = text + length;
        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        if (to > from) {
            char **items = realloc(list->items, (list->count + 1) * sizeof *items);
            if (!items)
                return settings_value_no_memory(err);
            list->items = items;
            items[list->count] = strndup(from, (size_t)(to - from));
            if (!items[list->count])
                return settings_value_no_memory(err);
            list->count++;
        }
        text += length;
        text += *text == ',';
    }
    return true;
}

/* An INT, SIZE or REAL into *out, which is of that type. */
bool settings_value_number(const char *text, enum setting_type type, double least, double most,
                           void *out, const char *where, struct err *err)
{
    /* strtod alone would take " 1", 0x1p3 and nan, too. */
    char *end;
    double n = strtod(text, &end);
    size_t length = strspn(text, type == REAL ? "+-.0123456789eE" : "+-0123456789");
    bool good = end != text && length == (size_t)(end - text);
    if (good && type == SIZE && *end) {
        const char *unit = strchr("KMG", toupper((unsigned char)*end));
        good = unit;
        if (unit) {
            n *= 1 << 10 * (unit - "KMG" + 1);
            end++;
        }
    }
    if (!good || *end || !(n >= least && n <= most))
        return err_set(err, ERR_INVALID, "%s must be %.16g..%.16g, got \"%.60s\"", where, least,
                       most, text);
    if (type == INT)
        *(int *)out = (int)n;
    else if (type == SIZE)
        *(size_t *)out = (size_t)n;
    else
        *(double *)out = n;
    return true;
}

bool settings_value_url(char *url, const char *where, struct err *err)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_set(err, ERR_INVALID, "%s must begin with https:// or http://, got \"%.60s\"",
                       where, url);
    for (size_t end = strlen(url); end && url[end - 1] == '/'; end--)
        url[end - 1] = '\0';
    return true;
}

bool settings_value_bool(const char *text, bool *out, const char *where, struct err *err)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2;
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "%s must be on or off, got \"%.60s\"", where, text);
}

/* pull_ask.c: a path of a repository is a path, of whatever characters: each is percent-encoded on
 * its way into an address, and what comes out of an address is decoded before it is a name. */
#include "server/pull/pull_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/url.h"
#include "server/paint/fetch.h"
#include "server/pull/pull_source.h"

#define ANSWER_BYTES ((size_t)16 << 20)
#define ANSWER_DEPTH 32
#define PAGES_MOST 100 /* of a list, of a thousand files each */

const char *pull_ask_environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

bool pull_ask_no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

char *pull_ask_encode(const char *text, size_t length, const char *keep)
{
    char *out = malloc(3 * length + 1), *to = out;
    for (size_t i = 0; out && i < length; i++) {
        if (text[i] && (strchr(PULL_ASK_PLAIN, text[i]) || strchr(keep, text[i])))
            *to++ = text[i];
        else
            to += sprintf(to, "%%%02X", (unsigned char)text[i]);
    }
    if (out)
        *to = '\0';
    return out;
}

char *pull_ask_decode(const char *text, size_t length)
{
    char *out = malloc(length + 1);
    if (!out || url_decode(out, text, length, false))
        return out;
    free(out);
    return strndup(text, length);
}

const char *pull_ask_below(const char *base, const char *url)
{
    size_t n = strlen(base);
    return strncasecmp(url, base, n) == 0 && url[n] == '/' ? url + n + 1 : NULL;
}

/* `next` may be NULL; else what fetch_text says of it, NULL where it fails. */
static cJSON *ask(const struct pull_source *s, const char *url, char **next, struct err *err)
{
    char *body;
    if (!fetch_text(url, s->key, s->public_only, s->stop, ANSWER_BYTES, &body, next, err))
        return NULL;
    cJSON *json = json_text_parse(body, strlen(body), ANSWER_DEPTH, err);
    free(body);
    if (!json && next) {
        free(*next);
        *next = NULL;
    }
    return json;
}

cJSON *pull_ask_json(const struct pull_source *s, const char *url, struct err *err)
{
    return ask(s, url, NULL, err);
}

/* Adds what is in `more` to `list`, and frees it. */
static void add_items(cJSON *list, cJSON *more)
{
    cJSON *item;
    while ((item = cJSON_DetachItemFromArray(more, 0)))
        cJSON_AddItemToArray(list, item);
    cJSON_Delete(more);
}

cJSON *pull_ask_pages(const struct pull_source *s, const char *url, struct err *err)
{
    char *next = NULL;
    cJSON *all = ask(s, url, &next, err);
    for (int pages = 1; all && next; pages++) {
        char *at = next;
        cJSON *more = NULL;
        bool good = cJSON_IsArray(all) || err_set(err, ERR_UPSTREAM, "wanted a list");
        if (good && pages == PAGES_MOST)
            good = err_set(err, ERR_TOO_LARGE, "its answer is more than %d pages long", PAGES_MOST);
        next = NULL;
        more = good ? ask(s, at, &next, err) : NULL;
        free(at);
        if (more && !cJSON_IsArray(more)) {
            err_set(err, ERR_UPSTREAM, "wanted a list on its page %d", pages + 1);
            cJSON_Delete(more);
            more = NULL;
        }
        if (more) {
            add_items(all, more);
        } else {
            cJSON_Delete(all);
            all = NULL;
        }
    }
    free(next);
    return all;
}

const char *pull_ask_text(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return text ? text : "";
}

unsigned long long pull_ask_size(const cJSON *json, const char *name, double unit)
{
    double size = unit * cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return size > 0 && size < 0x1p53 ? (unsigned long long)size : 0;
}

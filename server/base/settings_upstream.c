#include "server/base/settings_upstream.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/settings.h"
#include "server/base/settings_value.h"
#include "server/base/small_file.h"

#define WORKFLOW_MOST ((size_t)4 << 20)
#define KEY_FILE_MAX 4096
#define MONEY_MOST 1e9

static void free_one(struct settings_upstream *u)
{
    for (size_t i = 0; i < u->model_count; i++) {
        free(u->models[i].local);
        free(u->models[i].remote);
    }
    free(u->models);
    settings_value_list_free(&u->listed);
    for (size_t i = 0; i < u->price_count; i++)
        free(u->prices[i].model);
    free(u->prices);
    free(u->name);
    free(u->kind);
    free(u->base_url);
    free(u->workflow);
    free(u->placeholders);
    free(u->key);
}

static bool name_is_plain(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= 32 && name[n] == '\0';
}

static struct settings_upstream *find_upstream(struct settings *s, const char *name,
                                               struct err *err)
{
    for (size_t i = 0; i < s->upstream_count; i++)
        if (strcmp(s->upstreams[i].name, name) == 0)
            return &s->upstreams[i];
    if (!name_is_plain(name)) {
        err_set(
            err, ERR_INVALID,
            "[upstream NAME] wants a name of 1..32 letters, digits, '.', '_', '-', got \"%.40s\"",
            name);
        return NULL;
    }
    struct settings_upstream *all =
        realloc(s->upstreams, (s->upstream_count + 1) * sizeof *s->upstreams);
    if (!all) {
        settings_value_no_memory(err);
        return NULL;
    }
    s->upstreams = all;
    struct settings_upstream *u = &all[s->upstream_count++];
    *u = (struct settings_upstream){.timeout_seconds = 300, .max_retries = 2, .concurrency = 2,
                                    .list_seconds = 300};
    if (!settings_value_replace(&u->name, name, err) ||
        !settings_value_replace(&u->kind, "openai", err) ||
        !settings_value_replace(&u->base_url, "", err) || !settings_value_replace(&u->key, "", err))
        return NULL;
    return u;
}

static bool trim(char *text, const char **after)
{
    char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    *after = equals ? equals + 1 + strspn(equals + 1, " \t") : text;
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0'; /* *after is behind it, or the text itself */
    return equals;
}

static bool add_model(struct settings_upstream *u, char *item, struct err *err)
{
    const char *remote;
    if (strpbrk(item, "*?")) { /* names of the server's own list */
        if (strchr(item, '='))
            return err_set(err, ERR_INVALID,
                           "models: a pattern has no other name, got \"%.60s\"", item);
        return settings_value_list_add(&u->listed, item, err);
    }
    struct settings_upstream_model *models =
        realloc(u->models, (u->model_count + 1) * sizeof *models);
    if (!models)
        return settings_value_no_memory(err);
    u->models = models;
    struct settings_upstream_model *m = &models[u->model_count++];
    *m = (struct settings_upstream_model){0};
    char *whole = strdup(item);
    trim(item, &remote);
    *m = (struct settings_upstream_model){strdup(item), strdup(remote)};
    bool done = whole && m->local && m->remote;
    if (!done)
        settings_value_no_memory(err);
    else if (!*m->local || !*m->remote)
        done = err_set(err, ERR_INVALID, "models wants NAME or LOCAL=REMOTE, got \"%.60s\"", whole);
    free(whole);
    return done;
}

static bool add_price(struct settings_upstream *u, char *item, struct err *err)
{
    const char *number;
    struct settings_upstream_price *prices =
        realloc(u->prices, (u->price_count + 1) * sizeof *prices);
    if (!prices)
        return settings_value_no_memory(err);
    u->prices = prices;
    if (!trim(item, &number) || !*item)
        return err_set(err, ERR_INVALID, "prices wants MODEL=NUMBER, got \"%.60s\"", item);
    struct settings_upstream_price *p = &prices[u->price_count];
    p->model = strdup(item);
    if (!p->model)
        return settings_value_no_memory(err);
    u->price_count++;
    return settings_value_number(number, REAL, 0, MONEY_MOST, &p->price, "prices", err);
}

static bool add_each(struct settings_upstream *u, const char *text,
                     bool (*add)(struct settings_upstream *u, char *item, struct err *err),
                     struct err *err)
{
    struct setting_list list = {0};
    bool done = settings_value_list_add(&list, text, err);
    for (size_t i = 0; done && i < list.count; i++)
        done = add(u, list.items[i], err);
    settings_value_list_free(&list);
    return done;
}

static bool read_key_file(const char *path, char **key, struct err *err)
{
    char text[KEY_FILE_MAX + 1];
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(err, ERR_IO, "key_file %.100s: %s", path, strerror(errno));
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (n > KEY_FILE_MAX)
        return err_set(err, ERR_INVALID, "key_file %.100s is longer than %d bytes", path,
                       KEY_FILE_MAX);
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (!*text)
        return err_set(err, ERR_INVALID, "key_file %.100s has no key in its first line", path);
    return settings_value_replace(key, text, err);
}

static bool set_kind(struct settings_upstream *u, const char *value, struct err *err)
{
    if (strcmp(value, "openai") != 0 && strcmp(value, "sdapi") != 0 &&
        strcmp(value, "comfyui") != 0)
        return err_set(err, ERR_INVALID, "kind must be openai, sdapi or comfyui, got \"%.60s\"",
                       value);
    return settings_value_replace(&u->kind, value, err);
}

static const struct {
    const char *name;
    enum setting_type type;
    size_t offset;
    double least, most;
} numbers[] = {
#define NUMBER(id, type, least, most)                                                              \
    {#id, type, offsetof(struct settings_upstream, id), least, most}
    NUMBER(timeout_seconds, INT, 1, 86400),
    NUMBER(max_retries, INT, 0, 10),
    NUMBER(concurrency, INT, 1, 64),
    NUMBER(list_seconds, INT, 1, 31536000),
    NUMBER(price, REAL, 0, MONEY_MOST),
    NUMBER(max_pictures_per_day, INT, 0, 1000000000),
    NUMBER(max_pictures_per_month, INT, 0, 1000000000),
    NUMBER(max_money_per_day, REAL, 0, MONEY_MOST),
    NUMBER(max_money_per_month, REAL, 0, MONEY_MOST),
#undef NUMBER
};

/* The names in a workflow's "%name%" and "%name:value%". Whether it is one at all is looked at when
 * the upstream begins. */
static bool read_workflow(const char *path, char **placeholders, struct err *err)
{
    struct err unread;
    size_t size;
    char *text = small_file_read(path, WORKFLOW_MOST, NULL, &unread), *words = NULL;
    FILE *out = text ? open_memstream(&words, &size) : NULL;
    free(*placeholders);
    *placeholders = NULL;
    if (!text)
        return true;
    for (const char *at = text; out && (at = strchr(at, '%')); at++) {
        size_t n = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
        if (n > 0 && (at[1 + n] == '%' || at[1 + n] == ':'))
            fprintf(out, " %.*s ", (int)n, at + 1);
    }
    free(text);
    if (!out || fclose(out) != 0) {
        free(words);
        return err_set(err, ERR_INTERNAL, "no memory for the settings");
    }
    *placeholders = words;
    return true;
}

static bool set_one(struct settings_upstream *u, const char *name, const char *value,
                    struct err *err)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0)
            return settings_value_number(value, numbers[i].type, numbers[i].least, numbers[i].most,
                                         (char *)u + numbers[i].offset, name, err);
    if (strcmp(name, "base_url") == 0)
        return settings_value_replace(&u->base_url, value, err) &&
               settings_value_url(u->base_url, name, err);
    if (strcmp(name, "kind") == 0)
        return set_kind(u, value, err);
    if (strcmp(name, "workflow") == 0)
        return settings_value_replace(&u->workflow, value, err) &&
               read_workflow(value, &u->placeholders, err);
    if (strcmp(name, "key") == 0)
        return settings_value_replace(&u->key, value, err);
    if (strcmp(name, "key_env") == 0) {
        const char *key = getenv(value);
        if (!key || !*key)
            return err_set(err, ERR_INVALID, "key_env: the environment has no %.60s", value);
        return settings_value_replace(&u->key, key, err);
    }
    if (strcmp(name, "key_file") == 0)
        return read_key_file(value, &u->key, err);
    if (strcmp(name, "models") == 0)
        return add_each(u, value, add_model, err);
    if (strcmp(name, "prices") == 0)
        return add_each(u, value, add_price, err);
    if (strcmp(name, "retry_unknown") == 0)
        return settings_value_bool(value, &u->retry_unknown, name, err);
    if (strcmp(name, "extensions") == 0)
        return settings_value_bool(value, &u->extensions, name, err);
    return err_set(err, ERR_INVALID, "[upstream %s] has no setting \"%.60s\"", u->name, name);
}

bool settings_upstream_set(struct settings *s, const char *section, const char *name,
                           const char *value, struct err *err)
{
    struct settings_upstream *u = find_upstream(s, section, err);
    return u && set_one(u, name, value, err);
}

bool settings_upstream_check(const struct settings *s, struct err *err)
{
    for (size_t i = 0; i < s->upstream_count; i++) {
        const struct settings_upstream *u = &s->upstreams[i];
        bool priced = u->price > 0 || u->price_count > 0;
        if (!*u->base_url)
            return err_set(err, ERR_INVALID, "[upstream %s] has no base_url", u->name);
        if ((strcmp(u->kind, "comfyui") == 0) != (u->workflow && *u->workflow))
            return err_set(err, ERR_INVALID,
                           "[upstream %s] %s", u->name,
                           u->workflow ? "has a workflow, which kind = comfyui alone runs"
                                       : "of kind comfyui has no workflow, a file");
        if ((u->max_money_per_day > 0 || u->max_money_per_month > 0) && !priced)
            return err_set(err, ERR_INVALID,
                           "[upstream %s] limits money, and has no price of a picture", u->name);
    }
    return true;
}

void settings_upstream_free(struct settings *s)
{
    for (size_t i = 0; i < s->upstream_count; i++)
        free_one(&s->upstreams[i]);
    free(s->upstreams);
}

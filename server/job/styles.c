#include "server/job/styles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/base/settings.h"
#include "server/base/small_file.h"
#include "server/job/comments.h"
#include "server/job/job.h"

#define COLUMNS 16 /* more are not looked at */
#define PLACE "{prompt}"

/* ---- the file ---- */

/* One value at *at, in place: quoted, with quotes doubled, or not. *at moves behind what ends it;
 * false: that was the line's last. */
static bool take_value(char **at, const char **value)
{
    char *from = *at, *to = *at;
    *value = to;
    if (*from == '"') {
        for (from++; *from && (*from != '"' || from[1] == '"'); from++) {
            if (*from == '"')
                from++;
            *to++ = *from;
        }
        from += *from == '"';
    }
    while (*from && *from != ',' && *from != '\n' && *from != '\r')
        *to++ = *from++;
    bool more = *from == ',';
    if (*from == '\r' && from[1] == '\n')
        from++;
    if (*from)
        from++;
    *to = '\0';
    *at = from;
    return more;
}

/* The values of a line; `values` that it does not have are empty. */
static void take_line(char **at, const char *values[COLUMNS])
{
    bool more = true;
    for (int i = 0; i < COLUMNS; i++) {
        values[i] = "";
        if (more)
            more = take_value(at, &values[i]);
    }
    while (more) {
        const char *rest;
        more = take_value(at, &rest);
    }
}

static bool read_text(const char *path, char **text, struct err *err)
{
    struct err why;
    *text = small_file_read(path, STYLES_BYTES, NULL, &why);
    if (*text || why.code == ERR_NOT_FOUND)
        return true;
    return err_at(err, path, why.code == ERR_INTERNAL ? ERR_INTERNAL : ERR_UNAVAILABLE,
                  "the file of styles: %s", why.msg);
}

static int column(const char *const *values, const char *name)
{
    for (int i = 0; i < COLUMNS; i++)
        if (strcasecmp(values[i], name) == 0)
            return i;
    return -1;
}

static bool add(struct styles *s, size_t *room, const struct style *style)
{
    if (s->count == *room) {
        size_t more = *room ? 2 * *room : 16;
        struct style *at = realloc(s->at, more * sizeof *at);
        if (!at)
            return false;
        s->at = at;
        *room = more;
    }
    s->at[s->count++] = *style;
    return true;
}

bool styles_read(const char *path, struct styles *out, struct err *err)
{
    const char *values[COLUMNS];
    size_t room = 0;
    *out = (struct styles){0};
    if (!read_text(path, &out->text, err))
        return false;
    if (!out->text)
        return true;
    char *at = out->text;
    if (strncmp(at, "\xef\xbb\xbf", 3) == 0) /* as spreadsheets write it */
        at += 3;
    take_line(&at, values);
    int name = column(values, "name"), prompt = column(values, "prompt"),
        negative = column(values, "negative_prompt");
    if (name < 0 || prompt < 0) {
        styles_free(out);
        return err_at(err, path, ERR_INVALID,
                      "the file of styles: wanted a first line with name, prompt and "
                      "negative_prompt");
    }
    while (*at) {
        take_line(&at, values);
        struct style style = {values[name], values[prompt], negative < 0 ? "" : values[negative]};
        if (*style.name && !add(out, &room, &style)) {
            styles_free(out);
            return err_set(err, ERR_INTERNAL, "no memory for styles");
        }
    }
    return true;
}

void styles_free(struct styles *s)
{
    free(s->at);
    free(s->text);
    *s = (struct styles){0};
}

const struct style *styles_find(const struct styles *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->at[i].name, name) == 0)
            return &s->at[i];
    return NULL;
}

/* ---- with a prompt ---- */

/* Without the white space around it. */
static const char *strip(const char *text, size_t *size)
{
    text += strspn(text, " \t\r\n\v\f");
    for (*size = strlen(text); *size && strchr(" \t\r\n\v\f", text[*size - 1]);)
        --*size;
    return text;
}

static size_t count_places(const char *piece)
{
    size_t times = 0;
    for (const char *s = piece; (s = strstr(s, PLACE)); s += strlen(PLACE))
        times++;
    return times;
}

char *styles_merge(const char *piece, const char *prompt, size_t limit, struct err *err)
{
    size_t size = strlen(prompt), times = count_places(piece), m, n;
    if (size > limit || strlen(piece) > limit || (size && times > limit / size)) {
        err_set(err, ERR_TOO_LARGE, "prompt: wanted at most %zu bytes, its styles make it longer",
                limit);
        return NULL;
    }
    char *out = malloc(strlen(piece) + (times + 1) * size + sizeof ", "), *to = out;
    if (!out) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt with styles");
        return NULL;
    }
    if (!times && *piece) {
        const char *own = strip(prompt, &n), *more = strip(piece, &m);
        sprintf(out, "%.*s%s%.*s", (int)n, own, m && n ? ", " : "", (int)m, more);
        return out;
    }
    if (!*piece)
        return strcpy(out, prompt);
    for (const char *s; (s = strstr(piece, PLACE)); piece = s + strlen(PLACE)) {
        to = mempcpy(to, piece, (size_t)(s - piece));
        to = mempcpy(to, prompt, size);
    }
    strcpy(to, piece);
    return out;
}

static bool merge_into(char **prompt, const char *piece, size_t limit, struct err *err)
{
    char *merged = styles_merge(piece, *prompt ? *prompt : "", limit, err);
    if (!merged)
        return false;
    free(*prompt);
    *prompt = merged;
    return true;
}

bool styles_add(const struct style *style, size_t limit, char **prompt, char **negative,
                struct err *err)
{
    return merge_into(prompt, style->prompt, limit, err) &&
           merge_into(negative, style->negative, limit, err);
}

/* ---- with a job ---- */

/* A second pass has those of the first unless it has its own. */
static bool add_to_all(const struct style *style, size_t limit, struct job_params *p,
                       struct err *err)
{
    return styles_add(style, limit, &p->prompt, &p->negative_prompt, err) &&
           (!p->hires_prompt || merge_into(&p->hires_prompt, style->prompt, limit, err)) &&
           (!p->hires_negative_prompt ||
            merge_into(&p->hires_negative_prompt, style->negative, limit, err));
}

static bool add_named(const struct settings *settings, const cJSON *names, struct job_params *p,
                      struct err *err)
{
    struct styles styles;
    const cJSON *name;
    bool ok = true;
    if (!names || cJSON_IsNull(names))
        return true;
    if (!cJSON_IsArray(names) || cJSON_GetArraySize(names) > STYLES_MOST)
        return err_set(err, ERR_INVALID, "styles must be a list of at most %d names", STYLES_MOST);
    if (!names->child)
        return true;
    if (!styles_read(settings->styles, &styles, err))
        return false;
    cJSON_ArrayForEach(name, names) {
        const char *text = cJSON_GetStringValue(name);
        const struct style *style = text ? styles_find(&styles, text) : NULL;
        if (ok && !style)
            ok = err_set(err, ERR_INVALID, "styles: there is no style \"%.60s\"",
                         text ? text : "(not a text)");
        ok = ok && add_to_all(style, settings->max_prompt_bytes, p, err);
    }
    styles_free(&styles);
    return ok;
}

bool styles_prompts(const struct settings *settings, const cJSON *names, bool comments,
                    struct job_params *p, struct err *err)
{
    char **const texts[] = {&p->prompt, &p->negative_prompt, &p->hires_prompt,
                            &p->hires_negative_prompt};
    if (!add_named(settings, names, p, err))
        return false;
    for (size_t i = 0; comments && i < sizeof texts / sizeof *texts; i++) {
        char *text = *texts[i] ? comments_strip(*texts[i]) : NULL;
        if (*texts[i] && !text)
            return err_set(err, ERR_INTERNAL, "no memory for a prompt");
        free(*texts[i]);
        *texts[i] = text;
    }
    return true;
}

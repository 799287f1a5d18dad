#include "server/job/styles.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

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

/* ---- changing the file ---- */

#define HEAD "name,prompt,negative_prompt\n"

/* As Python's csv.writer quotes. */
static void put_value(FILE *out, const char *value)
{
    if (!strpbrk(value, ",\"\r\n")) {
        fputs(value, out);
        return;
    }
    fputc('"', out);
    for (; *value; value++) {
        if (*value == '"')
            fputc('"', out);
        fputc(*value, out);
    }
    fputc('"', out);
}

/* A line with the style's values where the first line has their names. */
static void put_style(FILE *out, const char *const *head, const struct style *style)
{
    int last = 0;
    for (int i = 0; i < COLUMNS; i++)
        if (*head[i])
            last = i;
    for (int i = 0; i <= last; i++) {
        if (i)
            fputc(',', out);
        put_value(out, strcasecmp(head[i], "name") == 0              ? style->name
                       : strcasecmp(head[i], "prompt") == 0          ? style->prompt
                       : strcasecmp(head[i], "negative_prompt") == 0 ? style->negative
                                                                     : "");
    }
    fputs("\n", out);
}

/* The file's text with `style` in the place of the one of its name; `style->prompt` NULL: without
 * it. *found: there was one. What does not change is copied byte for byte. */
static bool change(const char *text, const struct style *style, FILE *out, bool *found,
                   struct err *err)
{
    const char *head[COLUMNS], *values[COLUMNS];
    char *copy = strdup(text), *at = copy, *from;
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory for styles");
    *found = false;
    if (strncmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    take_line(&at, head);
    int name = column(head, "name");
    if (name < 0 || column(head, "prompt") < 0) {
        free(copy);
        return err_set(err, ERR_INVALID,
                       "the file of styles: wanted a first line with name, prompt and "
                       "negative_prompt");
    }
    fwrite(text, 1, (size_t)(at - copy), out);
    char last = at > copy ? text[at - copy - 1] : '\n';
    while (*(from = at)) {
        take_line(&at, values);
        bool ours = strcmp(values[name], style->name) == 0;
        if (!ours) {
            fwrite(text + (from - copy), 1, (size_t)(at - from), out);
            last = text[at - copy - 1];
        } else if (style->prompt && !*found) {
            put_style(out, head, style);
            last = '\n';
        }
        *found = *found || ours;
    }
    if (style->prompt && !*found) {
        if (last != '\n' && last != '\r')
            fputc('\n', out);
        put_style(out, head, style);
    }
    free(copy);
    return true;
}

static bool not_written(const char *path, struct err *err)
{
    enum err_code code = errno == ENOSPC || errno == EDQUOT ? ERR_NO_ROOM : ERR_IO;
    return err_at(err, path, code, "the file of styles: %s", strerror(errno));
}

/* In place of the file. */
static bool write_whole(const char *path, const char *text, size_t size, struct err *err)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return err_at(err, path, ERR_IO, "the file of styles: its path is too long");
    FILE *f = fopen(part, "wbe");
    if (!f)
        return not_written(path, err);
    bool ok = fwrite(text, 1, size, f) == size && fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = (fclose(f) == 0) && ok && rename(part, path) == 0;
    if (!ok) {
        not_written(path, err);
        unlink(part);
    }
    return ok;
}

static bool edit(const char *path, const struct style *style, struct err *err)
{
    char *text = NULL, *changed = NULL;
    size_t size = 0;
    bool found = false;
    if (!read_text(path, &text, err))
        return false;
    FILE *out = open_memstream(&changed, &size);
    bool ok = out ? change(text ? text : HEAD, style, out, &found, err)
                  : err_set(err, ERR_INTERNAL, "no memory for styles");
    if (out && fclose(out) != 0 && ok)
        ok = err_set(err, ERR_INTERNAL, "no memory for styles");
    if (ok && !style->prompt && !found)
        ok = err_set(err, ERR_NOT_FOUND, "there is no style \"%.100s\"", style->name);
    if (ok && size > STYLES_BYTES)
        ok = err_set(err, ERR_TOO_LARGE, "the file of styles may have %d bytes at most",
                     STYLES_BYTES);
    ok = ok && write_whole(path, changed, size, err);
    free(text);
    free(changed);
    return ok;
}

/* One at a time, by a lock on the folder: the file itself is replaced. */
static bool locked(const char *path, const struct style *style, struct err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        not_written(path, err);
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = edit(path, style, err);
    close(fd);
    return ok;
}

bool styles_put(const char *path, const struct style *style, struct err *err)
{
    if (!*style->name || strlen(style->name) > STYLES_NAME || strpbrk(style->name, "\r\n"))
        return err_set(err, ERR_INVALID, "name: wanted 1 to %d bytes in one line", STYLES_NAME);
    return locked(path, style, err);
}

bool styles_remove(const char *path, const char *name, struct err *err)
{
    const struct style none = {name, NULL, NULL};
    return locked(path, &none, err);
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

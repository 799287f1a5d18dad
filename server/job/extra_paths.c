#include "server/job/extra_paths.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/small_file.h"

#define SIZE_MOST 65536 /* bytes; the example that ComfyUI comes with has 2000 */

struct reading {
    extra_paths_fn *each;
    void *ctx;
    char folder[PATH_MAX]; /* of the file */
    char base[PATH_MAX];   /* base_path of the section; "": none */
    char name[64];         /* whose folders follow, one a line; "": nobody's */
    size_t name_indent;
};

/* Home as "~" and "$HOME", as ComfyUI has it. */
static void expand(const char *text, char *out, size_t size)
{
    const char *home = getenv("HOME");
    size_t skip = strncmp(text, "~", 1) == 0 && (text[1] == '/' || !text[1]) ? 1
                  : strncmp(text, "$HOME", 5) == 0                          ? 5
                  : strncmp(text, "${HOME}", 7) == 0                        ? 7
                                                                            : 0;
    snprintf(out, size, "%s%s", skip && home ? home : "", skip && home ? text + skip : text);
}

static bool join(const char *base, const char *text, char *out, size_t size)
{
    char full[PATH_MAX];
    expand(text, full, sizeof full);
    bool absolute = *full == '/' || !*base;
    return (size_t)snprintf(out, size, "%s%s%s", absolute ? "" : base, absolute ? "" : "/", full) <
           size;
}

/* `text` without spaces around it, a comment, and quotes; changed in place. */
static char *plain(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    if (*text == '"' || *text == '\'') {
        char *end = strchr(text + 1, *text);
        if (end) {
            *end = '\0';
            return text + 1;
        }
    }
    char *hash = *text == '#' ? text : strstr(text, " #");
    if (hash)
        *hash = '\0';
    for (size_t n = strlen(text); n && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static bool give(struct reading *r, const char *name, const char *value)
{
    char path[PATH_MAX];
    const char *base = *r->base ? r->base : r->folder;
    return !join(base, value, path, sizeof path) || r->each(r->ctx, name, path);
}

/* False with an error, or when `each` says so. */
static bool read_line(struct reading *r, char *line, int number, struct err *err)
{
    size_t indent = strspn(line, " ");
    char *text = line + indent, *blank = plain(strdupa(text));
    if (!*blank || strcmp(blank, "---") == 0)
        return true;
    if (*r->name && indent > r->name_indent)
        return give(r, r->name, plain(text));
    *r->name = '\0';
    char *colon = strchr(text, ':');
    if (!colon || *text == '\t')
        return err_set(err, ERR_INVALID, "line %d: wanted \"name: folder\", got \"%.60s\"", number,
                       plain(text));
    *colon = '\0';
    const char *name = plain(text), *value = plain(colon + 1);
    if (indent == 0) {
        *r->base = '\0';
        return true;
    }
    if (strcmp(name, "base_path") == 0) {
        if (!join(r->folder, value, r->base, sizeof r->base))
            *r->base = '\0';
    } else if (strcmp(value, "|") == 0 || strcmp(value, ">") == 0 || !*value) {
        snprintf(r->name, sizeof r->name, "%s", name);
        r->name_indent = indent;
    } else if (strcmp(name, "is_default") != 0) {
        return give(r, name, value);
    }
    return true;
}

bool extra_paths_read(const char *path, extra_paths_fn *each, void *ctx, struct err *err)
{
    struct reading r = {.each = each, .ctx = ctx};
    char *text = small_file_read(path, SIZE_MOST, NULL, err);
    bool ok = text;
    const char *slash = strrchr(path, '/');
    snprintf(r.folder, sizeof r.folder, "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    int number = 0;
    for (char *line = text, *next; ok && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        ok = read_line(&r, line, ++number, err);
    }
    free(text);
    return ok;
}

#include "server/job/wildcards.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "server/base/json_text.h"
#include "server/base/small_file.h"

#define ENDING ".txt"
#define DEPTH_MOST 16
#define ITEMS_MOST 200000             /* looked at: a link may lead anywhere */
#define BYTES_MOST ((size_t)16 << 20) /* of a file */
#define STARS_MOST 4                  /* of a pattern: each may try every place */

struct file {
    char *name, *path;
    char *text; /* what the entries point into; NULL: not read */
    struct wildcards_entries entries;
};

struct wildcards {
    char *folder;
    bool scanned;
    size_t looked; /* at items of folders */
    struct file *files;
    size_t count;
};

struct wildcards *wildcards_new(const char *folder, struct err *err)
{
    struct wildcards *w = calloc(1, sizeof *w);
    if (!w || !(w->folder = strdup(folder))) {
        err_set(err, ERR_INTERNAL, "no memory for wildcards");
        free(w);
        return NULL;
    }
    return w;
}

void wildcards_free(struct wildcards *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++) {
        free(w->files[i].name);
        free(w->files[i].path);
        free(w->files[i].text);
        free(w->files[i].entries.at);
    }
    free(w->files);
    free(w->folder);
    free(w);
}

/* ---- the folder ---- */

static bool add_file(struct wildcards *w, const char *path, const char *name, struct err *err)
{
    struct file *files = realloc(w->files, (w->count + 1) * sizeof *files);
    if (files)
        w->files = files;
    struct file f = {.name = strndup(name, strlen(name) - strlen(ENDING)), .path = strdup(path)};
    if (files && f.name && f.path) {
        files[w->count++] = f;
        return true;
    }
    free(f.name);
    free(f.path);
    return err_set(err, ERR_INTERNAL, "no memory for wildcards");
}

static bool scan_folder(struct wildcards *w, const char *path, const char *prefix, int depth,
                        struct err *err)
{
    DIR *dir = opendir(path);
    bool ok = true;
    if (!dir)
        return depth > 0 || errno == ENOENT || errno == ENOTDIR ||
               err_at(err, path, ERR_UNAVAILABLE, "the folder of wildcards: %s", strerror(errno));
    for (const struct dirent *d; ok && (d = readdir(dir));) {
        char full[PATH_MAX], name[PATH_MAX];
        struct stat st;
        size_t n = strlen(d->d_name);
        if (d->d_name[0] == '.' || ++w->looked > ITEMS_MOST ||
            (size_t)snprintf(full, sizeof full, "%s/%s", path, d->d_name) >= sizeof full ||
            (size_t)snprintf(name, sizeof name, "%s%s", prefix, d->d_name) >= sizeof name ||
            stat(full, &st) != 0)
            continue;
        if (S_ISREG(st.st_mode) && n > strlen(ENDING) &&
            strcasecmp(d->d_name + n - strlen(ENDING), ENDING) == 0) {
            ok = add_file(w, full, name, err);
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH_MOST && strlen(name) + 2 < sizeof name) {
            strcat(name, "/");
            ok = scan_folder(w, full, name, depth + 1, err);
        }
    }
    closedir(dir);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

static bool scan(struct wildcards *w, struct err *err)
{
    if (!w->scanned && !scan_folder(w, w->folder, "", 0, err))
        return false;
    if (!w->scanned && w->count > 0)
        qsort(w->files, w->count, sizeof *w->files, by_name);
    w->scanned = true;
    return true;
}

bool wildcards_any(struct wildcards *w, bool *any, struct err *err)
{
    bool ok = scan(w, err);
    *any = w->count > 0;
    return ok;
}

const char *wildcards_name(const struct wildcards *w, size_t file)
{
    return w->files[file].name;
}

size_t wildcards_count(const struct wildcards *w)
{
    return w->count;
}

/* ---- names ---- */

static bool fits_whole(const char *file, const char *name)
{
    return strcmp(file, name) == 0;
}

static bool fits_end(const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    return slash && strcmp(slash + 1, name) == 0;
}

static bool fits_pattern(const char *file, const char *name)
{
    return fnmatch(name, file, strstr(name, "**") ? 0 : FNM_PATHNAME) == 0;
}

/* Those that fit; the first alone, if `first`. */
static size_t collect(const struct wildcards *w, const char *name,
                      bool (*fits)(const char *, const char *), bool first, size_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < w->count && !(first && count); i++)
        if (fits(w->files[i].name, name))
            out[count++] = i;
    return count;
}

bool wildcards_find(struct wildcards *w, const char *name, size_t length, size_t **files,
                    size_t *count, struct err *err)
{
    char wanted[NAME_MAX + 1], pattern[2 * NAME_MAX + 2];
    size_t stars = 0, used = 0;
    *files = NULL;
    *count = 0;
    if (length >= sizeof wanted)
        return err_set(err, ERR_INVALID, "a wildcard's name of %zu bytes: wanted at most %d",
                       length, NAME_MAX);
    snprintf(wanted, sizeof wanted, "%.*s", (int)length, name);
    for (const char *c = wanted; *c; c++) { /* '[' and '?' are no patterns here */
        stars += *c == '*' && c[1] != '*';
        if (*c == '[' || *c == '?' || *c == '\\')
            pattern[used++] = '\\';
        pattern[used++] = *c;
    }
    pattern[used] = '\0';
    if (stars > STARS_MOST)
        return err_set(err, ERR_INVALID, "wildcard __%.80s__: wanted at most %d stars", wanted,
                       STARS_MOST);
    if (!scan(w, err))
        return false;
    if (!(*files = calloc(w->count + 1, sizeof **files)))
        return err_set(err, ERR_INTERNAL, "no memory for wildcards");
    if (stars > 0)
        *count = collect(w, pattern, fits_pattern, false, *files);
    else if (!(*count = collect(w, wanted, fits_whole, true, *files)))
        *count = collect(w, wanted, fits_end, true, *files);
    if (*count > 0)
        return true;
    free(*files);
    *files = NULL;
    return err_set(err, ERR_NOT_FOUND, "wildcard __%.80s__: there is no such file of wildcards",
                   wanted);
}

/* ---- entries ---- */

static char *read_text(const struct file *f, struct err *err)
{
    char *text = small_file_read(f->path, BYTES_MOST, NULL, err);
    if (!text && err->code == ERR_NOT_FOUND)
        err->code = ERR_IO; /* it was there a moment ago */
    if (!text)
        err_prefix(err, "wildcard __%.80s__", f->name);
    return text;
}

/* One line without the blanks around it; NULL: it is no entry. */
static char *entry_of(char *line)
{
    line += strspn(line, " \t\r\v\f");
    size_t n = strlen(line);
    while (n > 0 && strchr(" \t\r\v\f", line[n - 1]))
        line[--n] = '\0';
    return n == 0 || *line == '#' ? NULL : line;
}

static bool read_entries(struct file *f, struct err *err)
{
    size_t room = 0;
    char *text = read_text(f, err);
    if (!text)
        return false;
    f->text = text;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* as editors on Windows begin it */
        text += 3;
    for (char *line; (line = strsep(&text, "\n"));) {
        char *entry = entry_of(line);
        if (!entry)
            continue;
        json_text_mend(entry);
        if (f->entries.count == room) {
            room = room ? 2 * room : 64;
            const char **at = realloc(f->entries.at, room * sizeof *at);
            if (!at)
                return err_set(err, ERR_INTERNAL, "no memory for wildcards");
            f->entries.at = at;
        }
        f->entries.at[f->entries.count++] = entry;
    }
    return true;
}

bool wildcards_entries(struct wildcards *w, size_t file, struct wildcards_entries *out,
                       struct err *err)
{
    struct file *f = &w->files[file];
    if (!f->text && !read_entries(f, err))
        return false;
    *out = f->entries;
    return f->entries.count > 0 ||
           err_set(err, ERR_INVALID, "wildcard __%.80s__: there is no entry in the file", f->name);
}

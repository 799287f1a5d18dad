/* sidecars.c: a tree by path under a lock, which no file is read under. */
#include "server/job/sidecars.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/base/now.h"

#define TRUST_MS 2000
#define MOST 100000 /* files; more are read each time */

/* Of the folder, and of both files with texts: the size, and when what changed last. A file that is
 * not there has none. */
struct version {
    int64_t size, changed_s, changed_ns;
    uint64_t inode;
};
enum { FOLDER, CARD, CIVITAI, VERSIONS };

struct known {
    char *path;
    struct version is[VERSIONS];
    int64_t looked_ms;
    bool any;
    char *texts; /* trigger, description, base and preview, each with its NUL; NULL: all empty */
    double weight;
};

struct sidecars {
    pthread_mutex_t lock;
    void *tree; /* of struct known */
    size_t count;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->path, ((const struct known *)b)->path);
}

static void free_known(void *item)
{
    struct known *k = item;
    free(k->path);
    free(k->texts);
    free(k);
}

struct sidecars *sidecars_new(struct err *err)
{
    struct sidecars *s = calloc(1, sizeof *s);
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    else
        err_set(err, ERR_INTERNAL, "no memory for what lies beside models");
    return s;
}

void sidecars_free(struct sidecars *s)
{
    if (!s)
        return;
    tdestroy(s->tree, free_known);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- one of them ---- */

static struct version version_of(const char *path)
{
    struct stat st;
    if (!*path || stat(path, &st) != 0)
        return (struct version){.size = -1};
    return (struct version){(int64_t)st.st_size, (int64_t)st.st_ctim.tv_sec,
                            (int64_t)st.st_ctim.tv_nsec, (uint64_t)st.st_ino};
}

/* What the disk has now. */
static void look(const char *path, struct version is[VERSIONS])
{
    char beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(beside, sizeof beside, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    is[FOLDER] = version_of(beside);
    is[CARD] = version_of(sidecar_beside(path, ".json", beside) ? beside : "");
    is[CIVITAI] = version_of(sidecar_beside(path, ".civitai.info", beside) ? beside : "");
}

static bool same(const struct version a[VERSIONS], const struct version b[VERSIONS])
{
    for (int i = 0; i < VERSIONS; i++)
        if (a[i].size != b[i].size || a[i].changed_s != b[i].changed_s ||
            a[i].changed_ns != b[i].changed_ns || a[i].inode != b[i].inode)
            return false;
    return true;
}

static void unpack(const struct known *k, struct sidecar *out)
{
    *out = (struct sidecar){.weight = k->weight};
    const char *at = k->texts;
    if (!at)
        return;
    snprintf(out->trigger, sizeof out->trigger, "%s", at);
    at += strlen(at) + 1;
    snprintf(out->description, sizeof out->description, "%s", at);
    at += strlen(at) + 1;
    snprintf(out->base, sizeof out->base, "%s", at);
    at += strlen(at) + 1;
    snprintf(out->preview, sizeof out->preview, "%s", at);
}

/* Owned; NULL where all are empty, or without memory, when *ok is false. */
static char *pack(const struct sidecar *s, bool *ok)
{
    const char *const texts[] = {s->trigger, s->description, s->base, s->preview};
    size_t size = 4;
    for (int i = 0; i < 4; i++)
        size += strlen(texts[i]);
    char *all = size > 4 ? malloc(size) : NULL, *to = all;
    *ok = all || size == 4;
    for (int i = 0; all && i < 4; i++)
        to = stpcpy(to, texts[i]) + 1;
    return all;
}

/* ---- all of them ---- */

/* Under the lock. */
static struct known *find(struct sidecars *s, const char *path)
{
    const struct known wanted = {.path = (char *)path};
    struct known **found = tfind(&wanted, &s->tree, compare);
    return found ? *found : NULL;
}

/* Under the lock; what there is no memory for is read again. */
static void keep(struct sidecars *s, const char *path, const struct version is[VERSIONS], bool any,
                 const struct sidecar *what)
{
    bool ok;
    char *texts = pack(what, &ok);
    struct known *k = ok ? find(s, path) : NULL;
    if (ok && !k && s->count < MOST && (k = calloc(1, sizeof *k))) {
        if (!(k->path = strdup(path)) || !tsearch(k, &s->tree, compare)) {
            free_known(k);
            k = NULL;
        } else {
            s->count++;
        }
    }
    if (!k) {
        free(texts);
        return;
    }
    free(k->texts);
    k->texts = texts;
    k->weight = what->weight;
    k->any = any;
    memcpy(k->is, is, sizeof k->is);
    k->looked_ms = now_ms();
}

bool sidecars_get(struct sidecars *s, const char *path, struct sidecar *out)
{
    struct version is[VERSIONS];
    int64_t now = now_ms();
    pthread_mutex_lock(&s->lock);
    const struct known *k = find(s, path);
    bool fresh = k && now - k->looked_ms < TRUST_MS && now >= k->looked_ms, any = fresh && k->any;
    if (fresh)
        unpack(k, out);
    pthread_mutex_unlock(&s->lock);
    if (fresh)
        return any;
    look(path, is); /* before the files are read: what changes meanwhile is read again */
    pthread_mutex_lock(&s->lock);
    struct known *was = find(s, path);
    bool is_same = was && same(was->is, is);
    if (is_same) {
        was->looked_ms = now;
        any = was->any;
        unpack(was, out);
    }
    pthread_mutex_unlock(&s->lock);
    if (is_same)
        return any;
    any = sidecar_read(path, out);
    pthread_mutex_lock(&s->lock);
    keep(s, path, is, any, out);
    pthread_mutex_unlock(&s->lock);
    return any;
}

/* pull.c: a part, its lock and its promise. */
#include "server/pull/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/sha256.h"
#include "engine/io/safetensors.h"
#include "engine/io/sniff.h"
#include "server/base/settings.h"
#include "server/pull/pull_catalogue.h"
#include "server/paint/fetch.h"

#define TRIES 10 /* of a transfer that breaks off, as long as each gets further */
#define TRY_MS 1000

/* ---- the file ---- */

struct pull {
    const struct pull_source *source;
    char path[PATH_MAX], part[PATH_MAX], etag_path[PATH_MAX];
    const struct pull_watch *watch;
    FILE *out;
    char etag[200];
    bool locked, sniffed;
    struct err problem; /* why a callback stopped the transfer */
};

/* What begins like another kind of file is not fetched to its end. */
static bool sniff(struct pull *p)
{
    char head[SNIFF_BYTES];
    p->sniffed = true;
    if (fflush(p->out) != 0 || pread(fileno(p->out), head, sizeof head, 0) != sizeof head ||
        sniff_safetensors(head, sizeof head, SNIFF_SIZE_UNKNOWN, &p->problem))
        return true;
    unlink(p->part);
    unlink(p->etag_path);
    return false;
}

static bool is_stopped(const struct pull *p)
{
    return p->watch->stop && atomic_load(p->watch->stop);
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct pull *p = ctx;
    if (!p->sniffed && done >= SNIFF_BYTES && !sniff(p))
        return false;
    if (is_stopped(p))
        return err_set(&p->problem, ERR_CANCELLED, "stopped");
    if (p->watch->progress)
        p->watch->progress(p->watch->ctx, done, total);
    return true;
}

/* What the part is of: its ETag, and the address without what is signed into it. */
static void write_etag(const struct pull *p, const char *etag)
{
    const char *url = p->source->url;
    FILE *f = fopen(p->etag_path, "we");
    if (!f)
        return;
    fprintf(f, "%s\n%.*s\n", etag, (int)strcspn(url, "?#"), url);
    fclose(f);
}

/* Whether the part is of this address; then its ETag is read, which may be "". */
static bool read_etag(struct pull *p)
{
    const char *url = p->source->url;
    size_t length = strcspn(url, "?#");
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(p->etag_path, "re");
    bool same = false;
    p->etag[0] = '\0';
    if (!f)
        return false;
    ssize_t n = getline(&line, &room, f);
    if (n > 0 && (size_t)n <= sizeof p->etag && line[n - 1] == '\n' && !strchr(line, '\r')) {
        snprintf(p->etag, sizeof p->etag, "%.*s", (int)n - 1, line);
        n = getline(&line, &room, f);
        same = n > 0 && (size_t)n == length + 1 && strncmp(line, url, length) == 0;
    }
    free(line);
    fclose(f);
    if (!same)
        p->etag[0] = '\0';
    return same;
}

/* Whether the disk takes so many bytes more. */
static bool has_room(struct pull *p, uint64_t missing)
{
    struct statvfs disk;
    if (fstatvfs(fileno(p->out), &disk) != 0)
        return true;
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    return left >= missing ||
           err_set(&p->problem, ERR_NO_ROOM, "%.1f MB are missing, and the disk has %.1f MB left",
                   (double)missing / 1e6, (double)left / 1e6);
}

static bool on_begin(void *ctx, const struct fetch_head *head)
{
    struct pull *p = ctx;
    uint64_t wanted = p->source->size;
    if (strncasecmp(head->type, "text/html", 9) == 0)
        return err_set(&p->problem, ERR_INVALID,
                       "a web page came (text/html) instead of a file: it may want a login "
                       "(HF_TOKEN, CIVITAI_TOKEN), or that is the address of a page about it");
    if (wanted && head->total && head->total != wanted)
        return err_set(&p->problem, ERR_UPSTREAM,
                       "the server sends a file of %llu bytes, wanted one of %llu",
                       (unsigned long long)head->total, (unsigned long long)wanted);
    if (head->restart &&
        (fflush(p->out) != 0 || ftruncate(fileno(p->out), 0) != 0 ||
         fseeko(p->out, 0, SEEK_SET) != 0))
        return err_set(&p->problem, ERR_IO, "cannot begin the file again: %s", strerror(errno));
    off_t have = ftello(p->out);
    if (head->total > (uint64_t)have && !has_room(p, head->total - (uint64_t)have))
        return false;
    if (head->restart)
        write_etag(p, head->etag);
    return true;
}

/* Whether the name is still that of the file that is open: the pull that held its lock before may
 * have made a model of it. */
static bool is_part(const struct pull *p)
{
    struct stat named, open;
    return lstat(p->part, &named) == 0 && fstat(fileno(p->out), &open) == 0 &&
           named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

static bool open_part(struct pull *p, struct err *err)
{
    int fd = open(p->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || !(p->out = fdopen(fd, "r+"))) {
        if (fd >= 0)
            close(fd);
        return err_at(err, p->part, ERR_IO, "cannot write it: %s", strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_part(p))
        return err_at(err, p->part, ERR_BUSY, "another pull writes it");
    p->locked = true;
    if (fseeko(p->out, 0, SEEK_END) != 0)
        return err_at(err, p->part, ERR_IO, "%s", strerror(errno));
    return true;
}

/* Fetches what is missing of the part, once. */
static bool fetch_rest(struct pull *p, struct err *err)
{
    const struct pull_source *s = p->source;
    bool known = read_etag(p);
    off_t have = ftello(p->out);
    /* Without knowing what the part is a part of, it is worth nothing. */
    if (have > 0 && (!known || (!*p->etag && !*s->sha256))) {
        if (ftruncate(fileno(p->out), 0) != 0 || fseeko(p->out, 0, SEEK_SET) != 0)
            return err_at(err, p->part, ERR_IO, "%s", strerror(errno));
        have = 0;
    }
    struct fetch_file f = {.url = s->url,
                           .key = s->key,
                           .out = p->out,
                           .from = (uint64_t)have,
                           .etag = p->etag,
                           .progress = on_progress,
                           .stop = p->watch ? p->watch->stop : NULL,
                           .begin = on_begin,
                           .public_only = p->source->public_only,
                           .ctx = p};
    bool done = fetch_file(&f, err);
    if (p->problem.code != ERR_NONE)
        return err_copy(err, &p->problem);
    if (fflush(p->out) != 0 || (done && fsync(fileno(p->out)) != 0))
        done = err_at(err, p->part, errno == ENOSPC ? ERR_NO_ROOM : ERR_IO, "cannot write it: %s",
                      strerror(errno));
    return done;
}

static uint64_t part_size(const struct pull *p)
{
    struct stat st;
    return fstat(fileno(p->out), &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Goes on after a connection broke, as long as each one brings something. */
static bool fetch(struct pull *p, struct err *err)
{
    const struct timespec pause = {TRY_MS / 1000, 0};
    for (int i = 1;; i++) {
        uint64_t before = part_size(p);
        if (fetch_rest(p, err))
            return true;
        if (i == TRIES || err->code != ERR_UPSTREAM || part_size(p) <= before || is_stopped(p))
            return false;
        nanosleep(&pause, NULL);
    }
}

/* The file's own words for being a .safetensors file, whatever is in it. */
static bool is_sound(const char *path, struct err *err)
{
    struct safetensors *st = safetensors_open(path, err);
    safetensors_close(st);
    return st;
}

static bool hash_of(const char *path, const atomic_bool *stop, char hex[SHA256_HEX_SIZE],
                    struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    if (!sha256_file(path, stop, hash, err))
        return false;
    sha256_hex(hash, hex);
    return true;
}

/* What is not what was promised goes: more of it would not make it right. */
static bool verify(struct pull *p, char hex[SHA256_HEX_SIZE], struct err *err)
{
    const struct pull_source *s = p->source;
    uint64_t size = part_size(p);
    if (!hash_of(p->part, p->watch->stop, hex, err))
        return false;
    bool right = true;
    if (s->size && size != s->size)
        right = err_set(err, ERR_INVALID, "the file has %llu bytes, wanted %llu; it was removed",
                        (unsigned long long)size, (unsigned long long)s->size);
    else if (!is_sound(p->part, err))
        right = err_prefix(err, "what came is no model and was removed");
    else if (*s->sha256 && strcmp(hex, s->sha256) != 0)
        right = err_set(err, ERR_INVALID,
                        "the file hashes to %.64s, wanted %.64s; it was removed", hex, s->sha256);
    if (!right) {
        unlink(p->part);
        unlink(p->etag_path);
    }
    return right;
}

/* ---- where it goes ---- */

/* The settings' folder of the kind, or "" without room in `path`. */
static void folder_of(const struct settings *s, enum pictor_kind kind, char path[PATH_MAX])
{
    static const char *const names[] = {"models",     "loras",       "vaes",         "upscalers",
                                        "embeddings", "controlnets", "text_encoders"};
    const char *const own[] = {s->models,     s->loras,       s->vaes,         s->upscalers,
                               s->embeddings, s->controlnets, s->text_encoders};
    int n = *own[kind] ? snprintf(path, PATH_MAX, "%s", own[kind])
                       : snprintf(path, PATH_MAX, "%s/%s", s->data, names[kind]);
    if (n < 0 || n >= PATH_MAX)
        *path = '\0';
}

/* PATH of the file in the folder of a kind; false: too long. */
static bool place(const struct settings *s, enum pictor_kind kind, const char *name,
                  char path[PATH_MAX])
{
    char folder[PATH_MAX];
    folder_of(s, kind, folder);
    int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return *folder && n > 0 && n < PATH_MAX;
}

static bool set_paths(struct pull *p, const struct settings *settings, const char *name,
                      struct err *err)
{
    char folder[PATH_MAX];
    folder_of(settings, PICTOR_KIND_MODEL, folder);
    if (!*settings->models)
        mkdir(settings->data, 0700);
    if (!*folder || (mkdir(folder, 0755) != 0 && errno != EEXIST))
        return err_set(err, ERR_IO, "cannot make the models folder: %s", strerror(errno));
    int a = snprintf(p->path, sizeof p->path, "%s/%s", folder, name);
    int b = snprintf(p->part, sizeof p->part, "%s/%s.part", folder, name);
    int c = snprintf(p->etag_path, sizeof p->etag_path, "%s/%s.part.etag", folder, name);
    if (a < 0 || b < 0 || c < 0 || (size_t)c >= sizeof p->etag_path)
        return err_set(err, ERR_INVALID, "the path of the models folder is too long");
    return true;
}

/* Whether it is there already: a file of some kind, and the one that is wanted. What has its name
 * and is none is fetched again. `err` is set when it is another one. */
static bool is_there(struct pull *p, const struct settings *settings, struct err *err)
{
    char hex[SHA256_HEX_SIZE];
    const struct pull_source *s = p->source;
    struct err why;
    err->code = ERR_NONE;
    for (int kind = 0; kind < PICTOR_KIND_UNKNOWN; kind++) {
        char path[PATH_MAX];
        if (!place(settings, kind, s->name, path))
            continue;
        if (!is_sound(path, &why)) {
            if (why.code != ERR_NOT_FOUND && why.code != ERR_INVALID &&
                why.code != ERR_UNSUPPORTED)
                return err_copy(err, &why);
            continue;
        }
        if (*s->sha256 && !hash_of(path, p->watch->stop, hex, err))
            return false;
        memcpy(p->path, path, sizeof p->path);
        return !*s->sha256 || strcmp(hex, s->sha256) == 0 ||
               err_set(err, ERR_INVALID,
                       "another model has this name: it hashes to %.64s, wanted %.64s; choose one "
                       "with --name", hex, s->sha256);
    }
    return false;
}

/* What it is; a model that cannot be painted with is there all the same. */
static void describe(const char *path, struct pull_result *out)
{
    struct pictor_file_info info;
    struct err why = {0};
    if (!pictor_file_probe(path, &info, &why))
        err_set(&out->problem, ERR_UNSUPPORTED, "it is there, but cannot be painted with: %.180s",
                why.msg);
    out->kind = info.kind;
}

/* Gives the part its name in the folder of its kind; on another disk than the models, among these,
 * where it is found as well. */
static bool keep(struct pull *p, const struct settings *settings, struct pull_result *out,
                 struct err *err)
{
    char path[PATH_MAX], folder[PATH_MAX];
    describe(p->part, out);
    enum pictor_kind kind = out->kind < PICTOR_KIND_UNKNOWN ? out->kind : PICTOR_KIND_MODEL;
    folder_of(settings, kind, folder);
    if (kind != PICTOR_KIND_MODEL && place(settings, kind, p->source->name, path) &&
        (mkdir(folder, 0755) == 0 || errno == EEXIST) && rename(p->part, path) == 0)
        memcpy(p->path, path, sizeof p->path);
    else if (rename(p->part, p->path) != 0)
        return err_at(err, p->part, ERR_IO, "cannot rename it: %s", strerror(errno));
    unlink(p->etag_path);
    return true;
}

bool pull_find(struct pull_source *s, const struct settings *settings, const char *ref,
               struct err *err)
{
    const struct pull_catalogue_entry *known = pull_catalogue_find(ref);
    char promised[SHA256_HEX_SIZE];
    if (known && !pull_source_set_name(s, known->name, err))
        return false;
    memcpy(promised, s->sha256, sizeof promised);
    if (known && !*promised)
        snprintf(promised, sizeof promised, "%s", known->sha256);
    return pull_source_find(s, settings, known ? known->ref : ref, err) &&
           (!*promised || pull_source_set_sha256(s, promised, err));
}

bool pull_run(const struct settings *settings, const struct pull_source *s,
              const struct pull_watch *watch, struct pull_result *out, struct err *err)
{
    struct pull p = {.source = s, .watch = watch};
    *out = (struct pull_result){.kind = PICTOR_KIND_UNKNOWN};
    if (!set_paths(&p, settings, s->name, err))
        return false;
    bool done = is_there(&p, settings, err);
    if (done) {
        out->was_there = true;
        describe(p.path, out);
    } else {
        done = err->code == ERR_NONE && open_part(&p, err) && fetch(&p, err) &&
               verify(&p, out->sha256, err) && keep(&p, settings, out, err);
        if (p.locked && !done && part_size(&p) == 0) {
            unlink(p.part); /* nothing came: nothing to go on with */
            unlink(p.etag_path);
        }
    }
    memcpy(out->path, p.path, sizeof out->path);
    if (p.out)
        fclose(p.out);
    return done;
}

bool pull_forget(const struct settings *settings, const char *name, struct err *err)
{
    struct pull p = {0};
    if (!set_paths(&p, settings, name, err))
        return false;
    if (access(p.part, F_OK) != 0)
        return true;
    bool done = open_part(&p, err);
    if (done) {
        unlink(p.part);
        unlink(p.etag_path);
    }
    if (p.out)
        fclose(p.out);
    return done;
}

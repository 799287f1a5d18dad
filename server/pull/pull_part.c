/* pull_part.c: a part grows; whoever has its lock may write it. */
#include "server/pull/pull_part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/sha256.h"
#include "engine/io/sniff.h"
#include "server/base/small_file.h"
#include "server/paint/fetch.h"

#define TRIES 10 /* of a transfer that breaks off, as long as each gets further */
#define TRY_MS 1000
#define ETAG_MOST 16384 /* bytes: an ETag and an address */

bool pull_part_init(struct pull_part *p, const struct pull_source *source,
                    const struct pull_watch *watch, const char *folder, const char *name,
                    struct err *err)
{
    size_t stem;
    *p = (struct pull_part){.source = source, .watch = watch, .form = pull_form_of(name, &stem)};
    int a = snprintf(p->path, sizeof p->path, "%s/%s", folder, name);
    int b = snprintf(p->part, sizeof p->part, "%s/%s.part", folder, name);
    int c = snprintf(p->etag_path, sizeof p->etag_path, "%s/%s.part.etag", folder, name);
    return (a > 0 && b > 0 && c > 0 && (size_t)c < sizeof p->etag_path) ||
           err_set(err, ERR_INVALID, "the path of the models folder is too long");
}

void pull_part_remove(const struct pull_part *p)
{
    unlink(p->part);
    unlink(p->etag_path);
}

static uint64_t part_size(const struct pull_part *p)
{
    struct stat st;
    return fstat(fileno(p->out), &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* What begins like another kind of file is not fetched to its end. */
static bool sniff(struct pull_part *p)
{
    char head[SNIFF_BYTES];
    p->sniffed = true;
    if (fflush(p->out) != 0 || pread(fileno(p->out), head, sizeof head, 0) != sizeof head ||
        pull_form_fits(&p->form, p->source->guessed, head, sizeof head, SNIFF_SIZE_UNKNOWN,
                       &p->problem))
        return true;
    pull_part_remove(p);
    return false;
}

static bool is_stopped(const struct pull_part *p)
{
    return p->watch->stop && atomic_load(p->watch->stop);
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct pull_part *p = ctx;
    if (!p->sniffed && done >= SNIFF_BYTES && !sniff(p))
        return false;
    if (is_stopped(p))
        return err_set(&p->problem, ERR_CANCELLED, "stopped");
    /* It may not have said how long it is, and never end. */
    if (p->source->size && done > p->source->size + p->source->slack) {
        pull_part_remove(p);
        return err_set(&p->problem, ERR_INVALID,
                       "the server sends more than the %llu bytes that are wanted; what came was "
                       "removed", (unsigned long long)p->source->size);
    }
    if (p->watch->progress)
        p->watch->progress(p->watch->ctx, p->before + done, p->all ? p->all : total);
    return true;
}

/* What the part is of: its ETag, and the address without what is signed into it. */
static void write_etag(const struct pull_part *p, const char *etag)
{
    const char *url = p->source->url;
    unlink(p->etag_path); /* whatever it is */
    FILE *f = fopen(p->etag_path, "wxe");
    if (!f)
        return;
    fprintf(f, "%s\n%.*s\n", etag, (int)strcspn(url, "?#"), url);
    fclose(f);
}

/* Whether the part is of this address; then its ETag is read, which may be "". */
static bool read_etag(struct pull_part *p)
{
    const char *url = p->source->url;
    size_t length = strcspn(url, "?#");
    struct err unused;
    char *text = small_file_read(p->etag_path, ETAG_MOST, NULL, &unused), *at = text;
    const char *etag = at ? strsep(&at, "\n") : NULL, *address = at ? strsep(&at, "\n") : NULL;
    bool same = address && at && strlen(etag) < sizeof p->etag && !strchr(etag, '\r') &&
                strlen(address) == length && strncmp(address, url, length) == 0;
    snprintf(p->etag, sizeof p->etag, "%s", same ? etag : "");
    free(text);
    return same;
}

/* Whether the disk takes so many bytes more. */
static bool has_room(struct pull_part *p, uint64_t missing)
{
    struct statvfs disk;
    if (fstatvfs(fileno(p->out), &disk) != 0)
        return true;
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    return left >= missing ||
           err_set(&p->problem, ERR_NO_ROOM, "%.1f MB are missing, and the disk has %.1f MB left",
                   (double)missing / 1e6, (double)left / 1e6);
}

static bool is_size(const struct pull_source *s, uint64_t size)
{
    uint64_t off = size > s->size ? size - s->size : s->size - size;
    return !s->size || off <= s->slack;
}

static bool on_begin(void *ctx, const struct fetch_head *head)
{
    struct pull_part *p = ctx;
    uint64_t wanted = p->source->size;
    if (strncasecmp(head->type, "text/html", 9) == 0)
        return err_set(&p->problem, ERR_INVALID,
                       "a web page came (text/html) instead of a file: it may want a login "
                       "(HF_TOKEN, CIVITAI_TOKEN), or that is the address of a page about it");
    if (head->total && !is_size(p->source, head->total))
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
static bool is_part(const struct pull_part *p)
{
    struct stat named, open;
    return lstat(p->part, &named) == 0 && fstat(fileno(p->out), &open) == 0 &&
           named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

bool pull_part_open(struct pull_part *p, struct err *err)
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
static bool fetch_rest(struct pull_part *p, struct err *err)
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

/* Goes on after a connection broke, as long as each one brings something. */
static bool fetch(struct pull_part *p, struct err *err)
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

bool pull_part_hash(const char *path, const atomic_bool *stop, char hex[SHA256_HEX_SIZE],
                    struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    if (!sha256_file(path, stop, hash, err))
        return false;
    sha256_hex(hash, hex);
    return true;
}

/* What is not what was promised goes: more of it would not make it right. */
static bool verify(struct pull_part *p, char hex[SHA256_HEX_SIZE], struct err *err)
{
    const struct pull_source *s = p->source;
    uint64_t size = part_size(p);
    if (!pull_part_hash(p->part, p->watch->stop, hex, err))
        return false;
    bool right = true;
    if (!is_size(s, size))
        right = err_set(err, ERR_INVALID, "the file has %llu bytes, wanted %llu; it was removed",
                        (unsigned long long)size, (unsigned long long)s->size);
    else if (p->form != PULL_FORM_OTHER &&
             !pull_form_check(&p->form, s->guessed, p->part, err))
        right = err_prefix(err, "what came is no model and was removed");
    else if (*s->sha256 && strcmp(hex, s->sha256) != 0)
        right = err_set(err, ERR_INVALID,
                        "the file hashes to %.64s, wanted %.64s; it was removed", hex, s->sha256);
    if (!right)
        pull_part_remove(p);
    return right;
}

bool pull_part_fetch(struct pull_part *p, char sha256[SHA256_HEX_SIZE], struct err *err)
{
    return pull_part_open(p, err) && fetch(p, err) && verify(p, sha256, err);
}

void pull_part_close(struct pull_part *p)
{
    if (p->locked && is_part(p) && part_size(p) == 0)
        pull_part_remove(p); /* nothing came: nothing to go on with */
    if (p->out)
        fclose(p->out);
    p->out = NULL;
    p->locked = false;
}

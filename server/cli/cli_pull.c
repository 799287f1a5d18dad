/* cli_pull.c: `pictor pull`: fetches a checkpoint into the models folder.
 *
 * The file grows as NAME.safetensors.part and gets its name when it is one: complete, with a sound
 * header, of the SHA-256 that was promised. Beside it lies NAME.safetensors.part.etag: which
 * version of which address the part is of, so that a second call goes on where the first one
 * stopped and never glues two files together. What is fetched is data; it is only read by the
 * engine's checked readers. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
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

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "engine/io/safetensors.h"
#include "engine/io/sniff.h"
#include "engine/pictor.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/cli/pull_catalogue.h"
#include "server/cli/pull_source.h"
#include "server/paint/fetch.h"

#define BAR_MS 200
#define TRIES 10 /* of a transfer that breaks off, as long as each gets further */
#define TRY_MS 1000

static const char *const help_settings[] = {"config", "data", "models", NULL};

static void help(FILE *out)
{
    fputs(
        "usage: pictor pull                        what there is under a short name\n"
        "       pictor pull REF [--name NAME] [--sha256 HEX] [settings]\n"
        "\n"
        "Fetches a checkpoint into the models folder; a call that was interrupted goes on.\n"
        "\n"
        "  sd15, sdxl, ...                     a short name\n"
        "  https://HOST/FILE.safetensors\n"
        "  hf:OWNER/REPO/FILE.safetensors      Hugging Face; @REVISION after REPO for another\n"
        "                                      than main (a slash in it is %2F); HF_TOKEN for\n"
        "                                      what needs a login\n"
        "  civitai:VERSION                     CivitAI, the number of a model version;\n"
        "                                      CIVITAI_TOKEN for what needs a login\n"
        "\n"
        "  --name NAME    what the model is called here\n"
        "  --sha256 HEX   what the file must hash to; Hugging Face and CivitAI say it themselves\n"
        "\n",
        out);
    settings_help(out, help_settings);
}

/* ---- the file ---- */

struct pull {
    const struct pull_source *source;
    char path[PATH_MAX], part[PATH_MAX], etag_path[PATH_MAX];
    FILE *out;
    char etag[200];
    bool locked, terminal, sniffed;
    int64_t drawn;
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

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct pull *p = ctx;
    int64_t now = now_ms();
    if (!p->sniffed && done >= SNIFF_BYTES && !sniff(p))
        return false;
    if (!p->terminal || (now - p->drawn < BAR_MS && done != total))
        return true;
    p->drawn = now;
    enum { WIDTH = 40 };
    int filled = total ? (int)(done * WIDTH / total) : 0;
    fprintf(stderr, "\r[%.*s%.*s] %8.1f MB", filled > WIDTH ? WIDTH : filled,
            "########################################", filled > WIDTH ? 0 : WIDTH - filled,
            "                                        ", (double)done / 1e6);
    if (total)
        fprintf(stderr, " of %.1f MB", (double)total / 1e6);
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
        return err_set(err, ERR_IO, "cannot write %.150s: %s", p->part, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_part(p))
        return err_set(err, ERR_BUSY, "another pull writes %.150s", p->part);
    p->locked = true;
    if (fseeko(p->out, 0, SEEK_END) != 0)
        return err_set(err, ERR_IO, "%.150s: %s", p->part, strerror(errno));
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
            return err_set(err, ERR_IO, "%.150s: %s", p->part, strerror(errno));
        have = 0;
    }
    struct fetch_file f = {.url = s->url,
                           .key = s->key,
                           .out = p->out,
                           .from = (uint64_t)have,
                           .etag = p->etag,
                           .progress = on_progress,
                           .begin = on_begin,
                           .ctx = p};
    bool done = fetch_file(&f, err);
    if (p->terminal)
        fputc('\n', stderr);
    if (p->problem.code != ERR_NONE)
        return err_copy(err, &p->problem);
    if (fflush(p->out) != 0 || (done && fsync(fileno(p->out)) != 0))
        done = err_set(err, errno == ENOSPC ? ERR_NO_ROOM : ERR_IO, "cannot write %.150s: %s",
                       p->part, strerror(errno));
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
        if (i == TRIES || err->code != ERR_UPSTREAM || part_size(p) <= before)
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

static bool hash_of(const char *path, char hex[SHA256_HEX_SIZE], struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    if (!sha256_file(path, NULL, hash, err))
        return false;
    sha256_hex(hash, hex);
    return true;
}

/* What is not what was promised goes: more of it would not make it right. */
static bool verify(struct pull *p, char hex[SHA256_HEX_SIZE], struct err *err)
{
    const struct pull_source *s = p->source;
    uint64_t size = part_size(p);
    if (!hash_of(p->part, hex, err))
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

static bool set_paths(struct pull *p, const struct settings *settings, const char *name,
                      struct err *err)
{
    char folder[PATH_MAX];
    int n = *settings->models ? snprintf(folder, sizeof folder, "%s", settings->models)
                              : snprintf(folder, sizeof folder, "%s/models", settings->data);
    if (!*settings->models)
        mkdir(settings->data, 0700);
    if (n < 0 || (size_t)n >= sizeof folder || (mkdir(folder, 0755) != 0 && errno != EEXIST))
        return err_set(err, ERR_IO, "cannot make the models folder: %s", strerror(errno));
    int a = snprintf(p->path, sizeof p->path, "%s/%s", folder, name);
    int b = snprintf(p->part, sizeof p->part, "%s/%s.part", folder, name);
    int c = snprintf(p->etag_path, sizeof p->etag_path, "%s/%s.part.etag", folder, name);
    if (a < 0 || b < 0 || c < 0 || (size_t)c >= sizeof p->etag_path)
        return err_set(err, ERR_INVALID, "the path of the models folder is too long");
    return true;
}

/* Whether it is there already: a model, and the one that is wanted. What has its name and is no
 * model is fetched again. `err` is set when it is another model. */
static bool is_there(const struct pull *p, struct err *err)
{
    char hex[SHA256_HEX_SIZE];
    const char *wanted = p->source->sha256;
    struct err why;
    err->code = ERR_NONE;
    if (!is_sound(p->path, &why))
        return why.code != ERR_NOT_FOUND && why.code != ERR_INVALID &&
               why.code != ERR_UNSUPPORTED && err_copy(err, &why);
    if (*wanted && !hash_of(p->path, hex, err))
        return false;
    return !*wanted || strcmp(hex, wanted) == 0 ||
           err_set(err, ERR_INVALID,
                   "another model has this name: it hashes to %.64s, wanted %.64s; choose one with "
                   "--name", hex, wanted);
}

/* What is sound may still be something else than a model that pictor runs. */
static bool can_paint(const struct pull *p, struct err *err)
{
    struct pictor_model_info info;
    struct err why;
    return pictor_model_probe(p->path, &info, &why) ||
           err_set(err, ERR_UNSUPPORTED, "it is there, but cannot be painted with: %.180s",
                   why.msg);
}

static bool keep(struct pull *p, const char *hex, struct err *err)
{
    const struct pull_source *s = p->source;
    if (rename(p->part, p->path) != 0)
        return err_set(err, ERR_IO, "cannot rename %.150s: %s", p->part, strerror(errno));
    unlink(p->etag_path);
    printf("%s\nsha256 %s%s\n", p->path, hex, *s->sha256 ? " (as promised)" : "");
    if (!can_paint(p, err))
        return false;
    printf("model %.*s\n", (int)(strlen(s->name) - sizeof PULL_SOURCE_ENDING + 1), s->name);
    return true;
}

static bool pull(const struct settings *settings, const struct pull_source *s, struct err *err)
{
    struct pull p = {.source = s, .terminal = isatty(STDERR_FILENO)};
    char hex[SHA256_HEX_SIZE];
    if (!set_paths(&p, settings, s->name, err))
        return false;
    if (is_there(&p, err)) {
        printf("%s is there already\n", p.path);
        return can_paint(&p, err);
    }
    bool done = err->code == ERR_NONE && open_part(&p, err) && fetch(&p, err) &&
                verify(&p, hex, err) && keep(&p, hex, err);
    if (p.locked && !done && part_size(&p) == 0) {
        unlink(p.part); /* nothing came: nothing to go on with */
        unlink(p.etag_path);
    }
    if (p.out)
        fclose(p.out);
    return done;
}

int pull_main(int argc, char **argv)
{
    static const char *const own[] = {"--name=", "--sha256=", NULL};
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},
        {"sha256", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct pull_source source = {0};
    struct err err = {0};
    const char *name = NULL, *sha256 = NULL;
    int status = 2, option;
    log_set_level(LOG_WARN);
    struct settings *settings = settings_load(&argc, argv, own, &err);
    if (!settings)
        goto fail;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'n') {
            name = optarg;
        } else if (option == 's') {
            sha256 = optarg;
        } else {
            help(option == 'h' ? stdout : stderr);
            status = option == 'h' ? 0 : 2;
            goto done;
        }
    }
    if (argc == 1) {
        pull_catalogue_print(stdout);
        status = 0;
        goto done;
    }
    if (optind != argc - 1) {
        help(stderr);
        goto done;
    }
    status = 1;
    const char *ref = argv[optind];
    const struct pull_catalogue_entry *known = pull_catalogue_find(ref);
    if (known) {
        name = name ? name : known->name;
        sha256 = sha256 || !*known->sha256 ? sha256 : known->sha256;
        ref = known->ref;
    }
    if ((name && !pull_source_set_name(&source, name, &err)) ||
        !pull_source_find(&source, ref, &err) ||
        (sha256 && !pull_source_set_sha256(&source, sha256, &err)) ||
        !pull(settings, &source, &err))
        goto fail;
    status = 0;
    goto done;

fail:
    err_print(&err, "pictor pull");
done:
    free(source.url);
    settings_free(settings);
    return status;
}

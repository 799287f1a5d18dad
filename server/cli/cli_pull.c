/* cli_pull.c: `pictor pull`: fetches a checkpoint into the models folder.
 *
 * The file grows as NAME.safetensors.part and gets its name when it is complete and its SHA-256 is
 * the one that was promised. Beside it lies NAME.safetensors.part.etag: which version of the file
 * the part is of, so that a second call goes on where the first one stopped and never glues two
 * versions together. What is fetched is data; it is only read by the engine's checked readers. */
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
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/paint/fetch.h"

#define ENDING ".safetensors"
#define NAME_SIZE 200
#define ANSWER_BYTES ((size_t)16 << 20)
#define ANSWER_DEPTH 32
#define BAR_MS 200

static const char *const help_settings[] = {"config", "data", "models", NULL};

static void help(FILE *out)
{
    fputs(
        "usage: pictor pull REF [--name NAME] [--sha256 HEX] [settings]\n"
        "\n"
        "Fetches a checkpoint into the models folder; a call that was interrupted goes on.\n"
        "\n"
        "  https://HOST/FILE.safetensors\n"
        "  hf:OWNER/REPO/FILE.safetensors      Hugging Face; @REVISION after REPO for another\n"
        "                                      than main; HF_TOKEN for what needs a login\n"
        "  civitai:VERSION                     CivitAI, the number of a model version;\n"
        "                                      CIVITAI_TOKEN for what needs a login\n"
        "\n"
        "  --name NAME    what the model is called here\n"
        "  --sha256 HEX   what the file must hash to; Hugging Face and CivitAI say it themselves\n"
        "\n",
        out);
    settings_help(out, help_settings);
}

/* What is to be fetched. */
struct source {
    char *url;
    const char *key;
    char name[NAME_SIZE];         /* of the file here */
    char sha256[SHA256_HEX_SIZE]; /* "": not known */
};

/* ---- where it comes from ---- */

static const char *environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

/* The last part of a path or of what a server calls the file, unless --name said it; one that could
 * be anything but a plain file name is refused. */
static bool set_name(struct source *s, const char *path, size_t length, struct err *err)
{
    char name[NAME_SIZE];
    if (*s->name)
        return true;
    while (length > 0 && path[length - 1] == '/')
        length--;
    const char *start = path + length;
    while (start > path && start[-1] != '/')
        start--;
    length -= (size_t)(start - path);
    bool plain = length > 0 && length < sizeof name - sizeof ENDING && *start != '.' &&
                 json_text_is_utf8(start, length, NULL);
    for (size_t i = 0; plain && i < length; i++)
        plain = (unsigned char)start[i] >= ' ' && start[i] != 0x7f && start[i] != '\\';
    if (!plain)
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" cannot be a file's name here; choose one with --name",
                       (int)(length < 80 ? length : 80), start);
    snprintf(name, sizeof name, "%.*s", (int)length, start);
    size_t ending = sizeof ENDING - 1;
    bool has = length > ending && strcasecmp(name + length - ending, ENDING) == 0;
    snprintf(s->name, sizeof s->name, "%.*s" ENDING, (int)(has ? length - ending : length), name);
    return true;
}

static bool is_hex64(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static bool set_sha256(struct source *s, const char *text, struct err *err)
{
    if (!is_hex64(text))
        return err_set(err, ERR_INVALID, "a SHA-256 has 64 hex digits, got \"%.80s\"", text);
    for (int i = 0; i < 64; i++)
        s->sha256[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
    return true;
}

static cJSON *ask(const char *url, const char *key, struct err *err)
{
    char *body;
    if (!fetch_text(url, key, ANSWER_BYTES, &body, err))
        return NULL;
    cJSON *json = json_text_parse(body, strlen(body), ANSWER_DEPTH, err);
    free(body);
    return json;
}

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return text ? text : "";
}

/* hf:OWNER/REPO[@REVISION]/PATH. The list of the repository's files says the SHA-256. */
static bool from_hugging_face(struct source *s, const char *ref, struct err *err)
{
    char repo[NAME_SIZE], revision[NAME_SIZE] = "main", *url = NULL;
    const char *slash = strchr(ref, '/'), *path = slash ? strchr(slash + 1, '/') : NULL;
    const char *at = path ? memchr(ref, '@', (size_t)(path - ref)) : NULL;
    size_t length = path ? (size_t)((at ? at : path) - ref) : 0;
    if (!path || !path[1] || length >= sizeof repo || path - ref >= NAME_SIZE ||
        strspn(ref, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/@") <
            (size_t)(path - ref))
        return err_set(err, ERR_INVALID, "wanted hf:OWNER/REPO/FILE, got \"hf:%.100s\"", ref);
    snprintf(repo, sizeof repo, "%.*s", (int)length, ref);
    if (at)
        snprintf(revision, sizeof revision, "%.*s", (int)(path - at - 1), at + 1);
    path++;
    const char *base = environment("HF_ENDPOINT", "https://huggingface.co");
    s->key = environment("HF_TOKEN", "");
    if (!set_name(s, path, strlen(path), err))
        return false;
    if (asprintf(&url, "%s/api/models/%s/revision/%s?blobs=true", base, repo, revision) < 0 ||
        asprintf(&s->url, "%s/%s/resolve/%s/%s", base, repo, revision, path) < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    cJSON *json = ask(url, s->key, err);
    free(url);
    if (!json)
        return err_prefix(err, "hf:%s", repo);
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(json, "siblings"))
        if (strcmp(text_of(file, "rfilename"), path) == 0)
            found = file;
    const char *sha256 = text_of(cJSON_GetObjectItemCaseSensitive(found, "lfs"), "sha256");
    bool done = found || err_set(err, ERR_NOT_FOUND, "hf:%s has no file \"%.100s\"", repo, path);
    if (done && *sha256)
        done = set_sha256(s, sha256, err);
    cJSON_Delete(json);
    return done;
}

/* civitai:VERSION. The version's own description names its file. */
static bool from_civitai(struct source *s, const char *ref, struct err *err)
{
    char *url = NULL;
    if (!*ref || strlen(ref) > 12 || strspn(ref, "0123456789") != strlen(ref))
        return err_set(err, ERR_INVALID, "wanted civitai:VERSION, a number, got \"%.60s\"", ref);
    s->key = environment("CIVITAI_TOKEN", "");
    const char *base = environment("CIVITAI_ENDPOINT", "https://civitai.com");
    if (asprintf(&url, "%s/api/v1/model-versions/%s", base, ref) < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    cJSON *json = ask(url, s->key, err);
    free(url);
    if (!json)
        return err_prefix(err, "civitai:%s", ref);
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(json, "files")) {
        bool primary = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(file, "primary"));
        const char *name = text_of(file, "name");
        size_t n = strlen(name), ending = sizeof ENDING - 1;
        if (n > ending && strcasecmp(name + n - ending, ENDING) == 0 && (!found || primary))
            found = file;
    }
    const char *address = text_of(found, "downloadUrl"), *name = text_of(found, "name");
    const char *sha256 = text_of(cJSON_GetObjectItemCaseSensitive(found, "hashes"), "SHA256");
    bool done = found || err_set(err, ERR_NOT_FOUND,
                                 "civitai:%s has no .safetensors file; others are not read", ref);
    if (done && strncmp(address, "https://", 8) != 0 && strncmp(address, "http://", 7) != 0)
        done = err_set(err, ERR_UPSTREAM, "civitai:%s names no address to fetch from", ref);
    done = done && set_name(s, name, strlen(name), err) && (!*sha256 || set_sha256(s, sha256, err));
    if (done) {
        /* The token is for CivitAI, wherever its answer points. */
        char *own = fetch_url_within(base, address, NULL);
        if (!own)
            s->key = "";
        free(own);
        s->url = strdup(address);
    }
    cJSON_Delete(json);
    return done && (s->url || err_set(err, ERR_INTERNAL, "no memory"));
}

static bool find_source(struct source *s, const char *ref, struct err *err)
{
    s->key = "";
    if (strncmp(ref, "hf:", 3) == 0)
        return from_hugging_face(s, ref + 3, err);
    if (strncmp(ref, "civitai:", 8) == 0)
        return from_civitai(s, ref + 8, err);
    if (strncmp(ref, "https://", 8) != 0 && strncmp(ref, "http://", 7) != 0)
        return err_set(err, ERR_INVALID,
                       "wanted https://..., hf:OWNER/REPO/FILE or civitai:VERSION, got \"%.100s\"",
                       ref);
    s->url = strdup(ref);
    const char *host = strstr(ref, "://") + 3, *path = host + strcspn(host, "/?#");
    return s->url ? set_name(s, path, strcspn(path, "?#"), err)
                  : err_set(err, ERR_INTERNAL, "no memory");
}

/* ---- the file ---- */

struct pull {
    char path[PATH_MAX], part[PATH_MAX], etag_path[PATH_MAX];
    FILE *out;
    char etag[200];
    bool locked, terminal;
    int64_t drawn;
    char problem[200]; /* why a callback stopped the transfer */
};

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct pull *p = ctx;
    int64_t now = now_ms();
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

static void write_etag(const struct pull *p, const char *etag)
{
    FILE *f = fopen(p->etag_path, "we");
    if (!f)
        return;
    fputs(etag, f);
    fclose(f);
}

static void read_etag(struct pull *p)
{
    FILE *f = fopen(p->etag_path, "re");
    p->etag[0] = '\0';
    if (!f)
        return;
    size_t n = fread(p->etag, 1, sizeof p->etag - 1, f);
    p->etag[n] = '\0';
    fclose(f);
    if (strpbrk(p->etag, "\r\n")) /* it goes into a header */
        p->etag[0] = '\0';
}

static bool on_begin(void *ctx, bool restart, const char *etag, uint64_t total)
{
    struct pull *p = ctx;
    struct statvfs disk;
    if (restart && (fflush(p->out) != 0 || ftruncate(fileno(p->out), 0) != 0 ||
                    fseeko(p->out, 0, SEEK_SET) != 0)) {
        snprintf(p->problem, sizeof p->problem, "cannot begin the file again: %s", strerror(errno));
        return false;
    }
    off_t have = ftello(p->out);
    if (total > (uint64_t)have && fstatvfs(fileno(p->out), &disk) == 0 &&
        (uint64_t)disk.f_bavail * disk.f_frsize < total - (uint64_t)have) {
        snprintf(p->problem, sizeof p->problem,
                 "%.1f MB are missing, and the disk has %.1f MB left",
                 (double)(total - (uint64_t)have) / 1e6,
                 (double)disk.f_bavail * (double)disk.f_frsize / 1e6);
        return false;
    }
    if (restart)
        write_etag(p, etag);
    return true;
}

static bool open_part(struct pull *p, struct err *err)
{
    int fd = open(p->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || !(p->out = fdopen(fd, "r+"))) {
        if (fd >= 0)
            close(fd);
        return err_set(err, ERR_IO, "cannot write %.150s: %s", p->part, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_BUSY, "another pull writes %.150s", p->part);
    p->locked = true;
    if (fseeko(p->out, 0, SEEK_END) != 0)
        return err_set(err, ERR_IO, "%.150s: %s", p->part, strerror(errno));
    return true;
}

/* Fetches what is missing of the part. */
static bool fetch(struct pull *p, const struct source *s, struct err *err)
{
    read_etag(p);
    off_t have = ftello(p->out);
    /* Without knowing what the part is a part of, it is worth nothing. */
    if (have > 0 && !*p->etag && !*s->sha256) {
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
    if (p->problem[0])
        return err_set(err, ERR_IO, "%s", p->problem);
    if (done && (fflush(p->out) != 0 || fsync(fileno(p->out)) != 0))
        done = err_set(err, ERR_IO, "cannot write %.150s: %s", p->part, strerror(errno));
    return done;
}

static bool verify(struct pull *p, const struct source *s, char hex[SHA256_HEX_SIZE],
                   struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    if (!sha256_file(p->part, NULL, hash, err))
        return false;
    sha256_hex(hash, hex);
    if (!*s->sha256 || strcmp(hex, s->sha256) == 0)
        return true;
    unlink(p->part); /* more of the same would not make it right */
    unlink(p->etag_path);
    return err_set(err, ERR_INVALID, "the file hashes to %.64s, wanted %.64s; it was removed", hex,
                   s->sha256);
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

static bool pull(const struct settings *settings, const struct source *s, struct err *err)
{
    struct pull p = {.terminal = isatty(STDERR_FILENO)};
    struct pictor_model_info info;
    struct stat st;
    char hex[SHA256_HEX_SIZE];
    bool done = false;
    if (!set_paths(&p, settings, s->name, err))
        return false;
    if (stat(p.path, &st) == 0) {
        printf("%s is there already\n", p.path);
        return true;
    }
    if (!open_part(&p, err) || !fetch(&p, s, err) || !verify(&p, s, hex, err))
        goto done;
    if (rename(p.part, p.path) != 0) {
        err_set(err, ERR_IO, "cannot rename %.150s: %s", p.part, strerror(errno));
        goto done;
    }
    unlink(p.etag_path);
    printf("%s\nsha256 %s%s\n", p.path, hex, *s->sha256 ? " (as promised)" : "");
    done = true;
    struct err why;
    if (pictor_model_probe(p.path, &info, &why))
        printf("model %.*s\n", (int)(strlen(s->name) - sizeof ENDING + 1), s->name);
    else
        done = err_set(err, ERR_UNSUPPORTED, "it is there, but cannot be painted with: %.180s",
                       why.msg);

done:
    if (p.locked && !done && fflush(p.out) == 0 && fstat(fileno(p.out), &st) == 0 &&
        st.st_size == 0)
        unlink(p.part); /* nothing came: nothing to go on with */
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
    struct source source = {0};
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
    if (optind != argc - 1) {
        help(stderr);
        goto done;
    }
    status = 1;
    if ((name && !set_name(&source, name, strlen(name), &err)) ||
        !find_source(&source, argv[optind], &err) ||
        (sha256 && !set_sha256(&source, sha256, &err)) || !pull(settings, &source, &err))
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

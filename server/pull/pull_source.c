/* pull_source.c: references to addresses. A path of a repository is a path, of whatever characters:
 * each is percent-encoded on its way into an address, and what comes out of an address is decoded
 * before it is a name. */
#include "server/pull/pull_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/base/url.h"
#include "server/paint/fetch.h"
#include "server/pull/pull_form.h"

#define ANSWER_BYTES ((size_t)16 << 20)
#define ANSWER_DEPTH 32
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

static const char *environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

/* ---- percent-encoding ---- */

/* The first `length` bytes of `text`, with all but PLAIN and `keep` as %XX. Owned. */
static char *encode(const char *text, size_t length, const char *keep)
{
    char *out = malloc(3 * length + 1), *to = out;
    for (size_t i = 0; out && i < length; i++) {
        if (text[i] && (strchr(PLAIN, text[i]) || strchr(keep, text[i])))
            *to++ = text[i];
        else
            to += sprintf(to, "%%%02X", (unsigned char)text[i]);
    }
    if (out)
        *to = '\0';
    return out;
}

/* As url_decode has it; what has a NUL stays as it is, all of it. Owned. */
static char *decode(const char *text, size_t length)
{
    char *out = malloc(length + 1);
    if (!out || url_decode(out, text, length, false))
        return out;
    free(out);
    return strndup(text, length);
}

/* ---- names and promises ---- */

bool pull_source_set_name(struct pull_source *s, const char *path, struct err *err)
{
    size_t length = strlen(path), ending = sizeof PULL_SOURCE_ENDING - 1;
    while (length > 0 && path[length - 1] == '/')
        length--;
    const char *start = path + length;
    while (start > path && start[-1] != '/')
        start--;
    length -= (size_t)(start - path);
    bool plain = length > 0 && length < sizeof s->name - ending && *start != '.' &&
                 json_text_is_utf8(start, length, NULL);
    for (size_t i = 0; plain && i < length; i++)
        plain = (unsigned char)start[i] >= ' ' && start[i] != 0x7f && start[i] != '\\';
    if (!plain) {
        char cut[80], shown[100];
        snprintf(cut, sizeof cut, "%.*s", (int)length, start);
        json_text_mend(cut);
        return err_set(err, ERR_INVALID, "%s cannot be a file's name here; choose one with --name",
                       log_quote(shown, sizeof shown, cut));
    }
    snprintf(s->name, sizeof s->name, "%.*s", (int)length, start);
    return true;
}

bool pull_source_complete_name(struct pull_source *s, const char *path, struct err *err)
{
    size_t own, stem;
    if (!*s->name && !pull_source_set_name(s, path, err))
        return false;
    if (pull_form_of(s->name, &own) != PULL_FORM_OTHER)
        return true;
    s->guessed = pull_form_of(path, &stem) == PULL_FORM_OTHER;
    snprintf(s->name + own, sizeof s->name - own, "%s",
             s->guessed ? PULL_SOURCE_ENDING : path + stem);
    return true;
}

bool pull_source_set_sha256(struct pull_source *s, const char *hex, struct err *err)
{
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdefABCDEF") != 64)
        return err_set(err, ERR_INVALID, "a SHA-256 has 64 hex digits, got \"%.80s\"", hex);
    for (int i = 0; i < 64; i++)
        s->sha256[i] = (char)(hex[i] >= 'A' && hex[i] <= 'F' ? hex[i] + 32 : hex[i]);
    return true;
}

/* ---- Hugging Face ---- */

static cJSON *ask(const char *url, const struct pull_source *s, struct err *err)
{
    char *body;
    if (!fetch_text(url, s->key, s->public_only, s->stop, ANSWER_BYTES, &body, err))
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

/* A file of a repository; `revision` and `inner` as they are there, not as in an address. */
struct hub_file {
    const char *repo; /* OWNER/NAME */
    char *revision, *inner;
};

/* The list of the repository's files says the SHA-256 and the size. */
static bool look_up(struct pull_source *s, const struct hub_file *f, const char *url,
                    struct err *err)
{
    cJSON *json = ask(url, s, err);
    if (!json)
        return err_prefix(err, "hf:%s", f->repo);
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(json, "siblings"))
        if (strcmp(text_of(file, "rfilename"), f->inner) == 0)
            found = file;
    const cJSON *lfs = cJSON_GetObjectItemCaseSensitive(found, "lfs");
    const char *sha256 = text_of(lfs, "sha256");
    double size = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(lfs, "size"));
    if (size > 0 && size < 0x1p53)
        s->size = (uint64_t)size;
    bool done = found ||
                err_set(err, ERR_NOT_FOUND, "hf:%s has no file \"%.100s\"", f->repo, f->inner);
    if (done && *sha256)
        done = pull_source_set_sha256(s, sha256, err);
    cJSON_Delete(json);
    return done;
}

static bool from_hub(struct pull_source *s, const struct hub_file *f, struct err *err)
{
    const char *base = environment("HF_ENDPOINT", "https://huggingface.co");
    char *revision = encode(f->revision, strlen(f->revision), ""), *url = NULL;
    char *path = encode(f->inner, strlen(f->inner), "/");
    bool done = revision && path &&
                asprintf(&url, "%s/api/models/%s/revision/%s?blobs=true", base, f->repo,
                         revision) >= 0 &&
                asprintf(&s->url, "%s/%s/resolve/%s/%s", base, f->repo, revision, path) >= 0;
    s->key = s->hf_token;
    done = done ? pull_source_complete_name(s, f->inner, err) && look_up(s, f, url, err)
                : no_memory(err);
    free(revision);
    free(path);
    free(url);
    return done;
}

/* Where the revision that begins at `at` ends. Those of pull requests and conversions have slashes:
 * refs/pr/1; in all others a slash is written %2F. */
static const char *revision_end(const char *at)
{
    const char *end = at;
    for (int parts = strncmp(at, "refs/", 5) == 0 ? 3 : 1; end && parts > 0; parts--)
        end = strchr(end == at ? at : end + 1, '/');
    return end;
}

/* hf:OWNER/REPO[@REVISION]/PATH. */
static bool from_hugging_face(struct pull_source *s, const char *ref, struct err *err)
{
    char repo[PULL_SOURCE_NAME];
    const char *slash = strchr(ref, '/');
    const char *end = slash ? slash + 1 + strcspn(slash + 1, "/@") : ref;
    const char *at = *end == '@' ? end : NULL, *path = at ? revision_end(at + 1) : end;
    size_t length = (size_t)(end - ref);
    if (!slash || slash == ref || end == slash + 1 || strspn(ref, PLAIN "/") < length ||
        length >= sizeof repo || !path || (at && path == at + 1) || !path[0] || !path[1])
        return err_set(err, ERR_INVALID, "wanted hf:OWNER/REPO/FILE, got \"hf:%.100s\"", ref);
    snprintf(repo, sizeof repo, "%.*s", (int)length, ref);
    struct hub_file f = {repo, at ? decode(at + 1, (size_t)(path - at - 1)) : strdup("main"),
                         strdup(path + 1)};
    bool done = f.revision && f.inner ? from_hub(s, &f, err) : no_memory(err);
    free(f.revision);
    free(f.inner);
    return done;
}

/* The address of a file, or of the page about it, at Hugging Face:
 * BASE/OWNER/REPO/blob|resolve/REVISION/PATH. False without an error when it is none. */
static bool is_hub_address(const char *url, char repo[PULL_SOURCE_NAME], struct hub_file *f)
{
    const char *base = environment("HF_ENDPOINT", "https://huggingface.co");
    size_t n = strlen(base);
    if (strncasecmp(url, base, n) != 0 || url[n] != '/')
        return false;
    const char *owner = url + n + 1, *end = owner + strcspn(owner, "?#");
    const char *name = memchr(owner, '/', (size_t)(end - owner));
    const char *kind = name ? memchr(name + 1, '/', (size_t)(end - name - 1)) : NULL;
    if (!kind || (strncmp(kind, "/blob/", 6) != 0 && strncmp(kind, "/resolve/", 9) != 0) ||
        kind - owner >= PULL_SOURCE_NAME)
        return false;
    const char *revision = strchr(kind + 1, '/') + 1, *path = revision_end(revision);
    if (!path || path + 1 >= end)
        return false;
    snprintf(repo, PULL_SOURCE_NAME, "%.*s", (int)(kind - owner), owner);
    *f = (struct hub_file){repo, decode(revision, (size_t)(path - revision)),
                           decode(path + 1, (size_t)(end - path - 1))};
    return true;
}

/* ---- CivitAI ---- */

/* civitai:VERSION. The version's own description names its file. */
static bool from_civitai(struct pull_source *s, const char *ref, struct err *err)
{
    char *url = NULL;
    if (!*ref || strlen(ref) > 12 || strspn(ref, "0123456789") != strlen(ref))
        return err_set(err, ERR_INVALID, "wanted civitai:VERSION, a number, got \"%.60s\"", ref);
    s->key = s->civitai_token;
    const char *base = environment("CIVITAI_ENDPOINT", "https://civitai.com");
    if (asprintf(&url, "%s/api/v1/model-versions/%s", base, ref) < 0)
        return no_memory(err);
    cJSON *json = ask(url, s, err);
    free(url);
    if (!json)
        return err_prefix(err, "civitai:%s", ref);
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(json, "files")) {
        bool primary = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(file, "primary"));
        const char *name = text_of(file, "name");
        size_t n = strlen(name), ending = sizeof PULL_SOURCE_ENDING - 1;
        if (n > ending && strcasecmp(name + n - ending, PULL_SOURCE_ENDING) == 0 &&
            (!found || primary))
            found = file;
    }
    const char *address = text_of(found, "downloadUrl"), *name = text_of(found, "name");
    const char *sha256 = text_of(cJSON_GetObjectItemCaseSensitive(found, "hashes"), "SHA256");
    bool done = found || err_set(err, ERR_NOT_FOUND,
                                 "civitai:%s has no .safetensors file; others are not read", ref);
    if (done && strncmp(address, "https://", 8) != 0 && strncmp(address, "http://", 7) != 0)
        done = err_set(err, ERR_UPSTREAM, "civitai:%s names no address to fetch from", ref);
    done = done && pull_source_complete_name(s, name, err) &&
           (!*sha256 || pull_source_set_sha256(s, sha256, err));
    if (done) {
        /* The token is for CivitAI, wherever its answer points. */
        char *own = fetch_url_within(base, address, NULL);
        if (!own)
            s->key = "";
        free(own);
        s->url = strdup(address);
    }
    cJSON_Delete(json);
    return done && (s->url || no_memory(err));
}

/* ---- any address ---- */

static bool from_address(struct pull_source *s, const char *ref, struct err *err)
{
    char repo[PULL_SOURCE_NAME];
    struct hub_file f = {0};
    if (is_hub_address(ref, repo, &f)) {
        bool done = f.revision && f.inner ? from_hub(s, &f, err) : no_memory(err);
        free(f.revision);
        free(f.inner);
        return done;
    }
    const char *host = strstr(ref, "://") + 3, *path = host + strcspn(host, "/?#");
    char *name = decode(path, strcspn(path, "?#"));
    /* Blanks and letters beyond ASCII, as people copy them; what is encoded stays so. */
    s->url = encode(ref, strlen(ref), "%:/?#[]@!$&'()*+,;=");
    bool done = name && s->url ? pull_source_complete_name(s, name, err) : no_memory(err);
    free(name);
    return done;
}

bool pull_source_find(struct pull_source *s, const struct settings *settings, const char *ref,
                      struct err *err)
{
    s->key = "";
    s->hf_token = *settings->hf_token ? settings->hf_token : environment("HF_TOKEN", "");
    s->civitai_token =
        *settings->civitai_token ? settings->civitai_token : environment("CIVITAI_TOKEN", "");
    if (strncmp(ref, "hf:", 3) == 0)
        return from_hugging_face(s, ref + 3, err);
    if (strncmp(ref, "civitai:", 8) == 0)
        return from_civitai(s, ref + 8, err);
    if (strncmp(ref, "https://", 8) == 0 || strncmp(ref, "http://", 7) == 0)
        return from_address(s, ref, err);
    return err_set(err, ERR_INVALID,
                   "wanted https://..., hf:OWNER/REPO/FILE, civitai:VERSION or a short name that "
                   "`pictor pull` lists, got \"%.100s\"",
                   ref);
}

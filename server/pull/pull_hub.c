/* pull_hub.c: a repository's list of files, and what is wanted of it. */
#include "server/pull/pull_hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/pull/pull_ask.h"
#include "server/pull/pull_form.h"
#include "server/pull/pull_repo.h"

/* A file of a repository, or all of it; `revision` and `inner` as they are there, not as in an
 * address. */
struct place {
    const char *repo;       /* OWNER/NAME */
    char *revision, *inner; /* inner NULL: all */
};

static const char *base_address(void)
{
    return pull_ask_environment("HF_ENDPOINT", "https://huggingface.co");
}

/* BASE/REPO/resolve/REVISION/PATH; NULL without memory. */
static char *address_of(const struct place *p, const char *inner)
{
    char *revision = pull_ask_encode(p->revision, strlen(p->revision), ""), *url = NULL;
    char *path = pull_ask_encode(inner, strlen(inner), "/");
    if (revision && path &&
        asprintf(&url, "%s/%s/resolve/%s/%s", base_address(), p->repo, revision, path) < 0)
        url = NULL;
    free(revision);
    free(path);
    return url;
}

/* What BASE/api/models/REPO/WHAT/REVISIONREST answers. */
static cJSON *ask_about(const struct pull_source *s, const struct place *p, const char *what,
                        const char *rest, struct err *err)
{
    char *revision = pull_ask_encode(p->revision, strlen(p->revision), ""), *url = NULL;
    cJSON *json = NULL;
    if (revision && asprintf(&url, "%s/api/models/%s/%s/%s%s", base_address(), p->repo, what,
                             revision, rest) >= 0)
        json = strcmp(what, "tree") == 0 ? pull_ask_pages(s, url, err) : pull_ask_json(s, url, err);
    else
        pull_ask_no_memory(err);
    free(revision);
    free(url);
    if (!json)
        err_prefix(err, "hf:%s", p->repo);
    return json;
}

/* ---- one file ---- */

/* The list of the repository's files says the SHA-256 and the size. */
static bool find_file(struct pull_source *s, const struct place *p, struct err *err)
{
    if (!pull_source_complete_name(s, p->inner, err))
        return false;
    cJSON *json = ask_about(s, p, "revision", "?blobs=true", err);
    if (!json)
        return false;
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(json, "siblings"))
        if (strcmp(pull_ask_text(file, "rfilename"), p->inner) == 0)
            found = file;
    const cJSON *lfs = cJSON_GetObjectItemCaseSensitive(found, "lfs");
    const char *sha256 = pull_ask_text(lfs, "sha256");
    s->size = pull_ask_size(lfs, "size", 1);
    bool done = found ||
                err_set(err, ERR_NOT_FOUND, "hf:%s has no file \"%.100s\"", p->repo, p->inner);
    done = done && (!*sha256 || pull_source_set_sha256(s, sha256, err));
    if (done && !(s->url = address_of(p, p->inner)))
        done = pull_ask_no_memory(err);
    cJSON_Delete(json);
    return done;
}

/* ---- all of it ---- */

static bool add_file(struct pull_source *s, const struct place *p, const cJSON *item,
                     struct err *err)
{
    const char *inner = pull_ask_text(item, "path");
    const cJSON *lfs = cJSON_GetObjectItemCaseSensitive(item, "lfs");
    const char *sha256 = pull_ask_text(lfs, "oid");
    struct pull_source_file *file = &s->files[s->file_count];
    struct pull_source promise = {.name = ""};
    if (*sha256 && !pull_source_set_sha256(&promise, sha256, err))
        return err_prefix(err, "hf:%s: %.100s", p->repo, inner);
    *file = (struct pull_source_file){.inner = strdup(inner), .url = address_of(p, inner)};
    s->file_count++;
    memcpy(file->sha256, promise.sha256, sizeof file->sha256);
    file->size = pull_ask_size(lfs ? lfs : item, "size", 1);
    s->size += file->size;
    return (file->inner && file->url) || pull_ask_no_memory(err);
}

static bool add_folder(struct pull_source *s, const struct place *p, const cJSON *tree,
                       const cJSON *index, struct err *err)
{
    struct pull_repo chosen;
    size_t stem;
    if (!pull_repo_choose(tree, index, &chosen, err))
        return err_prefix(err, "hf:%s", p->repo);
    if (*s->sha256)
        return err_set(err, ERR_INVALID, "a SHA-256 is one file's, and hf:%s is %zu files",
                       p->repo, chosen.count);
    if (!*s->name && !pull_source_set_name(s, p->repo, err))
        return false;
    if (pull_form_of(s->name, &stem) != PULL_FORM_OTHER)
        return err_set(err, ERR_INVALID, "hf:%s is a folder of %zu files: wanted a name for it "
                       "without the ending of one, got \"%.100s\"", p->repo, chosen.count, s->name);
    s->files = calloc(chosen.count, sizeof *s->files);
    if (!s->files)
        return pull_ask_no_memory(err);
    for (size_t i = 0; i < chosen.count; i++)
        if (!add_file(s, p, chosen.files[i], err))
            return false;
    return true;
}

/* The repository's one file of weights, called by the repository's name. */
static bool add_single(struct pull_source *s, const struct place *p, const cJSON *tree,
                       struct err *err)
{
    const cJSON *item = pull_repo_single(tree, err);
    const char *path = pull_ask_text(item, "path");
    if (!item)
        return err_prefix(err, "hf:%s", p->repo);
    const cJSON *lfs = cJSON_GetObjectItemCaseSensitive(item, "lfs");
    const char *sha256 = pull_ask_text(lfs, "oid");
    s->size = pull_ask_size(lfs ? lfs : item, "size", 1);
    s->url = address_of(p, path);
    return s->url ? (*s->name || pull_source_set_name(s, p->repo, err)) &&
                        pull_source_complete_name(s, path, err) &&
                        (!*sha256 || pull_source_set_sha256(s, sha256, err))
                  : pull_ask_no_memory(err);
}

/* What says what the repository is; *json is NULL where nothing does. */
static bool read_index(const struct pull_source *s, const struct place *p, const cJSON *tree,
                       cJSON **json, struct err *err)
{
    const char *name = pull_repo_find(tree, "model_index.json") ? "model_index.json"
                       : pull_repo_find(tree, "config.json")    ? "config.json"
                                                                : NULL;
    *json = NULL;
    if (!name)
        return true;
    char *url = address_of(p, name);
    *json = url ? pull_ask_json(s, url, err) : NULL;
    bool done = *json || (url ? err_prefix(err, "hf:%s: %s", p->repo, name)
                              : pull_ask_no_memory(err));
    free(url);
    return done;
}

static bool find_all(struct pull_source *s, const struct place *p, struct err *err)
{
    cJSON *index = NULL, *tree = ask_about(s, p, "tree", "?recursive=true", err);
    bool done = tree && (cJSON_IsArray(tree) ||
                         err_set(err, ERR_UPSTREAM, "hf:%s: wanted a list of files", p->repo));
    done = done && read_index(s, p, tree, &index, err);
    if (done && (pull_repo_find(tree, "model_index.json") ||
                 strcmp(pull_ask_text(index, "_class_name"), "UNet2DModel") == 0))
        done = add_folder(s, p, tree, index, err);
    else if (done)
        done = add_single(s, p, tree, err);
    cJSON_Delete(index);
    cJSON_Delete(tree);
    return done;
}

/* ---- references ---- */

/* Takes what `p` owns. */
static bool find(struct pull_source *s, struct place *p, bool all, struct err *err)
{
    s->key = s->hf_token;
    bool done = p->revision && (all || p->inner)
                    ? all ? find_all(s, p, err) : find_file(s, p, err)
                    : pull_ask_no_memory(err);
    free(p->revision);
    free(p->inner);
    return done;
}

/* Where the revision that begins at `at` ends. Those of pull requests and conversions have slashes:
 * refs/pr/1; in all others a slash is written %2F. */
static const char *revision_end(const char *at)
{
    const char *end = at;
    for (int parts = strncmp(at, "refs/", 5) == 0 ? 3 : 1; end && parts > 0; parts--)
        end = strchr(end == at ? at : end + 1, '/');
    return end ? end : at + strlen(at);
}

bool pull_hub_find(struct pull_source *s, const char *ref, struct err *err)
{
    char repo[PULL_SOURCE_NAME];
    const char *slash = strchr(ref, '/');
    const char *end = slash ? slash + 1 + strcspn(slash + 1, "/@") : ref;
    const char *at = *end == '@' ? end : NULL, *path = at ? revision_end(at + 1) : end;
    size_t length = (size_t)(end - ref);
    if (!slash || slash == ref || end == slash + 1 ||
        strspn(ref, PULL_ASK_PLAIN "/") < length || length >= sizeof repo ||
        (at && path == at + 1) || (*path && !path[1]))
        return err_set(err, ERR_INVALID,
                       "wanted hf:OWNER/REPO or hf:OWNER/REPO/FILE, got \"hf:%.100s\"", ref);
    snprintf(repo, sizeof repo, "%.*s", (int)length, ref);
    struct place p = {repo,
                      at ? pull_ask_decode(at + 1, (size_t)(path - at - 1)) : strdup("main"),
                      *path ? strdup(path + 1) : NULL};
    return find(s, &p, !*path, err);
}

bool pull_hub_find_address(struct pull_source *s, const char *url, bool *is, struct err *err)
{
    /* OWNER/REPO[/KIND/REVISION[/PATH]], KIND being tree, blob or resolve. */
    static const char *const kinds[] = {"/tree/", "/blob/", "/resolve/"};
    char repo[PULL_SOURCE_NAME];
    const char *owner = pull_ask_below(base_address(), url);
    *is = false;
    if (!owner)
        return true;
    const char *end = owner + strcspn(owner, "?#");
    while (end > owner && end[-1] == '/')
        end--;
    const char *name = memchr(owner, '/', (size_t)(end - owner));
    const char *kind = name ? memchr(name + 1, '/', (size_t)(end - name - 1)) : NULL;
    size_t length = (size_t)((kind ? kind : end) - owner), i = 0;
    if (!name || name + 1 >= end || length >= sizeof repo ||
        strspn(owner, PULL_ASK_PLAIN "/") < length)
        return true;
    while (kind && i < 3 && strncmp(kind, kinds[i], strlen(kinds[i])) != 0)
        i++;
    if (i == 3)
        return true;
    const char *revision = kind ? kind + strlen(kinds[i]) : "main";
    const char *path = kind ? revision_end(revision) : end;
    path = path < end ? path : end;
    bool all = !kind || (i == 0 && path == end);
    if (kind && (path <= revision || (!all && (i == 0 || path + 1 >= end))))
        return true;
    *is = true;
    snprintf(repo, sizeof repo, "%.*s", (int)length, owner);
    struct place p = {repo,
                      kind ? pull_ask_decode(revision, (size_t)(path - revision)) : strdup("main"),
                      all ? NULL : pull_ask_decode(path + 1, (size_t)(end - path - 1))};
    return find(s, &p, all, err);
}

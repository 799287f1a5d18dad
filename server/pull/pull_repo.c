/* pull_repo.c: a part is a folder of the repository. Its configurations and lists of words are all
 * taken. Of its weights, which lie there as half and as full precision, as safetensors and as
 * pickles, whole and in shards, the best is; that is a file in half precision, since half of
 * the bytes say all that is kept of them here. */
#include "server/pull/pull_repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/pull/pull_ask.h"
#include "server/pull/pull_form.h"

#define SHARD_DIGITS 5             /* as diffusers and transformers write them */
#define SMALL ((size_t)64 << 20)   /* bytes of a configuration or a list of words, at most */
#define NAME_MOST 200

/* Which part of the repository a file is looked for in. */
struct place {
    const char *part; /* its folder; "": beside model_index.json */
    size_t length;
    bool plain; /* the weights are known to be some by their plain name alone */
};

/* The file's name if it lies right in the folder; NULL. */
static const char *name_in(const cJSON *item, const struct place *at)
{
    const char *path = pull_ask_text(item, "path");
    if (strcmp(pull_ask_text(item, "type"), "file") != 0)
        return NULL;
    if (at->length) {
        if (strncmp(path, at->part, at->length) != 0 || path[at->length] != '/')
            return NULL;
        path += at->length + 1;
    }
    return *path && *path != '.' && !strchr(path, '/') && strlen(path) < NAME_MOST ? path : NULL;
}

const cJSON *pull_repo_find(const cJSON *tree, const char *path)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, tree)
        if (strcmp(pull_ask_text(item, "path"), path) == 0 &&
            strcmp(pull_ask_text(item, "type"), "file") == 0)
            return item;
    return NULL;
}

static const cJSON *find_in(const cJSON *tree, const struct place *at, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, tree) {
        const char *is = name_in(item, at);
        if (is && strcmp(is, name) == 0)
            return item;
    }
    return NULL;
}

static bool add(struct pull_repo *out, const cJSON *item, struct err *err)
{
    if (out->count == PULL_REPO_FILES)
        return err_set(err, ERR_TOO_LARGE, "a model of more than %d files", PULL_REPO_FILES);
    out->files[out->count++] = item;
    return true;
}

/* ---- weights ---- */

/* "NAME-00001-of-00003.ENDING" is the first of three, with its number at *at; what says nothing is
 * the one of one. 0: another one than the first. */
static int shards_of(const char *name, size_t *at)
{
    const char *of = strstr(name, "-of-");
    *at = of && of - name > SHARD_DIGITS ? (size_t)(of - name) - SHARD_DIGITS : 0;
    if (!*at || strspn(name + *at, "0123456789") != SHARD_DIGITS ||
        strspn(of + 4, "0123456789") != SHARD_DIGITS)
        return 1;
    return atoi(name + *at) == 1 ? atoi(of + 4) : 0;
}

/* How willingly a file is taken for the weights, the less the better; -1: not at all. */
static int preference(const char *name, const struct place *in)
{
    size_t stem, at;
    enum pull_form form = pull_form_of(name, &stem);
    const char *dot = strchr(name, '.');
    bool half = dot && strncmp(dot, ".fp16", 5) == 0, plain = dot == name + stem;
    bool network = strncmp(name, "diffusion_pytorch_model", 23) == 0;
    int shards = shards_of(name, &at);
    if (shards < 1 || shards > 99 || strstr(name, "non_ema") || strstr(name, "optimizer") ||
        strncmp(name, "flax", 4) == 0 || strncmp(name, "openvino", 8) == 0 ||
        (!in->length && (!network || shards > 1)))
        return -1;
    bool pickle = form == PULL_FORM_TORCH && strcmp(name + stem, ".bin") == 0 &&
                  (network || strncmp(name, "pytorch_model", 13) == 0);
    if (!pickle && form != PULL_FORM_SAFETENSORS)
        return -1;
    int variant = half && !in->plain ? 0 : plain ? 1 : 2;
    return 10 * pickle + 2 * variant + (shards > 1);
}

/* Adds the other shards of the first; false without an error: one lacks. */
static bool shards_are_there(const cJSON *tree, const struct place *at, const char *first,
                             struct pull_repo *out, struct err *err)
{
    char name[NAME_MOST + 1], digits[16];
    size_t from;
    int count = shards_of(first, &from);
    snprintf(name, sizeof name, "%s", first);
    err->code = ERR_NONE;
    for (int i = 1; i <= count; i++) {
        snprintf(digits, sizeof digits, "%0*d", SHARD_DIGITS, i);
        if (count > 1)
            memcpy(name + from, digits, SHARD_DIGITS);
        const cJSON *item = find_in(tree, at, name);
        if (!item)
            return false;
        if (out && !add(out, item, err))
            return false;
    }
    return true;
}

/* The best of the weights; NULL: there are none. */
static const char *best_weights(const cJSON *tree, const struct place *at)
{
    const char *best = NULL;
    struct err unused;
    const cJSON *item;
    cJSON_ArrayForEach(item, tree) {
        const char *name = name_in(item, at);
        int p = name ? preference(name, at) : -1;
        int before = best ? preference(best, at) : -1;
        if (p >= 0 && (!best || p < before || (p == before && strcmp(name, best) < 0)) &&
            shards_are_there(tree, at, name, NULL, &unused))
            best = name;
    }
    return best;
}

/* ---- parts ---- */

/* A configuration, a list of words, or what says which tensor is in which shard of the weights
 * that were taken. */
static bool is_wanted(const cJSON *item, const char *name, const char *weights)
{
    static const char *const endings[] = {".json", ".txt", ".model"};
    size_t n = strlen(name);
    const char *index = strstr(name, ".index.");
    if (pull_ask_size(item, "size", 1) > SMALL || strcmp(name, "README.txt") == 0 ||
        strncmp(name, "flax", 4) == 0 || strncmp(name, "openvino", 8) == 0)
        return false;
    if (index) { /* NAME.safetensors.index.fp16.json of NAME.fp16-00001-of-00002.safetensors */
        size_t at;
        return weights && shards_of(weights, &at) > 1 &&
               !strstr(name, ".fp16") == !strstr(weights, ".fp16") &&
               strstr(name, strrchr(weights, '.'));
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

static bool add_part(const cJSON *tree, const struct place *at, struct pull_repo *out,
                     struct err *err)
{
    const char *weights = best_weights(tree, at);
    const cJSON *item;
    if (!weights && find_in(tree, at, "config.json"))
        return err_set(err, ERR_NOT_FOUND,
                       "\"%s\" has no weights that are read (.safetensors, pytorch_model.bin)",
                       at->part);
    cJSON_ArrayForEach(item, tree) {
        const char *name = name_in(item, at);
        if (name && is_wanted(item, name, weights) && !add(out, item, err))
            return false;
    }
    return !weights || shards_are_there(tree, at, weights, out, err);
}

static bool has_folder(const cJSON *tree, const struct place *at)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, tree)
        if (name_in(item, at))
            return true;
    return false;
}

/* The network beside its configuration, as those without words are kept. */
static bool add_root(const cJSON *tree, struct pull_repo *out, struct err *err)
{
    static const char *const files[] = {"config.json", "scheduler_config.json"};
    const struct place root = {"", 0, true};
    const char *weights = best_weights(tree, &root);
    if (!weights)
        return err_set(err, ERR_NOT_FOUND, "no diffusion_pytorch_model.safetensors or .bin");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const cJSON *item = find_in(tree, &root, files[i]);
        if (item && !add(out, item, err))
            return false;
    }
    return shards_are_there(tree, &root, weights, out, err);
}

/* Whether the value names a class: ["diffusers", "UNet2DConditionModel"]; [null, null] is none. */
static bool is_part(const cJSON *value)
{
    return cJSON_IsArray(value) && cJSON_GetArraySize(value) == 2 &&
           cJSON_IsString(cJSON_GetArrayItem(value, 0)) &&
           cJSON_IsString(cJSON_GetArrayItem(value, 1));
}

/* What looks at pictures that are done is no part of painting them. */
static bool is_left_out(const char *part)
{
    return *part == '_' || strcmp(part, "safety_checker") == 0;
}

bool pull_repo_choose(const cJSON *tree, const cJSON *index, struct pull_repo *out,
                      struct err *err)
{
    const cJSON *value, *itself = pull_repo_find(tree, "model_index.json");
    bool root = false, any = false;
    *out = (struct pull_repo){.count = 0};
    if (itself && !add(out, itself, err))
        return false;
    cJSON_ArrayForEach(value, index) {
        const char *part = value->string;
        struct place at = {part, strlen(part), false};
        if (!itself || !is_part(value) || is_left_out(part))
            continue;
        if (strspn(part, PULL_ASK_PLAIN) != at.length || *part == '.' || at.length > 64)
            return err_set(err, ERR_INVALID, "its model_index.json names a part \"%.64s\"", part);
        any = true;
        if (has_folder(tree, &at)) {
            if (!add_part(tree, &at, out, err))
                return false;
        } else if (strcmp(part, "unet") == 0) {
            root = true;
        } else if (strcmp(part, "scheduler") != 0) {
            return err_set(err, ERR_NOT_FOUND,
                           "its model_index.json names a part \"%.64s\", which it does not have",
                           part);
        }
    }
    if (itself && !any)
        return err_set(err, ERR_INVALID, "its model_index.json names no parts");
    return (!root && itself) || add_root(tree, out, err);
}

/* ---- one file ---- */

const cJSON *pull_repo_single(const cJSON *tree, struct err *err)
{
    const struct place root = {"", 0, false};
    const cJSON *item, *only = NULL;
    const char *known = best_weights(tree, &root);
    char some[160] = "";
    size_t count = 0, stem;
    cJSON_ArrayForEach(item, tree) {
        const char *name = name_in(item, &root);
        if (!name || !pull_form_is_weights(pull_form_of(name, &stem)))
            continue;
        size_t n = strlen(some);
        if (n + strlen(name) + 3 < sizeof some)
            sprintf(some + n, "%s%s", n ? ", " : "", name);
        only = item;
        count++;
    }
    if (known)
        return find_in(tree, &root, known);
    if (count == 1)
        return only;
    if (count == 0)
        err_set(err, ERR_NOT_FOUND,
                "no model_index.json and no file of weights beside it: name a file in a folder");
    else
        err_set(err, ERR_INVALID, "%zu files of weights: name one (%s%s)", count, some,
                count > 1 ? ", ..." : "");
    return NULL;
}

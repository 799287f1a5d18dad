/* folders.c: the one table of which subfolder holds which kind, by the names that other programs
 * give them. A root is looked at anew for each list: folders come and go. */
#include "server/job/folders.h"

#include <dirent.h>
#include <pthread.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/base/small_file.h"
#include "server/job/extra_paths.h"

#define REVISION_MOST 200 /* bytes; a commit has 41 */

struct folders {
    const struct settings *settings;
    pthread_mutex_t lock; /* the tree */
    void *kept;           /* a tree of texts */
};

/* What A1111, ComfyUI and Stability Matrix call them, in any case of letters. */
static const struct {
    const char *name;
    enum folders_kind kind;
} known[] = {
    {"Stable-diffusion", FOLDERS_MODEL},
    {"StableDiffusion", FOLDERS_MODEL},
    {"checkpoints", FOLDERS_MODEL},
    {"diffusion_models", FOLDERS_MODEL},
    {"DiffusionModels", FOLDERS_MODEL},
    {"unet", FOLDERS_MODEL},
    {"diffusers", FOLDERS_MODEL},
    {"Lora", FOLDERS_LORA},
    {"loras", FOLDERS_LORA},
    {"LyCORIS", FOLDERS_LORA},
    {"VAE", FOLDERS_VAE},
    {"ESRGAN", FOLDERS_UPSCALER},
    {"RealESRGAN", FOLDERS_UPSCALER},
    {"upscale_models", FOLDERS_UPSCALER},
    {"embeddings", FOLDERS_EMBEDDING},
    {"ControlNet", FOLDERS_CONTROLNET},
    {"text_encoders", FOLDERS_TEXT_ENCODER},
    {"text_encoder", FOLDERS_TEXT_ENCODER},
    {"TextEncoders", FOLDERS_TEXT_ENCODER},
    {"clip", FOLDERS_TEXT_ENCODER},
};

/* The settings' own folder, and the files of a kind. */
#define SAFETENSORS ".safetensors"
static const struct {
    const char *name;
    size_t own; /* offset in struct settings */
    const char *const endings[8];
} kinds[FOLDERS_KINDS] = {
    [FOLDERS_MODEL] = {"model",
                       offsetof(struct settings, models),
                       {SAFETENSORS, ".sft", ".gguf", ".ckpt", ".pt", ".pth"}},
    [FOLDERS_LORA] = {"LoRA",
                      offsetof(struct settings, loras),
                      {SAFETENSORS, ".pt", ".ckpt", ".gguf"}},
    [FOLDERS_VAE] = {"VAE",
                     offsetof(struct settings, vaes),
                     {SAFETENSORS, ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}},
    [FOLDERS_UPSCALER] = {"upscaler",
                          offsetof(struct settings, upscalers),
                          {SAFETENSORS, ".pth", ".pt", ".ckpt"}},
    [FOLDERS_EMBEDDING] = {"embedding",
                           offsetof(struct settings, embeddings),
                           {SAFETENSORS, ".pt", ".bin"}},
    [FOLDERS_CONTROLNET] = {"ControlNet",
                            offsetof(struct settings, controlnets),
                            {SAFETENSORS, ".gguf", ".pth", ".pt", ".ckpt", ".bin"}},
    [FOLDERS_TEXT_ENCODER] = {"text encoder",
                              offsetof(struct settings, text_encoders),
                              {SAFETENSORS, ".sft", ".gguf", ".pt", ".bin"}},
};

struct folders *folders_new(const struct settings *settings, struct err *err)
{
    struct folders *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(err, ERR_INTERNAL, "no memory for the folders");
        return NULL;
    }
    f->settings = settings;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void folders_free(struct folders *f)
{
    if (!f)
        return;
    tdestroy(f->kept, free);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const char *folders_kind_name(enum folders_kind kind)
{
    return kinds[kind].name;
}

const char *const *folders_endings(enum folders_kind kind)
{
    return kinds[kind].endings;
}

const char *folders_own(const struct folders *f, enum folders_kind kind)
{
    const void *member = (const char *)f->settings + kinds[kind].own;
    return *(char *const *)member;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

const char *folders_keep(struct folders *f, const char *path)
{
    pthread_mutex_lock(&f->lock);
    const char **found = tfind(path, &f->kept, compare_texts);
    const char *text = found ? *found : NULL;
    if (!text) {
        char *copy = strdup(path);
        found = copy ? tsearch(copy, &f->kept, compare_texts) : NULL;
        text = found ? copy : NULL;
        if (!found)
            free(copy);
    }
    pthread_mutex_unlock(&f->lock);
    return text;
}

/* ---- lists ---- */

void folders_list_free(struct folders_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->at[i].path);
        free(list->at[i].prefix);
    }
    free(list->at);
    *list = (struct folders_list){0};
}

static bool add(struct folders_list *list, const char *path, const char *prefix, bool flat,
                bool quiet, struct err *err)
{
    struct folders_place *more = realloc(list->at, (list->count + 1) * sizeof *more);
    if (more)
        list->at = more;
    struct folders_place p = {strdup(path), strdup(prefix), flat, quiet};
    if (!more || !p.path || !p.prefix) {
        free(p.path);
        free(p.prefix);
        return err_set(err, ERR_INTERNAL, "no memory for the list of folders");
    }
    list->at[list->count++] = p;
    return true;
}

static bool kind_of_folder(const char *name, enum folders_kind *kind)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(known[i].name, name) == 0) {
            *kind = known[i].kind;
            return true;
        }
    return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Adds the folders in `base` that hold the kind; *any: some folder there holds a kind. */
static bool add_known(struct folders_list *out, const char *base, enum folders_kind kind, bool *any,
                      struct err *err)
{
    struct dirent **items;
    char path[PATH_MAX];
    bool ok = true;
    int count = scandir(base, &items, NULL, by_name);
    for (int i = 0; i < count; i++) {
        enum folders_kind holds;
        int n = snprintf(path, sizeof path, "%s/%s", base, items[i]->d_name);
        if (ok && kind_of_folder(items[i]->d_name, &holds) && n < PATH_MAX && is_folder(path)) {
            *any = true;
            ok = holds != kind || add(out, path, "", false, false, err);
        }
        free(items[i]);
    }
    if (count >= 0)
        free(items);
    return ok;
}

/* ---- the cache of Hugging Face's libraries ---- */

/* Where they keep it; "": nowhere. */
static void hub_cache(char *path, size_t size)
{
    const char *cache = getenv("HF_HUB_CACHE"), *hf = getenv("HF_HOME");
    const char *xdg = getenv("XDG_CACHE_HOME"), *user = getenv("HOME");
    if (cache && *cache)
        snprintf(path, size, "%s", cache);
    else if (hf && *hf)
        snprintf(path, size, "%s/hub", hf);
    else if (xdg && *xdg)
        snprintf(path, size, "%s/huggingface/hub", xdg);
    else
        snprintf(path, size, "%s%s", user ? user : "", user ? "/.cache/huggingface/hub" : "");
}

/* The folder of the repository's revision that is meant by no name: what main is, or else what came
 * last. */
static bool find_snapshot(const char *repo, char *path, size_t size)
{
    char text[PATH_MAX];
    struct err unused;
    struct dirent **items;
    struct stat st;
    time_t newest = 0;
    if ((size_t)snprintf(text, sizeof text, "%s/refs/main", repo) >= sizeof text)
        return false;
    char *revision = small_file_read(text, REVISION_MOST, NULL, &unused);
    size_t length = revision ? strcspn(revision, "\r\n/") : 0;
    bool is = length && (size_t)snprintf(path, size, "%s/snapshots/%.*s", repo, (int)length,
                                         revision) < size &&
              is_folder(path);
    free(revision);
    if (is)
        return true;
    if ((size_t)snprintf(text, sizeof text, "%s/snapshots", repo) >= sizeof text)
        return false;
    *path = '\0';
    int count = scandir(text, &items, NULL, by_name);
    for (int i = 0; i < count; i++) {
        char one[PATH_MAX];
        if (items[i]->d_name[0] != '.' &&
            (size_t)snprintf(one, sizeof one, "%s/%s", text, items[i]->d_name) < sizeof one &&
            stat(one, &st) == 0 && S_ISDIR(st.st_mode) && (!*path || st.st_mtime > newest)) {
            newest = st.st_mtime;
            snprintf(path, size, "%s", one);
        }
        free(items[i]);
    }
    if (count >= 0)
        free(items);
    return *path;
}

#define REPO "models--"

/* "models--owner--name" holds "owner/name". *any: there is some. */
static bool add_hub(struct folders_list *out, const char *hub, enum folders_kind kind, bool *any,
                    struct err *err)
{
    struct dirent **items;
    char repo[PATH_MAX], snapshot[PATH_MAX], name[NAME_MAX + 1];
    bool ok = true;
    int count = scandir(hub, &items, NULL, by_name);
    for (int i = 0; i < count; i++) {
        const char *item = items[i]->d_name;
        if (strncmp(item, REPO, strlen(REPO)) == 0) {
            *any = true;
            snprintf(name, sizeof name, "%s", item + strlen(REPO));
            char *dashes = strstr(name, "--");
            if (dashes) {
                *dashes = '/';
                memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
            }
            if (ok && kind == FOLDERS_MODEL && /* of other kinds are those that are told apart */
                (size_t)snprintf(repo, sizeof repo, "%s/%s", hub, item) < sizeof repo &&
                find_snapshot(repo, snapshot, sizeof snapshot))
                ok = add(out, snapshot, name, false, true, err);
        }
        free(items[i]);
    }
    if (count >= 0)
        free(items);
    return ok;
}

/* ---- roots ---- */

struct extra {
    struct folders_list *out;
    enum folders_kind kind;
    struct err *err;
};

static bool add_extra(void *ctx, const char *name, const char *folder)
{
    const struct extra *e = ctx;
    enum folders_kind holds;
    return !kind_of_folder(name, &holds) || holds != e->kind ||
           add(e->out, folder, "", false, false, e->err);
}

static bool add_yaml(struct folders_list *out, const char *path, enum folders_kind kind,
                     struct err *err)
{
    struct extra e = {out, kind, err};
    struct err why = {0};
    err->code = ERR_NONE;
    if (extra_paths_read(path, add_extra, &e, &why) || err->code != ERR_NONE)
        return err->code == ERR_NONE;
    if (kind == FOLDERS_MODEL) /* once a look */
        log_err(LOG_WARN, "model_paths", &why, " ");
    return true;
}

static bool ends_in(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n > m && strcasecmp(text + n - m, ending) == 0;
}

/* A folder of another program: what it keeps below itself or below its "models"; or any folder,
 * which is one of models. */
static bool add_root(struct folders_list *out, const char *root, enum folders_kind kind,
                     struct err *err)
{
    char path[PATH_MAX];
    bool any = false;
    const char *slash = strrchr(root, '/');
    if (strlen(root) + sizeof "/extra_model_paths.yaml" > sizeof path)
        return err_set(err, ERR_INVALID, "a path of model_paths is too long");
    if (strcmp(root, FOLDERS_HUGGINGFACE) == 0) {
        hub_cache(path, sizeof path);
        return add_hub(out, path, kind, &any, err);
    }
    if (ends_in(root, ".yaml") || ends_in(root, ".yml"))
        return add_yaml(out, root, kind, err);
    sprintf(path, "%s/model_index.json", root);
    if (access(path, F_OK) == 0) /* one model, in the diffusers layout */
        return kind != FOLDERS_MODEL ||
               add(out, root, slash ? slash + 1 : root, false, false, err);
    if (!add_hub(out, root, kind, &any, err))
        return false;
    sprintf(path, "%s/hub", root);
    if (!add_hub(out, path, kind, &any, err))
        return false;
    if (any)
        return true;
    sprintf(path, "%s/extra_model_paths.yaml", root);
    if (access(path, F_OK) == 0 && !add_yaml(out, path, kind, err))
        return false;
    sprintf(path, "%s/models", root);
    if (!add_known(out, root, kind, &any, err) || !add_known(out, path, kind, &any, err))
        return false;
    return kind != FOLDERS_MODEL ||
           (add(out, root, "", any, false, err) &&
            (!any || !is_folder(path) || add(out, path, "", true, false, err)));
}

bool folders_of(struct folders *f, enum folders_kind kind, struct folders_list *out,
                struct err *err)
{
    const struct setting_list *roots = &f->settings->model_paths;
    *out = (struct folders_list){0};
    bool ok = add(out, folders_own(f, kind), "", false, false, err);
    for (size_t i = 0; ok && i < roots->count; i++)
        ok = add_root(out, roots->items[i], kind, err);
    if (!ok)
        folders_list_free(out);
    return ok;
}

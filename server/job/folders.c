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
    [FOLDERS_LORA] = {"LoRA", offsetof(struct settings, loras), {SAFETENSORS, ".pt", ".ckpt"}},
    [FOLDERS_VAE] = {"VAE",
                     offsetof(struct settings, vaes),
                     {SAFETENSORS, ".sft", ".ckpt", ".pt", ".pth", ".bin"}},
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
                struct err *err)
{
    struct folders_place *more = realloc(list->at, (list->count + 1) * sizeof *more);
    if (more)
        list->at = more;
    struct folders_place p = {strdup(path), strdup(prefix), flat};
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
            ok = holds != kind || add(out, path, "", false, err);
        }
        free(items[i]);
    }
    if (count >= 0)
        free(items);
    return ok;
}

/* A folder of another program: what it keeps below itself or below its "models"; or any folder,
 * which is one of models. */
static bool add_root(struct folders_list *out, const char *root, enum folders_kind kind,
                     struct err *err)
{
    char models[PATH_MAX], index[PATH_MAX];
    bool any = false;
    const char *slash = strrchr(root, '/');
    if ((size_t)snprintf(index, sizeof index, "%s/model_index.json", root) < sizeof index &&
        access(index, F_OK) == 0) /* one model, in the diffusers layout */
        return kind != FOLDERS_MODEL || add(out, root, slash ? slash + 1 : root, false, err);
    bool fits = (size_t)snprintf(models, sizeof models, "%s/models", root) < sizeof models;
    if (!add_known(out, root, kind, &any, err) ||
        (fits && !add_known(out, models, kind, &any, err)))
        return false;
    if (kind != FOLDERS_MODEL)
        return true;
    return add(out, root, "", any, err) &&
           (!any || !fits || !is_folder(models) || add(out, models, "", true, err));
}

bool folders_of(struct folders *f, enum folders_kind kind, struct folders_list *out,
                struct err *err)
{
    const struct setting_list *roots = &f->settings->model_paths;
    *out = (struct folders_list){0};
    bool ok = add(out, folders_own(f, kind), "", false, err);
    for (size_t i = 0; ok && i < roots->count; i++)
        ok = add_root(out, roots->items[i], kind, err);
    if (!ok)
        folders_list_free(out);
    return ok;
}

#include "server/job/parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/pictor.h"
#include "server/base/settings.h"
#include "server/job/folders.h"
#include "server/job/vaes.h"

/* A part of a family: its role, and what its file is usually called. */
struct part {
    const char *families[5]; /* NULL-terminated */
    const char *role, *what;
    bool vae;
    const char *names[8]; /* NULL-terminated */
    const char *pull;     /* what `pictor pull` calls it */
};

#define T5 "T5-XXL"
#define T5_NAMES                                                                                   \
    {                                                                                              \
        "t5xxl", "t5xxl_fp16", "t5xxl_fp8_e4m3fn", "t5xxl_fp8_e4m3fn_scaled",                      \
            "t5-v1_1-xxl-encoder-Q8_0", "t5-v1_1-xxl-encoder-Q4_K_M"                               \
    }

static const struct part parts[] = {
    {{"sd1", "sdxl"},
     "text_encoder",
     "OpenAI's text encoder (CLIP-L)",
     false,
     {"clip_l"},
     "clip_l"},
    {{"sd2"}, "text_encoder", "OpenCLIP's text encoder (ViT-H)", false, {"clip_h"}, "clip_h"},
    {{"sdxl", "sdxl-refiner"},
     "text_encoder_2",
     "OpenCLIP's text encoder (CLIP-G)",
     false,
     {"clip_g"},
     "clip_g"},
    {{"flux1", "sd3"},
     "text_encoder",
     "OpenAI's text encoder (CLIP-L)",
     false,
     {"clip_l"},
     "clip_l"},
    {{"sd3"}, "text_encoder_2", "OpenCLIP's text encoder (CLIP-G)", false, {"clip_g"}, "clip_g"},
    {{"flux1"}, "text_encoder_2", T5, false, T5_NAMES, "t5xxl"},
    {{"sd3"}, "text_encoder_3", T5, false, T5_NAMES, "t5xxl"},
    {{"zimage"},
     "text_encoder",
     "Qwen3 4B",
     false,
     {"qwen_3_4b", "Qwen3-4B", "Qwen3-4B-Q8_0", "Qwen3-4B-Instruct-2507"},
     "qwen_3_4b"},
    {{"zimage"}, "vae", "FLUX.1's VAE", true, {"ae", "flux-vae", "flux_vae", "flux1-ae"}, "ae"},
    {{"flux2"},
     "text_encoder",
     "Qwen3 4B",
     false,
     {"qwen_3_4b", "Qwen3-4B", "Qwen3-4B-Q8_0", "qwen_3_8b", "Qwen3-8B", "Qwen3-8B-Q8_0"},
     "qwen_3_4b"},
    {{"flux2"}, "vae", "FLUX.2's VAE", true, {"flux2-vae", "flux2_ae", "flux2-ae"}, "flux2-vae"},
    {{"flux1"}, "vae", "FLUX.1's VAE", true, {"ae", "flux-vae", "flux_vae", "flux1-ae"}, "ae"},
    {{"sd3"}, "vae", "Stable Diffusion 3's VAE", true, {"sd3_vae", "sd3.5_vae"}, "sd3_vae"},
    {{"sd1", "sd2"},
     "vae",
     "a VAE",
     true,
     {"vae-ft-mse-840000-ema-pruned", "vae-ft-ema-560000-ema-pruned", "sd-vae-ft-mse"},
     "sd-vae-ft-mse"},
    {{"sdxl", "sdxl-refiner"},
     "vae",
     "a VAE",
     true,
     {"sdxl_vae", "sdxl.vae", "sdxl-vae-fp16-fix", "sdxl_vae_fp16_fix"},
     "sdxl_vae"},
};
#define PARTS (sizeof parts / sizeof *parts)

const char *parts_pull(size_t i)
{
    return i < PARTS ? parts[i].pull : NULL;
}

const char *parts_name(size_t i, size_t n)
{
    return i < PARTS && n < sizeof parts->names / sizeof *parts->names ? parts[i].names[n] : NULL;
}

static bool is_of(const struct part *p, const char *family)
{
    for (int i = 0; p->families[i]; i++)
        if (strcmp(p->families[i], family) == 0)
            return true;
    return false;
}

static bool is_transformer(const struct part *p)
{
    return is_of(p, "flux1") || is_of(p, "flux2") || is_of(p, "sd3") || is_of(p, "zimage");
}

static const char *said(const struct settings *s, const char *model, const char *role)
{
    for (size_t i = 0; i < s->parts_count; i++)
        if (strcmp(s->parts[i].model, model) == 0) {
            const struct settings_parts *p = &s->parts[i];
            return strcmp(role, "vae") == 0              ? p->vae
                   : strcmp(role, "text_encoder") == 0   ? p->text_encoder
                   : strcmp(role, "text_encoder_2") == 0 ? p->text_encoder_2
                                                         : p->text_encoder_3;
        }
    return NULL;
}

#define NAMED 2 /* of a part's names, that a message has room for: its end must be read, too */

/* FLUX.2 [klein] 9B reads other words than 4B: those of a larger Qwen3. */
#define LARGE_WORDS 4096
#define LARGE_FIRST 3 /* of the part's names */

/* "wanted CLIP-L among the text encoders, called clip_l or ...", of a network at a path. */
static bool missing(const struct part *p, const char *model, const char *network, struct err *err)
{
    char names[160] = "";
    struct pictor_file_info info;
    struct err unread;
    bool large = is_of(p, "flux2") && !p->vae && pictor_file_probe(network, &info, &unread) &&
                 info.words == LARGE_WORDS;
    const char *pull = large ? PARTS_LARGE_PULL : p->pull;
    int first = large ? LARGE_FIRST : 0;
    for (int i = first; i < first + NAMED && p->names[i]; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, ", %s", p->names[i]);
    }
    return err_set(err, ERR_UNSUPPORTED,
                   "this is a %s alone: wanted %s besides (`pictor pull %s` fetches it), among the "
                   "%s, called %.60s.%s%s, or as "
                   "%s says under [parts %.60s]",
                   is_transformer(p) ? "transformer" : "UNet", large ? "Qwen3 8B" : p->what, pull,
                   p->vae ? "VAEs" : "text encoders", model, p->role, names, p->role, model);
}

/* Of Stable Diffusion 3: it paints without T5, and its VAE may be in its file. */
static bool may_lack(const struct part *p)
{
    return is_of(p, "sd3") && (p->vae || strcmp(p->what, T5) == 0);
}

/* Where files of several names are there, the first that has the words that the network takes: one
 * family has networks of several sizes. Headers are read only then. */
static void choose(struct files *files, const struct part *p, const char *network,
                   char path[PATH_MAX])
{
    char other[PATH_MAX];
    struct pictor_file_info wants, has;
    struct err err;
    bool several = false;
    for (int i = 0; p->names[i] && !p->vae; i++)
        several |= files_find(files, p->names[i], other, &err) && strcmp(other, path) != 0;
    if (!several || !pictor_file_probe(network, &wants, &err) || !wants.words)
        return;
    for (int i = 0; p->names[i]; i++)
        if (files_find(files, p->names[i], other, &err) && pictor_file_probe(other, &has, &err) &&
            has.words == wants.words) {
            memcpy(path, other, PATH_MAX);
            return;
        }
}

/* The path of a part of a network; "" of one that is not there and need not be. */
static bool find(const struct parts_places *places, const struct part *p, const char *model,
                 const char *network, char path[PATH_MAX], struct err *err)
{
    struct files *files = p->vae ? places->vaes : places->text_encoders;
    const char *own = said(places->settings, model, p->role), *slash = strrchr(model, '/');
    char name[NAME_MAX + 1];
    if (own)
        return files_find_file(files, own, path, err) ||
               err_prefix(err, "[parts %.60s] %s = %.100s", model, p->role, own);
    int n = snprintf(name, sizeof name, "%s.%s", slash ? slash + 1 : model, p->role);
    bool found = n < (int)sizeof name && files_find(files, name, path, err), own_name = found;
    for (int i = 0; !found && p->names[i]; i++)
        found = files_find(files, p->names[i], path, err);
    if (found && !own_name)
        choose(files, p, network, path);
    if (!found && err->code == ERR_NOT_FOUND && may_lack(p)) {
        *path = '\0';
        return true;
    }
    return found || (err->code == ERR_NOT_FOUND ? missing(p, model, network, err) : false);
}

/* ---- T5's vocabulary ---- */

#define VOCABULARY "spiece.model"

static bool join(char path[PATH_MAX], const char *folder, int length)
{
    struct stat st;
    return snprintf(path, PATH_MAX, "%.*s/" VOCABULARY, length, folder) < PATH_MAX &&
           stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Beside a file, or in a folder of text encoders. */
static bool find_vocabulary(const struct parts_places *places, const char *beside,
                            char path[PATH_MAX])
{
    struct folders_list list = {0};
    struct err err;
    const char *slash = strrchr(beside, '/');
    bool found = slash && join(path, beside, (int)(slash - beside));
    if (!found && folders_of(places->folders, FOLDERS_TEXT_ENCODER, &list, &err))
        for (size_t i = 0; i < list.count && !found; i++)
            found = join(path, list.at[i].path, (int)strlen(list.at[i].path));
    folders_list_free(&list);
    return found;
}

static bool is_t5(const struct part *p)
{
    return strcmp(p->what, T5) == 0;
}

static const struct part *t5_of(const char *family)
{
    for (size_t i = 0; i < PARTS; i++)
        if (is_of(&parts[i], family) && is_t5(&parts[i]))
            return &parts[i];
    return NULL;
}

static bool is_gguf(const char *path)
{
    const char *ending = strrchr(path, '.');
    return ending && strcasecmp(ending, ".gguf") == 0;
}

/* The path of what has T5's vocabulary for a T5 at `beside`, or one inside of that file: a
 * spiece.model, or a T5 by itself (GGUF). False: there is none. */
static bool find_words(const struct parts_places *places, const struct part *t5, const char *beside,
                       char path[PATH_MAX])
{
    struct err err;
    if (find_vocabulary(places, beside, path))
        return true;
    for (int i = 0; t5->names[i]; i++)
        if (files_find(places->text_encoders, t5->names[i], path, &err) && is_gguf(path))
            return true;
    return false;
}

bool parts_complete(const struct parts_places *places, const char *path, const char *family,
                    struct pictor_files *files, struct err *err)
{
    char found[PATH_MAX];
    const struct part *t5 = t5_of(family);
    if (!t5 || files->count != 1 || strchr(files->items[0].name, '/'))
        return true;
    return !find_words(places, t5, path, found) || pictor_files_add(files, "tokenizer", found, err);
}

/* Whether a part at `path` is T5, and something has its vocabulary. A GGUF may have it inside: then
 * another T5's is not wanted. */
static bool wants_words(const struct parts_places *places, const struct part *p, const char *path,
                        char words[PATH_MAX])
{
    return is_t5(p) && (is_gguf(path) ? find_vocabulary(places, path, words)
                                      : find_words(places, p, path, words));
}

/* ---- what the settings say of a model ---- */

static bool is_listed(const struct setting_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return false;
}

enum pictor_variant parts_variant(const struct settings *s, const char *name)
{
    return is_listed(&s->distilled_models, name) ? PICTOR_VARIANT_DISTILLED
           : is_listed(&s->base_models, name)    ? PICTOR_VARIANT_BASE
                                                 : PICTOR_VARIANT_UNSAID;
}

/* ---- opening ---- */

static bool add_part(const struct parts_places *places, const struct part *p, const char *name,
                     const char *network, struct pictor_files *out, struct err *err)
{
    char path[PATH_MAX], words[PATH_MAX];
    if (!find(places, p, name, network, path, err))
        return false;
    if (!*path)
        return true;
    return pictor_files_add(out, p->role, path, err) &&
           (!wants_words(places, p, path, words) || pictor_files_add(out, "tokenizer", words, err));
}

bool parts_open(const struct parts_places *places, const char *name, const char *path,
                const char *family, struct pictor_files *out, struct err *err)
{
    *out = (struct pictor_files){.count = 0};
    /* Stable Diffusion 3's may have its VAE in the file. */
    bool ok = (strcmp(family, "sd3") != 0 || pictor_files_add(out, "model", path, err)) &&
              pictor_files_add(out, "unet", path, err);
    for (size_t i = 0; ok && i < PARTS; i++)
        ok = !is_of(&parts[i], family) || add_part(places, &parts[i], name, path, out, err);
    if (!ok)
        pictor_files_close(out);
    return ok;
}

bool parts_measure(const struct parts_places *places, const char *name, const char *network,
                   const char *family, uint64_t *size, int64_t *mtime_ms, struct err *err)
{
    struct registry_entry all = {.model = {.size = *size, .mtime_ms = *mtime_ms}};
    char path[PATH_MAX], words[PATH_MAX];
    struct stat st;
    for (size_t i = 0; i < PARTS; i++) {
        if (!is_of(&parts[i], family))
            continue;
        if (!find(places, &parts[i], name, network, path, err))
            return false;
        if (!*path)
            continue;
        if (stat(path, &st) == 0)
            registry_scan_measure(&all, &st);
        if (wants_words(places, &parts[i], path, words) && stat(words, &st) == 0)
            registry_scan_measure(&all, &st);
    }
    *size = all.model.size;
    *mtime_ms = all.model.mtime_ms;
    return true;
}

/* cli_generate.c: `pictor generate`: a picture from the command line, by the engine in this
 * process, with a progress bar where stderr is a terminal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/io/image_extend.h"
#include "engine/io/image_mark.h"
#include "engine/io/names.h"
#include "engine/pictor.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/cli/cli_control.h"
#include "server/cli/cli_picture.h"
#include "server/cli/cli_signal.h"
#include "server/cli/cli_upscale.h"
#include "server/job/companions.h"
#include "server/job/infotext_job.h"
#include "server/job/intake.h"
#include "server/job/job_engine.h"
#include "server/job/job_flags.h"
#include "server/job/embeddings.h"
#include "server/job/lora_list.h"
#include "server/job/loras.h"
#include "server/job/notes.h"
#include "server/job/upscalers.h"
#include "server/job/registry.h"
#include "server/job/parts.h"
#include "server/job/styles.h"
#include "server/job/vaes.h"
#include "server/job/variants.h"

#define BAR 24 /* characters of the progress bar */

static const char *const help_settings[] = {
    "config",        "data",          "models",          "threads",
    "precision",     "cpu",           "memory_limit_mb", "guidance_low",
    "guidance_high", "reuse_every",   "token_merging",   "loras",
    "vaes",          "controlnets",   "embeddings",      "wildcards",
    "styles",        "mark_pictures", "write_infotext",  NULL};

static bool replace(char **field, const char *text, struct err *err)
{
    char *copy = strdup(text);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory");
    free(*field);
    *field = copy;
    return true;
}

/* The command's own flags, beside those of a job's fields. */
static const struct job_flag own_flags[] = {
    {"output", 'o', "FILE", ".png, .jpg or .webp; with --count, FILE-1.png and so on"},
    {"init", 0, "FILE", "paint over this picture (PNG, JPEG, WebP, GIF, BMP)"},
    {"mask", 0, "FILE", "repaint only where this is white"},
    {"extend", 0, "WORDS", "paint beyond the picture's edges: left=64,right=64,up=64,down=64"},
    {"control", 0, "WORDS", "a ControlNet: model=NAME,image=FILE,preprocessor=canny,weight=1,..."},
    {"upscale", 0, "N", "enlarge what is painted, 1..16 times"},
    {"upscaler", 0, "NAME", "by what [realesr-animevideov3]: also Lanczos, Nearest, a file"},
    {"lora", 0, "NAME[:WEIGHT]", "as <lora:NAME:WEIGHT> in the prompt, but the LoRA must be there"},
    {"style", 0, "NAME",
     "a piece of prompts of the file of styles, added to them; may be repeated"},
    {"prompt-comments", 0, NULL, "what stands behind a # in the prompts is left out"},
    {"quiet", 'q', NULL, "no progress"},
    {"help", 'h', NULL, "this text"},
};

static void help(const struct job_flags *flags, FILE *out)
{
    fputs("usage: pictor generate --prompt TEXT -o FILE [options]\n\n", out);
    job_flags_help(flags, out);
    fputs("\n--model takes a name of `pictor models`, a .safetensors or .ckpt file or a diffusers "
          "folder.\n\n",
          out);
    settings_help(out, help_settings);
}

struct options {
    struct job_params job;
    const char *output, *init, *mask, *extend;
    struct cli_control control;
    struct cli_upscale upscale; /* scale 0: not at all */
    const char *loras[PICTOR_LORAS_MAX];
    size_t lora_count;
    const char *styles[STYLES_MOST];
    size_t style_count;
    bool prompt_comments;
    const char *wrong; /* the field that an error is about; NULL: no single one */
    bool quiet, help, given[JOB_FLAGS_MAX];
    bool said[JOB_TABLE_MAX]; /* for notes */
};

static bool take_own(struct options *o, const char *flag, const char *value, struct err *err)
{
    if (strcmp(flag, "output") == 0)
        o->output = value;
    else if (strcmp(flag, "init") == 0)
        o->init = value;
    else if (strcmp(flag, "mask") == 0)
        o->mask = value;
    else if (strcmp(flag, "extend") == 0)
        o->extend = value;
    else if (strcmp(flag, "upscale") == 0)
        return cli_upscale_scale(&o->upscale, value, err) || err_prefix(err, "--upscale");
    else if (strcmp(flag, "upscaler") == 0)
        o->upscale.name = value;
    else if (strcmp(flag, "control") == 0)
        return cli_control_add(&o->control, value, err);
    else if (strcmp(flag, "lora") == 0 && o->lora_count == PICTOR_LORAS_MAX)
        return err_set(err, ERR_INVALID, "--lora: wanted at most %d of them", PICTOR_LORAS_MAX);
    else if (strcmp(flag, "lora") == 0)
        o->loras[o->lora_count++] = value;
    else if (strcmp(flag, "style") == 0 && o->style_count == STYLES_MOST)
        return err_set(err, ERR_INVALID, "--style: wanted at most %d of them", STYLES_MOST);
    else if (strcmp(flag, "style") == 0)
        o->styles[o->style_count++] = value;
    else if (strcmp(flag, "prompt-comments") == 0)
        o->prompt_comments = true;
    else if (strcmp(flag, "quiet") == 0)
        o->quiet = true;
    else if (strcmp(flag, "help") == 0)
        o->help = true;
    return true;
}

static bool take_options(struct options *o, const struct job_flags *flags, int argc, char **argv,
                         struct err *err)
{
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, flags->letters, flags->options, NULL)) != -1) {
        int i = job_flags_find(flags, option);
        if (i < 0)
            return err_set(err, ERR_INVALID, "unknown option or missing value: %.64s",
                           argv[optind - 1]);
        const struct job_field *f = flags->fields[i];
        bool random = f && f->type == JOB_SEED && strcmp(optarg, "-1") == 0;
        o->given[i] = !random;
        if (f ? !random && !job_flags_take(flags, i, &o->job, optarg, err)
              : !take_own(o, flags->flags[i].name, optarg, err))
            return false;
    }
    return optind >= argc ||
           err_set(err, ERR_INVALID, "unexpected word '%.64s'; is the prompt in quotes?",
                   argv[optind]);
}

/* Says what was said without any effect on the model. */
static bool note(const struct options *o, struct job_params *j,
                 const struct pictor_model_info *model, struct err *err)
{
    struct intake_model usual = {.guide = model->guide,
                                 .guidance = (double)model->default_guidance,
                                 .masked = model->masked,
                                 .image_guidance = (double)model->default_image_guidance};
    snprintf(usual.architecture, sizeof usual.architecture, "%s", model->architecture);
    if (!intake_settle(&usual, j, err) || !notes_add(&usual, o->said, j, err))
        return false;
    if (j->notes && !o->quiet)
        fprintf(stderr, "%s\n", j->notes);
    return true;
}

/* What was left out is what the model or the usual thing is; seeds are random. */
static bool complete(struct options *o, const struct job_flags *flags,
                     const struct settings *settings, const struct pictor_model_info *model,
                     struct err *err)
{
    struct job_params *j = &o->job;
    notes_given(j, o->said);
    if (j->width == JOB_UNSET)
        j->width = model->native_width;
    if (j->height == JOB_UNSET)
        j->height = model->native_height;
    if (j->steps == JOB_UNSET)
        j->steps = model->default_steps;
    if (isnan(j->guidance))
        j->guidance = model->default_guidance;
    if (!intake_sampler(model->default_sampler, model->default_scheduler, j, err))
        return false;
    if (isnan(j->image_guidance) && model->default_image_guidance > 0)
        j->image_guidance = model->default_image_guidance;
    if (isnan(j->mask_weight) && model->masked)
        j->mask_weight = 1;
    for (size_t i = 0; i < flags->count; i++) {
        const struct job_field *f = flags->fields[i];
        if (f && f->type == JOB_SEED && !o->given[i] &&
            !intake_seed((uint64_t *)((char *)j + f->offset), err))
            return false;
    }
    j->has_init = o->init != NULL;
    j->has_mask = o->mask || o->extend;
    intake_speed(settings, j);
    return job_field_fill(&job_table, j, err) && (j->prompt || replace(&j->prompt, "", err)) &&
           note(o, j, model, err);
}

static bool find_model(const struct settings *settings, const char *name,
                       struct registry_model *out, char path[PATH_MAX], struct err *err)
{
    struct stat st;
    if (name && (strchr(name, '/') || names_ending(name)) && stat(name, &st) == 0) {
        *out = (struct registry_model){.kind = REGISTRY_LOCAL};
        if ((size_t)snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
            return err_set(err, ERR_INVALID, "the path of the model is too long");
        const char *base = strrchr(name, '/');
        snprintf(out->name, sizeof out->name, "%s", base && base[1] ? base + 1 : name);
        const char *ending = names_ending(out->name);
        if (ending)
            out->name[strlen(out->name) - strlen(ending)] = '\0';
        return true;
    }
    struct registry *reg = registry_new(settings, NULL, err);
    bool ok = reg && registry_resolve(reg, name, out, err);
    if (ok)
        registry_path(reg, out, path);
    registry_free(reg);
    if (ok && out->kind != REGISTRY_LOCAL)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s is a model of the upstream %s: generate paints on this machine only; "
                       "send the request to `pictor serve`",
                       out->name, out->upstream);
    return ok;
}

static bool read_margins(const char *words, struct image_margins *out, struct err *err)
{
    int used = 0, value;
    char side[8];
    *out = (struct image_margins){0};
    while (sscanf(words, "%7[a-z]=%d%n", side, &value, &used) == 2) {
        int *to = strcmp(side, "left") == 0    ? &out->left
                  : strcmp(side, "right") == 0 ? &out->right
                  : strcmp(side, "up") == 0    ? &out->up
                  : strcmp(side, "down") == 0  ? &out->down
                                               : NULL;
        if (!to)
            break;
        *to = value;
        words += used;
        if (*words == '\0')
            return true;
        if (*words++ != ',')
            break;
    }
    return err_set(err, ERR_INVALID, "wanted left=N,right=N,up=N,down=N or some of them");
}

/* In the place of the picture a larger one, and a mask for what is new. */
static bool extend(struct options *o, const struct job_flags *flags, const struct settings *s,
                   struct pictor_image *init, struct pictor_image *mask, struct err *err)
{
    struct job_params *j = &o->job;
    struct image_margins m;
    struct pictor_image larger;
    if (!o->init || o->mask || j->width != JOB_UNSET || j->height != JOB_UNSET)
        return err_set(err, ERR_INVALID, "wanted --init, and no --mask, --width and --height");
    if (j->mask_invert || j->mask_only_area)
        return err_set(
            err, ERR_INVALID,
            "wanted no --mask-invert and no --mask-only-area: its mask is all that is new");
    bool blurred = false;
    for (size_t i = 0; i < flags->count; i++)
        blurred |= o->given[i] && strcmp(flags->flags[i].name, "mask-blur") == 0;
    if (!blurred)
        j->mask_blur = image_extend_blur(init->width, init->height);
    if (!read_margins(o->extend, &m, err) ||
        !image_extend_fit(&m, init->width, init->height, 8, s->max_side, (size_t)s->max_pixels,
                          err) ||
        !image_extend(init, &m, image_extend_overlap(j->mask_blur), &larger, mask, err))
        return false;
    pictor_image_free(init);
    *init = larger;
    j->width = init->width;
    j->height = init->height;
    if (isnan(j->strength))
        j->strength = 0.8; /* what is new is to be seen as a sketch */
    return true;
}

struct bar {
    int index, count;
    bool shown;
};

static bool show_progress(void *ctx, const struct pictor_progress *p)
{
    struct bar *bar = ctx;
    if (!bar->shown)
        return true;
    char line[BAR + 1];
    int full = p->steps ? p->step * BAR / p->steps : 0;
    for (int i = 0; i < BAR; i++)
        line[i] = i < full ? '#' : '.';
    line[BAR] = '\0';
    fprintf(stderr, "\r");
    if (bar->count > 1)
        fprintf(stderr, "%d/%d ", bar->index + 1, bar->count);
    fprintf(stderr, "[%s] step %d/%d", line, p->step, p->steps);
    if (p->seconds_left >= 0)
        fprintf(stderr, "  %.2f s/step  %.0f s left", p->elapsed / (p->step ? p->step : 1),
                p->seconds_left);
    fprintf(stderr, " \033[K");
    return true;
}

/* "out.png", or "out-2.png" for the second of several. */
static void output_name(const struct options *o, int index, char *buf, size_t size)
{
    const char *dot = strrchr(o->output, '.');
    if (o->job.count == 1)
        snprintf(buf, size, "%s", o->output);
    else
        snprintf(buf, size, "%.*s-%d%s", (int)(dot - o->output), o->output, index + 1, dot);
}

static enum image_mark mark_of(const struct options *o, const struct settings *settings)
{
    struct image_texts texts = {0};
    enum image_mark before = IMAGE_MARK_NONE;
    struct err ignored;
    if (!settings->mark_pictures)
        return IMAGE_MARK_NONE;
    if (!o->init)
        return IMAGE_MARK_TRAINED;
    if (cli_picture_texts(o->init, &texts, &ignored))
        before = image_mark_read(&texts);
    image_texts_free(&texts);
    return image_mark_after(before);
}

static bool write_picture(const struct options *o, const struct settings *settings,
                          const struct registry_model *model, int index,
                          const struct pictor_image *image, struct err *err)
{
    char path[4200];
    struct infotext_picture about = {.model_name = model->name, .model_hash = model->sha256};
    about.seed = job_seed(&o->job, index);
    about.subseed = job_subseed(&o->job, index);
    char *text = infotext_write(&o->job, &about);
    char *said = o->upscale.scale ? cli_upscale_text(&o->upscale) : NULL;
    if (!text || (o->upscale.scale && !said)) {
        free(text);
        return err_set(err, ERR_INTERNAL, "no memory for the infotext");
    }
    const char *packet = image_mark_packet(mark_of(o, settings));
    struct image_text items[3];
    struct image_texts texts = {.items = items};
    if (settings->write_infotext)
        items[texts.count++] = (struct image_text){(char *)"parameters", text};
    if (said)
        items[texts.count++] = (struct image_text){(char *)"postprocessing", said};
    if (*packet)
        items[texts.count++] = (struct image_text){(char *)IMAGE_MARK_KEY, (char *)packet};
    output_name(o, index, path, sizeof path);
    bool ok = cli_picture_write(path, image, (enum image_format)o->job.format, o->job.quality,
                                &texts, err);
    free(text);
    free(said);
    return ok;
}

/* The models of a picture; the others may be NULL. */
struct models {
    struct pictor_model *own, *refiner, *hires;
};

/* Merges what the prompt's tags name; *words is the prompt without them, owned. */
static bool merge_loras(const struct settings *settings, const struct models *models,
                        const char *prompt, char **words, struct err *err)
{
    struct loras loras;
    struct lora_tags tags;
    struct pictor_lora list[PICTOR_LORAS_MAX];
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_LORA, NULL, err) : NULL;
    bool opened = files && (*words = lora_tags_take(prompt, &tags, err)) &&
                  loras_open(files, prompt, &loras, err);
    files_free(files);
    folders_free(folders);
    if (!opened)
        return false;
    for (size_t i = 0; i < loras.count; i++) {
        const struct lora_file *l = &loras.at[i];
        list[i] = (struct pictor_lora){l->tag.name, l->fd, l->tag.unet, l->tag.text};
    }
    struct pictor_model *others[] = {models->refiner, models->hires};
    bool done = pictor_model_merge(models->own, list, loras.count, err);
    for (size_t i = 0; i < sizeof others / sizeof *others && done; i++)
        done = !others[i] || loras_merge_fitting(others[i], list, loras.count, LOG_WARN, " ", err);
    loras_close(&loras);
    return done;
}

/* What the prompts name stands for vectors from now on. */
static bool embed(const struct settings *settings, const struct models *models,
                  struct job_params *j, struct err *err)
{
    struct embeddings opened;
    struct pictor_embedding list[PICTOR_EMBEDDINGS_MAX];
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_EMBEDDING, NULL, err) : NULL;
    bool done = files && embeddings_open(files, pictor_model_info(models->own)->text_widths, j,
                                         &opened, err);
    files_free(files);
    folders_free(folders);
    if (!done)
        return false;
    for (size_t i = 0; i < opened.count; i++)
        list[i] = (struct pictor_embedding){opened.at[i].name, opened.at[i].fd};
    done = pictor_model_embed(models->own, list, opened.count, err) &&
           (!models->refiner || pictor_model_embed(models->refiner, list, opened.count, err)) &&
           (!models->hires || pictor_model_embed(models->hires, list, opened.count, err));
    embeddings_close(&opened);
    return done;
}

/* Those of the flags, as tags of the prompt. */
static bool add_loras(struct options *o, const struct settings *settings, struct err *err)
{
    struct folders *folders = o->lora_count ? folders_new(settings, err) : NULL;
    struct files *files = folders ? files_new(folders, FOLDERS_LORA, NULL, err) : NULL;
    bool ok = files || !o->lora_count;
    for (size_t i = 0; ok && i < o->lora_count; i++)
        ok = lora_list_add_words(o->loras[i], files, &o->job.prompt, err) ||
             err_prefix(err, "--lora");
    files_free(files);
    folders_free(folders);
    return ok;
}

/* Before LoRAs, whose tags stand behind the words. */
static bool read_words(struct options *o, const struct settings *settings, struct err *err)
{
    cJSON *names = cJSON_CreateStringArray(o->styles, (int)o->style_count);
    bool ok = names ? styles_prompts(settings, names, o->prompt_comments, &o->job, err)
                    : err_set(err, ERR_INTERNAL, "no memory for styles");
    cJSON_Delete(names);
    return ok;
}

/* A model's files; of a UNet alone all of its parts, and T5's vocabulary where it is wanted. */
static bool open_files(const struct settings *settings, struct folders *folders, struct files *vaes,
                       const char *name, const char *path, struct pictor_files *out,
                       struct err *err)
{
    struct pictor_file_info info;
    if (strcmp(path, "builtin") == 0 || !pictor_file_probe(path, &info, NULL))
        return pictor_files_open(path, out, err);
    struct files *texts = files_new(folders, FOLDERS_TEXT_ENCODER, NULL, err);
    struct parts_places places = {settings, texts, vaes, folders};
    bool ok = texts;
    if (ok && info.lone)
        ok = parts_open(&places, name, path, info.family, out, err);
    else if (ok && (ok = pictor_files_open(path, out, err)) &&
             !parts_complete(&places, path, info.family, out, err)) {
        pictor_files_close(out);
        ok = false;
    }
    out->variant = parts_variant(settings, name);
    files_free(texts);
    return ok;
}

/* Opens the model, with the VAE that is asked for, whose file's name is then *vae, owned; "" or
 * NULL: none. */
static struct pictor_model *open_model(struct pictor_engine *engine,
                                       const struct settings *settings, const char *path,
                                       const char *name, const char *wanted, char **vae,
                                       struct err *err)
{
    struct pictor_files model = {.count = 0};
    struct pictor_model *opened = NULL;
    struct vaes_choice choice = {.name = ""};
    struct vaes_version version;
    bool builtin = strcmp(path, "builtin") == 0;
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_VAE, NULL, err) : NULL;
    if (files && (builtin && !wanted ? true : vaes_choose(files, name, wanted, &choice, err)) &&
        open_files(settings, folders, files, name, path, &model, err) &&
        vaes_add(&choice, &model, &version, err)) {
        opened = pictor_model_open_files(engine, &model, err);
        if (!opened)
            err_about(err, path);
    }
    pictor_files_close(&model);
    files_free(files);
    folders_free(folders);
    *vae = opened && *choice.name ? strdup(choice.name) : NULL;
    return opened;
}

/* What is asked for of the first model's VAE, where it is for another one, too: a file's is for
 * those that have its latents. */
static const char *vae_for(const struct pictor_model *own, const char *path, const char *wanted)
{
    struct pictor_model_info info;
    bool file = wanted && *wanted && strcasecmp(wanted, "automatic") != 0 &&
                strcasecmp(wanted, "none") != 0;
    bool alike =
        !file || (pictor_model_probe(path, &info, NULL) &&
                  pictor_latents_alike(pictor_model_info(own)->architecture, info.architecture));
    return alike ? wanted : NULL;
}

/* One of the other models that the job names; its name becomes the registry's. */
static bool open_companion(struct pictor_engine *engine, const struct settings *settings,
                           enum companions_role role, struct pictor_model *own, const char *wanted,
                           struct options *o, struct pictor_model **out, struct err *err)
{
    struct registry_model found;
    char path[PATH_MAX], *vae = NULL;
    const char *name = companions_name(&o->job, role);
    size_t limit = (size_t)settings->memory_limit_mb << 20;
    if (!name)
        return true;
    if (!find_model(settings, name, &found, path, err)) {
        o->wrong = err->code == ERR_NOT_FOUND ? "model" : NULL;
        return err_prefix(err, "%s", companions_field(role));
    }
    if (limit && pictor_model_info(own)->weight_bytes + found.size > limit)
        pictor_model_rest(own);
    *out = open_model(engine, settings, path, found.name, vae_for(own, path, wanted), &vae, err);
    free(vae);
    return *out ? job_field_set_text(job_field_find(&job_table, companions_field(role)), &o->job,
                                     found.name, err)
                : err_prefix(err, "%s", companions_field(role));
}

/* All of them. */
static bool open_models(struct pictor_engine *engine, const struct settings *settings,
                        const char *path, const char *name, struct options *o,
                        struct models *models, struct err *err)
{
    char *wanted = o->job.vae;
    o->job.vae = NULL;
    models->own = open_model(engine, settings, path, name, wanted, &o->job.vae, err);
    bool ok = models->own &&
              open_companion(engine, settings, COMPANIONS_REFINER, models->own, wanted, o,
                             &models->refiner, err) &&
              open_companion(engine, settings, COMPANIONS_HIRES, models->own, wanted, o,
                             &models->hires, err);
    free(wanted);
    return ok;
}

/* The network in a file that the second pass wants, if it does. */
static bool open_upscaler(const struct settings *settings, struct pictor_engine *engine,
                          const struct job_params *job, struct pictor_upscaler **out,
                          struct err *err)
{
    struct upscaler_file file = {.fd = -1};
    struct pictor_files list = {.count = 1};
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_UPSCALER, NULL, err) : NULL;
    bool ok = files && upscalers_open_job(files, job, &file, err);
    files_free(files);
    folders_free(folders);
    if (ok && *file.name) {
        const char *slash = strrchr(file.name, '/'); /* folders would be parts of a model */
        snprintf(list.items[0].name, sizeof list.items[0].name, "%s",
                 slash ? slash + 1 : file.name);
        list.items[0].fd = file.fd;
        ok = (*out = pictor_upscaler_open_files(engine, &list, err));
    }
    upscalers_close(&file);
    return ok || err_prefix(err, "hires_upscaler");
}

/* What the model has of what a picture's prompts name, and *words, *hires_words: their words, which
 * take the place of those there. */
static bool speak(const struct settings *settings, const struct models *models,
                  struct job_params *j, char **words, char **hires_words, struct err *err)
{
    struct lora_tags tags;
    free(*words);
    free(*hires_words);
    *words = *hires_words = NULL;
    return merge_loras(settings, models, j->prompt, words, err) &&
           embed(settings, models, j, err) &&
           (*hires_words = lora_tags_take(j->hires_prompt ? j->hires_prompt : "", &tags, err));
}

static bool paint(struct options *o, const struct job_flags *flags, const struct settings *settings,
                  struct err *err)
{
    struct registry_model found;
    char model_path[PATH_MAX];
    struct pictor_image init = {0}, mask = {0}, out = {0};
    struct pictor_engine *engine = NULL;
    struct models models = {NULL};
    struct pictor_upscaler *upscaler = NULL;
    char *words = NULL, *hires_words = NULL;
    struct bar bar = {.count = o->job.count};
    bool ok = false;
    if (!find_model(settings, o->job.model, &found, model_path, err)) {
        o->wrong = err->code == ERR_NOT_FOUND ? "model" : NULL;
        goto done;
    }
    if ((o->init && !cli_picture_read(o->init, (size_t)settings->max_pixels, &init, err)) ||
        (o->mask && !cli_picture_read(o->mask, (size_t)settings->max_pixels, &mask, err)) ||
        (o->extend && !extend(o, flags, settings, &init, &mask, err) &&
         !err_prefix(err, "--extend")))
        goto done;
    struct pictor_engine_options options;
    job_engine_options(settings->threads, settings->cpu, settings->precision,
                       (size_t)settings->memory_limit_mb << 20, &options);
    bar.shown = !o->quiet && isatty(STDERR_FILENO);
    if (bar.shown)
        fprintf(stderr, "loading %s ...", found.name);
    if (!(engine = pictor_engine_new(&options, err)) ||
        !open_models(engine, settings, model_path, found.name, o, &models, err))
        goto done;
    struct job_params *j = &o->job;
    if (!complete(o, flags, settings, pictor_model_info(models.own), err) ||
        !replace(&j->model, found.name, err) || !read_words(o, settings, err) ||
        !add_loras(o, settings, err) || !variants_make(settings, false, j, &o->wrong, err) ||
        !job_params_check(j, settings, &o->wrong, err) ||
        !speak(settings, &models, j, &words, &hires_words, err) ||
        !open_upscaler(settings, engine, j, &upscaler, err) ||
        (o->upscale.scale && !cli_upscale_open(&o->upscale, settings, engine, err)) ||
        !cli_control_open(&o->control, settings, cli_picture_read, models.own, models.hires, j,
                          err))
        goto done;
    cli_signal_cancels(engine);
    for (bar.index = 0; bar.index < j->count; bar.index++) {
        struct pictor_params p;
        if (bar.index > 0 && j->variants &&
            (!variants_use(j, bar.index, err) ||
             !speak(settings, &models, j, &words, &hires_words, err)))
            goto done;
        job_engine_params(j, bar.index, &p);
        p.prompt = words;
        p.hires_network = upscaler;
        p.refiner = models.refiner;
        p.hires_model = models.hires;
        p.hires_prompt = hires_words;
        p.init = o->init ? &init : NULL;
        p.mask = mask.pixels ? &mask : NULL;
        p.controls = o->control.at;
        p.control_count = o->control.count;
        p.on_progress = show_progress;
        p.ctx = &bar;
        p.preview_every = 0;
        if (!pictor_generate(models.own, &p, &out, err) ||
            (o->upscale.scale && !cli_upscale_run(&o->upscale, settings, &out, err)) ||
            !write_picture(o, settings, &found, bar.index, &out, err))
            goto done;
        char path[4200];
        output_name(o, bar.index, path, sizeof path);
        if (bar.shown)
            fprintf(stderr, "\r\033[K");
        if (!o->quiet)
            fprintf(stderr, "%s  %dx%d  seed %llu\n", path, out.width, out.height,
                    (unsigned long long)p.seed);
        pictor_image_free(&out);
    }
    ok = true;
done:
    cli_signal_cancels(NULL);
    if (!ok && bar.shown)
        fprintf(stderr, "\r\033[K");
    pictor_image_free(&out);
    pictor_image_free(&init);
    pictor_image_free(&mask);
    cli_control_free(&o->control);
    cli_upscale_close(&o->upscale);
    pictor_upscaler_free(upscaler);
    pictor_model_free(models.own);
    pictor_model_free(models.refiner);
    pictor_model_free(models.hires);
    pictor_engine_free(engine);
    free(words);
    free(hires_words);
    return ok;
}

static void say_model_names(const struct settings *settings)
{
    struct registry *reg = registry_new(settings, NULL, NULL);
    struct registry_model *models = NULL;
    size_t count = 0, said = 0;
    if (reg && registry_list(reg, &models, &count, NULL))
        for (size_t i = 0; i < count; i++)
            if (models[i].kind == REGISTRY_LOCAL)
                fprintf(stderr, "%s%s", said++ ? ", " : "there are: ", models[i].name);
    if (said)
        fputc('\n', stderr);
    free(models);
    registry_free(reg);
}

/* After an error about `param`, one of a few names: which ones there are. */
static void say_choices(const char *param, const struct settings *settings)
{
    const struct job_field *f = job_field_find(&job_table, param);
    if (f && f->known) {
        for (int i = 0; f->known(i); i++)
            fprintf(stderr, "%s%s", i ? ", " : "there are: ", f->known(i));
        fputc('\n', stderr);
    } else if (strcmp(param, "model") == 0) {
        say_model_names(settings);
    }
}

int generate_main(int argc, char **argv)
{
    struct err err = {0};
    struct options o = {0};
    struct job_flags flags = {0};
    int status = 2;
    job_flags_add_fields(&flags, &job_table);
    job_flags_add(&flags, own_flags, sizeof own_flags / sizeof *own_flags);
    job_params_init(&o.job);
    for (size_t i = 0; i < job_table.count; i++)
        if (job_table.fields[i].optional)
            job_field_clear(&job_table.fields[i], &o.job);
    log_set_level(LOG_WARN);
    struct settings *settings = settings_load(&argc, argv, flags.own, &err);
    if (!settings || !take_options(&o, &flags, argc, argv, &err))
        goto fail;
    if (o.help) {
        help(&flags, stdout);
        status = 0;
        goto done;
    }
    enum image_format format;
    if (!cli_picture_format(o.output, "-o", &format, &err))
        goto fail;
    o.job.format = format;
    if (o.upscale.name && !o.upscale.scale) {
        err_set(&err, ERR_INVALID, "--upscaler is nothing without --upscale");
        goto fail;
    }
    status = 1;
    if (!cli_picture_writable(o.output, &err) || !paint(&o, &flags, settings, &err))
        goto fail;
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor generate");
    if (o.wrong)
        say_choices(o.wrong, settings);
    if (status == 2)
        fputs("see pictor generate --help\n", stderr);
done:
    job_params_free(&o.job);
    settings_free(settings);
    return status;
}

/* job.c: see job.h.
 *
 * One table of the fields of struct job_params serves JSON in both directions and freeing. What a
 * field may hold besides its type is job_params_check's matter: a stored job is read without the
 * limits of today's settings. */
#include "server/job/job.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/base/json_number.h"
#include "server/base/settings.h"

static const char *const state_names[] = {
    [JOB_QUEUED] = "queued", [JOB_RUNNING] = "running",     [JOB_DONE] = "done",
    [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled",
};

const char *job_state_name(enum job_state state)
{
    return state_names[state];
}

bool job_state_of(const char *name, enum job_state *out)
{
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *out = (enum job_state)i;
            return true;
        }
    }
    return false;
}

/* ---- fields and JSON ---- */

enum type { TEXT, WHOLE, REAL, SEED, FLAG, WORD };

static const char *const fit_words[] = {"stretch", "crop", "pad", NULL};
static const char *const fill_words[] = {"blur", "original", "noise", "nothing", NULL};

struct field {
    const char *name;
    enum type type;
    size_t offset;
    const char *const *words; /* WORD: an int in the struct, its name in JSON */
};

#define FIELD(type, name) #name, type, offsetof(struct job_params, name), NULL
#define WORDS(name, words) #name, WORD, offsetof(struct job_params, name), words

static const struct field fields[] = {
    {FIELD(TEXT, model)},
    {FIELD(TEXT, prompt)},
    {FIELD(TEXT, negative_prompt)},
    {FIELD(WHOLE, width)},
    {FIELD(WHOLE, height)},
    {FIELD(WHOLE, steps)},
    {FIELD(REAL, guidance)},
    {FIELD(TEXT, sampler)},
    {FIELD(TEXT, scheduler)},
    {FIELD(REAL, eta)},
    {FIELD(SEED, seed)},
    {FIELD(SEED, subseed)},
    {FIELD(REAL, subseed_strength)},
    {FIELD(TEXT, rng)},
    {FIELD(WHOLE, clip_skip)},
    {FIELD(WHOLE, count)},
    {FIELD(FLAG, has_init)},
    {FIELD(FLAG, has_mask)},
    {FIELD(REAL, strength)},
    {WORDS(fit, fit_words)},
    {WORDS(fill, fill_words)},
    {FIELD(REAL, mask_blur)},
    {FIELD(FLAG, mask_invert)},
    {FIELD(FLAG, mask_only_area)},
    {FIELD(WHOLE, mask_padding)},
    {FIELD(WHOLE, hires_width)},
    {FIELD(WHOLE, hires_height)},
    {FIELD(WHOLE, hires_steps)},
    {FIELD(REAL, hires_strength)},
    {FIELD(TEXT, hires_upscaler)},
    {FIELD(REAL, guidance_low)},
    {FIELD(REAL, guidance_high)},
    {FIELD(FLAG, guidance_alternate)},
    {FIELD(WHOLE, reuse_every)},
    {FIELD(REAL, token_merging)},
    {WORDS(format, image_formats)},
    {FIELD(WHOLE, quality)},
    {FIELD(WHOLE, preview_every)},
    {FIELD(TEXT, dialect)},
    {FIELD(TEXT, tag)},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

void job_params_init(struct job_params *p)
{
    *p = (struct job_params){
        .steps = 20,
        .guidance = 7,
        .eta = NAN,
        .clip_skip = 1,
        .count = 1,
        .strength = 0.75,
        .fit = PICTOR_FIT_STRETCH,
        .fill = PICTOR_FILL_ORIGINAL,
        .mask_blur = 4,
        .mask_padding = 32,
        .hires_strength = 0.7,
        .guidance_low = NAN,
        .guidance_high = NAN,
        .reuse_every = JOB_UNSET,
        .token_merging = NAN,
        .quality = 90,
    };
}

void job_params_free(struct job_params *p)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].type == TEXT) {
            char **text = (char **)((char *)p + fields[i].offset);
            free(*text);
            *text = NULL;
        }
    }
}

static cJSON *field_to_json(const struct field *f, const void *value)
{
    switch (f->type) {
    case TEXT: {
        const char *text = *(char *const *)value;
        return text ? cJSON_CreateString(text) : cJSON_CreateNull();
    }
    case WHOLE:
        if (*(const int *)value == JOB_UNSET)
            return cJSON_CreateNull();
        return cJSON_CreateNumber(*(const int *)value);
    case REAL: {
        double d = *(const double *)value;
        return isfinite(d) ? cJSON_CreateNumber(d) : cJSON_CreateNull();
    }
    case SEED:
        return json_number_item(*(const uint64_t *)value);
    case FLAG:
        return cJSON_CreateBool(*(const bool *)value);
    case WORD:
        return cJSON_CreateString(f->words[*(const int *)value]);
    }
    return NULL;
}

struct cJSON *job_params_to_json(const struct job_params *p)
{
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; json && i < FIELD_COUNT; i++) {
        cJSON *item = field_to_json(&fields[i], (const char *)p + fields[i].offset);
        if (!item || !cJSON_AddItemToObject(json, fields[i].name, item)) {
            cJSON_Delete(item);
            cJSON_Delete(json);
            json = NULL;
        }
    }
    return json;
}

static bool field_from_json(const struct field *f, void *value, const cJSON *item, struct err *err)
{
    double d = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    bool whole = d == floor(d); /* false for NAN */
    struct json_whole seed;
    switch (f->type) {
    case TEXT: {
        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "%s must be a string", f->name);
        char *copy = strdup(item->valuestring);
        if (!copy)
            return err_set(err, ERR_INTERNAL, "no memory for %s", f->name);
        free(*(char **)value);
        *(char **)value = copy;
        return true;
    }
    case WHOLE:
        if (!whole || d < INT_MIN || d > INT_MAX)
            return err_set(err, ERR_INVALID, "%s must be a whole number", f->name);
        *(int *)value = (int)d;
        return true;
    case REAL:
        if (!isfinite(d))
            return err_set(err, ERR_INVALID, "%s must be a number", f->name);
        *(double *)value = d;
        return true;
    case SEED:
        if (!json_number_whole(item, &seed) || seed.negative)
            return err_set(err, ERR_INVALID, "%s must be a whole number of 0..2^64-1", f->name);
        *(uint64_t *)value = seed.magnitude;
        return true;
    case FLAG:
        if (!cJSON_IsBool(item))
            return err_set(err, ERR_INVALID, "%s must be true or false", f->name);
        *(bool *)value = cJSON_IsTrue(item);
        return true;
    case WORD:
        for (int i = 0; cJSON_IsString(item) && f->words[i]; i++) {
            if (strcmp(item->valuestring, f->words[i]) == 0) {
                *(int *)value = i;
                return true;
            }
        }
        return err_set(err, ERR_INVALID, "%s is not one of its words", f->name);
    }
    return err_set(err, ERR_INTERNAL, "%s has no type", f->name);
}

/* null of a number says that it was left out; of anything else it is the default. */
static void field_unset(const struct field *f, void *value)
{
    if (f->type == WHOLE)
        *(int *)value = JOB_UNSET;
    else if (f->type == REAL)
        *(double *)value = NAN;
}

bool job_params_from_json(struct job_params *p, const struct cJSON *json, struct err *err)
{
    job_params_init(p);
    if (!cJSON_IsObject(json))
        return err_set(err, ERR_INVALID, "a job must be a JSON object");
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, fields[i].name);
        void *value = (char *)p + fields[i].offset;
        if (cJSON_IsNull(item))
            field_unset(&fields[i], value);
        else if (item && !field_from_json(&fields[i], value, item, err)) {
            job_params_free(p);
            return false;
        }
    }
    return true;
}

/* ---- the check ---- */

/* Says which field is to blame, once. */
struct check {
    const char *param;
    struct err *err;
};

static bool refuse_number(struct check *c, const char *param, double least, double most, double got)
{
    c->param = param;
    return err_set(c->err, ERR_INVALID, "%s must be %.16g..%.16g, got %.16g", param, least, most,
                   got);
}

static bool in_range(struct check *c, const char *param, double value, double least, double most)
{
    return value >= least && value <= most ? true : refuse_number(c, param, least, most, value);
}

static bool bad(struct check *c, enum err_code code, const char *param, const char *wanted)
{
    c->param = param;
    return err_set(c->err, code, "%s %s", param, wanted);
}

/* Gives a string that is NULL its default, or another its canonical spelling. */
static bool set_text(struct check *c, char **text, const char *value)
{
    if (*text && strcmp(*text, value) == 0)
        return true;
    char *copy = strdup(value);
    if (!copy)
        return err_set(c->err, ERR_INTERNAL, "no memory for a job");
    free(*text);
    *text = copy;
    return true;
}

static bool one_of(struct check *c, const char *param, char **text, const char *const *words)
{
    if (!*text)
        return set_text(c, text, words[0]);
    for (size_t i = 0; words[i]; i++)
        if (strcmp(*text, words[i]) == 0)
            return true;
    c->param = param;
    return err_set(c->err, ERR_INVALID, "%s must be one of %s, %s%s%s, got \"%.40s\"", param,
                   words[0], words[1], words[2] ? ", " : "", words[2] ? words[2] : "", *text);
}

static bool check_size(struct check *c, const struct settings *s, const char *width_name, int width,
                       const char *height_name, int height)
{
    const char *names[] = {width_name, height_name};
    int sides[] = {width, height};
    for (int i = 0; i < 2; i++) {
        if (!in_range(c, names[i], sides[i], 64, s->max_side))
            return false;
        if (sides[i] % 8 != 0) {
            c->param = names[i];
            return err_set(c->err, ERR_INVALID, "%s must be a multiple of 8, got %d", names[i],
                           sides[i]);
        }
    }
    if ((size_t)width * (size_t)height > (size_t)s->max_pixels) {
        c->param = width_name;
        return err_set(c->err, ERR_TOO_LARGE, "%s x %s must be at most %d pixels, got %dx%d",
                       width_name, height_name, s->max_pixels, width, height);
    }
    return true;
}

static bool check_text(struct check *c, const struct settings *s, struct job_params *p)
{
    if (!p->model || !*p->model)
        return bad(c, ERR_INVALID, "model", "must name a model");
    if (!p->prompt)
        return bad(c, ERR_INVALID, "prompt", "must be given");
    if (!p->negative_prompt && !set_text(c, &p->negative_prompt, ""))
        return false;
    const char *names[] = {"prompt", "negative_prompt"};
    const char *texts[] = {p->prompt, p->negative_prompt};
    for (int i = 0; i < 2; i++) {
        if (strlen(texts[i]) > s->max_prompt_bytes) {
            c->param = names[i];
            return err_set(c->err, ERR_TOO_LARGE, "%s must be at most %zu bytes, got %zu", names[i],
                           s->max_prompt_bytes, strlen(texts[i]));
        }
    }
    if (p->tag && strlen(p->tag) > 128)
        return bad(c, ERR_INVALID, "tag", "must be at most 128 bytes");
    return true;
}

/* The last picture has the seed + count - 1. */
static bool check_seed(struct check *c, const char *param, uint64_t seed, int count)
{
    uint64_t most = UINT64_MAX - (uint64_t)count + 1;
    if (seed <= most)
        return true;
    c->param = param;
    return err_set(c->err, ERR_INVALID, "%s of %d pictures must be 0..%" PRIu64 ", got %" PRIu64,
                   param, count, most, seed);
}

static bool check_sampling(struct check *c, const struct settings *s, struct job_params *p)
{
    static const char *const rngs[] = {"nv", "cpu", NULL};
    const struct pictor_scheduler_info *named = NULL, *scheduler = NULL;
    const struct pictor_sampler_info *sampler =
        pictor_sampler_find(p->sampler ? p->sampler : "Euler a", &named);
    if (!sampler) {
        c->param = "sampler";
        return err_set(c->err, ERR_INVALID, "sampler \"%.60s\" is not known", p->sampler);
    }
    scheduler = pictor_scheduler_find(p->scheduler ? p->scheduler : "automatic");
    if (!scheduler) {
        c->param = "scheduler";
        return err_set(c->err, ERR_INVALID, "scheduler \"%.60s\" is not known", p->scheduler);
    }
    /* "DPM++ 2M Karras" names both; that wins over a scheduler given besides, as in SD WebUI. */
    return set_text(c, &p->sampler, sampler->name) &&
           set_text(c, &p->scheduler, named ? named->name : scheduler->name) &&
           in_range(c, "steps", p->steps, 1, s->max_steps) &&
           in_range(c, "guidance", p->guidance, 0, 100) &&
           (isnan(p->eta) || in_range(c, "eta", p->eta, 0, 1)) && one_of(c, "rng", &p->rng, rngs) &&
           in_range(c, "clip_skip", p->clip_skip, 1, 12) &&
           in_range(c, "count", p->count, 1, s->max_count) &&
           check_seed(c, "seed", p->seed, p->count) &&
           check_seed(c, "subseed", p->subseed, p->count) &&
           in_range(c, "subseed_strength", p->subseed_strength, 0, 1);
}

static bool check_painting_over(struct check *c, const struct settings *s, struct job_params *p)
{
    static const char *const upscalers[] = {"Latent", "Lanczos", NULL};
    if (p->has_mask && !p->has_init)
        return bad(c, ERR_INVALID, "mask", "needs init_image");
    if (!in_range(c, "strength", p->strength, 0, 1) ||
        !in_range(c, "fit", p->fit, PICTOR_FIT_STRETCH, PICTOR_FIT_PAD) ||
        !in_range(c, "fill", p->fill, PICTOR_FILL_BLUR, PICTOR_FILL_NOTHING) ||
        !in_range(c, "mask_blur", p->mask_blur, 0, 64) ||
        !in_range(c, "mask_padding", p->mask_padding, 0, s->max_side))
        return false;
    if ((p->hires_width || p->hires_height) &&
        !check_size(c, s, "hires_width", p->hires_width, "hires_height", p->hires_height))
        return false;
    return in_range(c, "hires_steps", p->hires_steps, 0, s->max_steps) &&
           in_range(c, "hires_strength", p->hires_strength, 0, 1) &&
           one_of(c, "hires_upscaler", &p->hires_upscaler, upscalers);
}

static bool check_speed(struct check *c, const struct job_params *p)
{
    return (isnan(p->guidance_low) || in_range(c, "guidance_low", p->guidance_low, 0, 1000)) &&
           (isnan(p->guidance_high) || in_range(c, "guidance_high", p->guidance_high, 0, 1000)) &&
           (p->reuse_every == JOB_UNSET || in_range(c, "reuse_every", p->reuse_every, 1, 20)) &&
           (isnan(p->token_merging) || in_range(c, "token_merging", p->token_merging, 0, 0.9));
}

bool job_params_check(struct job_params *p, const struct settings *settings, const char **param,
                      struct err *err)
{
    struct check c = {.err = err};
    bool good = check_text(&c, settings, p) &&
                check_size(&c, settings, "width", p->width, "height", p->height) &&
                check_sampling(&c, settings, p) && check_painting_over(&c, settings, p) &&
                check_speed(&c, p) && in_range(&c, "format", p->format, IMAGE_PNG, IMAGE_WEBP) &&
                in_range(&c, "quality", p->quality, 0, 100) &&
                in_range(&c, "preview_every", p->preview_every, 0, settings->max_steps);
    if (param)
        *param = c.param;
    return good;
}

void job_free(struct job *job)
{
    job_params_free(&job->params);
    for (size_t i = 0; i < job->image_count; i++)
        free(job->images[i].infotext);
    free(job->images);
    job->images = NULL;
    job->image_count = 0;
}

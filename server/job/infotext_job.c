#include "server/job/infotext_job.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/pictor.h"
#include "server/base/pyjson.h"
#include "server/job/controls_item.h"

#define KEY_SIZE 64
#define UPSCALE "Hires upscale"
#define TOLD "Distilled CFG Scale" /* as Forge calls it */

static bool has(const char *text)
{
    return text && *text;
}

/* ---- writing ---- */

/* ", key: value" with the value quoted where the reader would stumble over it. */
static void put_text(struct pyjson *out, const char *key, const char *value)
{
    if (out->size && out->text[out->size - 1] != '\n')
        pyjson_puts(out, ", ");
    pyjson_puts(out, key);
    if (strcmp(key, value) == 0)
        return;
    pyjson_puts(out, ": ");
    if (*value == '"' || strpbrk(value, ",\n:"))
        pyjson_string(out, value, false);
    else
        pyjson_puts(out, value);
}

static void put_float(struct pyjson *out, const char *key, double value)
{
    char buf[PYJSON_FLOAT_SIZE];
    put_text(out, key, pyjson_float(buf, value));
}

static void put_size(struct pyjson *out, const char *key, int width, int height)
{
    char buf[32];
    snprintf(buf, sizeof buf, "%dx%d", width, height);
    put_text(out, key, buf);
}

/* The label that SD WebUI shows: a sampler's own schedule by its name, "Automatic" when that is
 * nothing special. */
static void put_schedule(struct pyjson *out, const char *key, const struct job_params *p)
{
    const char *name = has(p->scheduler) ? p->scheduler : "automatic";
    if (!p->sampler)
        return;
    if (strcmp(name, "automatic") == 0) {
        const struct pictor_sampler_info *sampler = pictor_sampler_find(p->sampler, NULL);
        if (sampler && strcmp(sampler->default_scheduler, "uniform") != 0)
            name = sampler->default_scheduler;
    }
    const struct pictor_scheduler_info *scheduler = pictor_scheduler_find(name);
    put_text(out, key, scheduler ? scheduler->label : name);
}

static void put_label(struct pyjson *out, const struct job_field *f, const void *job)
{
    const char *name = job_field_text(f, job);
    const struct pictor_scheduler_info *scheduler = pictor_scheduler_find(name);
    if (job_field_applies(f, job) && has(name))
        put_text(out, f->infotext, scheduler ? scheduler->label : name);
}

/* Eta is written only where the sampler uses one and it is not that sampler's usual one. */
static void put_eta(struct pyjson *out, const struct job_params *p)
{
    const struct pictor_sampler_info *sampler =
        p->sampler ? pictor_sampler_find(p->sampler, NULL) : NULL;
    if (sampler && sampler->eta_name && !isnan(p->eta) && p->eta != sampler->default_eta)
        put_float(out, sampler->eta_name, p->eta);
}

/* "Hires upscale: 2.0" when the target is a plain multiple (in twentieths, the step of the WebUI's
 * slider) of the first size, else "Hires resize: WxH". */
static void put_hires(struct pyjson *out, const char *key, const struct job_params *p)
{
    int twentieths = (int)lround(20.0 * p->hires_width / p->width);
    double scale = twentieths / 20.0;
    if ((int)(p->width * scale) == p->hires_width && (int)(p->height * scale) == p->hires_height)
        put_float(out, UPSCALE, scale);
    else
        put_size(out, key, p->hires_width, p->hires_height);
}

static void put_model(struct pyjson *out, const char *key, const struct infotext_picture *picture)
{
    char hash[11];
    snprintf(hash, sizeof hash, "%s", picture->model_hash ? picture->model_hash : "");
    if (*hash)
        put_text(out, "Model hash", hash);
    if (has(picture->model_name))
        put_text(out, key, picture->model_name);
}

/* The key is that of the first pass's strength where there is a first picture, else of the second
 * pass's; only a job that has both needs two keys. */
static bool has_two_strengths(const struct job_params *p)
{
    return p->has_init && !isnan(p->strength) && p->hires_width > 0;
}

static void put_strength(struct pyjson *out, const char *key, const struct job_params *p)
{
    if (p->has_init && !isnan(p->strength))
        put_float(out, key, p->strength);
    else if (p->hires_width > 0)
        put_float(out, key, p->hires_strength);
}

static uint64_t seed_of(const struct job_field *f, const void *job,
                        const struct infotext_picture *picture)
{
    if (f->offset == offsetof(struct job_params, seed))
        return picture->seed;
    return f->offset == offsetof(struct job_params, subseed) ? picture->subseed
                                                             : job_field_seed(f, job);
}

/* A key and a value. */
static void put_plain(struct pyjson *out, const struct job_field *f, const void *job,
                      const struct infotext_picture *picture)
{
    char buf[PYJSON_FLOAT_SIZE];
    double value = job_field_number(f, job);
    if (!job_field_applies(f, job) || job_field_is_empty(f, job))
        return;
    if (f->type == JOB_TEXT) {
        if (has(job_field_text(f, job)))
            put_text(out, f->infotext, job_field_text(f, job));
    } else if (f->type == JOB_SEED) {
        snprintf(buf, sizeof buf, "%" PRIu64, seed_of(f, job, picture));
        put_text(out, f->infotext, buf);
    } else if (!f->always && value == f->silent) {
        return;
    } else if (f->type == JOB_FLAG || f->type == JOB_WORD) {
        put_text(out, f->infotext, (f->labels ? f->labels : f->words)[(int)value]);
    } else if (f->type == JOB_WHOLE || (f->form == JOB_FORM_SHORT && value == floor(value))) {
        snprintf(buf, sizeof buf, "%.0f", value);
        put_text(out, f->infotext, buf);
    } else {
        put_float(out, f->infotext, value);
    }
}

static void put_guidance(struct pyjson *out, const struct job_field *f,
                         const struct job_params *p, const struct infotext_picture *picture)
{
    if (!p->guidance_told) {
        put_plain(out, f, p, picture);
        return;
    }
    put_float(out, f->infotext, 1);
    put_float(out, TOLD, p->guidance);
}

static void put(struct pyjson *out, const struct job_field *f, const void *job,
                const struct infotext_picture *picture)
{
    const struct job_params *p = job;
    switch (f->form) {
    case JOB_FORM_PLAIN:
    case JOB_FORM_SHORT:
    case JOB_FORM_SAMPLER:
        put_plain(out, f, job, picture);
        break;
    case JOB_FORM_SIZE:
        if (!job_field_applies(f, job))
            break;
        put_size(out, f->infotext, (int)job_field_number(f, job),
                 (int)job_field_number(f + 1, job));
        break;
    case JOB_FORM_SECOND:
        break;
    case JOB_FORM_HIRES:
        if (p->hires_width > 0)
            put_hires(out, f->infotext, p);
        break;
    case JOB_FORM_SCHEDULE:
        put_schedule(out, f->infotext, p);
        break;
    case JOB_FORM_LABEL:
        put_label(out, f, job);
        break;
    case JOB_FORM_MODEL:
        put_model(out, f->infotext, picture);
        break;
    case JOB_FORM_STRENGTH:
        put_strength(out, f->infotext, p);
        break;
    case JOB_FORM_HIRES_STRENGTH:
        if (has_two_strengths(p))
            put_float(out, f->infotext, p->hires_strength);
        break;
    case JOB_FORM_GUIDANCE:
        put_guidance(out, f, p, picture);
        break;
    case JOB_FORM_ETA:
        put_eta(out, p);
        break;
    }
}

/* As sd-webui-controlnet has them, one pair a unit. */
static void put_controls(struct pyjson *out, const char *json)
{
    struct controls c;
    controls_read(json, &c, NULL);
    for (size_t i = 0; i < c.count; i++) {
        char key[32];
        struct pyjson unit = {0};
        snprintf(key, sizeof key, "ControlNet %zu", i);
        controls_item_put(&unit, &c.at[i]);
        if (unit.text && !unit.failed)
            put_text(out, key, unit.text);
        out->failed = out->failed || unit.failed;
        free(unit.text);
    }
}

char *infotext_write_by(const struct job_table *table, const void *job,
                        const struct infotext_picture *picture)
{
    const struct job_params *p = job;
    struct pyjson out = {0};
    pyjson_puts(&out, p->prompt ? p->prompt : "");
    if (has(p->negative_prompt)) {
        pyjson_puts(&out, "\nNegative prompt: ");
        pyjson_puts(&out, p->negative_prompt);
    }
    pyjson_puts(&out, "\n");
    for (size_t i = 0; i < table->count; i++)
        if (table->fields[i].infotext)
            put(&out, &table->fields[i], job, picture);
    put_controls(&out, p->controls);
    if (picture->revised_prompt)
        put_text(&out, INFOTEXT_REVISED, picture->revised_prompt);
    put_text(&out, "Version", "pictor-" PICTOR_VERSION);
    if (out.failed)
        return NULL;

    /* Stripped, as the WebUI does: an empty prompt leaves no empty first line. */
    size_t blank = strspn(out.text, " \t\r\n\v\f");
    memmove(out.text, out.text + blank, out.size - blank + 1);
    return out.text;
}

char *infotext_write(const struct job_params *params, const struct infotext_picture *picture)
{
    return infotext_write_by(&job_table, params, picture);
}

/* ---- reading ---- */

/* What is being read into what. `f` and `said` are of one field. */
struct reading {
    const struct infotext *t;
    void *job;
    struct err *err;
    bool failed; /* no memory */
};

/* false: the text does not say it, or says what cannot be understood. */
static bool take(struct reading *r, const struct job_field *f, const char *text)
{
    const char *const *words = f->labels ? f->labels : f->words;
    struct err why = {0};
    if (!text || !job_field_read(f, r->job, text, words, &why)) {
        if (why.code == ERR_INTERNAL) {
            r->failed = true;
            err_set(r->err, why.code, "%s", why.msg);
        }
        return false;
    }
    return true;
}

/* "512x768" became two pairs: "Size-1" and "Size-2". */
static bool take_size(struct reading *r, const struct job_field *f)
{
    char first[KEY_SIZE], second[KEY_SIZE];
    snprintf(first, sizeof first, "%s-1", f->infotext);
    snprintf(second, sizeof second, "%s-2", f->infotext);
    return take(r, f, infotext_get(r->t, first)) && take(r, f + 1, infotext_get(r->t, second));
}

/* A text that reads "1x2" was taken for a size, too. */
static bool take_text(struct reading *r, const struct job_field *f)
{
    char first[KEY_SIZE], second[KEY_SIZE], *both = NULL;
    const char *text = infotext_get(r->t, f->infotext);
    snprintf(first, sizeof first, "%s-1", f->infotext);
    snprintf(second, sizeof second, "%s-2", f->infotext);
    const char *a = infotext_get(r->t, first), *b = infotext_get(r->t, second);
    if (text || f->type != JOB_TEXT || !a || !b)
        return take(r, f, text);
    size_t size = strlen(a) + strlen(b) + 2;
    if (!(both = malloc(size))) {
        r->failed = true;
        return err_set(r->err, ERR_INTERNAL, "no memory for a text");
    }
    snprintf(both, size, "%sx%s", a, b);
    bool taken = take(r, f, both);
    free(both);
    return taken;
}

static bool take_hires(struct reading *r, const struct job_field *f)
{
    struct job_params *p = r->job;
    const char *text = infotext_get(r->t, UPSCALE);
    double scale = text ? strtod(text, NULL) : 0;
    if (take_size(r, f) && p->hires_width > 0)
        return true;
    bool good = scale > 0 && scale <= 64 && p->width > 0 && p->height > 0 && p->width <= 1 << 20 &&
                p->height <= 1 << 20;
    p->hires_width = good ? (int)(p->width * scale) / 8 * 8 : 0;
    p->hires_height = good ? (int)(p->height * scale) / 8 * 8 : 0;
    return good;
}

static bool take_sampler(struct reading *r, const struct job_field *f)
{
    const char *text = infotext_get(r->t, f->infotext);
    const struct pictor_scheduler_info *named;
    const struct pictor_sampler_info *sampler = text ? pictor_sampler_find(text, &named) : NULL;
    return sampler && take(r, f, sampler->name);
}

/* Older texts name the schedule behind the sampler: "DPM++ 2M Karras". */
static bool take_schedule(struct reading *r, const struct job_field *f)
{
    const struct job_params *p = r->job;
    const char *text = infotext_get(r->t, f->infotext), *both = infotext_get(r->t, "Sampler");
    size_t size = p->sampler ? strlen(p->sampler) : 0;
    if (!text && both && size && strncasecmp(both, p->sampler, size) == 0 && both[size] == ' ')
        text = both + size + 1;
    const struct pictor_scheduler_info *found = text ? pictor_scheduler_find(text) : NULL, *info;
    for (int i = 0; text && (info = pictor_scheduler_at(i)); i++)
        if (strcasecmp(info->label, text) == 0)
            found = info;
    return found && take(r, f, found->name);
}

static bool take_label(struct reading *r, const struct job_field *f)
{
    const char *text = infotext_get(r->t, f->infotext);
    const struct pictor_scheduler_info *found = text ? pictor_scheduler_find(text) : NULL;
    return found && take(r, f, found->name);
}

static bool take_eta(struct reading *r, const struct job_field *f)
{
    const struct job_params *p = r->job;
    const struct pictor_sampler_info *sampler =
        p->sampler ? pictor_sampler_find(p->sampler, NULL) : NULL;
    return sampler && sampler->eta_name && take(r, f, infotext_get(r->t, sampler->eta_name));
}

/* Comes before the size of the second pass is known, which decides whose strength it is. */
static bool take_strength(struct reading *r, const struct job_field *f)
{
    struct job_params *p = r->job;
    bool hires = infotext_get(r->t, UPSCALE) || infotext_get(r->t, "Hires resize-1");
    if (hires && !infotext_get(r->t, "Hires denoising strength"))
        return false;
    p->has_init = take(r, f, infotext_get(r->t, f->infotext));
    return p->has_init;
}

static bool take_hires_strength(struct reading *r, const struct job_field *f)
{
    const struct job_params *p = r->job;
    const char *own = infotext_get(r->t, f->infotext);
    if (p->hires_width <= 0)
        return false;
    return take(r, f, own ? own : infotext_get(r->t, "Denoising strength"));
}

static bool take_field(struct reading *r, const struct job_field *f)
{
    switch (f->form) {
    case JOB_FORM_PLAIN:
    case JOB_FORM_SHORT:
        return take_text(r, f);
    case JOB_FORM_SAMPLER:
        return take_sampler(r, f);
    case JOB_FORM_MODEL:
        return take(r, f, infotext_get(r->t, f->infotext));
    case JOB_FORM_SIZE:
        return take_size(r, f);
    case JOB_FORM_HIRES:
        return take_hires(r, f);
    case JOB_FORM_SCHEDULE:
        return take_schedule(r, f);
    case JOB_FORM_LABEL:
        return take_label(r, f);
    case JOB_FORM_STRENGTH:
        return take_strength(r, f);
    case JOB_FORM_HIRES_STRENGTH:
        return take_hires_strength(r, f);
    case JOB_FORM_GUIDANCE:
        return take(r, f, infotext_get(r->t, TOLD)) || take_text(r, f);
    case JOB_FORM_ETA:
        return take_eta(r, f);
    case JOB_FORM_SECOND:
        break;
    }
    return false;
}

/* What the absence of a key says. */
static bool take_silence(struct reading *r, const struct job_field *f)
{
    bool plain = f->form == JOB_FORM_PLAIN || f->form == JOB_FORM_SHORT;
    if (!plain || f->always || f->type == JOB_TEXT || f->type == JOB_SEED ||
        infotext_get(r->t, f->infotext) || !job_field_applies(f, r->job))
        return false;
    job_field_set_number(f, r->job, f->silent);
    return true;
}

bool infotext_to_job(const struct infotext *t, const struct job_table *table, void *job,
                     bool said[JOB_TABLE_MAX], struct err *err)
{
    struct reading r = {.t = t, .job = job, .err = err};
    struct job_params *p = job;
    job_field_init(table, job);
    memset(said, 0, JOB_TABLE_MAX * sizeof *said);
    for (size_t i = 0; i < table->count && !r.failed; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->offset == offsetof(struct job_params, prompt))
            said[i] = take(&r, f, t->prompt);
        else if (f->offset == offsetof(struct job_params, negative_prompt))
            said[i] = take(&r, f, t->negative_prompt);
        else if (f->form == JOB_FORM_SECOND)
            said[i] = said[i - 1];
        else if (f->infotext)
            said[i] = take_field(&r, f);
        if (said[i] && (f->part == JOB_OF_MASK || f->part == JOB_OF_AREA))
            p->has_init = p->has_mask = true; /* whose other settings the text does not say */
    }
    for (size_t i = 0; i < table->count && t->count > 0; i++)
        if (table->fields[i].infotext && !said[i])
            said[i] = take_silence(&r, &table->fields[i]);
    p->has_init = p->has_mask = false;
    p->controls = controls_item_take(t);
    for (size_t i = 0; i < table->count; i++)
        if (table->fields[i].offset == offsetof(struct job_params, controls))
            said[i] = p->controls;
    return !r.failed;
}

#include "server/job/job_field.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/json_fields.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/relay.h"
#include "server/job/upscalers.h"

/* ---- the table ---- */

static const char *const rngs[] = {[PICTOR_RNG_NV] = "nv", [PICTOR_RNG_CPU] = "cpu", NULL};
static const char *const rng_labels[] = {"GPU", "CPU", NULL};
static const char *const mask_modes[] = {"Inpaint masked", "Inpaint not masked", NULL};
static const char *const mask_areas[] = {"Whole picture", "Only masked", NULL};
static const char *const alternate_labels[] = {"True", "False", NULL}; /* "all steps" is not it */
static const char *const truths[] = {"False", "True", NULL};
static const char *const emphases[] = {[PICTOR_EMPHASIS_ORIGINAL] = "original",
                                       [PICTOR_EMPHASIS_NO_NORM] = "no_norm",
                                       [PICTOR_EMPHASIS_IGNORE] = "ignore",
                                       [PICTOR_EMPHASIS_NONE] = "none",
                                       NULL};
static const char *const emphasis_labels[] = {"Original", "No norm", "Ignore", "None", NULL};
static const char *const syntaxes[] = {[PICTOR_SYNTAX_WEBUI] = "webui",
                                       [PICTOR_SYNTAX_WEIGHTS] = "weights",
                                       [PICTOR_SYNTAX_PLAIN] = "plain",
                                       NULL};
static const char *const refiner_passes[] = {[PICTOR_REFINE_SECOND] = "second",
                                             [PICTOR_REFINE_FIRST] = "first",
                                             [PICTOR_REFINE_BOTH] = "both",
                                             NULL};
static const char *const refiner_labels[] = {"second pass", "first pass", "both passes", NULL};
static const char *const noise_schedules[] = {"Default", "Zero Terminal SNR", NULL};
static const char *const fits[] = {
    [PICTOR_FIT_STRETCH] = "stretch", [PICTOR_FIT_CROP] = "crop", [PICTOR_FIT_PAD] = "pad",
    [PICTOR_FIT_LATENT] = "latent", NULL};
static const char *const fills[] = {[PICTOR_FILL_BLUR] = "blur",
                                    [PICTOR_FILL_ORIGINAL] = "original",
                                    [PICTOR_FILL_NOISE] = "noise",
                                    [PICTOR_FILL_NOTHING] = "nothing",
                                    NULL};
static const char *const fill_labels[] = {[PICTOR_FILL_BLUR] = "fill",
                                          [PICTOR_FILL_ORIGINAL] = "original",
                                          [PICTOR_FILL_NOISE] = "latent noise",
                                          [PICTOR_FILL_NOTHING] = "latent nothing",
                                          NULL};

static const char *sampler_name(int index)
{
    const struct pictor_sampler_info *info = pictor_sampler_at(index);
    return info ? info->name : NULL;
}

static const char *scheduler_name(int index)
{
    const struct pictor_scheduler_info *info = pictor_scheduler_at(index);
    return info ? info->name : NULL;
}

#define ENGINE(member) .engine = JOB_PLACE(pictor_params, member)
#define SETTING(member) .setting = JOB_PLACE(settings, member)
#define JOB_FIELD(kind, member, ...)                                                               \
    {.name = #member,                                                                              \
     .type = JOB_##kind,                                                                           \
     .offset = offsetof(struct job_params, member),                                                \
     __VA_ARGS__},

static const struct job_field fields[] = {
#include "server/job/fields.h"
};
_Static_assert(sizeof fields / sizeof *fields <= JOB_TABLE_MAX, "arrays of JOB_TABLE_MAX");

const struct job_table job_table = {fields, sizeof fields / sizeof *fields};

const struct job_field *job_field_find(const struct job_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->fields[i].name, name) == 0)
            return &table->fields[i];
    return NULL;
}

static const struct pictor_sampler_info *sampler_of(const struct job_params *p)
{
    return p->sampler ? pictor_sampler_find(p->sampler, NULL) : NULL;
}

static const char *or_else(const char *text, const char *other)
{
    return text && *text ? text : other;
}

/* The schedule of a pass: a sampler's own by its name. NULL: not known. */
static const struct pictor_scheduler_info *schedule_of(const struct job_params *p, bool hires)
{
    const char *sampler = hires ? or_else(p->hires_sampler, p->sampler) : p->sampler;
    const char *name = hires ? or_else(p->hires_scheduler, p->scheduler) : p->scheduler;
    const struct pictor_sampler_info *by = sampler ? pictor_sampler_find(sampler, NULL) : NULL;
    const struct pictor_scheduler_info *found = pictor_scheduler_find(or_else(name, "automatic"));
    bool own = found && strcmp(found->name, "automatic") == 0;
    return own && by ? pictor_scheduler_find(by->default_scheduler) : found;
}

static bool is_of_schedule(enum job_part part, const struct pictor_scheduler_info *info)
{
    return info && (part == JOB_OF_ENDS  ? info->has_ends
                    : part == JOB_OF_RHO ? info->default_rho > 0
                                         : info->has_beta);
}

bool job_field_applies(const struct job_field *f, const struct job_params *p)
{
    switch (f->part) {
    case JOB_OF_ALL:
        return true;
    case JOB_OF_VARIATION:
        return p->subseed_strength != 0;
    case JOB_OF_INIT:
        return p->has_init;
    case JOB_OF_MASK:
        return p->has_init && p->has_mask;
    case JOB_OF_AREA:
        return p->has_init && p->has_mask && p->mask_only_area;
    case JOB_OF_HIRES:
        return p->hires_width > 0;
    case JOB_OF_CHURN:
        return sampler_of(p) && sampler_of(p)->churns;
    case JOB_OF_NOISE:
        return sampler_of(p) && sampler_of(p)->scales_noise;
    case JOB_OF_SEED_SIZE:
        return p->seed_resize_width > 0 && p->seed_resize_height > 0;
    case JOB_OF_LOW:
        return p->guidance_low > 0; /* false for NAN */
    case JOB_OF_REFINER:
        return p->refiner && *p->refiner;
    case JOB_OF_ENDS:
    case JOB_OF_RHO:
    case JOB_OF_BETA:
        return is_of_schedule(f->part, schedule_of(p, false)) ||
               (p->hires_width > 0 && is_of_schedule(f->part, schedule_of(p, true)));
    }
    return false;
}

/* ---- values ---- */

static void *at(const struct job_field *f, const void *job)
{
    return (char *)job + f->offset;
}

bool job_field_is_empty(const struct job_field *f, const void *job)
{
    switch (f->type) {
    case JOB_TEXT:
        return !*(char **)at(f, job);
    case JOB_WHOLE:
        return *(int *)at(f, job) == JOB_UNSET;
    case JOB_REAL:
        return isnan(*(double *)at(f, job));
    case JOB_SEED:
    case JOB_FLAG:
    case JOB_WORD:
        break;
    }
    return false;
}

void job_field_clear(const struct job_field *f, void *job)
{
    if (f->type == JOB_TEXT) {
        free(*(char **)at(f, job));
        *(char **)at(f, job) = NULL;
    } else if (f->type == JOB_WHOLE) {
        *(int *)at(f, job) = JOB_UNSET;
    } else if (f->type == JOB_REAL) {
        *(double *)at(f, job) = JOB_NO_REAL;
    }
}

double job_field_number(const struct job_field *f, const void *job)
{
    switch (f->type) {
    case JOB_WHOLE:
    case JOB_WORD:
        return *(int *)at(f, job);
    case JOB_REAL:
        return *(double *)at(f, job);
    case JOB_FLAG:
        return *(bool *)at(f, job);
    case JOB_TEXT:
    case JOB_SEED:
        break;
    }
    return JOB_NO_REAL;
}

void job_field_set_number(const struct job_field *f, void *job, double value)
{
    if (f->type == JOB_WHOLE || f->type == JOB_WORD)
        *(int *)at(f, job) = (int)value;
    else if (f->type == JOB_REAL)
        *(double *)at(f, job) = value;
    else if (f->type == JOB_FLAG)
        *(bool *)at(f, job) = value != 0;
}

const char *job_field_text(const struct job_field *f, const void *job)
{
    return *(char **)at(f, job);
}

bool job_field_set_text(const struct job_field *f, void *job, const char *text, struct err *err)
{
    char **to = at(f, job);
    if (*to && strcmp(*to, text) == 0)
        return true;
    char *copy = strdup(text);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory for %s", f->name);
    free(*to);
    *to = copy;
    return true;
}

uint64_t job_field_seed(const struct job_field *f, const void *job)
{
    return *(uint64_t *)at(f, job);
}

static bool wanted(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "%s", what);
}

bool job_field_read(const struct job_field *f, void *job, const char *text,
                    const char *const *words, struct err *err)
{
    struct json_whole whole;
    char list[160] = "one of";
    switch (f->type) {
    case JOB_TEXT:
        return job_field_set_text(f, job, text, err);
    case JOB_WHOLE:
        if (!json_number_parse(text, &whole) || whole.magnitude > INT_MAX)
            return wanted(err, "a whole number");
        *(int *)at(f, job) = whole.negative ? -(int)whole.magnitude : (int)whole.magnitude;
        return true;
    case JOB_REAL: {
        char *end;
        double value = strtod(text, &end);
        if (end == text || *end || !isfinite(value))
            return wanted(err, "a number");
        *(double *)at(f, job) = value;
        return true;
    }
    case JOB_SEED:
        if (!json_number_parse(text, &whole) || whole.negative)
            return wanted(err, "a whole number of 0..18446744073709551615");
        *(uint64_t *)at(f, job) = whole.magnitude;
        return true;
    case JOB_FLAG:
    case JOB_WORD:
        for (int i = 0; words[i]; i++) {
            if (strcmp(text, words[i]) == 0) {
                job_field_set_number(f, job, i);
                return true;
            }
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s %s", i ? "," : "", words[i]);
        }
        return wanted(err, list);
    }
    return false;
}

/* ---- all fields ---- */

void job_field_init(const struct job_table *table, void *job)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->type == JOB_TEXT)
            *(char **)at(f, job) = NULL;
        else if (f->type == JOB_SEED)
            *(uint64_t *)at(f, job) = 0;
        else
            job_field_set_number(f, job, f->usual);
    }
}

void job_field_free(const struct job_table *table, void *job)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->fields[i].type == JOB_TEXT)
            job_field_clear(&table->fields[i], job);
}

bool job_field_fill(const struct job_table *table, void *job, struct err *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (!job_field_is_empty(f, job))
            continue;
        if (f->type != JOB_TEXT)
            job_field_set_number(f, job, f->usual);
        else if (f->text && !job_field_set_text(f, job, f->text, err))
            return false;
    }
    return true;
}

/* The value of a setting, or NAN. */
static double setting_of(const struct job_field *f, const struct settings *settings)
{
    const char *place = (const char *)settings + f->setting.offset;
    if (f->setting.type == JOB_PLACE_INT)
        return *(const int *)place;
    return f->setting.type == JOB_PLACE_DOUBLE ? *(const double *)place : NAN;
}

void job_field_fill_settings(const struct job_table *table, void *job,
                             const struct settings *settings)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->setting.type && job_field_is_empty(f, job))
            job_field_set_number(f, job, setting_of(f, settings));
    }
}

/* ---- checks ---- */

static double most_of(const struct job_field *f, const struct settings *settings)
{
    switch (f->limit) {
    case JOB_NO_LIMIT:
        break;
    case JOB_MAX_PROMPT:
        return (double)settings->max_prompt_bytes;
    case JOB_MAX_STEPS:
        return settings->max_steps;
    case JOB_MAX_SIDE:
        return settings->max_side;
    case JOB_MAX_COUNT:
        return settings->max_count;
    }
    return f->most;
}

static bool check_text(const struct job_field *f, const char *text, const struct settings *settings,
                       struct err *err)
{
    double most = most_of(f, settings);
    size_t size = text ? strlen(text) : 0;
    if (most == 0 || (double)size <= most)
        return true;
    return err_set(err, f->limit ? ERR_TOO_LARGE : ERR_INVALID,
                   "%s must be at most %.0f bytes, got %zu", f->name, most, size);
}

static bool check_number(const struct job_field *f, double value, const struct settings *settings,
                         struct err *err)
{
    double least = f->least, most = most_of(f, settings);
    if (least == 0 && most == 0)
        return true;
    if (!(value >= least && value <= most)) /* NAN is refused */
        return err_set(err, ERR_INVALID, "%s must be %.16g..%.16g, got %.16g", f->name, least, most,
                       value);
    if (f->multiple && (int)value % f->multiple != 0)
        return err_set(err, ERR_INVALID, "%s must be a multiple of %d, got %d", f->name,
                       f->multiple, (int)value);
    return true;
}

static bool check_word(const struct job_field *f, int value, struct err *err)
{
    int count = 0;
    while (f->words[count])
        count++;
    return (value >= 0 && value < count) ||
           err_set(err, ERR_INVALID, "%s must be 0..%d, got %d", f->name, count - 1, value);
}

static bool check(const struct job_field *f, const void *job, const struct settings *settings,
                  struct err *err)
{
    double usual = f->type == JOB_WHOLE && f->usual == JOB_UNSET ? NAN : f->usual;
    switch (f->type) {
    case JOB_TEXT:
        return check_text(f, job_field_text(f, job), settings, err);
    case JOB_WHOLE:
    case JOB_REAL:
        if (isnan(usual) && job_field_is_empty(f, job))
            return true;
        return check_number(f, job_field_number(f, job), settings, err);
    case JOB_WORD:
        return check_word(f, *(int *)at(f, job), err);
    case JOB_SEED:
    case JOB_FLAG:
        break;
    }
    return true;
}

bool job_field_check(const struct job_table *table, const void *job,
                     const struct settings *settings, const char **param, struct err *err)
{
    for (size_t i = 0; i < table->count; i++) {
        if (!check(&table->fields[i], job, settings, err)) {
            *param = table->fields[i].name;
            return false;
        }
    }
    return true;
}

/* ---- JSON ---- */

static cJSON *to_json(const struct job_field *f, const void *job)
{
    if (job_field_is_empty(f, job))
        return cJSON_CreateNull();
    switch (f->type) {
    case JOB_TEXT:
        return cJSON_CreateString(job_field_text(f, job));
    case JOB_WHOLE:
        return cJSON_CreateNumber(job_field_number(f, job));
    case JOB_REAL: {
        double value = job_field_number(f, job);
        return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
    }
    case JOB_SEED:
        return json_number_item(job_field_seed(f, job));
    case JOB_FLAG:
        return cJSON_CreateBool(job_field_number(f, job) != 0);
    case JOB_WORD:
        return cJSON_CreateString(f->words[*(int *)at(f, job)]);
    }
    return NULL;
}

struct cJSON *job_field_to_json(const struct job_table *table, const void *job)
{
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; json && i < table->count; i++) {
        cJSON *item = to_json(&table->fields[i], job);
        if (!item || !cJSON_AddItemToObject(json, table->fields[i].name, item)) {
            cJSON_Delete(item);
            cJSON_Delete(json);
            json = NULL;
        }
    }
    return json;
}

static struct json_field row_of(const struct job_field *f)
{
    static const enum json_field_type types[] = {
        [JOB_TEXT] = JSON_FIELD_STRING, [JOB_WHOLE] = JSON_FIELD_INT,
        [JOB_REAL] = JSON_FIELD_DOUBLE, [JOB_SEED] = JSON_FIELD_WHOLE,
        [JOB_FLAG] = JSON_FIELD_BOOL,   [JOB_WORD] = JSON_FIELD_WORD,
    };
    struct json_field row = {.name = f->name,
                             .type = types[f->type],
                             .offset = f->offset,
                             .number = f->usual,
                             .words = f->words};
    if (f->type == JOB_SEED) {
        row.offset = JSON_FIELD_NOWHERE;
        row.least = -1;
    }
    return row;
}

size_t job_field_rows(const struct job_table *table, struct json_field *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->about == JOB_STATE)
            continue;
        struct json_field row = row_of(f);
        row.required = f->required;
        row.text = f->optional ? NULL : f->text;
        if (f->optional)
            row.number = f->type == JOB_WHOLE ? JOB_UNSET : JOB_NO_REAL;
        rows[count++] = row;
    }
    return count;
}

/* Makes copies of texts that are the JSON's. */
static bool own_texts(const struct job_table *table, void *job, struct err *err)
{
    bool done = true;
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->type != JOB_TEXT || job_field_is_empty(f, job))
            continue;
        char **text = at(f, job);
        *text = done ? strdup(*text) : NULL;
        done = *text != NULL;
    }
    if (!done)
        job_field_free(table, job);
    return done || err_set(err, ERR_INTERNAL, "no memory for a job");
}

bool job_field_own(const struct job_table *table, void *job, const struct cJSON *json,
                   struct err *err)
{
    if (!own_texts(table, job, err))
        return false;
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        struct json_whole seed;
        if (f->type != JOB_SEED)
            continue;
        if (json_number_whole(cJSON_GetObjectItemCaseSensitive(json, f->name), &seed) &&
            !seed.negative) {
            *(uint64_t *)at(f, job) = seed.magnitude;
        } else if (!intake_seed(at(f, job), err)) {
            job_field_free(table, job);
            return false;
        }
    }
    return true;
}

/* What rows leave over: null where that is not the usual value, and seeds. */
static bool take_rest(const struct job_field *f, void *job, const cJSON *item, struct err *err)
{
    struct json_whole seed = {0};
    if (cJSON_IsNull(item) && f->type != JOB_TEXT)
        job_field_clear(f, job);
    if (f->type != JOB_SEED)
        return true;
    json_number_whole(item, &seed);
    *(uint64_t *)at(f, job) = seed.magnitude;
    return !seed.negative || err_set(err, ERR_INVALID, "%s must not be negative", f->name);
}

bool job_field_from_json(const struct job_table *table, void *job, struct cJSON *json,
                         struct err *err)
{
    struct json_field rows[JOB_TABLE_MAX];
    struct json_problem problem;
    for (size_t i = 0; i < table->count; i++)
        rows[i] = row_of(&table->fields[i]);
    bool done = json_fields_parse(rows, table->count, json, 0, job, &problem);
    if (!done)
        err_set(err, ERR_INVALID, "%s", problem.message);
    for (size_t i = 0; done && i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        done = take_rest(f, job, cJSON_GetObjectItemCaseSensitive(json, f->name), err);
    }
    if (!done)
        job_field_init(table, job); /* its texts are the JSON's */
    return done && own_texts(table, job, err);
}

/* ---- the schema ---- */

static void add_type(cJSON *schema, const struct job_field *f)
{
    static const char *const seed[] = {"integer", "string"};
    switch (f->type) {
    case JOB_TEXT:
    case JOB_WORD:
        cJSON_AddStringToObject(schema, "type", "string");
        break;
    case JOB_WHOLE:
        cJSON_AddStringToObject(schema, "type", "integer");
        break;
    case JOB_REAL:
        cJSON_AddStringToObject(schema, "type", "number");
        break;
    case JOB_SEED:
        cJSON_AddItemToObject(schema, "type", cJSON_CreateStringArray(seed, 2));
        cJSON_AddNumberToObject(schema, "minimum", -1);
        cJSON_AddItemToObject(schema, "maximum", json_number_item(UINT64_MAX));
        break;
    case JOB_FLAG:
        cJSON_AddStringToObject(schema, "type", "boolean");
        break;
    }
}

static void add_default(cJSON *schema, const struct job_field *f, const struct settings *settings)
{
    double usual = f->setting.type ? setting_of(f, settings) : f->usual;
    bool none = f->required || f->of_model || f->type == JOB_SEED || isnan(usual);
    if (none || (f->type == JOB_TEXT && !f->text))
        return;
    if (f->type == JOB_TEXT)
        cJSON_AddStringToObject(schema, "default", f->text);
    else if (f->type == JOB_WORD)
        cJSON_AddStringToObject(schema, "default", f->words[(int)usual]);
    else if (f->type == JOB_FLAG)
        cJSON_AddBoolToObject(schema, "default", usual != 0);
    else
        cJSON_AddNumberToObject(schema, "default", usual);
}

static void add_values(cJSON *schema, const struct job_field *f, const struct settings *settings)
{
    double most = most_of(f, settings);
    if (f->type == JOB_TEXT && most > 0)
        cJSON_AddNumberToObject(schema, "maxLength", most);
    if ((f->type == JOB_WHOLE || f->type == JOB_REAL) && (f->least != 0 || most != 0)) {
        cJSON_AddNumberToObject(schema, "minimum", f->least);
        cJSON_AddNumberToObject(schema, "maximum", most);
    }
    if (f->multiple)
        cJSON_AddNumberToObject(schema, "multipleOf", f->multiple);
    if (f->words) {
        cJSON *words = cJSON_AddArrayToObject(schema, "enum");
        for (int i = 0; f->words[i]; i++)
            cJSON_AddItemToArray(words, cJSON_CreateString(f->words[i]));
    }
    if (f->known) { /* no enum: other spellings and aliases are taken, too */
        cJSON *names = cJSON_AddArrayToObject(schema, "examples");
        for (int i = 0; f->known(i); i++)
            cJSON_AddItemToArray(names, cJSON_CreateString(f->known(i)));
    }
}

struct cJSON *job_field_schema(const struct job_table *table, const struct settings *settings)
{
    static const char *const parts[] = {
        [JOB_OF_ALL] = "all",         [JOB_OF_VARIATION] = "variation",
        [JOB_OF_INIT] = "init",       [JOB_OF_MASK] = "mask",
        [JOB_OF_AREA] = "area",       [JOB_OF_HIRES] = "hires",
        [JOB_OF_CHURN] = "churn",     [JOB_OF_NOISE] = "noise",
        [JOB_OF_LOW] = "low",         [JOB_OF_SEED_SIZE] = "seed_size",
        [JOB_OF_REFINER] = "refiner", [JOB_OF_ENDS] = "ends",
        [JOB_OF_RHO] = "rho",         [JOB_OF_BETA] = "beta",
    };
    cJSON *properties = cJSON_CreateObject();
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        if (f->about == JOB_STATE)
            continue;
        cJSON *schema = cJSON_AddObjectToObject(properties, f->name);
        add_type(schema, f);
        cJSON_AddStringToObject(schema, "description", f->doc);
        add_default(schema, f, settings);
        add_values(schema, f, settings);
        cJSON_AddStringToObject(schema, "x-about", f->about == JOB_PICTURE ? "picture" : "request");
        cJSON_AddStringToObject(schema, "x-part", parts[f->part]);
        if (f->of_model)
            cJSON_AddBoolToObject(schema, "x-of-model", true);
        if (f->infotext)
            cJSON_AddStringToObject(schema, "x-infotext", f->infotext);
        if (f->flag)
            cJSON_AddStringToObject(schema, "x-flag", f->flag);
    }
    return properties;
}

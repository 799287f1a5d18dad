/* job.c: What concerns one field by itself is job_field.c's; here is what concerns several. A
 * stored job is read without either: today's limits are not those it was accepted under. */
#include "server/job/job.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/upscalers.h"

#define SIDE_MIN 64
#define SAID_DEPTH 16
#define USUAL_SIDE 1024 /* of what leaves it to an upstream, which does not say */
#define USUAL_STEPS 20

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

/* ---- fields ---- */

void job_params_init(struct job_params *p)
{
    job_field_init(&job_table, p);
}

void job_params_free(struct job_params *p)
{
    job_field_free(&job_table, p);
}

struct cJSON *job_params_to_json(const struct job_params *p)
{
    return job_field_to_json(&job_table, p);
}

bool job_params_from_json(struct job_params *p, struct cJSON *json, struct err *err)
{
    return job_field_from_json(&job_table, p, json, err);
}

bool job_params_copy(const struct job_params *from, struct job_params *to, struct err *err)
{
    cJSON *json = job_params_to_json(from);
    bool ok = json ? job_params_from_json(to, json, err)
                   : err_set(err, ERR_INTERNAL, "no memory for a request");
    cJSON_Delete(json);
    return ok;
}

/* ---- the check ---- */

/* Says which field is to blame, once. */
struct check {
    const char *param;
    struct err *err;
};

static bool bad(struct check *c, enum err_code code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool bad(struct check *c, enum err_code code, const char *param, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->param = param;
    return err_set(c->err, code, "%s %s", param, text);
}

static bool set_text(struct check *c, const char *name, struct job_params *p, const char *value)
{
    return job_field_set_text(job_field_find(&job_table, name), p, value, c->err);
}

static bool check_text(struct check *c, struct job_params *p)
{
    if (!p->model || !*p->model)
        return bad(c, ERR_INVALID, "model", "must name a model");
    if (!p->prompt)
        return bad(c, ERR_INVALID, "prompt", "must be given");
    for (size_t i = 0; i < job_table.count; i++) {
        const struct job_field *f = &job_table.fields[i];
        if (f->type == JOB_TEXT && f->text && job_field_is_empty(f, p) &&
            !job_field_set_text(f, p, f->text, c->err))
            return false;
    }
    return true;
}

/* "DPM++ 2M Karras" names both; that wins over a scheduler given besides, as in SD WebUI. */
static bool check_sampler(struct check *c, struct job_params *p)
{
    const struct pictor_scheduler_info *named = NULL, *scheduler = NULL;
    const struct pictor_sampler_info *sampler = pictor_sampler_find(p->sampler, &named);
    if (!sampler)
        return bad(c, ERR_INVALID, "sampler", "\"%.60s\" is not known", p->sampler);
    scheduler = pictor_scheduler_find(p->scheduler);
    if (!scheduler)
        return bad(c, ERR_INVALID, "scheduler", "\"%.60s\" is not known", p->scheduler);
    return set_text(c, "sampler", p, sampler->name) &&
           set_text(c, "scheduler", p, named ? named->name : scheduler->name);
}

/* Whether a file has the name that is not known is for who knows the folders (intake_files). */
static bool check_upscaler(struct check *c, struct job_params *p)
{
    const char *name = upscalers_canonical(p->hires_upscaler);
    return !name || set_text(c, "hires_upscaler", p, name);
}

/* Of the second pass; what names both wins here, too. */
static bool check_hires_sampler(struct check *c, struct job_params *p)
{
    const struct pictor_scheduler_info *named = NULL, *scheduler = NULL;
    const struct pictor_sampler_info *sampler = NULL;
    if (p->hires_sampler && *p->hires_sampler) {
        if (!(sampler = pictor_sampler_find(p->hires_sampler, &named)))
            return bad(c, ERR_INVALID, "hires_sampler", "\"%.60s\" is not known", p->hires_sampler);
        if (!set_text(c, "hires_sampler", p, sampler->name))
            return false;
    }
    if (named)
        return set_text(c, "hires_scheduler", p, named->name);
    if (!p->hires_scheduler || !*p->hires_scheduler)
        return true;
    if (!(scheduler = pictor_scheduler_find(p->hires_scheduler)))
        return bad(c, ERR_INVALID, "hires_scheduler", "\"%.60s\" is not known", p->hires_scheduler);
    return set_text(c, "hires_scheduler", p, scheduler->name);
}

/* A rho below a tenth would be a number too large for its own inverse. */
static bool check_schedule(struct check *c, const struct job_params *p)
{
    if (p->rho > 0 && p->rho < 0.1)
        return bad(c, ERR_INVALID, "rho", "must be 0 or 0.1..100, got %g", p->rho);
    return p->sigma_min == 0 || p->sigma_max == 0 || p->sigma_min < p->sigma_max ||
           bad(c, ERR_INVALID, "sigma_min", "must be below sigma_max, %g, got %g", p->sigma_max,
               p->sigma_min);
}

/* The last picture has the seed + count - 1. */
static bool check_seed(struct check *c, const char *param, uint64_t seed, int count)
{
    uint64_t most = UINT64_MAX - (uint64_t)count + 1;
    return seed <= most ||
           bad(c, ERR_INVALID, param, "of %d pictures must be 0..%" PRIu64 ", got %" PRIu64, count,
               most, seed);
}

static bool check_pixels(struct check *c, const struct settings *s, const char *names[2], int width,
                         int height)
{
    return (size_t)width * (size_t)height <= (size_t)s->max_pixels ||
           bad(c, ERR_TOO_LARGE, names[0], "x %s must be at most %d pixels, got %dx%d", names[1],
               s->max_pixels, width, height);
}

static bool check_hires(struct check *c, const struct settings *s, const struct job_params *p)
{
    const char *names[] = {"hires_width", "hires_height"};
    int sides[] = {p->hires_width, p->hires_height};
    if (sides[0] == 0 && sides[1] == 0)
        return true;
    for (int i = 0; i < 2; i++)
        if (sides[i] < SIDE_MIN)
            return bad(c, ERR_INVALID, names[i], "must be %d..%d, got %d", SIDE_MIN, s->max_side,
                       sides[i]);
    return check_pixels(c, s, names, sides[0], sides[1]);
}

bool job_params_check(struct job_params *p, const struct settings *settings, const char **param,
                      struct err *err)
{
    const char *size[] = {"width", "height"};
    struct check c = {.err = err};
    bool good = check_text(&c, p) && job_field_check(&job_table, p, settings, &c.param, err) &&
                check_pixels(&c, settings, size, p->width, p->height) && check_sampler(&c, p) &&
                check_upscaler(&c, p) && check_hires_sampler(&c, p) && check_schedule(&c, p) &&
                check_seed(&c, "seed", p->seed, p->count) &&
                check_seed(&c, "subseed", p->subseed, p->count) &&
                (p->has_init || !p->has_mask || bad(&c, ERR_INVALID, "mask", "needs init_image")) &&
                check_hires(&c, settings, p);
    if (param)
        *param = c.param;
    return good;
}

static int64_t pass_work(int width, int height, int steps)
{
    int64_t w = width > 0 ? width : USUAL_SIDE, h = height > 0 ? height : USUAL_SIDE;
    return w * h / 1000 * (steps > 0 ? steps : USUAL_STEPS);
}

int64_t job_params_work(const struct job_params *p)
{
    int64_t work = pass_work(p->width, p->height, p->steps);
    if (p->hires_width > 0)
        work += pass_work(p->hires_width, p->hires_height,
                          p->hires_steps > 0 ? p->hires_steps : p->steps);
    work *= p->count > 0 ? p->count : 1;
    return work > 0 ? work : 1;
}

bool job_mark_check(const char *tag, struct err *err)
{
    size_t size = strlen(tag);
    bool fine = size > 0 && size < JOB_MARK_SIZE && json_text_is_utf8(tag, size, NULL) &&
                tag[0] != ' ' && tag[size - 1] != ' ';
    for (size_t i = 0; i < size && fine; i++)
        fine = (unsigned char)tag[i] >= ' ' && tag[i] != 0x7f && tag[i] != ',';
    return fine || err_set(err, ERR_INVALID,
                           "a tag is 1 to %d bytes of text without commas, control characters and "
                           "blanks around it, got \"%.60s\"",
                           JOB_MARK_SIZE - 1, tag);
}

void job_free(struct job *job)
{
    job_params_free(&job->params);
    for (size_t i = 0; i < job->image_count; i++)
        free(job->images[i].infotext);
    free(job->images);
    free(job->marks);
    free(job->said);
    job->said = NULL;
    job->images = NULL;
    job->image_count = 0;
    job->marks = NULL;
    job->mark_count = 0;
}

struct cJSON *job_usage(const struct job *job)
{
    cJSON *said =
        job->said ? json_text_parse(job->said, strlen(job->said), SAID_DEPTH, NULL) : NULL;
    cJSON *usage = cJSON_DetachItemFromObjectCaseSensitive(said, "usage");
    cJSON_Delete(said);
    if (cJSON_IsObject(usage))
        return usage;
    cJSON_Delete(usage);
    return NULL;
}

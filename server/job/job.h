/* job.h: one picture request, whatever API it came by.
 *
 * Every dialect (openai, sdapi, native, command line) translates its request into this struct and
 * the finished job back into its own answer; nothing behind a dialect knows which one it was. The
 * struct is stored as JSON in the queue, so it can be run again later or elsewhere. */
#ifndef PICTOR_SERVER_JOB_H
#define PICTOR_SERVER_JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/image.h"
#include "server/job/job_field.h"
#include "server/job/refusal.h"

struct cJSON;

#define JOB_ID_SIZE 33 /* 32 hex digits (128 random bits) and NUL: not guessable, never a path */

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
const char *job_state_name(enum job_state state); /* "queued" ... */
bool job_state_of(const char *name, enum job_state *out);
static inline bool job_state_is_final(enum job_state s)
{
    return s == JOB_DONE || s == JOB_FAILED || s == JOB_CANCELLED;
}

/* The request: a member a line of fields.h, which says what it means. Strings are owned
 * (job_params_free). `model` is a name of the registry, already resolved from aliases and defaults;
 * `sampler` and `scheduler` are canonical ("Euler a", "karras"); seeds are resolved at submit,
 * never "random" any more. The pixels of a picture to begin from and of a mask are stored beside
 * the job, as inputs "init" and "mask".
 *
 * Of a job for an upstream, what the client left out stays out, because the upstream has defaults
 * of its own that nobody here knows: steps JOB_UNSET, guidance and strength NAN, sampler and
 * scheduler NULL (`optional` in fields.h); each is null in JSON. Jobs of local models are complete
 * (server/job/intake.h), at the latest when they are painted. */
struct job_params {
#define JOB_C_TEXT char *
#define JOB_C_WHOLE int
#define JOB_C_REAL double
#define JOB_C_SEED uint64_t
#define JOB_C_FLAG bool
#define JOB_C_WORD int
#define JOB_FIELD(type, name, ...) JOB_C_##type name;
#include "server/job/fields.h"
};

/* The seeds of picture `index`, counted as SD WebUI does: variations of a seed differ by their
 * subseeds alone. */
static inline uint64_t job_seed(const struct job_params *p, int index)
{
    return p->subseed_strength > 0 ? p->seed : p->seed + (uint64_t)index;
}
static inline uint64_t job_subseed(const struct job_params *p, int index)
{
    return p->subseed + (uint64_t)index;
}

void job_params_init(struct job_params *p); /* defaults; strings NULL */
void job_params_free(struct job_params *p);

/* JSON as the store and the native API have it: one member a field, same names. */
struct cJSON *job_params_to_json(const struct job_params *p);
bool job_params_from_json(struct job_params *p, struct cJSON *json, struct err *err);
bool job_params_copy(const struct job_params *from, struct job_params *to, struct err *err);

struct settings;
/* Ranges, limits of the settings, known sampler and scheduler; canonicalises the names.
 * On failure *param (may be NULL) names the field: "width". */
bool job_params_check(struct job_params *p, const struct settings *settings, const char **param,
                      struct err *err);

/* For progress: 0 while they are unknown. */
static inline int job_steps(const struct job_params *p)
{
    return p->steps > 0 ? p->steps : 0;
}

/* Thousands of pixels times steps of all its pictures, second passes included, as far as the
 * request tells; at least 1. */
int64_t job_params_work(const struct job_params *p);

/* A finished picture of a job. The file lies in the image folder under its id. */
struct job_image {
    char id[JOB_ID_SIZE];
    int index, width, height;
    uint64_t seed, subseed;
    enum image_format format;
    char *infotext; /* what is in the PNG's `parameters` chunk */
    size_t bytes;
};

/* Pictures that were ordered at an upstream. */
struct job_order {
    char token[JOB_ID_SIZE]; /* names the order, also to the upstream; "": none */
    int index, count;        /* of the first one, and how many; 0: not known any more */
};

struct job_progress {
    int image;          /* which of `count`, from 0 */
    int step, steps;    /* of this picture */
    double eta_seconds; /* of the whole job; < 0 unknown (job_progress_waiting) */
};

/* What eta_seconds is of a job that waits at an upstream behind `ahead` others: unknown, too. */
static inline double job_progress_waiting(int ahead)
{
    return -1 - (double)(ahead > 0 ? ahead : 0);
}
/* How many are before it there; 0: none, or that is not known. */
static inline int job_progress_ahead(const struct job_progress *p)
{
    return p->eta_seconds <= -2 && p->eta_seconds > -1e6 ? (int)(-1 - p->eta_seconds) : 0;
}

#define JOB_MARK_SIZE 101 /* bytes of a tag and NUL */
#define JOB_MARKS_MAX 32  /* tags of one job or picture */

/* What people say of a job or of one of its pictures. */
struct job_mark {
    char image_id[JOB_ID_SIZE]; /* "": of the job itself */
    char tag[JOB_MARK_SIZE];    /* "": it is a favourite */
};
/* Whether text can be a tag: JOB_MARK_SIZE - 1 bytes of UTF-8 at most, no commas, no control
 * characters, no blanks around it. */
bool job_mark_check(const char *tag, struct err *err);

/* What the store knows of a job. Owned by the caller: job_free. */
struct job {
    char id[JOB_ID_SIZE];
    char key_id[JOB_ID_SIZE]; /* whose it is; "" without keys */
    enum job_state state;
    int priority;
    bool waited; /* of a new job: a client's open request is all that wants it */
    int attempts;
    int64_t created_ms, started_ms, finished_ms; /* Unix milliseconds, 0: not yet */
    struct job_params params;
    struct job_image *images;
    size_t image_count;
    struct job_mark *marks; /* by tag */
    size_t mark_count;
    enum err_code error; /* ERR_NONE unless failed */
    char error_message[256];
    struct refusal refusal; /* failed, at an upstream that said why */
    char *said;   /* done, by an upstream: what it said of that, {"usage": {...}}; NULL: nothing */
    int position; /* queued: how many are before it; else -1 */
    struct job_progress progress;
};

void job_free(struct job *job);

/* The usage that an upstream has told; owned, NULL: none. */
struct cJSON *job_usage(const struct job *job);

#define JOB_SEARCH_MAX 200

/* Which jobs a list is asked for. */
struct job_filter {
    const char *key_id;      /* NULL: any */
    const char *text;        /* substring of the prompt, JOB_SEARCH_MAX bytes at most; NULL: any */
    const atomic_bool *gone; /* of a search: set when nobody waits for it any more; may be NULL */
    /* Each may be NULL. Of a tag, of a favourite: it is the job's or one of its pictures'. */
    const char *tags; /* a JSON array of texts: those that have them all */
    int tag_count;    /* of it */
    bool favourite;   /* those alone */
    const char *model;
    const char *params; /* a JSON object of fields that are to have these values */
    int64_t since_ms, until_ms; /* accepted then or later, and earlier than; 0: any time */
    int state;                  /* enum job_state, or -1: any */
    int64_t before_sequence;    /* paging: 0 is from the newest */
    int limit;                  /* 1..200 */
};

/* What waits for one model. */
struct job_backlog {
    char model[200];
    int queued;
    int64_t oldest_ms; /* when the oldest was accepted, Unix milliseconds */
};

#endif

/* job_field.h: what can be done with a job's fields without knowing any of them.
 *
 * fields.h is the table; from a line of it come the member of struct job_params, the JSON of the
 * store and of the native API in both directions, the checks of one field by itself, the engine's
 * parameter (job_engine.h), its pair in the infotext in both directions (infotext.h), its flag of
 * `pictor generate` (job_flags.h), and its schema. What concerns several fields (a mask needs a
 * picture, width x height) is in job.c.
 *
 * Everything here takes the table as an argument, and a pointer to the struct that its offsets are
 * counted in: tests add a line to a copy. Thread-safe; no state. */
#ifndef PICTOR_SERVER_JOB_FIELD_H
#define PICTOR_SERVER_JOB_FIELD_H

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct cJSON;
struct job_params;
struct json_field;
struct settings;

enum job_field_type {
    JOB_TEXT,  /* char *, owned, or NULL */
    JOB_WHOLE, /* int */
    JOB_REAL,  /* double */
    JOB_SEED,  /* uint64_t */
    JOB_FLAG,  /* bool */
    JOB_WORD   /* int: which of `words`, from 0 */
};

/* Settings that bound a field. */
enum job_limit { JOB_NO_LIMIT, JOB_MAX_PROMPT, JOB_MAX_STEPS, JOB_MAX_SIDE, JOB_MAX_COUNT };

/* Of which jobs a field says anything. */
enum job_part {
    JOB_OF_ALL,
    JOB_OF_VARIATION, /* with a subseed_strength */
    JOB_OF_INIT,      /* begun from a picture */
    JOB_OF_MASK,      /* that, with a mask */
    JOB_OF_AREA,      /* that, with mask_only_area */
    JOB_OF_HIRES,     /* with a second pass */
    JOB_OF_CHURN,     /* with a sampler that has churn */
    JOB_OF_NOISE,     /* with one that minds noise_scale */
    JOB_OF_SEED_SIZE, /* whose seed is of another size */
    JOB_OF_LOW,       /* with a guidance_low */
    JOB_OF_REFINER,   /* with a refiner */
    JOB_OF_ENDS,      /* with a schedule, in either pass, that minds sigma_min and sigma_max, */
    JOB_OF_RHO,       /* that has a rho, */
    JOB_OF_BETA       /* that minds beta_alpha and beta_beta */
};

enum job_about {
    JOB_PICTURE, /* how the picture is made: "these settings again" takes it over */
    JOB_REQUEST, /* how it was asked for */
    JOB_STATE    /* no field of requests: what became of them */
};

/* How the infotext says it, where a key and a value are not all. */
enum job_form {
    JOB_FORM_PLAIN,
    JOB_FORM_SAMPLER,        /* under any of its names */
    JOB_FORM_SHORT,          /* a number without ".0" */
    JOB_FORM_SIZE,           /* "WxH" of this field and the next one, */
    JOB_FORM_SECOND,         /* which is this */
    JOB_FORM_HIRES,          /* so, or "Hires upscale: 2.0" */
    JOB_FORM_SCHEDULE,       /* a label, the sampler's own by its name */
    JOB_FORM_LABEL,          /* a scheduler's label */
    JOB_FORM_MODEL,          /* a hash goes before it */
    JOB_FORM_STRENGTH,       /* of a second pass unless a picture was begun from */
    JOB_FORM_HIRES_STRENGTH, /* has a key of its own beside that */
    JOB_FORM_GUIDANCE,       /* one that the network is told has a key of its own */
    JOB_FORM_ETA             /* the key is the sampler's */
};

/* A place in another struct: the engine's parameters or the settings. */
enum job_place_type {
    JOB_NO_PLACE,
    JOB_PLACE_TEXT,
    JOB_PLACE_INT, /* and enumerations */
    JOB_PLACE_FLOAT,
    JOB_PLACE_DOUBLE,
    JOB_PLACE_BOOL,
    JOB_PLACE_SEED
};
struct job_place {
    enum job_place_type type;
    size_t offset;
};

struct job_field {
    const char *name; /* in JSON */
    enum job_field_type type;
    size_t offset;
    const char *doc; /* one line: schema and --help */

    /* What it holds when a request leaves it out. */
    double usual;     /* number, flag or word; JOB_NO_REAL and JOB_UNSET: nothing */
    const char *text; /* TEXT; NULL: nothing */
    bool required;
    bool optional; /* left out, it is empty (JOB_NO_REAL, JOB_UNSET, NULL) until it is known what
                      model it is for; of a job for an upstream it stays so (see job.h) */
    bool of_model; /* what it then is, the model says; only an unknown model's is the usual one */
    struct job_place setting; /* or this setting does */

    /* What it may hold. */
    double least, most;        /* a number's range, where one is not 0; TEXT: `most` bytes */
    enum job_limit limit;      /* `most` is a setting */
    int multiple;              /* of this, or 0 */
    const char *const *words;  /* WORD: NULL-terminated */
    const char *(*known)(int); /* TEXT: the names there are, by index, NULL past the end */

    enum job_part part;
    enum job_about about;
    struct job_place engine;

    const char *infotext;      /* its key; NULL: none */
    const char *const *labels; /* WORD and FLAG (false, true): the infotext's words */
    enum job_form form;
    double silent; /* the value that is not written, and that its absence from a text means */
    bool always;   /* none: it is written whatever it is, unless it is empty */

    const char *flag;  /* "clip-skip"; NULL: none */
    char letter;       /* 'p' for -p, or 0 */
    const char *value; /* "N", in --help; of a FLAG none, of a WORD its words */
};

#define JOB_UNSET INT_MIN
#define JOB_NO_REAL ((double)NAN)

struct job_table {
    const struct job_field *fields;
    size_t count;
};
#define JOB_TABLE_MAX 96

/* The table of fields.h, over struct job_params. */
extern const struct job_table job_table;

/* Where a member of `struct host` is. */
/* clang-format off */
#define JOB_PLACE_TYPE(member)                                                                     \
    _Generic((member), const char *: JOB_PLACE_TEXT, float: JOB_PLACE_FLOAT,                       \
             double: JOB_PLACE_DOUBLE, bool: JOB_PLACE_BOOL, uint64_t: JOB_PLACE_SEED,             \
             default: JOB_PLACE_INT)
#define JOB_PLACE(host, member)                                                                    \
    {JOB_PLACE_TYPE(((struct host *)NULL)->member), offsetof(struct host, member)}
/* clang-format on */

const struct job_field *job_field_find(const struct job_table *table, const char *name);

/* Whether the field says anything of this job. */
bool job_field_applies(const struct job_field *f, const struct job_params *p);

/* ---- values ---- */

/* Of a number or text: JOB_NO_REAL, JOB_UNSET, NULL. The others are never empty. */
bool job_field_is_empty(const struct job_field *f, const void *job);
void job_field_clear(const struct job_field *f, void *job);

/* A number, flag or word as a number; not of TEXT and SEED. */
double job_field_number(const struct job_field *f, const void *job);
void job_field_set_number(const struct job_field *f, void *job, double value);

const char *job_field_text(const struct job_field *f, const void *job); /* of TEXT; may be NULL */
/* A copy of `text`, if it is not that already. */
bool job_field_set_text(const struct job_field *f, void *job, const char *text, struct err *err);

uint64_t job_field_seed(const struct job_field *f, const void *job); /* of SEED */

/* From text, as flags and infotexts have it; `words` are those of WORD and FLAG. ERR_INVALID: it is
 * no such value, of which the message says what it must be: "a whole number". */
bool job_field_read(const struct job_field *f, void *job, const char *text,
                    const char *const *words, struct err *err);

/* ---- all fields ---- */

void job_field_init(const struct job_table *table, void *job); /* usual values; TEXT NULL */
void job_field_free(const struct job_table *table, void *job);

/* Gives what is empty its usual value. ERR_INTERNAL: no memory. */
bool job_field_fill(const struct job_table *table, void *job, struct err *err);
/* The settings' values, where a field is empty and has a setting. */
void job_field_fill_settings(const struct job_table *table, void *job,
                             const struct settings *settings);

/* Each field by itself. On failure *param names it. */
bool job_field_check(const struct job_table *table, const void *job,
                     const struct settings *settings, const char **param, struct err *err);

/* ---- JSON ---- */

struct cJSON *job_field_to_json(const struct job_table *table, const void *job);

/* As job_field_to_json has it; what is not there is usual, null is empty. On failure `job` holds
 * nothing that needs to be freed. */
bool job_field_from_json(const struct job_table *table, void *job, struct cJSON *json,
                         struct err *err);

/* A row of json_fields.h for each field of requests; `rows` has room for JOB_TABLE_MAX. Returns how
 * many. Seeds are checked, not stored. */
size_t job_field_rows(const struct job_table *table, struct json_field *rows);

/* After json_fields_parse of them: takes the seeds from the same JSON (left out or -1: random), and
 * makes the texts, until now the JSON's, the job's own. On failure `job` holds nothing that needs
 * to be freed. */
bool job_field_own(const struct job_table *table, void *job, const struct cJSON *json,
                   struct err *err);

/* {"steps": {"type": "integer", ...}, ...}: JSON Schema of the fields of requests. `settings`:
 * limits and defaults of this server. Owned. */
struct cJSON *job_field_schema(const struct job_table *table, const struct settings *settings);

#endif

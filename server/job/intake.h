/* intake.h: what the dialects share on the way from a request to a job: the values of what a
 * request leaves out, and the pictures that come with it. Thread-safe; no state. */
#ifndef PICTOR_SERVER_INTAKE_H
#define PICTOR_SERVER_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/pictor.h"
#include "server/job/registry.h"

struct job_params;
struct settings;

struct intake_model {
    char name[REGISTRY_NAME_SIZE]; /* what job_params.model wants */
    bool upstream;
    enum registry_told told;
    const char *placeholders; /* as struct registry_model's */
    bool takes_more; /* pictures beside the one to begin from */
    /* The model's own, or the usual ones while they are unknown. */
    int width, height, steps;
    int clip_skips; /* the most that clip_skip may be; 0: not known */
    double guidance;
    char sampler[32], scheduler[32]; /* its own; "": everybody's */
    double image_guidance;           /* 0: it edits no pictures, or that is not known */
    bool masked;                     /* it is shown the mask */
    int references;                  /* pictures that it can be shown */
    char architecture[32]; /* "": not known */
    bool flow;               /* samplers are those of flow models */
    enum pictor_guide guide; /* of a local one */
    int text_widths[2]; /* as struct pictor_model_info's; 0 and 0: not known */
};

/* `name` NULL or "": the default model. ERR_NOT_FOUND. */
bool intake_model(struct registry *registry, const char *name, struct intake_model *out,
                  struct err *err);

/* What intake_model fills, of a model that the registry has returned already. */
void intake_model_of(const struct registry_model *model, struct intake_model *out);

/* Fills what the request left out (see job.h) with the model's own or the usual values, and how a
 * local model paints with the settings. */
bool intake_fill(const struct intake_model *model, const struct settings *settings,
                 struct job_params *p, struct err *err);

/* A model's own sampler, "" for none, and with it its scheduler, where the request left them out.
 */
bool intake_sampler(const char *sampler, const char *scheduler, struct job_params *p,
                    struct err *err);

/* Of a local model, how pictures are painted over: its own image guidance and mask weight where the
 * request left them out; where they say nothing to it, they are none. To a model that can be shown
 * pictures, strength 1 is meant where none is said: it edits. */
void intake_over(const struct intake_model *model, struct job_params *p);

/* Fills only how a local model paints (guidance interval, reuse, token merging) with the settings.
 */
void intake_speed(const struct settings *settings, struct job_params *p);

/* intake_fill, then job_params_check of the whole request. A job for an upstream is checked as
 * filled, but what the request left out stays out (see job.h). */
bool intake_complete(const struct intake_model *model, const struct settings *settings,
                     struct job_params *p, const char **param, struct err *err);

/* What a local model makes of what the job says beside its prompts: whether guidance is told to it,
 * and `notes` on what says nothing to it. Of a job for an upstream there are none. intake_complete
 * does this, too. */
bool intake_settle(const struct intake_model *model, struct job_params *p, struct err *err);

/* Adds to the job's `notes`: what of the request (a field of job_params) says nothing, and why. */
bool intake_note(struct job_params *p, const char *field, const char *why, struct err *err);

/* Whether a local model can read the job's prompts, with the job's clip_skip; *param (may be NULL)
 * names what it cannot.
 * intake_complete does this, too. */
bool intake_prompts(const struct intake_model *model, const struct job_params *p,
                    const char **param, struct err *err);

/* The same of the prompts alone, with words that stand for vectors (engine/pictor.h). */
bool intake_words(const struct job_params *p, struct pictor_word *words, size_t count,
                  const char **param, struct err *err);

/* How long the prompt is, or the negative one, without its tags of LoRAs, for a model that reads
 * CLIP's tokens; and for one that reads Qwen's or T5's, as pictor_prompt_tokens. */
bool intake_measure(const struct job_params *p, bool negative, struct pictor_word *words,
                    size_t count, struct pictor_prompt_size *out, struct err *err);
bool intake_tokens(struct registry *registry, const struct intake_model *model,
                   const struct job_params *p, bool negative, struct pictor_prompt_size *out,
                   struct err *err);

/* Whether there are the files that a local model's job names (its upscaler), those that its prompts
 * name are sound and leave room for the prompts, and these have no more tokens than it reads;
 * *param (may be NULL) says which field is to blame. */
bool intake_files(struct registry *registry, const struct intake_model *model,
                  const struct job_params *p, const char **param, struct err *err);

/* Below 2^32, so that people can type it again. */
bool intake_seed(uint64_t *seed, struct err *err);

/* A photograph that is painted over may be larger than what is painted: its limit of pixels. */
size_t intake_pixels_max(const struct settings *settings);

#endif

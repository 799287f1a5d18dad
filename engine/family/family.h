/* family.h: the seam between the pipeline and the kinds of models there are.
 *
 * The pipeline, guidance, samplers and previews know a model by its facts and by these functions,
 * and name no network. A family is a file of this folder, family_NAME.c, with one table of
 * functions, and a line in family.c: it recognises its checkpoints, opens them, and says what words
 * become, what the network answers, and how pictures become latents and back.
 *
 * Latents are floats [h, w, channels], pictures [factor h, factor w, 3] in -1..1. Whatever takes
 * `struct ops` runs twice: over a planning arena, where no pointer to numbers is touched, and for
 * real; both must allocate alike. One call at a time a device. */
#ifndef PICTOR_ENGINE_FAMILY_FAMILY_H
#define PICTOR_ENGINE_FAMILY_FAMILY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/pictor.h"
#include "engine/sample/schedule.h"
#include "engine/text/chunk.h"
#include "engine/text/editing.h"
#include "engine/text/qwen_tokenizer.h"

#define FAMILY_CHANNELS 128 /* most that a latent may have */
#define FAMILY_PROMPTS 40   /* as many as the prompts of a picture's two passes, or more */
#define FAMILY_CHUNKS 432   /* that the texts of all prompts of a pass may have together */

/* What the pipeline goes by. */
struct family_facts {
    struct pictor_model_info info; /* weight_bytes is 0 before the model is opened */
    size_t resting_bytes;          /* of them, what stays while it rests (`rest` below) */
    int channels;                  /* of a latent */
    int factor;                    /* pixels a side of one latent pixel */
    int multiple;                  /* sides of pictures, in pixels, are multiples of it */
    int asked;   /* sides that may be asked for are, where `fit` below makes others of them; 0: the
                    same */
    bool guided; /* takes a negative prompt: guidance is a second answer of the network */
    int clip_skips; /* clip_skip may be 1..clip_skips */
    /* Channels that the network takes beside the latent's, of what it paints over: see `beside`
     * below; 0: none. */
    int beside;
    float clip; /* guesses at the latent are within +-clip; 0: wherever they are */
    bool flow;  /* a flow model: samplers are those for such, schedules of its own */
    /* Latent to RGB in 0..1, a row a channel and a constant; NULL: fitted when it is needed. */
    const float (*preview)[3];
};

/* A prompt as it is over the time of a picture. */
struct family_prompt {
    const char *const *texts; /* [count], all different; count >= 1 */
    const int *uses;          /* [count], how many stretches of time each has; NULL: one */
    size_t count;
    bool negative; /* what the picture is led away from */
};

/* What a text of a prompt became: what its states mean is the family's. Prompts of as many tokens
 * can be answered in one batch. */
struct family_words {
    int tokens;
    const float *states; /* [tokens, whatever the family has]; NULL while planning */
    const float *pooled; /* of the prompt as a whole, where the family has that; or NULL */
    bool negative;       /* what the picture is led away from */
};

/* A picture that a network is shown: [height, width, channels] of a latent. */
struct family_reference {
    const float *latent;
    int height, width;
};

/* The picture that a network is asked about. */
struct family_picture {
    int width, height; /* of the latent */
    const struct pictor_params *params;
    const float *beside; /* [height, width, facts.beside]; NULL: zeros */
    /* Of each of the params' controls [factor height, factor width, 3] in 0..1, and -1 where it is
     * hidden; NULL: there are none. `done`: the share of the steps that are behind, kept up by the
     * pipeline; NULL: 0. */
    const float *const *guides;
    const double *done;
    /* Of each of them [height, width] how much it leads there; NULL, one or all: 1 everywhere. */
    const float *const *regions;
    const struct family_reference *references; /* what params->references became */
    size_t reference_count;
};

/* What is painted over, for a network that is shown it. While planning, a pointer that is not NULL
 * says that something will be there. */
struct family_source {
    int width, height;    /* of the latent */
    const float *picture; /* [factor height, factor width, 3]; NULL: there is none */
    const float *mask;    /* [factor height, factor width], 1: repainted, 0: kept; NULL: all is 1 */
    const struct pictor_params *params;
    double mask_weight; /* how much of the picture is hidden under the mask, 0..1 */
};

/* The first member of every family's model. */
struct family_model {
    const struct family *family;
    struct family_facts facts;
    /* Before `merge`: memory is scarce, so what is in blocks of few bits stays there, and what a
     * LoRA adds is added whenever it is read. A family may not know that. */
    bool spare;
};

/* What a model is painted with, where a request does not say. */
struct family_usual {
    float guidance;
    int steps;
};

/* What is painted in the place of what was asked for. */
struct family_fitted {
    struct pictor_params params;
    bool network; /* what comes out is enlarged to what was asked for by the network inside the
                     binary; else by Lanczos */
    bool widen;   /* the second pass has a larger canvas, with what the first one painted in its
                     middle, as large as it was, and its edges drawn out; else it is enlarged */
};

/* Whose tokens a prompt becomes: CLIP's, in chunks; Qwen3's, in a chat; or T5's beside CLIP's. */
enum family_reader { FAMILY_READS_CHUNKS, FAMILY_READS_QWEN, FAMILY_READS_T5 };

struct family_call; /* a batch of one or two prompts that the network is ready to answer */

struct family {
    const char *name;   /* "sd1" */
    const char *latent; /* "sd": models of families that say the same here, with as many channels,
                           can go on with each other's latents */
    enum family_reader reader;
    enum qwen_tokenizer_chat chat; /* of FAMILY_READS_QWEN */
    struct family_usual distilled, base; /* where models come as both; steps 0: not so */
    bool stated; /* of FAMILY_READS_T5: the states of CLIP's chunks count, and so their number */

    /* Whether a checkpoint is of this family, by names and shapes that no other family has. */
    bool (*recognises)(const struct checkpoint *cp);
    /* The facts, from the header alone. Every size that `open` relies on is checked here. */
    bool (*read)(const struct checkpoint *cp, struct family_facts *facts, struct err *err);
    /* Loads the weights; the checkpoint must outlive the model. Returns owned. */
    struct family_model *(*open)(struct device *dev, const struct checkpoint *cp, struct err *err);
    void (*free)(struct family_model *m);
    /* From now on the weights are the checkpoint's with these LoRAs, whatever they were; on failure
     * the checkpoint's alone. NULL: the family has no LoRAs. */
    bool (*merge)(struct family_model *m, const struct pictor_lora *loras, size_t count,
                  struct err *err);
    /* From now on the model has these ControlNets, and no others; on failure none. NULL: the family
     * has none. */
    bool (*control)(struct family_model *m, const struct pictor_control_file *files, size_t count,
                    struct err *err);
    /* From now on these names stand for what their files hold, and no others; on failure none.
     * NULL: the family reads no words. */
    bool (*embed)(struct family_model *m, const struct pictor_embedding *list, size_t count,
                  struct err *err);
    /* From now on `preview` is what this tiny autoencoder decodes; NULL, and on failure: there is
     * none. NULL: the family has none. */
    bool (*tiny)(struct family_model *m, const struct pictor_control_file *file, struct err *err);
    /* Gives the memory of the weights back, but for what is small, until it is woken. Meanwhile it
     * can be planned with, and merged into; facts.info says what it takes when it is awake. It
     * wakes as it was, bit for bit, or on failure goes on resting. NULL: it cannot rest. */
    void (*rest)(struct family_model *m);
    bool (*wake)(struct family_model *m, struct err *err);
    /* A model of the published size without weights, for a hollow device (compute/hollow.h).
     * May be NULL. Returns owned. */
    struct family_model *(*sketch)(struct device *dev, struct err *err);

    /* The noise levels for a picture of this many pixels in this many steps. */
    void (*schedule)(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out);
    /* What is painted when `asked` is what was asked for, where a model has its own idea of that;
     * false: `asked`. May be NULL. */
    bool (*fit)(const struct family_model *m, const struct pictor_params *asked,
                struct family_fitted *fitted);

    /* What each text of a prompt says: all of them in as many tokens. Of the params, what says how
     * prompts are read. What `out` [prompt->count] points to is valid for the FAMILY_PROMPTS - 1
     * next calls and for a picture. Planning gives the tokens and finds every fault of a prompt. */
    bool (*words)(struct family_model *m, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err);

    /* The network made ready for b prompts of as many tokens each, in the arena. Returns owned. */
    struct family_call *(*call_new)(const struct family_model *m, struct ops *o,
                                    const struct family_picture *picture,
                                    const struct family_words *words, int b, struct err *err);
    /* The first prompt of a batch by itself; borrows from it. Returns owned. */
    struct family_call *(*call_first)(const struct family_call *call, struct err *err);
    void (*call_free)(struct family_call *call);
    /* y [b, h, w, channels] = what the network says of x at its time t; what that means is the
     * schedule's `prediction`. `reuse`: what the last call of this batch left may stand for a part
     * of the work (params->speed.reuse_every). */
    void (*predict)(const struct family_model *m, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y);

    /* out [height, width, facts.beside]: what the network takes beside the latent. NULL where
     * facts.beside is 0. */
    void (*beside)(const struct family_model *m, struct ops *o, const struct family_source *source,
                   float *out);

    void (*decode)(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture);
    void (*encode)(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent);
    /* As decode, by what `tiny` took, which has to be there. */
    void (*preview)(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                    float *picture);
};

/* The family that a checkpoint is of; NULL with a message that says what it is instead. */
const struct family *family_of(const struct checkpoint *cp, struct err *err);

/* Whether a model was distilled, as the files' metadata says it (pictor.distilled: "true" or
 * "false"; general.name, of a GGUF), else whoever opened them. *own: it is the files. */
enum pictor_variant family_variant(const struct checkpoint *cp, bool *own);

/* The family of that name; NULL: there is none. */
const struct family *family_named(const char *name);

/* Fills facts->info from the checkpoint's metadata (modelspec.* is the convention of published
 * files, pictor.* the built-in model's), where that is within reason; `side`, `guidance` and
 * `steps` are the family's own. */
void family_describe(const struct checkpoint *cp, const struct family *family, int side,
                     float guidance, int steps, struct family_facts *facts);

/* A number of the checkpoint's metadata; `otherwise` where there is none within low..high. */
double family_number(const struct checkpoint *cp, const char *key, double low, double high,
                     double otherwise);

/* How the params want prompts to be read. */
struct chunk_style family_style(const struct pictor_params *params);
/* The passes of a picture in which its prompts change, or of the params' in so far as that concerns
 * prompts; how many: 0 (no prompt changes), 1, or 2 with a second pass. */
int family_passes(const struct pictor_params *params, struct editing_pass out[2]);

/* Chunks that so many tokens fill, the last of them perhaps in part. */
size_t family_chunks(int tokens);
/* Counts that many texts of that many tokens to *chunks. ERR_TOO_LARGE: more than FAMILY_CHUNKS. */
bool family_chunks_add(size_t *chunks, size_t texts, size_t tokens, struct err *err);

/* FLUX.2's transformer alone, opened as a "unet": whether it is that, and what is known of the
 * model that it becomes. The same of Z-Image's. */
bool family_flux2_alone(const struct checkpoint *cp);
bool family_flux2_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                             struct err *err);
bool family_zimage_alone(const struct checkpoint *cp);
bool family_zimage_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                              struct err *err);
/* The same of FLUX.1's. */
bool family_flux1_alone(const struct checkpoint *cp);
bool family_flux1_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                             struct err *err);
/* And of Stable Diffusion 3's, which may have its VAE beside it. */
bool family_sd3_alone(const struct checkpoint *cp);
bool family_sd3_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                           struct err *err);

extern const struct family family_pixels, family_sd1, family_sd2, family_sdxl, family_sdxl_refiner,
    family_sd3, family_flux1, family_flux2, family_zimage;

#endif

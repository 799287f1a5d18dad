/* flow.h: what the families of flow transformers have in common beside their networks. Their models
 * begin with a struct flow_model, and their tables name these functions. No state. */
#ifndef PICTOR_ENGINE_FAMILY_FLOW_H
#define PICTOR_ENGINE_FAMILY_FLOW_H

#include "engine/family/family.h"
#include "engine/family/merged.h"
#include "engine/model/vae.h"
#include "engine/model/weights.h"

#define FLOW_MULTIPLE 16 /* of sides */

struct flow_model;

/* What a family's network does of struct family's functions. */
struct flow_network {
    size_t call; /* bytes of what it makes ready for a prompt */
    /* Whether it can paint pictures of that size; NULL: it can. */
    bool (*fits)(const struct flow_model *m, const struct family_picture *picture, struct err *err);
    /* `call` = a prompt made ready, in the arena. */
    void (*begin)(const struct flow_model *m, struct ops *o, const struct family_picture *picture,
                  const struct family_words *words, void *call);
    /* As struct family's `predict`, of one prompt. */
    void (*forward)(const struct flow_model *m, struct ops *o, const void *call, const float *x,
                    double t, float *y);
    /* What is remembered of prompts is no longer true: weights have changed. */
    void (*forget)(struct flow_model *m);
};

/* The first member of a flow family's model. */
struct flow_model {
    struct family_model base;
    const struct flow_network *network;
    struct device *dev; /* borrowed, as the checkpoint is */
    const struct checkpoint *cp;
    struct weights weights;
    struct merged merged;
    struct vae *vae;
};

/* A model of `size` bytes, zeros but for these. Returns owned: flow_free. */
struct flow_model *flow_new(size_t size, const struct flow_network *network, struct device *dev,
                            const struct checkpoint *cp, struct err *err);
/* After all that the family's own model has of it. */
void flow_free(struct flow_model *m);
/* Its weights are loaded: what is known of it. Returns m. */
struct family_model *flow_opened(struct flow_model *m, const struct family *family,
                                 const struct family_facts *facts);

/* As struct family's functions. */
bool flow_merge(struct family_model *m, const struct pictor_lora *loras, size_t count,
                struct err *err);
void flow_rest(struct family_model *m);
bool flow_wake(struct family_model *m, struct err *err);
struct family_call *flow_call_new(const struct family_model *m, struct ops *o,
                                  const struct family_picture *picture,
                                  const struct family_words *words, int b, struct err *err);
struct family_call *flow_call_first(const struct family_call *call, struct err *err);
void flow_call_free(struct family_call *call);
void flow_predict(const struct family_model *m, struct ops *o, struct family_call *call,
                  const float *x, double t, bool reuse, float *y);
void flow_decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                 float *picture);
void flow_encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                 float *latent);

/* As struct family's `fit`: programs ask for sides in steps of 8, as of Stable Diffusion, or have
 * them from a picture. What is painted is a little smaller then, and stretched. */
bool flow_fit(const struct family_model *m, const struct pictor_params *asked,
              struct family_fitted *fitted);

/* Whether a picture that is begun from is shown to the network, of families that edit: with
 * strength 1 nothing of it is in the noise. As `beside`, for those: the picture's latent. */
bool flow_shows_own(const struct pictor_params *p);
void flow_beside_own(const struct family_model *m, struct ops *o,
                     const struct family_source *source, float *out);

/* Whether a file's name or title has `word` (lower case) in it; a folder's has not. */
bool flow_is_called(const struct checkpoint *cp, const char *word);

/* Before a text encoder works, `ctx` a flow model: what of the network and the VAE was read in
 * place need not be in memory beside it. */
void flow_begin_words(void *ctx);

/* The bytes of the tensors whose names begin so were read and are not needed for now. */
void flow_release(const struct checkpoint *cp, const char *prefix);

#endif

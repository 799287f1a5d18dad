/* joint.h: what FLUX.1 and FLUX.2 have in common: one sequence of tokens of words and pictures,
 * which have weights of their own in the first blocks ("double") and share those of the others
 * ("single"), and attend to each other in all of them. What time says of a block (adaLN) is the
 * model's own; so is what stands before and behind the blocks, but for its weights.
 *
 * No sizes are fixed: they come from names and shapes. */
#ifndef PICTOR_ENGINE_MODEL_JOINT_H
#define PICTOR_ENGINE_MODEL_JOINT_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/adaln.h"
#include "engine/model/layers.h"

#define JOINT_ROOT "model.diffusion_model."

struct joint_sizes {
    int width, heads, head;
    int inside;           /* of a feed-forward */
    int text;             /* channels of a word */
    int doubles, singles; /* blocks of either kind */
    bool guided;          /* is told its guidance */
    bool scale_first;     /* the last modulation says the scale before the shift */
};

/* Sizes from the names and shapes of JOINT_ROOT: Black Forest Labs' names, or what names.h makes of
 * diffusers'. Heads are of a multiple of `unit` channels. */
bool joint_read(const struct checkpoint *cp, int unit, struct joint_sizes *out, struct err *err);

/* The shape [out[0], out[1]] of JOINT_ROOT NAME ".weight". */
bool joint_find(const struct checkpoint *cp, const char *name, int out[2], struct err *err);

/* How one of them is, and the other is not. */
struct joint_kind {
    bool bias;             /* every product has one */
    enum matrix_kind feed; /* of the way into a feed-forward: MATRIX_LINEAR, or one with gates */
    const struct epilogue *act; /* of that; NULL: none */
};

/* What words or pictures have of their own in a double block. */
struct joint_stream {
    struct matrix *qkv, *out, *in, *down;
    float *q_norm, *k_norm; /* [head] */
};

struct joint_single {
    struct matrix *qkv, *in, *out;
    float *q_norm, *k_norm;
};

struct joint {
    struct joint_sizes sizes;
    struct joint_kind kind;
    struct matrix *latent_in, *text_in, *time[2], *guidance[2], *say_last, *last;
    struct joint_stream *latent, *text; /* [doubles] */
    struct joint_single *singles;
};

/* Loads all of it, for tokens of `takes` channels of which `says` come out, and leaves l->coarse as
 * it was. False: no memory, or l->failed. */
bool joint_load(struct loader *l, struct joint *j, const struct joint_sizes *sizes,
                const struct joint_kind *kind, int takes, int says);
void joint_free(struct joint *j);

/* The turns of a token at `position` [axes], of which axis a turns pairs[a] pairs of channels: a
 * row of cosines and sines. */
void joint_turn(double theta, int axes, const int *pairs, const int *position, float *cosines,
                float *sines);

/* Of every token: [tokens, head / 2] each. */
struct joint_turns {
    const float *cos, *sin;
};

/* Queries, keys and values of x, in `qkv`: heads of the first two brought to one length, unless
 * q_norm is NULL. */
void joint_ask(struct ops *o, int head, struct tensor *qkv, const struct tensor *x,
               const struct matrix *w, const float *q_norm, const float *k_norm);
/* y = attention of what was asked, after it was turned; NULL: as it is. */
void joint_attend(struct ops *o, int heads, const struct joint_turns *turns, struct tensor *y,
                  const struct tensor *qkv);

/* x, of which the first `words` tokens are words, through a double block: `text` and `latent` [2]
 * say what time says of attention and feed-forward; and all of x through a single one. */
void joint_double(struct ops *o, const struct joint *j, int n, const struct joint_turns *turns,
                  int words, const struct adaln *text, const struct adaln *latent,
                  struct tensor *x);
void joint_single(struct ops *o, const struct joint *j, int n, const struct joint_turns *turns,
                  const struct adaln *say, struct tensor *x);

/* out [x->w, says] = the answer of tokens x, of which `vector` says what time says. */
void joint_answer(struct ops *o, const struct joint *j, const struct tensor *vector,
                  const struct tensor *x, float *out);

#endif

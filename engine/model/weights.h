/* weights.h: which tensors every matrix of a model was packed from, so that it can be packed again
 * with LoRAs merged into them, or without. */
#ifndef PICTOR_ENGINE_MODEL_WEIGHTS_H
#define PICTOR_ENGINE_MODEL_WEIGHTS_H

#include "engine/model/lora.h"

#define WEIGHTS_PARTS 4 /* most tensors that are stacked in one matrix */

struct weights_entry;

/* Starts as {0}. The matrices and the checkpoint must outlive it. */
struct weights {
    size_t bytes; /* packed, in memory */
    /* Weights that stay in their file's blocks of few bits go on to do so when a LoRA changes them:
     * it is added whenever a product reads them, which takes time and saves memory. Else they are
     * packed with it. */
    bool spare;
    struct weights_entry *at;
    size_t count, room;
};

void weights_free(struct weights *w);

/* Remembers that `m` was packed from `count` tensors stacked, `bias` NULL or one for each; or that
 * it is `lean`, and takes turns with the others. */
bool weights_add(struct weights *w, struct matrix *m, const struct raw_tensor *tensors,
                 const struct raw_tensor *biases, int count, bool lean, struct err *err);

/* Of `bytes`, what is in memory at a time: what lean matrices read in place is let go before others
 * are used, and what those read in place before lean ones are. */
size_t weights_needed(const struct weights *w);

/* Gives the memory of the packed weights back, until weights_merge. `bytes` stays what they take
 * when they are there. */
void weights_rest(struct weights *w);

/* From now on the matrices are those of the checkpoint with these LoRAs merged into them, one after
 * another, whatever was merged before; with none of them, bit for bit what was first packed. Packs
 * only what differs. On failure they are the checkpoint's. */
bool weights_merge(struct weights *w, struct device *dev, const struct checkpoint *cp,
                   const struct lora_use *loras, size_t lora_count, struct err *err);

#endif

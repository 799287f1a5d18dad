/* merged.h: the LoRAs that are merged into a model's weights, or are to be when it wakes. */
#ifndef PICTOR_ENGINE_FAMILY_MERGED_H
#define PICTOR_ENGINE_FAMILY_MERGED_H

#include "engine/model/weights.h"
#include "engine/pictor.h"

/* Starts as {0}. */
struct merged {
    struct lora *loras[PICTOR_LORAS_MAX];
    struct lora_use uses[PICTOR_LORAS_MAX];
    size_t count;
    bool resting;
};

void merged_free(struct merged *m);

/* As struct family's `merge`, `rest` and `wake`, for weights of this checkpoint. */
bool merged_set(struct merged *m, struct weights *weights, struct device *dev,
                const struct checkpoint *cp, const struct pictor_lora *loras, size_t count,
                struct err *err);
void merged_rest(struct merged *m, struct weights *weights);
bool merged_wake(struct merged *m, struct weights *weights, struct device *dev,
                 const struct checkpoint *cp, struct err *err);

#endif

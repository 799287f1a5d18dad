/* lora_keys.h: which weights of a checkpoint a LoRA's modules change, by what files call them: the
 * names of kohya's scripts, of diffusers and PEFT, of single files; of flow transformers those of
 * either layout, whatever the checkpoint's. No state but the list. */
#ifndef PICTOR_ENGINE_MODEL_LORA_KEYS_H
#define PICTOR_ENGINE_MODEL_LORA_KEYS_H

#include "engine/io/checkpoint.h"

#define LORA_KEY_SIZE 256

/* A weight of the checkpoint under its key; a key may have several. A module that is called so has
 * `all` rows, of which those from `from` on change `rows` rows of the tensor, those from `at` on.
 */
struct lora_target {
    char *key;
    const struct raw_tensor *tensor;
    size_t at, rows, from, all;
};

struct lora_keys;

/* Of all that may be changed in the checkpoint, which must outlive it. Returns owned. */
struct lora_keys *lora_keys_new(const struct checkpoint *cp, struct err *err);
void lora_keys_free(struct lora_keys *k);

/* The first target of a module that is called so in a file; NULL: this model has none. */
const struct lora_target *lora_keys_find(const struct lora_keys *k, const char *module);

/* Another one of its key; NULL: there is none. */
const struct lora_target *lora_keys_next(const struct lora_keys *k, const struct lora_target *t);

#endif

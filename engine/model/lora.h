/* lora.h: a LoRA file (a small file that changes a model's weights) and which weights it changes.
 *
 * Known are the layouts of kohya's scripts ("lora_unet_down_blocks_0_...", "lora_te1_...", the
 * UNet's blocks by diffusers' or by the single file's names), of diffusers and PEFT
 * ("unet.down_blocks.0...lora_A.weight") and of LyCORIS; the kinds are those of lora_delta.h. Those
 * of flow transformers may be by the names of either layout, whatever the model's: what is one
 * weight here and three there is changed in parts. */
#ifndef PICTOR_ENGINE_MODEL_LORA_H
#define PICTOR_ENGINE_MODEL_LORA_H

#include "engine/io/checkpoint.h"
#include "engine/model/lora_delta.h"

struct lora;

/* Reads the file and finds its modules' weights in `cp`, which must outlive the result, as the
 * descriptor need not. Modules that this model has no weight for (of a text encoder that it lacks),
 * or none that is merged (a text encoder's text_projection), are left out, and the log says how
 * many. That they are more than the others, a kind that is not known, or factors that do not fit
 * the weight are ERR_INVALID or ERR_UNSUPPORTED. Returns owned. */
struct lora *lora_open(int fd, const char *name, const struct checkpoint *cp, struct err *err);
void lora_free(struct lora *l);

/* A LoRA and how much of it, in the UNet and in text encoders. */
struct lora_use {
    const struct lora *lora;
    double unet, text;
};

/* Whether it changes tensor `t`, which may be some of its rows, in the memory of the checkpoint: a
 * matrix of rows that are not changed stays in the blocks of its file. */
bool lora_changes(const struct lora_use *use, const struct raw_tensor *t);

/* Adds what it does to tensor `t` to `w`, which are t's numbers; t may be some of its rows, in the
 * memory of the checkpoint. */
bool lora_add(const struct lora_use *use, struct device *dev, const struct raw_tensor *t, float *w,
              struct err *err);

/* All that these LoRAs add to tensor `t`, in factors, for a matrix that keeps its weights as they
 * are: *out, which holds *bytes, needs no LoRA any more and is freed by lora_more_free. NULL: one
 * of them is of a kind that has to be merged. */
bool lora_more_new(const struct lora_use *uses, size_t count, const struct raw_tensor *t,
                   struct matrix_more **out, size_t *bytes, struct err *err);
void lora_more_free(struct matrix_more *more);

#endif

/* embedding.h: a textual inversion's file (Gal et al. 2022), in the layouts that there are: what
 * the SD WebUI writes (string_to_param), what diffusers writes (one tensor, by the word's name),
 * "emb_params", and for SDXL "clip_l" beside "clip_g". */
#ifndef PICTOR_ENGINE_FAMILY_EMBEDDING_H
#define PICTOR_ENGINE_FAMILY_EMBEDDING_H

#include "engine/io/checkpoint.h"
#include "engine/pictor.h"

#define EMBEDDING_ENCODERS 2 /* as pictor_embedding_info's widths */

/* What the header says. ERR_INVALID, ERR_UNSUPPORTED; *out is then all zeros. */
bool embedding_describe(const struct checkpoint *cp, struct pictor_embedding_info *out,
                        struct err *err);

/* The vectors as floats [vectors, width], one after another at[i] for each width of `info`, which
 * embedding_describe filled. Fails for numbers that are none. */
bool embedding_read(const struct checkpoint *cp, const struct pictor_embedding_info *info,
                    float *const at[EMBEDDING_ENCODERS], struct err *err);

#endif

/* names_flow.h: tensor names of flow transformers, in diffusers' layout and in single files'. */
#ifndef PICTOR_ENGINE_IO_NAMES_FLOW_H
#define PICTOR_ENGINE_IO_NAMES_FLOW_H

#include "engine/io/names.h"

/* As names_to_ldm, of a transformer in diffusers' layout, which `layout` says the kind of. */
bool names_flow_to_ldm(const struct names_layout *layout, const char *name, char *out, size_t size);

/* The other way for flow transformers: what diffusers calls "double_blocks.0.img_attn.q.weight",
 * which is a name behind the prefix; families share names that diffusers calls otherwise in each,
 * which are `nth` 0, 1... False: there are no more. */
bool names_flow_back(const char *name, int nth, char *out, size_t size);

#endif

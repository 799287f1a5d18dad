/* scaled.h: weights that are stored as few bits with what they are times beside them, as ComfyUI
 * saves them: "X.weight" with "X.weight_scale" (or "X.scale_weight", "X.weight_scale_2"), and with
 * the format's name as JSON in the bytes of "X.comfy_quant", or in the metadata of the file.
 *
 *     F8     one scale; one a row ("float8_e4m3fn", "float8_e5m2"); one for 32 numbers ("mxfp8")
 *     I8     one scale, or one a row ("int8_tensorwise"); turned or not ("convrot")
 *     U8     two numbers of 4 bits to a byte, an F8 scale for 16 of them, and one for all ("nvfp4")
 *
 * Whatever else has a scale beside it is refused by name: read as numbers it would paint noise. */
#ifndef PICTOR_ENGINE_IO_SCALED_H
#define PICTOR_ENGINE_IO_SCALED_H

#include "engine/io/raw_tensor.h"

struct scaled {
    struct dtype_scales *at; /* what tensors' `scales` point to */
    size_t count;
};

/* Tells the weights among `tensors`, which are in order of name, what they are times. Of headers
 * alone nobody asks for numbers, and they are not looked at. */
bool scaled_read(struct scaled *s, struct raw_tensor *tensors, size_t count, struct err *err);
void scaled_free(struct scaled *s);

#endif

/* image_gif.h: GIF, which is only read. What the functions promise is in image.h. */
#ifndef PICTOR_ENGINE_IO_IMAGE_GIF_H
#define PICTOR_ENGINE_IO_IMAGE_GIF_H

#include "engine/io/image.h"

bool image_gif_probe(const uint8_t *data, size_t size, struct image_header *out, struct err *err);
bool image_gif_decode(const uint8_t *data, size_t size, size_t max_pixels,
                      struct pictor_image *out, struct err *err);

/* Its comment before the first frame, as the text "parameters"; none is no error. */
bool image_gif_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err);

#endif

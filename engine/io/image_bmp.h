/* image_bmp.h: BMP, which is only read. What the functions promise is in image.h. */
#ifndef PICTOR_ENGINE_IO_IMAGE_BMP_H
#define PICTOR_ENGINE_IO_IMAGE_BMP_H

#include "engine/io/image.h"

bool image_bmp_probe(const uint8_t *data, size_t size, struct image_header *out, struct err *err);
bool image_bmp_decode(const uint8_t *data, size_t size, size_t max_pixels,
                      struct pictor_image *out, struct err *err);

#endif

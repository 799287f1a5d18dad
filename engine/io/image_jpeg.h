/* image_jpeg.h: JPEG, through libjpeg(-turbo). What the functions promise is in image.h. */
#ifndef PICTOR_ENGINE_IO_IMAGE_JPEG_H
#define PICTOR_ENGINE_IO_IMAGE_JPEG_H

#include "engine/io/image.h"

/* `orientation`: EXIF's, 1..8, not yet applied to the sides or the pixels. */
bool image_jpeg_probe(const uint8_t *data, size_t size, struct image_header *out, int *orientation,
                      struct err *err);
bool image_jpeg_decode(const uint8_t *data, size_t size, size_t max_pixels,
                       struct pictor_image *out, int *orientation, struct err *err);

/* UserComment as the text "parameters", and XMP; none is no error. */
bool image_jpeg_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err);

#endif

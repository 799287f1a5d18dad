/* image_webp.h: WebP, through libwebp and libwebpmux. What the functions promise is in image.h. */
#ifndef PICTOR_ENGINE_IO_IMAGE_WEBP_H
#define PICTOR_ENGINE_IO_IMAGE_WEBP_H

#include "engine/io/image.h"

/* `orientation`: EXIF's, 1..8, not yet applied to the sides or the pixels. */
bool image_webp_probe(const uint8_t *data, size_t size, struct image_header *out, int *orientation,
                      struct err *err);
bool image_webp_decode(const uint8_t *data, size_t size, size_t max_pixels,
                       struct pictor_image *out, int *orientation, struct err *err);

/* UserComment as the text "parameters", and XMP; none is no error. */
bool image_webp_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err);

#endif

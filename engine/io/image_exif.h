/* image_exif.h: the two things pictor wants of EXIF: which way up the picture is, and the comment.
 *
 * A block is the TIFF structure, with or without "Exif\0\0" before it; it is untrusted. */
#ifndef PICTOR_ENGINE_IO_IMAGE_EXIF_H
#define PICTOR_ENGINE_IO_IMAGE_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The orientation tag, 1..8; 1 (upright) when there is none or the block is damaged. */
int image_exif_orientation(const uint8_t *block, size_t size);

/* UserComment as UTF-8, from its UNICODE (UTF-16), ASCII or unmarked form; NULL when there is none.
 * Returns owned. */
char *image_exif_comment(const uint8_t *block, size_t size);

/* A block without "Exif\0\0" that holds only a UserComment in UNICODE: `text` (UTF-8), cut to
 * `max_size` bytes in all. Returns owned, NULL when memory ran out. */
uint8_t *image_exif_build(const char *text, size_t max_size, size_t *size);

#endif

/* image.h: PNG, JPEG and WebP in memory to 8-bit pixels and back, with the text they carry, and
 * GIF and BMP to pixels; resizing.
 *
 * Whatever comes in is hostile: the size is read from the header and held against a limit before
 * any pixel is allocated, and a damaged file is an error, not half a picture. One library behind
 * one file: image_png.c, image_jpeg.c, image_webp.c; image_gif.c and image_bmp.c need none. No
 * shared state; any thread. */
#ifndef PICTOR_ENGINE_IO_IMAGE_H
#define PICTOR_ENGINE_IO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/image_resize.h"
#include "engine/pictor.h"

/* Larger than any side the three formats share (WebP has 14 bits, PNG 31). */
#define IMAGE_SIDE_MAX 32768

/* GIF and BMP are read and never written. */
enum image_format { IMAGE_NONE = -1, IMAGE_PNG, IMAGE_JPEG, IMAGE_WEBP, IMAGE_GIF, IMAGE_BMP };

/* What is written: "png" "jpeg" "webp", by enum image_format, then NULL. */
extern const char *const image_formats[];
enum image_format image_format_of(const char *word); /* IMAGE_NONE: none of these words */

/* By the first bytes; IMAGE_NONE when it is none of them. */
enum image_format image_sniff(const void *data, size_t size);
const char *image_mime(enum image_format format); /* "image/png"; octet-stream for IMAGE_NONE */
const char *image_extension(enum image_format format); /* "png" "jpg" "webp" "gif" "bmp"; "bin" */

struct image_header {
    enum image_format format;
    int width, height; /* as image_decode gives them: after EXIF orientation */
};

/* Reads the header only. */
bool image_probe(const void *data, size_t size, struct image_header *out, struct err *err);

/* Decodes to grey, RGB or RGBA; palettes, 16 bits, tRNS and CMYK are converted, EXIF orientation is
 * applied. More than `max_pixels` is ERR_TOO_LARGE. Only the first frame of an animated PNG
 * or GIF; animated WebP is ERR_UNSUPPORTED. `out` is owned by the caller on success, zeroed on
 * failure. */
bool image_decode(const void *data, size_t size, size_t max_pixels, struct pictor_image *out,
                  struct err *err);

/* Fails unless both sides are 1..IMAGE_SIDE_MAX and their product at most `max_pixels`. */
bool image_check_size(uint32_t width, uint32_t height, size_t max_pixels, struct err *err);

/* Fails on a picture without pixels, of bad sides, or of other than 1, 3 or 4 channels. */
bool image_check(const struct pictor_image *image, struct err *err);

/* Zeroed pixels; sides as image_check_size wants them. */
bool image_new(struct pictor_image *out, int width, int height, int channels, struct err *err);

/* Text that travels in a picture: PNG text chunks; in JPEG and WebP the EXIF UserComment, whose
 * key is "parameters", and XMP, whose key is IMAGE_MARK_KEY (image_mark.h); a GIF's comment is
 * "parameters". All UTF-8. */
struct image_text {
    char *key, *value;
};
struct image_texts {
    struct image_text *items;
    size_t count;
};

/* One more, of `size` bytes. On failure there are none any more. */
bool image_texts_add(struct image_texts *texts, const char *key, const char *value, size_t size,
                     struct err *err);

/* Adds what a picture's EXIF block says, as the text "parameters"; nothing when it says nothing. */
bool image_texts_from_exif(const uint8_t *block, size_t size, struct image_texts *out,
                           struct err *err);

/* What stands before the pixels. A picture without text is no error. Owned: image_texts_free. */
bool image_texts_read(const void *data, size_t size, struct image_texts *out, struct err *err);
const char *image_texts_get(const struct image_texts *texts, const char *key); /* or NULL */
void image_texts_free(struct image_texts *texts);

/* An encoded file; free with image_file_free. */
struct image_file {
    uint8_t *data;
    size_t size;
};
void image_file_free(struct image_file *file);

/* PNG with `texts` (may be NULL) before the pixels, as tEXt when they fit Latin-1 and are no XMP,
 * else as iTXt. Keys: 1..79 bytes of printable ASCII. Invalid UTF-8 in a value is replaced. */
bool image_encode_png(const struct pictor_image *image, const struct image_texts *texts,
                      struct image_file *out, struct err *err);

/* `quality` 1..100. `parameters` (UTF-8, may be NULL) goes into the EXIF UserComment and is cut to
 * what fits there (32,000 characters in a JPEG). `xmp` may be NULL; in a JPEG it is 65,000 bytes at
 * most. RGBA is flattened on white in a JPEG. */
bool image_encode_jpeg(const struct pictor_image *image, int quality, const char *parameters,
                       const char *xmp, struct image_file *out, struct err *err);
bool image_encode_webp(const struct pictor_image *image, int quality, const char *parameters,
                       const char *xmp, struct image_file *out, struct err *err);

/* PNG, JPEG or WebP. `quality` is no matter to PNG, and 0 is 1; JPEG and WebP have room for two
 * texts alone: "parameters" and IMAGE_MARK_KEY. */
bool image_encode(const struct pictor_image *image, enum image_format format, int quality,
                  const struct image_texts *texts, struct image_file *out, struct err *err);

/* To `channels` 1 or 3; RGBA is flattened on white. Returns a copy even when nothing changes. */
bool image_convert(const struct pictor_image *in, int channels, struct pictor_image *out,
                   struct err *err);

#endif

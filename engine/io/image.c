/* image.c: What does not depend on the format. */
#include "engine/io/image.h"

#include <stdlib.h>
#include <string.h>

#include "engine/io/image_bmp.h"
#include "engine/io/image_exif.h"
#include "engine/io/image_gif.h"
#include "engine/io/image_jpeg.h"
#include "engine/io/image_mark.h"
#include "engine/io/image_png.h"
#include "engine/io/image_webp.h"
#include "engine/io/utf8.h"

#define UTF8_LONGER 3 /* bytes that a broken one becomes at most */

const char *const image_formats[] = {
    [IMAGE_PNG] = "png", [IMAGE_JPEG] = "jpeg", [IMAGE_WEBP] = "webp", NULL};

enum image_format image_format_of(const char *word)
{
    for (int i = 0; image_formats[i]; i++)
        if (strcmp(word, image_formats[i]) == 0)
            return (enum image_format)i;
    return IMAGE_NONE;
}

enum image_format image_sniff(const void *data, size_t size)
{
    const char *d = data;
    if (size >= 8 && memcmp(d, "\x89PNG\r\n\x1a\n", 8) == 0)
        return IMAGE_PNG;
    if (size >= 3 && memcmp(d, "\xff\xd8\xff", 3) == 0)
        return IMAGE_JPEG;
    if (size >= 12 && memcmp(d, "RIFF", 4) == 0 && memcmp(d + 8, "WEBP", 4) == 0)
        return IMAGE_WEBP;
    if (size >= 6 && (memcmp(d, "GIF87a", 6) == 0 || memcmp(d, "GIF89a", 6) == 0))
        return IMAGE_GIF;
    if (size >= 18 && memcmp(d, "BM", 2) == 0 && memcmp(d + 6, "\0\0\0\0", 4) == 0 &&
        memcmp(d + 15, "\0\0\0", 3) == 0)
        return IMAGE_BMP;
    return IMAGE_NONE;
}

const char *image_mime(enum image_format format)
{
    switch (format) {
    case IMAGE_PNG:
        return "image/png";
    case IMAGE_JPEG:
        return "image/jpeg";
    case IMAGE_WEBP:
        return "image/webp";
    case IMAGE_GIF:
        return "image/gif";
    case IMAGE_BMP:
        return "image/bmp";
    case IMAGE_NONE:
        break;
    }
    return "application/octet-stream";
}

const char *image_extension(enum image_format format)
{
    switch (format) {
    case IMAGE_PNG:
        return "png";
    case IMAGE_JPEG:
        return "jpg";
    case IMAGE_WEBP:
        return "webp";
    case IMAGE_GIF:
        return "gif";
    case IMAGE_BMP:
        return "bmp";
    case IMAGE_NONE:
        break;
    }
    return "bin";
}

static bool unknown(struct err *err)
{
    return err_set(err, ERR_INVALID, "PNG, JPEG, WebP, GIF or BMP wanted, got something else");
}

bool image_check_size(uint32_t width, uint32_t height, size_t max_pixels, struct err *err)
{
    if (width < 1 || height < 1)
        return err_set(err, ERR_INVALID, "a picture of %u x %u has no pixels", (unsigned)width,
                       (unsigned)height);
    if (width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return err_set(err, ERR_TOO_LARGE, "pictures of at most %d pixels a side, got %u x %u",
                       IMAGE_SIDE_MAX, (unsigned)width, (unsigned)height);
    if ((size_t)width * height > max_pixels)
        return err_set(err, ERR_TOO_LARGE, "pictures of at most %zu pixels, got %u x %u",
                       max_pixels, (unsigned)width, (unsigned)height);
    return true;
}

bool image_check(const struct pictor_image *image, struct err *err)
{
    if (!image->pixels || image->width < 1 || image->height < 1)
        return err_set(err, ERR_INVALID, "a picture without pixels");
    if (image->channels != 1 && image->channels != 3 && image->channels != 4)
        return err_set(err, ERR_INVALID, "a picture of 1, 3 or 4 channels wanted, got %d",
                       image->channels);
    return image_check_size((uint32_t)image->width, (uint32_t)image->height, SIZE_MAX, err);
}

void pictor_image_free(struct pictor_image *image)
{
    free(image->pixels);
    *image = (struct pictor_image){0};
}

bool image_new(struct pictor_image *out, int width, int height, int channels, struct err *err)
{
    *out = (struct pictor_image){0};
    uint8_t *pixels = calloc((size_t)width * (size_t)height, (size_t)channels);
    if (!pixels)
        return err_set(err, ERR_TOO_LARGE, "no memory for a picture of %d x %d", width, height);
    *out = (struct pictor_image){width, height, channels, pixels};
    return true;
}

/* EXIF orientation: 5..8 swap the sides; then the source is read mirrored in x or y. */
static bool orient(struct pictor_image *image, int orientation, struct err *err)
{
    if (orientation == 1)
        return true;
    bool swap = orientation >= 5;
    bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    size_t w = (size_t)image->width, h = (size_t)image->height, c = (size_t)image->channels;
    struct pictor_image out;
    if (!image_new(&out, swap ? image->height : image->width, swap ? image->width : image->height,
                   image->channels, err))
        return false;
    uint8_t *to = out.pixels;
    for (size_t y = 0; y < (size_t)out.height; y++)
        for (size_t x = 0; x < (size_t)out.width; x++, to += c) {
            size_t sx = swap ? y : x, sy = swap ? x : y;
            sx = flip_x ? w - 1 - sx : sx;
            sy = flip_y ? h - 1 - sy : sy;
            memcpy(to, image->pixels + (sy * w + sx) * c, c);
        }
    pictor_image_free(image);
    *image = out;
    return true;
}

bool image_probe(const void *data, size_t size, struct image_header *out, struct err *err)
{
    int orientation = 1;
    bool ok = false;
    *out = (struct image_header){0};
    switch (image_sniff(data, size)) {
    case IMAGE_PNG:
        ok = image_png_probe(data, size, out, &orientation, err);
        break;
    case IMAGE_JPEG:
        ok = image_jpeg_probe(data, size, out, &orientation, err);
        break;
    case IMAGE_WEBP:
        ok = image_webp_probe(data, size, out, &orientation, err);
        break;
    case IMAGE_GIF:
        ok = image_gif_probe(data, size, out, err);
        break;
    case IMAGE_BMP:
        ok = image_bmp_probe(data, size, out, err);
        break;
    case IMAGE_NONE:
        unknown(err);
        break;
    }
    if (ok && orientation >= 5) {
        int width = out->width;
        out->width = out->height;
        out->height = width;
    }
    return ok;
}

bool image_decode(const void *data, size_t size, size_t max_pixels, struct pictor_image *out,
                  struct err *err)
{
    int orientation = 1;
    bool ok = false;
    *out = (struct pictor_image){0};
    switch (image_sniff(data, size)) {
    case IMAGE_PNG:
        ok = image_png_decode(data, size, max_pixels, out, &orientation, err);
        break;
    case IMAGE_JPEG:
        ok = image_jpeg_decode(data, size, max_pixels, out, &orientation, err);
        break;
    case IMAGE_WEBP:
        ok = image_webp_decode(data, size, max_pixels, out, &orientation, err);
        break;
    case IMAGE_GIF:
        ok = image_gif_decode(data, size, max_pixels, out, err);
        break;
    case IMAGE_BMP:
        ok = image_bmp_decode(data, size, max_pixels, out, err);
        break;
    case IMAGE_NONE:
        unknown(err);
        break;
    }
    if (ok && !orient(out, orientation, err)) {
        pictor_image_free(out);
        return false;
    }
    return ok;
}

bool image_texts_add(struct image_texts *texts, const char *key, const char *value, size_t size,
                     struct err *err)
{
    struct image_text *items = realloc(texts->items, (texts->count + 1) * sizeof *items);
    char *own = strndup(value, size);
    struct image_text item = {strdup(key), malloc(size * UTF8_LONGER + 1)};
    if (items)
        texts->items = items;
    if (items && own && item.key && item.value) {
        const char *from = own;
        char *to = item.value;
        for (uint32_t c; (c = utf8_next(&from)) != 0;)
            to = utf8_put(to, c);
        *to = '\0';
        free(own);
        items[texts->count++] = item;
        return true;
    }
    free(own);
    free(item.key);
    free(item.value);
    image_texts_free(texts);
    return err_set(err, ERR_INTERNAL, "no memory for the text in a picture");
}

bool image_texts_from_exif(const uint8_t *block, size_t size, struct image_texts *out,
                           struct err *err)
{
    char *comment = image_exif_comment(block, size);
    if (!comment)
        return true;
    bool ok = image_texts_add(out, "parameters", comment, strlen(comment), err);
    free(comment);
    return ok;
}

bool image_texts_read(const void *data, size_t size, struct image_texts *out, struct err *err)
{
    *out = (struct image_texts){0};
    switch (image_sniff(data, size)) {
    case IMAGE_PNG:
        return image_png_texts(data, size, out, err);
    case IMAGE_JPEG:
        return image_jpeg_texts(data, size, out, err);
    case IMAGE_WEBP:
        return image_webp_texts(data, size, out, err);
    case IMAGE_GIF:
        return image_gif_texts(data, size, out, err);
    case IMAGE_BMP:
        return true;
    case IMAGE_NONE:
        break;
    }
    return unknown(err);
}

const char *image_texts_get(const struct image_texts *texts, const char *key)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i].key, key) == 0)
            return texts->items[i].value;
    return NULL;
}

void image_texts_free(struct image_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i].key);
        free(texts->items[i].value);
    }
    free(texts->items);
    *texts = (struct image_texts){0};
}

void image_file_free(struct image_file *file)
{
    free(file->data);
    *file = (struct image_file){0};
}

bool image_encode(const struct pictor_image *image, enum image_format format, int quality,
                  const struct image_texts *texts, struct image_file *out, struct err *err)
{
    const char *parameters = texts ? image_texts_get(texts, "parameters") : NULL;
    const char *xmp = texts ? image_texts_get(texts, IMAGE_MARK_KEY) : NULL;
    if (quality < 1)
        quality = 1;
    switch (format) {
    case IMAGE_PNG:
        return image_encode_png(image, texts, out, err);
    case IMAGE_JPEG:
        return image_encode_jpeg(image, quality, parameters, xmp, out, err);
    case IMAGE_WEBP:
        return image_encode_webp(image, quality, parameters, xmp, out, err);
    case IMAGE_GIF:
    case IMAGE_BMP:
    case IMAGE_NONE:
        break;
    }
    return err_set(err, ERR_INVALID, "a picture can be PNG, JPEG or WebP");
}

bool image_convert(const struct pictor_image *in, int channels, struct pictor_image *out,
                   struct err *err)
{
    *out = (struct pictor_image){0};
    if (!image_check(in, err) || !image_new(out, in->width, in->height, channels, err))
        return false;
    size_t n = (size_t)in->width * (size_t)in->height;
    const uint8_t *p = in->pixels;
    uint8_t *to = out->pixels;
    for (size_t i = 0; i < n; i++, p += in->channels, to += channels) {
        uint8_t rgb[3] = {p[0], p[0], p[0]};
        if (in->channels > 1) {
            rgb[1] = p[1];
            rgb[2] = p[2];
        }
        for (int k = 0; k < 3 && in->channels == 4; k++)
            rgb[k] = (uint8_t)((rgb[k] * p[3] + 255 * (255 - p[3]) + 127) / 255);
        if (channels == 3)
            memcpy(to, rgb, 3);
        else /* ITU-R 601 luma in 16 bits of fraction, as Pillow has it */
            *to = (uint8_t)((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
    }
    return true;
}

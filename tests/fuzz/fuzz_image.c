/* fuzz_image.c: any bytes as a picture. What one reader accepts the others must agree with, and
 * what is decoded must survive being written and read again. `make fuzz TARGET=image` */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/io/image_exif.h"

#define PIXELS_MAX (1 << 16) /* small, so that runs are fast */

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_pixels(const struct pictor_image *image)
{
    require(image->width > 0 && image->height > 0);
    require(image->channels == 1 || image->channels == 3 || image->channels == 4);
    struct image_file file;
    struct pictor_image again, small;
    require(image_encode_png(image, NULL, &file, NULL));
    require(image_decode(file.data, file.size, PIXELS_MAX, &again, NULL));
    size_t bytes = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    require(again.channels == image->channels && memcmp(again.pixels, image->pixels, bytes) == 0);
    require(image_resize(image, 5, 3, IMAGE_LANCZOS, &small, NULL));
    image_file_free(&file);
    pictor_image_free(&again);
    pictor_image_free(&small);
}

static void check_texts(const uint8_t *data, size_t size)
{
    struct image_texts texts;
    struct err err = {0};
    if (!image_texts_read(data, size, &texts, &err)) {
        require(err.code != ERR_NONE && *err.msg);
        return;
    }
    for (size_t i = 0; i < texts.count; i++)
        require(image_texts_get(&texts, texts.items[i].key) != NULL);
    image_texts_free(&texts);
}

static void check_exif(const uint8_t *data, size_t size)
{
    int orientation = image_exif_orientation(data, size);
    require(orientation >= 1 && orientation <= 8);
    char *comment = image_exif_comment(data, size);
    if (comment) {
        size_t n;
        uint8_t *block = image_exif_build(comment, 65527, &n);
        require(block && n <= 65527);
        free(block);
    }
    free(comment);
}

static void check_file(const uint8_t *data, size_t size)
{
    struct image_header header;
    struct pictor_image image;
    struct err err = {0};
    bool probed = image_probe(data, size, &header, &err);
    require(probed || (err.code != ERR_NONE && *err.msg));
    err = (struct err){0};
    if (image_decode(data, size, PIXELS_MAX, &image, &err)) {
        require(probed && header.width == image.width && header.height == image.height);
        check_pixels(&image);
        pictor_image_free(&image);
    } else {
        require(err.code != ERR_NONE && *err.msg && !image.pixels);
    }
    check_texts(data, size);
}

static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
    }
    return ~c;
}

/* Makes the checksums of a PNG's chunks right, so that mutations get past them. */
static void repair_png(uint8_t *data, size_t size)
{
    for (size_t at = 8; size >= 12 && at <= size - 12;) {
        size_t length = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 |
                        (size_t)data[at + 2] << 8 | data[at + 3];
        if (length > size - at - 12)
            return;
        uint32_t sum = crc(data + at + 4, length + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + length + i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file(data, size);
    check_exif(data, size);
    if (image_sniff(data, size) == IMAGE_PNG) {
        uint8_t *copy = malloc(size);
        require(copy);
        memcpy(copy, data, size);
        repair_png(copy, size);
        check_file(copy, size);
        free(copy);
    }
    return 0;
}

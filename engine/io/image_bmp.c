/* image_bmp.c: rows of pixels from the bottom to the top, or from the top where the height is
 * negative; palettes of 1, 4 and 8 bits, 16, 24 and 32 bits with or without masks. Files that are
 * packed (run lengths, JPEG or PNG inside) hardly exist and are refused. */
#include "engine/io/image_bmp.h"

#include <string.h>

#define FILE_HEAD 14
#define CORE_HEAD 12 /* of OS/2: sides of 16 bits, palettes of 3 bytes an entry */
#define INFO_HEAD 40
#define PLAIN 0
#define MASKS 3
#define ALPHA_MASKS 6

struct bmp {
    uint32_t width, height;
    bool down; /* from the top */
    int bits;
    const uint8_t *palette;
    size_t colours, colour_size;
    uint32_t masks[4]; /* red, green, blue, alpha; of 16 and 32 bits */
    const uint8_t *pixels;
    size_t stride;
};

static uint32_t get(const uint8_t *p, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v;
}

static bool short_file(struct err *err)
{
    return err_set(err, ERR_INVALID, "BMP: the file ends too early");
}

static void plain_masks(struct bmp *b)
{
    static const uint32_t of_16[4] = {0x7C00, 0x3E0, 0x1F}, of_32[4] = {0xFF0000, 0xFF00, 0xFF};
    memcpy(b->masks, b->bits == 16 ? of_16 : of_32, sizeof b->masks);
}

static bool read_head(const uint8_t *data, size_t size, struct bmp *b, struct err *err)
{
    *b = (struct bmp){0};
    if (size < FILE_HEAD + CORE_HEAD)
        return short_file(err);
    size_t head = get(data + FILE_HEAD, 4), at = get(data + 10, 4);
    const uint8_t *h = data + FILE_HEAD;
    bool core = head == CORE_HEAD;
    if (!core && (head < INFO_HEAD || head > 1024))
        return err_set(err, ERR_INVALID, "BMP: no valid header");
    if (size < FILE_HEAD + head)
        return short_file(err);
    uint32_t compression = core ? PLAIN : get(h + 16, 4);
    int64_t height = core ? (int64_t)get(h + 6, 2) : (int32_t)get(h + 8, 4);
    int64_t width = core ? (int64_t)get(h + 4, 2) : (int32_t)get(h + 4, 4);
    b->bits = (int)get(h + (core ? 10 : 14), 2);
    b->down = height < 0;
    if (width <= 0 || height == 0)
        return err_set(err, ERR_INVALID, "BMP: a picture without pixels");
    b->width = (uint32_t)width;
    b->height = (uint32_t)(height < 0 ? -height : height);
    if (!image_check_size(b->width, b->height, SIZE_MAX, err))
        return false;
    bool masks = compression == MASKS || compression == ALPHA_MASKS;
    if (!masks && compression != PLAIN)
        return err_set(err, ERR_UNSUPPORTED, "BMP: wanted one that is not compressed, got type %u",
                       (unsigned)compression);
    if (b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 16 && b->bits != 24 &&
        b->bits != 32)
        return err_set(err, ERR_UNSUPPORTED, "BMP: wanted 1, 4, 8, 16, 24 or 32 bits, got %d",
                       b->bits);
    plain_masks(b);
    size_t behind = FILE_HEAD + head; /* of a plain head the masks stand behind it */
    if (masks && (b->bits == 16 || b->bits == 32)) {
        size_t count = head >= 56 || compression == ALPHA_MASKS ? 4 : 3;
        if (size < FILE_HEAD + INFO_HEAD + 4 * count)
            return short_file(err);
        for (size_t i = 0; i < count; i++)
            b->masks[i] = get(h + INFO_HEAD + 4 * i, 4);
        if (head == INFO_HEAD)
            behind += 4 * count;
    }
    if (b->bits <= 8) {
        size_t most = (size_t)1 << b->bits, said = core ? most : get(h + 32, 4);
        b->colours = said && said < most ? said : most;
        b->colour_size = core ? 3 : 4;
        b->palette = data + behind;
        if (b->colours * b->colour_size > size - behind)
            return short_file(err);
    }
    b->stride = ((size_t)b->width * (size_t)b->bits + 31) / 32 * 4;
    if (at < FILE_HEAD + head || at > size || b->stride > (size - at) / b->height)
        return short_file(err);
    b->pixels = data + at;
    return true;
}

bool image_bmp_probe(const uint8_t *data, size_t size, struct image_header *out, struct err *err)
{
    struct bmp b;
    if (!read_head(data, size, &b, err))
        return false;
    *out = (struct image_header){IMAGE_BMP, (int)b.width, (int)b.height};
    return true;
}

/* What a mask picks, as 0..255. */
static uint8_t masked(uint32_t value, uint32_t mask)
{
    if (!mask)
        return 0;
    uint64_t most = mask / (mask & -mask), v = (value & mask) / (mask & -mask);
    return (uint8_t)(v * 255 / most);
}

static void read_pixel(const struct bmp *b, const uint8_t *row, size_t x, uint8_t *out,
                       int channels)
{
    if (b->bits <= 8) {
        size_t per = 8 / (size_t)b->bits;
        int shift = (int)(per - 1 - x % per) * b->bits;
        size_t index = row[x / per] >> shift & ((1u << b->bits) - 1);
        const uint8_t *c = b->palette + (index < b->colours ? index : 0) * b->colour_size;
        for (int k = 0; k < 3; k++)
            out[k] = c[2 - k];
    } else if (b->bits == 24) {
        for (int k = 0; k < 3; k++)
            out[k] = row[3 * x + 2 - (size_t)k];
    } else {
        int bytes = b->bits / 8;
        uint32_t value = get(row + x * (size_t)bytes, bytes);
        for (int k = 0; k < channels; k++)
            out[k] = masked(value, b->masks[k]);
    }
}

bool image_bmp_decode(const uint8_t *data, size_t size, size_t max_pixels,
                      struct pictor_image *out, struct err *err)
{
    struct bmp b;
    if (!read_head(data, size, &b, err) || !image_check_size(b.width, b.height, max_pixels, err))
        return false;
    int channels = b.bits > 8 && b.bits != 24 && b.masks[3] ? 4 : 3;
    if (!image_new(out, (int)b.width, (int)b.height, channels, err))
        return false;
    for (size_t y = 0; y < b.height; y++) {
        const uint8_t *row = b.pixels + (b.down ? y : b.height - 1 - y) * b.stride;
        uint8_t *to = out->pixels + y * b.width * (size_t)channels;
        for (size_t x = 0; x < b.width; x++)
            read_pixel(&b, row, x, to + x * (size_t)channels, channels);
    }
    return true;
}

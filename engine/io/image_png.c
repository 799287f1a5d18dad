/* image_png.c: libpng reports errors by longjmp. Each function that calls setjmp has no locals of
 * its own that change between the two: everything lives in a struct of its caller, who frees it
 * either way. */
#include "engine/io/image_png.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image_exif.h"
#include "engine/io/image_mark.h"
#include "engine/io/utf8.h"

/* Chunks other than pixels: a text chunk of a few KiB may inflate to anything. */
#define CHUNK_BYTES_MAX (4 << 20)
#define CHUNKS_MAX 32
/* Measured on a 512 x 512 photograph, one core: 17 ms for 531 KiB; zlib's usual level 6 with all
 * filters tried takes 57 ms for 500 KiB. */
#define COMPRESSION_LEVEL 2
#define FILTERS PNG_FILTER_PAETH

struct png {
    png_structp png;
    png_infop info;
    char msg[128];

    const uint8_t *data; /* reading */
    size_t size, at;
    struct pictor_image image;

    struct image_file file; /* writing */
    size_t capacity;
};

static void on_error(png_structp png, png_const_charp msg)
{
    struct png *p = png_get_error_ptr(png);
    size_t n = strlen(msg);
    if (n >= sizeof p->msg)
        n = sizeof p->msg - 1;
    memcpy(p->msg, msg, n);
    p->msg[n] = '\0';
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp msg)
{
}

/* Reading. */

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct png *p = png_get_io_ptr(png);
    if (n > p->size - p->at)
        png_error(png, "the file ends too early");
    memcpy(out, p->data + p->at, n);
    p->at += n;
}

/* libpng makes room for a chunk of whatever length it claims, before it looks for the bytes. */
static bool chunks_fit(const uint8_t *data, size_t size)
{
    size_t at = 8;
    while (at < size) {
        if (size - at < 12)
            return false;
        const uint8_t *p = data + at;
        size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > size - at - 12)
            return false;
        if (memcmp(p + 4, "IEND", 4) == 0)
            return true;
        at += 12 + length;
    }
    return false;
}

static bool reader_open(struct png *p, const uint8_t *data, size_t size, struct err *err)
{
    *p = (struct png){.data = data, .size = size};
    if (!chunks_fit(data, size))
        return err_set(err, ERR_INVALID, "PNG: the file ends too early");
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    return p->info || err_set(err, ERR_INTERNAL, "PNG: no memory");
}

static void reader_close(struct png *p)
{
    png_destroy_read_struct(&p->png, &p->info, NULL);
}

/* Everything before the pixels. Chunks of which nothing is wanted are not even inflated. */
static bool read_head(struct png *p, bool texts)
{
    static const png_byte unwanted[] = "iCCP\0sPLT\0hIST\0tEXt\0zTXt\0iTXt";
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    png_set_read_fn(p->png, p, on_read);
    png_set_chunk_malloc_max(p->png, CHUNK_BYTES_MAX);
    png_set_chunk_cache_max(p->png, CHUNKS_MAX);
    png_set_keep_unknown_chunks(p->png, PNG_HANDLE_CHUNK_NEVER, unwanted, texts ? 3 : 6);
    png_read_info(p->png, p->info);
    return true;
}

static int orientation_of(struct png *p)
{
    png_uint_32 size = 0;
    png_bytep block = NULL;
    if (!png_get_eXIf_1(p->png, p->info, &size, &block))
        return 1;
    return image_exif_orientation(block, size);
}

/* Asks for 8-bit grey, RGB or RGBA. Returns the channels. */
static bool set_transforms(struct png *p, int *channels)
{
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    png_set_expand(p->png); /* palettes to RGB, 1, 2 and 4 bits to 8, tRNS to alpha */
    png_set_scale_16(p->png);
    int type = png_get_color_type(p->png, p->info);
    bool alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(p->png, p->info, PNG_INFO_tRNS);
    if (alpha && !(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(p->png);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
    *channels = png_get_channels(p->png, p->info);
    return true;
}

static bool read_pixels(struct png *p)
{
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    int passes = png_get_interlace_type(p->png, p->info) == PNG_INTERLACE_NONE ? 1 : 7;
    size_t stride = (size_t)p->image.width * (size_t)p->image.channels;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < p->image.height; y++)
            png_read_row(p->png, p->image.pixels + (size_t)y * stride, NULL);
    png_read_end(p->png, NULL); /* checks the sums of the last chunks */
    return true;
}

static bool damaged(const struct png *p, struct err *err)
{
    return err_set(err, ERR_INVALID, "PNG: %s", p->msg);
}

bool image_png_probe(const uint8_t *data, size_t size, struct image_header *out, int *orientation,
                     struct err *err)
{
    struct png p;
    bool ok = reader_open(&p, data, size, err) && (read_head(&p, false) || damaged(&p, err));
    if (ok) {
        png_uint_32 width = png_get_image_width(p.png, p.info);
        png_uint_32 height = png_get_image_height(p.png, p.info);
        ok = image_check_size(width, height, SIZE_MAX, err);
        *out = (struct image_header){IMAGE_PNG, (int)width, (int)height};
        *orientation = orientation_of(&p);
    }
    reader_close(&p);
    return ok;
}

bool image_png_decode(const uint8_t *data, size_t size, size_t max_pixels, struct pictor_image *out,
                      int *orientation, struct err *err)
{
    struct png p;
    int channels;
    if (!reader_open(&p, data, size, err))
        goto fail;
    if (!read_head(&p, false)) {
        damaged(&p, err);
        goto fail;
    }
    png_uint_32 width = png_get_image_width(p.png, p.info);
    png_uint_32 height = png_get_image_height(p.png, p.info);
    *orientation = orientation_of(&p);
    if (!image_check_size(width, height, max_pixels, err))
        goto fail;
    if (!set_transforms(&p, &channels)) {
        damaged(&p, err);
        goto fail;
    }
    if (png_get_rowbytes(p.png, p.info) != (size_t)width * (size_t)channels) {
        err_set(err, ERR_INTERNAL, "PNG: rows of %zu bytes for %u pixels",
                png_get_rowbytes(p.png, p.info), (unsigned)width);
        goto fail;
    }
    if (!image_new(&p.image, (int)width, (int)height, channels, err))
        goto fail;
    if (!read_pixels(&p)) {
        damaged(&p, err);
        goto fail;
    }
    *out = p.image;
    reader_close(&p);
    return true;
fail:
    pictor_image_free(&p.image);
    reader_close(&p);
    return false;
}

/* Latin-1 (as PNG's older text chunks are) or doubtful UTF-8 to UTF-8. Returns owned. */
static char *to_utf8(const char *s, bool latin1)
{
    char *text = malloc(strlen(s) * 3 + 1), *out = text;
    if (!text)
        return NULL;
    for (uint32_t c; (c = latin1 ? (unsigned char)*s++ : utf8_next(&s)) != 0;)
        out = utf8_put(out, c);
    *out = '\0';
    return text;
}

bool image_png_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err)
{
    struct png p;
    if (!reader_open(&p, data, size, err))
        goto fail;
    if (!read_head(&p, true)) {
        damaged(&p, err);
        goto fail;
    }
    png_textp texts = NULL;
    int n = 0;
    png_get_text(p.png, p.info, &texts, &n);
    out->items = calloc(n > 0 ? (size_t)n : 1, sizeof *out->items);
    for (int i = 0; out->items && i < n; i++) {
        bool latin1 = texts[i].compression < PNG_ITXT_COMPRESSION_NONE;
        struct image_text *item = &out->items[out->count++];
        item->key = to_utf8(texts[i].key, true);
        item->value = to_utf8(texts[i].text ? texts[i].text : "", latin1);
        if (!item->key || !item->value) {
            image_texts_free(out);
            break;
        }
    }
    if (!out->items) {
        err_set(err, ERR_INTERNAL, "PNG: no memory for %d texts", n);
        goto fail;
    }
    reader_close(&p);
    return true;
fail:
    reader_close(&p);
    return false;
}

/* Writing. */

static void on_write(png_structp png, png_bytep data, size_t n)
{
    struct png *p = png_get_io_ptr(png);
    if (n > p->capacity - p->file.size) {
        size_t capacity = p->capacity * 2 > p->file.size + n ? p->capacity * 2 : p->file.size + n;
        uint8_t *grown = realloc(p->file.data, capacity);
        if (!grown)
            png_error(png, "no memory");
        p->file.data = grown;
        p->capacity = capacity;
    }
    memcpy(p->file.data + p->file.size, data, n);
    p->file.size += n;
}

static void on_flush(png_structp png)
{
}

/* The text as Latin-1, or NULL where it has other characters (or memory ran out: *full). */
static char *to_latin1(const char *s, bool *full)
{
    char *text = malloc(strlen(s) + 1), *out = text;
    *full = text == NULL;
    for (uint32_t c; text && (c = utf8_next(&s)) != 0;) {
        if (c > 0xFF) {
            free(text);
            return NULL;
        }
        *out++ = (char)c;
    }
    if (text)
        *out = '\0';
    return text;
}

static bool key_fits(const char *key)
{
    size_t n = strlen(key);
    if (n < 1 || n > 79 || key[0] == ' ' || key[n - 1] == ' ' || strstr(key, "  "))
        return false;
    for (size_t i = 0; i < n; i++)
        if (key[i] < 0x20 || key[i] > 0x7E)
            return false;
    return true;
}

static void free_texts(png_text *texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++)
        free(texts[i].text);
    free(texts);
}

/* As libpng wants them; the values are owned copies. */
static png_text *make_texts(const struct image_texts *texts, struct err *err)
{
    png_text *out = calloc(texts->count, sizeof *out);
    for (size_t i = 0; out && i < texts->count; i++) {
        if (!key_fits(texts->items[i].key)) {
            err_set(err, ERR_INVALID,
                    "PNG text: a key of 1 to 79 printable characters wanted, "
                    "got \"%.100s\"",
                    texts->items[i].key);
            free_texts(out, i);
            return NULL;
        }
        bool full;
        out[i].key = texts->items[i].key;
        out[i].compression = PNG_TEXT_COMPRESSION_NONE;
        full = false;
        if (strcmp(out[i].key, IMAGE_MARK_KEY) != 0)
            out[i].text = to_latin1(texts->items[i].value, &full);
        if (!out[i].text && !full) {
            out[i].compression = PNG_ITXT_COMPRESSION_NONE;
            out[i].text = to_utf8(texts->items[i].value, false);
        }
        if (!out[i].text) {
            free_texts(out, i);
            out = NULL;
        }
    }
    if (!out)
        err_set(err, ERR_INTERNAL, "PNG: no memory for %zu texts", texts->count);
    return out;
}

static bool write_all(struct png *p, const struct pictor_image *image, const png_text *texts,
                      int text_count)
{
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    png_set_write_fn(p->png, p, on_write, on_flush);
    png_set_compression_level(p->png, COMPRESSION_LEVEL);
    png_set_filter(p->png, PNG_FILTER_TYPE_BASE, FILTERS);
    png_set_IHDR(p->png, p->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 types[image->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
                 PNG_FILTER_TYPE_BASE);
    if (text_count)
        png_set_text(p->png, p->info, texts, text_count);
    png_write_info(p->png, p->info);
    size_t stride = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++)
        png_write_row(p->png, image->pixels + (size_t)y * stride);
    png_write_end(p->png, NULL);
    return true;
}

bool image_encode_png(const struct pictor_image *image, const struct image_texts *texts,
                      struct image_file *out, struct err *err)
{
    size_t count = texts ? texts->count : 0;
    png_text *made = NULL;
    struct png p = {.capacity = 0};
    *out = (struct image_file){0};
    if (!image_check(image, err))
        return false;
    if (count && !(made = make_texts(texts, err)))
        return false;
    p.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning);
    p.info = p.png ? png_create_info_struct(p.png) : NULL;
    bool ok = p.info && write_all(&p, image, made, (int)count);
    if (!ok)
        err_set(err, ERR_INTERNAL, "PNG: %s", p.info ? p.msg : "no memory");
    png_destroy_write_struct(&p.png, &p.info);
    free_texts(made, count);
    if (!ok) {
        image_file_free(&p.file);
        return false;
    }
    *out = p.file;
    return true;
}

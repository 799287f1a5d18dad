/* image_gif.c: GIF 89a: a screen, a palette, then blocks: extensions, of which the one before a
 * frame says what is transparent and a comment may be text, and frames of LZW codes in chains of at
 * most 255 bytes. The first frame is the picture. */
#include "engine/io/image_gif.h"

#include <stdlib.h>
#include <string.h>

#define HEAD 13
#define CODES 4096 /* of 12 bits at most */
#define COMMENT_MAX (1 << 20)

struct gif {
    const uint8_t *data;
    size_t size, at;
    uint32_t width, height;
    const uint8_t *palette; /* of the screen, later of the frame */
    size_t colours;
    int transparent; /* -1: nothing */
    uint32_t x, y, frame_width, frame_height;
    bool interlaced;
};

static bool short_file(struct err *err)
{
    return err_set(err, ERR_INVALID, "GIF: the file ends too early");
}

/* `n` bytes, or NULL. */
static const uint8_t *take(struct gif *g, size_t n)
{
    if (n > g->size - g->at)
        return NULL;
    const uint8_t *p = g->data + g->at;
    g->at += n;
    return p;
}

static uint32_t get(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

/* The palette that flags announce, if they do. */
static bool take_palette(struct gif *g, uint8_t flags, struct err *err)
{
    if (!(flags & 0x80))
        return true;
    g->colours = (size_t)2 << (flags & 7);
    g->palette = take(g, 3 * g->colours);
    return g->palette || short_file(err);
}

static bool open(struct gif *g, const uint8_t *data, size_t size, struct err *err)
{
    *g = (struct gif){.data = data, .size = size, .transparent = -1};
    const uint8_t *head = take(g, HEAD);
    if (!head)
        return short_file(err);
    g->width = get(head + 6);
    g->height = get(head + 8);
    return image_check_size(g->width, g->height, SIZE_MAX, err) && take_palette(g, head[10], err);
}

/* The next link of a chain; size 0 is its end. False: the file ends. */
static bool take_link(struct gif *g, const uint8_t **link, size_t *size)
{
    const uint8_t *n = take(g, 1);
    if (!n)
        return false;
    *size = *n;
    return (*link = take(g, *size)) != NULL;
}

/* Behind it; a comment's bytes are added to `comment` (may be NULL, owned). */
static bool take_extension(struct gif *g, struct image_texts *texts, struct err *err)
{
    const uint8_t *label = take(g, 1), *link;
    size_t size, used = 0;
    bool wanted = texts && !image_texts_get(texts, "parameters"); /* the first comment counts */
    char *comment = wanted && label && *label == 0xFE ? malloc(COMMENT_MAX) : NULL;
    do {
        if (!label || !take_link(g, &link, &size)) {
            free(comment);
            return short_file(err);
        }
        if (*label == 0xF9 && size >= 4)
            g->transparent = link[0] & 1 ? link[3] : -1;
        if (comment && size <= COMMENT_MAX - used) {
            memcpy(comment + used, link, size);
            used += size;
        }
    } while (size);
    bool ok = !comment || image_texts_add(texts, "parameters", comment, used, err);
    free(comment);
    return ok;
}

/* Up to the first frame's codes. */
static bool find_frame(struct gif *g, struct image_texts *texts, struct err *err)
{
    for (;;) {
        const uint8_t *kind = take(g, 1), *f;
        if (!kind)
            return short_file(err);
        if (*kind == 0x21) {
            if (!take_extension(g, texts, err))
                return false;
            continue;
        }
        if (*kind != 0x2C)
            return err_set(err, ERR_INVALID, "GIF: a frame wanted, got a block of type %d", *kind);
        if (!(f = take(g, 9)))
            return short_file(err);
        g->x = get(f);
        g->y = get(f + 2);
        g->frame_width = get(f + 4);
        g->frame_height = get(f + 6);
        g->interlaced = f[8] & 0x40;
        return take_palette(g, f[8], err);
    }
}

bool image_gif_probe(const uint8_t *data, size_t size, struct image_header *out, struct err *err)
{
    struct gif g;
    if (!open(&g, data, size, err) || !find_frame(&g, NULL, err))
        return false;
    *out = (struct image_header){IMAGE_GIF, (int)g.width, (int)g.height};
    return true;
}

bool image_gif_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err)
{
    struct gif g;
    if (open(&g, data, size, err) && find_frame(&g, out, err))
        return true;
    image_texts_free(out);
    return false;
}

/* ---- codes ---- */

struct codes {
    struct gif *g;
    const uint8_t *link;
    size_t left;
    uint32_t bits;
    int count; /* of bits that wait */
    bool ended;
};

/* -1: the chain has ended. */
static int next_code(struct codes *c, int width)
{
    while (c->count < width) {
        if (c->left == 0 && (c->ended || !take_link(c->g, &c->link, &c->left) || c->left == 0)) {
            c->ended = true;
            return -1;
        }
        c->bits |= (uint32_t)*c->link++ << c->count;
        c->left--;
        c->count += 8;
    }
    int code = (int)(c->bits & ((1u << width) - 1));
    c->bits >>= width;
    c->count -= width;
    return code;
}

/* Where rows of a frame go: one after another, or every eighth, then those between. */
static uint32_t row_of(const struct gif *g, uint32_t i)
{
    static const uint32_t from[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    for (int pass = 0; g->interlaced && pass < 4; pass++) {
        uint32_t rows = g->frame_height > from[pass]
                            ? (g->frame_height - from[pass] + step[pass] - 1) / step[pass]
                            : 0;
        if (i < rows)
            return from[pass] + i * step[pass];
        i -= rows;
    }
    return i;
}

struct canvas {
    struct gif *g;
    struct pictor_image *image;
    uint32_t column, row; /* of the frame */
    size_t left;          /* pixels of it */
};

static void put(struct canvas *c, uint8_t index)
{
    struct gif *g = c->g;
    uint32_t x = g->x + c->column, y = g->y + row_of(g, c->row);
    if (x < g->width && y < g->height && index != g->transparent && index < g->colours) {
        size_t channels = (size_t)c->image->channels;
        uint8_t *to = c->image->pixels + ((size_t)y * g->width + x) * channels;
        memcpy(to, g->palette + 3 * (size_t)index, 3);
        if (channels == 4)
            to[3] = 255;
    }
    c->left--;
    if (++c->column == g->frame_width) {
        c->column = 0;
        c->row++;
    }
}

struct lzw {
    uint16_t before[CODES]; /* of a string, all but the last byte */
    uint8_t last[CODES], string[CODES];
};

/* Puts the string of a code; returns its first byte. */
static uint8_t put_string(struct lzw *t, int code, int clear, struct canvas *canvas)
{
    size_t n = 0;
    for (; code >= clear; code = t->before[code])
        t->string[n++] = t->last[code];
    t->string[n++] = (uint8_t)code;
    for (size_t i = n; i-- > 0 && canvas->left;)
        put(canvas, t->string[i]);
    return (uint8_t)code;
}

static bool decode_codes(struct gif *g, struct lzw *t, struct canvas *canvas, struct err *err)
{
    const uint8_t *least = take(g, 1);
    struct codes codes = {.g = g};
    if (!least)
        return short_file(err);
    if (*least < 1 || *least > 8)
        return err_set(err, ERR_INVALID, "GIF: codes from %d bits", *least);
    int clear = 1 << *least, end = clear + 1, width = *least + 1, next = end + 1, old = -1;
    while (canvas->left) {
        int code = next_code(&codes, width);
        if (code < 0)
            return short_file(err);
        if (code == end)
            return err_set(err, ERR_INVALID, "GIF: the pixels end too early");
        if (code == clear) {
            width = *least + 1;
            next = end + 1;
            old = -1;
            continue;
        }
        if (code > next || (code == next && old < 0) || (old < 0 && code > end))
            return err_set(err, ERR_INVALID, "GIF: a code that stands for nothing");
        /* A code that is only being made is the string before and its own first byte. */
        uint8_t first = put_string(t, code == next ? old : code, clear, canvas);
        if (code == next && canvas->left)
            put(canvas, first);
        if (old >= 0 && next < CODES) {
            t->before[next] = (uint16_t)old;
            t->last[next++] = first;
            if (next == 1 << width && width < 12)
                width++;
        }
        old = code;
    }
    /* What stands between the last pixel and the end of the chain. */
    const uint8_t *link;
    size_t size = codes.ended ? 0 : 1;
    while (size)
        if (!take_link(g, &link, &size))
            return short_file(err);
    return true;
}

bool image_gif_decode(const uint8_t *data, size_t size, size_t max_pixels,
                      struct pictor_image *out, struct err *err)
{
    struct gif g;
    if (!open(&g, data, size, err) || !find_frame(&g, NULL, err) ||
        !image_check_size(g.width, g.height, max_pixels, err) ||
        !image_check_size(g.frame_width, g.frame_height, max_pixels, err))
        return false;
    bool whole = g.transparent < 0 && g.x == 0 && g.y == 0 && g.frame_width >= g.width &&
                 g.frame_height >= g.height;
    struct lzw *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_INTERNAL, "GIF: no memory");
    bool ok = image_new(out, (int)g.width, (int)g.height, whole ? 3 : 4, err);
    struct canvas canvas = {&g, out, 0, 0, (size_t)g.frame_width * g.frame_height};
    if (ok && !decode_codes(&g, t, &canvas, err)) {
        pictor_image_free(out);
        ok = false;
    }
    free(t);
    return ok;
}

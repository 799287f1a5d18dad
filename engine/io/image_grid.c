#include "engine/io/image_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image_letters.h"

#define CELL_MIN 8 /* pixels of a side, however many there are */

/* Rows of `in` into `out` at (x, y), as far as they are in it. */
static void paste(struct pictor_image *out, const struct pictor_image *in, int x, int y)
{
    int from = x < 0 ? -x : 0, to = out->width - x < in->width ? out->width - x : in->width;
    for (int row = 0; row < in->height; row++) {
        if (y + row < 0 || y + row >= out->height || to <= from)
            continue;
        memcpy(out->pixels + 3 * ((size_t)(y + row) * (size_t)out->width + (size_t)(x + from)),
               in->pixels + 3 * ((size_t)row * (size_t)in->width + (size_t)from),
               3 * (size_t)(to - from));
    }
}

static void clear(struct pictor_image *out, int x, int y, int width, int height)
{
    for (int row = y; row < y + height; row++)
        memset(out->pixels + 3 * ((size_t)row * (size_t)out->width + (size_t)x), 0,
               3 * (size_t)width);
}

/* One picture into its cell. */
static bool put(struct pictor_image *out, const struct pictor_image *in, double scale, int x, int y,
                int width, int height, struct err *err)
{
    struct pictor_image rgb = {0}, sized = {0};
    int w = (int)fmax(1, floor(in->width * scale)), h = (int)fmax(1, floor(in->height * scale));
    bool ok = image_convert(in, 3, &rgb, err) &&
              (scale == 1 || image_resize(&rgb, w, h, IMAGE_BOX, &sized, err));
    const struct pictor_image *image = scale == 1 ? &rgb : &sized;
    if (ok)
        paste(out, image, x + (width - image->width) / 2, y + (height - image->height) / 2);
    pictor_image_free(&rgb);
    pictor_image_free(&sized);
    return ok;
}

bool image_grid_fits(int columns, int rows, int margin, size_t max_pixels)
{
    double w = (double)CELL_MIN * columns + (double)margin * (columns - 1);
    double h = (double)CELL_MIN * rows + (double)margin * (rows - 1);
    return w <= IMAGE_SIDE_MAX && h <= IMAGE_SIDE_MAX && w * h <= (double)max_pixels;
}

bool image_grid_new(int width, int height, int columns, int rows, int margin, size_t max_pixels,
                    struct image_grid *grid, struct pictor_image *out, struct err *err)
{
    double scale = 1;
    for (;; scale *= 0.75) {
        double w = floor(width * scale) * columns + (double)margin * (columns - 1);
        double h = floor(height * scale) * rows + (double)margin * (rows - 1);
        if (w >= 1 && h >= 1 && w <= IMAGE_SIDE_MAX && h <= IMAGE_SIDE_MAX &&
            w * h <= (double)max_pixels)
            break;
        if (scale * width < CELL_MIN || scale * height < CELL_MIN)
            return err_set(err, ERR_TOO_LARGE, "%d x %d pictures are too many for a grid", columns,
                           rows);
    }
    width = (int)floor(width * scale);
    height = (int)floor(height * scale);
    if (!image_new(out, width * columns + margin * (columns - 1),
                   height * rows + margin * (rows - 1), 3, err))
        return false;
    memset(out->pixels, 255, 3 * (size_t)out->width * (size_t)out->height);
    for (int i = 0; i < columns * rows; i++)
        clear(out, i % columns * (width + margin), i / columns * (height + margin), width, height);
    *grid = (struct image_grid){columns, width, height, margin, scale};
    return true;
}

bool image_grid_put(const struct image_grid *grid, int i, const struct pictor_image *in,
                    struct pictor_image *out, struct err *err)
{
    return put(out, in, grid->scale, i % grid->columns * (grid->width + grid->margin),
               i / grid->columns * (grid->height + grid->margin), grid->width, grid->height, err);
}

bool image_grid(const struct pictor_image *images, size_t count, int columns, int rows, int margin,
                size_t max_pixels, struct pictor_image *out, struct err *err)
{
    struct image_grid grid;
    int width = 1, height = 1;
    for (size_t i = 0; i < count; i++) {
        width = images[i].width > width ? images[i].width : width;
        height = images[i].height > height ? images[i].height : height;
    }
    if (!image_grid_new(width, height, columns, rows, margin, max_pixels, &grid, out, err))
        return false;
    for (size_t i = 0; i < count && i < (size_t)columns * (size_t)rows; i++)
        if (!image_grid_put(&grid, (int)i, &images[i], out, err)) {
            pictor_image_free(out);
            return false;
        }
    return true;
}

/* ---- words ---- */

#define LINES 3         /* of a label above a column */
#define DOWN_LETTERS 16 /* in a line of one before a row */
#define CELL_DOTS 128   /* of a cell's width, however large it is */

static int most_lines(char *const *labels, int count, int letters, int lines)
{
    int most = 0;
    for (int i = 0; labels && i < count; i++) {
        int n = image_letters_draw(NULL, labels[i], 0, 0, 0, letters, lines, 1);
        most = n > most ? n : most;
    }
    return most;
}

/* Letters of the longest, as far as a line has room. */
static int most_letters(char *const *labels, int count)
{
    size_t most = 0;
    for (int i = 0; labels && i < count; i++)
        most = strlen(labels[i]) > most ? strlen(labels[i]) : most;
    return most < DOWN_LETTERS ? (int)most : DOWN_LETTERS;
}

bool image_grid_label(struct pictor_image *grid, int columns, int rows, int margin,
                      const struct image_labels *labels, struct err *err)
{
    int width = (grid->width - margin * (columns - 1)) / columns;
    int height = (grid->height - margin * (rows - 1)) / rows;
    int dot = width > CELL_DOTS ? width / CELL_DOTS : 1, line = IMAGE_LETTERS_LINE * dot;
    int letters = width / (IMAGE_LETTERS_ADVANCE * dot);
    int across = most_lines(labels->across, columns, letters, LINES);
    int down = most_letters(labels->down, rows);
    int whole = grid->width / (IMAGE_LETTERS_ADVANCE * dot);
    int title =
        labels->title ? image_letters_draw(NULL, labels->title, 0, 0, 0, whole, LINES, 1) : 0;
    int left = down ? (down * IMAGE_LETTERS_ADVANCE + 4) * dot : 0;
    int top = across || title ? (across + title) * line + 4 * dot : 0;
    struct pictor_image out;
    if (grid->width + left > IMAGE_SIDE_MAX || grid->height + top > IMAGE_SIDE_MAX)
        return true; /* there is no room for words */
    if (!image_new(&out, grid->width + left, grid->height + top, 3, err))
        return false;
    memset(out.pixels, 255, 3 * (size_t)out.width * (size_t)out.height);
    paste(&out, grid, left, top);
    if (title)
        image_letters_draw(&out, labels->title, left, 2 * dot, grid->width, whole, LINES, dot);
    for (int i = 0; labels->across && i < columns; i++)
        image_letters_draw(&out, labels->across[i], left + i * (width + margin),
                           title * line + 2 * dot, width, letters, LINES, dot);
    for (int i = 0; labels->down && i < rows; i++) {
        int lines = image_letters_draw(NULL, labels->down[i], 0, 0, 0, down, height / line, 1);
        image_letters_draw(&out, labels->down[i], 0,
                           top + i * (height + margin) + (height - lines * line) / 2, left, down,
                           height / line, dot);
    }
    pictor_image_free(grid);
    *grid = out;
    return true;
}

/* ---- tiles ---- */

bool image_tiles_plan(int width, int height, int tile_width, int tile_height, int overlap,
                      struct image_tiles *out, struct err *err)
{
    if (overlap < 0 || overlap >= tile_width || overlap >= tile_height)
        return err_set(err, ERR_INVALID,
                       "tiles of %d x %d cannot overlap by %d pixels: wanted 0 to less than a side",
                       tile_width, tile_height, overlap);
    int columns = (int)ceil((double)(width - overlap) / (tile_width - overlap));
    int rows = (int)ceil((double)(height - overlap) / (tile_height - overlap));
    *out = (struct image_tiles){width,
                                height,
                                tile_width,
                                tile_height,
                                overlap,
                                columns > 1 ? columns : 1,
                                rows > 1 ? rows : 1};
    return true;
}

static int place(int i, int count, int side, int tile)
{
    double step = count > 1 ? (double)(side - tile) / (count - 1) : 0;
    int at = (int)(i * step);
    return at + tile >= side ? side - tile : at;
}

void image_tiles_at(const struct image_tiles *t, int i, int *x, int *y)
{
    *x = place(i % t->columns, t->columns, t->width, t->tile_width);
    *y = place(i / t->columns, t->rows, t->height, t->tile_height);
}

bool image_tiles_cut(const struct image_tiles *t, int i, const struct pictor_image *in,
                     struct pictor_image *out, struct err *err)
{
    int x, y;
    if (!image_new(out, t->tile_width, t->tile_height, 3, err))
        return false;
    image_tiles_at(t, i, &x, &y);
    paste(out, in, -x, -y);
    return true;
}

/* What the later tile's row or column counts for, of 255: it fades in from the picture's inside. */
static int share(int at, int begins, int overlap)
{
    return begins <= 0 || at >= overlap ? 255 : at * 255 / overlap;
}

bool image_tiles_join(const struct image_tiles *t, const struct pictor_image *in,
                      struct pictor_image *out, struct err *err)
{
    if (!image_new(out, t->width, t->height, 3, err))
        return false;
    struct pictor_image row;
    if (!image_new(&row, t->width, t->tile_height, 3, err)) {
        pictor_image_free(out);
        return false;
    }
    for (int j = 0; j < t->rows; j++) {
        int x, y;
        for (int i = 0; i < t->columns; i++) {
            const struct pictor_image *tile = &in[j * t->columns + i];
            image_tiles_at(t, j * t->columns + i, &x, &y);
            for (int v = 0; v < t->tile_height; v++)
                for (int u = 0; u < t->tile_width; u++) {
                    if (x + u < 0 || x + u >= t->width)
                        continue;
                    int part = share(u, x, t->overlap);
                    uint8_t *to = row.pixels + 3 * ((size_t)v * (size_t)t->width + (size_t)(x + u));
                    const uint8_t *from =
                        tile->pixels + 3 * ((size_t)v * (size_t)t->tile_width + (size_t)u);
                    for (int k = 0; k < 3; k++)
                        to[k] = (uint8_t)((from[k] * part + to[k] * (255 - part) + 127) / 255);
                }
        }
        for (int v = 0; v < t->tile_height; v++) {
            if (y + v < 0 || y + v >= t->height)
                continue;
            int part = share(v, y, t->overlap);
            uint8_t *to = out->pixels + 3 * (size_t)(y + v) * (size_t)t->width;
            const uint8_t *from = row.pixels + 3 * (size_t)v * (size_t)t->width;
            for (size_t k = 0; k < 3 * (size_t)t->width; k++)
                to[k] = (uint8_t)((from[k] * part + to[k] * (255 - part) + 127) / 255);
        }
    }
    pictor_image_free(&row);
    return true;
}

/* image_grid.h: several pictures as one: contact sheets, and tiles that overlap. */
#ifndef PICTOR_ENGINE_IO_IMAGE_GRID_H
#define PICTOR_ENGINE_IO_IMAGE_GRID_H

#include "engine/io/image.h"

/* Row by row, each in the middle of a cell as large as the largest of them, on black, with `margin`
 * white pixels between cells. A sheet of more than `max_pixels` is made of smaller pictures.
 * `count` may be less than columns x rows. `out` is RGB, owned by the caller. */
bool image_grid(const struct pictor_image *images, size_t count, int columns, int rows, int margin,
                size_t max_pixels, struct pictor_image *out, struct err *err);

/* The same a picture at a time, for whoever has them on the disk: an empty grid of cells of width x
 * height at most, then picture `i` of it, as often as there are any. */
struct image_grid {
    int columns, width, height, margin; /* of a cell, as it has become */
    double scale;
};
bool image_grid_new(int width, int height, int columns, int rows, int margin, size_t max_pixels,
                    struct image_grid *grid, struct pictor_image *out, struct err *err);
bool image_grid_put(const struct image_grid *grid, int i, const struct pictor_image *in,
                    struct pictor_image *out, struct err *err);

/* Whether there can be such a grid of small pictures at least. */
bool image_grid_fits(int columns, int rows, int margin, size_t max_pixels);

/* A grid with words at its sides, on white, in place: above each column, before each row, and over
 * all of it; each may be NULL. `columns`, `rows` and `margin` are those that it was made with. */
struct image_labels {
    char *const *across, *const *down;
    const char *title;
};
bool image_grid_label(struct pictor_image *grid, int columns, int rows, int margin,
                      const struct image_labels *labels, struct err *err);

/* How a picture of width x height is covered by tiles of one size that overlap by `overlap` pixels
 * at least, evenly spread, as the SD WebUI spreads them. */
struct image_tiles {
    int width, height, tile_width, tile_height, overlap;
    int columns, rows;
};

/* Fails unless the tile is larger than the overlap. A picture smaller than a tile has one. */
bool image_tiles_plan(int width, int height, int tile_width, int tile_height, int overlap,
                      struct image_tiles *out, struct err *err);

/* Where tile `i` of columns x rows begins; negative in a picture that is smaller. */
void image_tiles_at(const struct image_tiles *tiles, int i, int *x, int *y);

/* Tile `i` of `in`, RGB; what is outside of it is black. `out` is owned. */
bool image_tiles_cut(const struct image_tiles *tiles, int i, const struct pictor_image *in,
                     struct pictor_image *out, struct err *err);

/* The tiles, RGB and of the tile's size, as one picture; where they overlap the earlier one fades
 * into the later one over `overlap` pixels. `out` is owned. */
bool image_tiles_join(const struct image_tiles *tiles, const struct pictor_image *in,
                      struct pictor_image *out, struct err *err);

#endif

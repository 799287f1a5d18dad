/* image_letters.h: small letters for the sides of grids: dots, 5 x 7 to a letter, as on displays.
 * ASCII alone; any other character is a box. */
#ifndef PICTOR_ENGINE_IO_IMAGE_LETTERS_H
#define PICTOR_ENGINE_IO_IMAGE_LETTERS_H

#include "engine/io/image.h"

#define IMAGE_LETTERS_ADVANCE 6 /* dots from a letter to the next one */
#define IMAGE_LETTERS_LINE 9    /* and from a line to the next one */

/* UTF-8 in lines of at most `columns` letters, broken at blanks where there are any; draws them in
 * black on RGB, centred in a box of `width` pixels from (x, y), a dot being `dot` pixels a side. At
 * most `lines`; what is more is left out. `image` NULL: counts alone. Returns how many lines. */
int image_letters_draw(struct pictor_image *image, const char *text, int x, int y, int width,
                       int columns, int lines, int dot);

#endif

/* image_detect.h: what ControlNets are shown of a picture, where no network is needed to find it.
 */
#ifndef PICTOR_ENGINE_IO_IMAGE_DETECT_H
#define PICTOR_ENGINE_IO_IMAGE_DETECT_H

#include "engine/base/err.h"
#include "engine/pictor.h"

/* The i-th of the names that the SD WebUI's extension has for them, "canny"; NULL past the last. */
const char *image_detect_name(int i);

/* What lists call a module that is meant by one of these names, in any case, or by a short one:
 * "invert", "scribble", "blur", "tile", "inpaint", "" for none; NULL: there is no such module. */
const char *image_detect_known(const char *module);

/* Whether what it makes of a picture wants a mask, under which nothing is shown. */
bool image_detect_inpaints(const char *module);

/* `module` is one that is known. `a` and `b` are its thresholds, NAN: the usual ones. Of modules
 * that depend on a picture's size, the picture is brought to a shorter side of `side` pixels first;
 * 0: it stays as it is. `out` is RGB, owned. ERR_INVALID: there is no such module; ERR_TOO_LARGE:
 * the picture is so long and thin that of that size it would have more than 2^25 pixels. */
bool image_detect(const char *module, const struct pictor_image *in, double a, double b, int side,
                  struct pictor_image *out, struct err *err);

#endif

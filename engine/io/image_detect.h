/* image_detect.h: what ControlNets are shown of a picture, where no network is needed to find it.
 */
#ifndef PICTOR_ENGINE_IO_IMAGE_DETECT_H
#define PICTOR_ENGINE_IO_IMAGE_DETECT_H

#include "engine/base/err.h"
#include "engine/pictor.h"

/* The i-th of the names that the SD WebUI's extension has for them, "canny"; NULL past the last. */
const char *image_detect_name(int i);

/* `module` is one of the names, in any case, or "": none. `a` and `b` are its thresholds, NAN: the
 * usual ones. `out` is RGB of the same size, owned. ERR_INVALID: there is no such module. */
bool image_detect(const char *module, const struct pictor_image *in, double a, double b,
                  struct pictor_image *out, struct err *err);

#endif

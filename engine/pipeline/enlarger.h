/* enlarger.h: pictures enlarged by a network, a model of its own beside the one that paints. */
#ifndef PICTOR_ENGINE_PIPELINE_ENLARGER_H
#define PICTOR_ENGINE_PIPELINE_ENLARGER_H

#include "engine/compute/ops.h"
#include "engine/io/image_resize.h"
#include "engine/model/esrgan.h"
#include "engine/pictor.h"

struct pictor_upscaler {
    struct pictor_engine *engine; /* borrowed */
    struct esrgan *network;
    struct pictor_upscaler_info info;
};

/* Bytes of 8-bit pictures, which no arena holds: now, and at most. */
struct enlarger_held {
    size_t now, most;
};
void enlarger_hold(struct enlarger_held *held, size_t bytes);
void enlarger_drop(struct enlarger_held *held, size_t bytes);

/* The one inside the binary, opened when it is first asked for; the engine's. */
struct pictor_upscaler *enlarger_builtin(struct pictor_engine *engine, struct err *err);

/* How a picture is enlarged. Everything is borrowed. */
struct enlarger {
    struct ops *ops;
    struct enlarger_held *held;
    const struct pictor_upscaler *upscaler; /* NULL: by `filter` alone */
    enum image_filter filter;
    size_t weights; /* bytes that the memory limit has to do with beside the picture */
    const struct esrgan_watch *watch; /* or NULL */
};

/* `image`, RGB, in place at another size, held before and after. The network runs until the picture
 * is as large or larger, three times at most, as the SD WebUI does it; Lanczos does the rest. On
 * failure it is freed. While planning it has a size and no pixels. */
bool enlarger_run(const struct enlarger *e, struct pictor_image *image, int width, int height,
                  struct err *err);

#endif

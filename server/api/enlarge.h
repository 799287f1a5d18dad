/* enlarge.h: finished pictures at another size, for the dialects: by a filter, or by a network in
 * one of the codec's processes. */
#ifndef PICTOR_SERVER_ENLARGE_H
#define PICTOR_SERVER_ENLARGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/io/image_resize.h"
#include "server/job/upscalers.h"

struct codec;
struct files;

/* How a picture is enlarged. */
struct enlarge_way {
    char name[UPSCALERS_NAME]; /* "": not at all */
    bool network;              /* else by the filter */
    enum image_filter filter;
};

/* By a name that the engine knows, latents not among them, or a file's. ERR_INVALID. */
bool enlarge_find(struct files *files, const char *name, struct enlarge_way *out, struct err *err);

/* Networks make RGB of everything. One of them works at a time: ERR_BUSY, at once, while another
 * does, and *again says that it is that. `gone`: nobody waits for it any more. */
bool enlarge_run(struct codec *codec, struct files *files, const struct enlarge_way *way,
                 const struct pictor_image *in, int width, int height, const atomic_bool *gone,
                 struct pictor_image *out, bool *again, struct err *err);

#define ENLARGE_AGAIN_MS 50

/* Whether it would have to wait; it then has waited so long. */
bool enlarge_waits(struct codec *codec, const struct enlarge_way *way, const atomic_bool *gone);

#endif

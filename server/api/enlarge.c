#include "server/api/enlarge.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/pictor.h"
#include "server/job/files.h"
#include "server/worker/codec.h"

bool enlarge_find(struct files *files, const char *name, struct enlarge_way *out, struct err *err)
{
    const char *known;
    *out = (struct enlarge_way){.filter = IMAGE_LANCZOS};
    if (!upscalers_check_pictures(files, name, &known, err))
        return false;
    snprintf(out->name, sizeof out->name, "%s", known ? known : name);
    out->network = !known || strcmp(known, PICTOR_UPSCALER) == 0;
    if (known && strcmp(known, "Nearest") == 0)
        out->filter = IMAGE_NEAREST;
    return true;
}

bool enlarge_run(struct codec *codec, struct files *files, const struct enlarge_way *way,
                 const struct pictor_image *in, int width, int height, const atomic_bool *gone,
                 struct pictor_image *out, bool *again, struct err *err)
{
    struct upscaler_file file;
    *again = false;
    if (!way->network)
        return image_resize(in, width, height, way->filter, out, err);
    if (!upscalers_open(files, way->name, &file, err))
        return false;
    bool done = codec_upscale(codec, &file, in, width, height, gone, out, err);
    upscalers_close(&file);
    *again = !done && err->code == ERR_BUSY;
    return done;
}

bool enlarge_waits(struct codec *codec, const struct enlarge_way *way, const atomic_bool *gone)
{
    if (!way->network || !codec_is_upscaling(codec) || atomic_load(gone))
        return false;
    nanosleep(&(const struct timespec){.tv_nsec = ENLARGE_AGAIN_MS * 1000000}, NULL);
    return true;
}

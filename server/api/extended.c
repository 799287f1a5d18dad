#include "server/api/extended.h"

#include <math.h>
#include <stdlib.h>

#include "engine/io/image_mark.h"
#include "server/api/app.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/worker/codec.h"

static bool encode(const struct app *app, const struct pictor_image *image,
                   const struct image_texts *texts, uint8_t **data, size_t *size, struct err *err)
{
    struct image_file file = {0};
    if (!codec_encode(app->codec, image, IMAGE_PNG, 0, texts, &file, err))
        return false;
    *data = file.data;
    *size = file.size;
    return true;
}

bool extended_make(const struct app *app, const void *data, size_t size, struct image_margins m,
                   int multiple, struct job_params *p, struct extended *out, struct err *err)
{
    const struct settings *s = app->settings;
    struct pictor_image image = {0}, larger = {0}, mask = {0};
    struct image_texts texts = {0}, kept = {0};
    struct image_text items[IMAGE_MARK_KEPT];
    *out = (struct extended){0};
    bool ok = codec_decode(app->codec, data, size, intake_pixels_max(s), &image, err);
    if (isnan(p->mask_blur))
        p->mask_blur = image_extend_blur(image.width, image.height);
    if (ok && codec_texts(app->codec, data, size, &texts, NULL)) /* what it says counts later */
        kept = (struct image_texts){items, image_mark_keep(&texts, items)};
    ok = ok &&
         image_extend_fit(&m, image.width, image.height, multiple, s->max_side,
                          (size_t)s->max_pixels, err) &&
         image_extend(&image, &m, image_extend_overlap(p->mask_blur), &larger, &mask, err) &&
         encode(app, &larger, &kept, &out->init, &out->init_size, err) &&
         encode(app, &mask, NULL, &out->mask, &out->mask_size, err);
    p->width = larger.width;
    p->height = larger.height;
    p->has_init = p->has_mask = true;
    p->mask_invert = p->mask_only_area = false;
    image_texts_free(&texts);
    pictor_image_free(&image);
    pictor_image_free(&larger);
    pictor_image_free(&mask);
    if (ok)
        return true;
    free(out->init);
    free(out->mask);
    *out = (struct extended){0};
    return false;
}

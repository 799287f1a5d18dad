/* intake.c: see intake.h. */
#include "server/intake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "engine/io/image.h"
#include "server/app.h"
#include "server/settings.h"

#define PICTURE_FACTOR 8 /* times max_pixels */

/* What a model is painted with when it did not say, or was not opened yet. */
static const struct {
    enum registry_kind kind;
    bool builtin;
    int side, steps;
    double guidance;
} usual[] = {
    {REGISTRY_LOCAL, true, 256, 20, 5},
    {REGISTRY_LOCAL, false, 512, 20, 7},
    {REGISTRY_UPSTREAM, false, 1024, 20, 7},
};

void intake_model_of(const struct registry_model *model, struct intake_model *out)
{
    size_t i = 0;
    while (usual[i].kind != model->kind ||
           usual[i].builtin != (strcmp(model->name, REGISTRY_BUILTIN) == 0 &&
                                model->kind == REGISTRY_LOCAL))
        i++;
    *out = (struct intake_model){
        .upstream = model->kind == REGISTRY_UPSTREAM,
        .width = model->native_width ? model->native_width : usual[i].side,
        .height = model->native_height ? model->native_height : usual[i].side,
        .steps = model->default_steps ? model->default_steps : usual[i].steps,
        .guidance = model->default_guidance > 0 ? model->default_guidance : usual[i].guidance,
    };
    snprintf(out->name, sizeof out->name, "%s", model->name);
}

bool intake_model(const struct app *app, const char *name, struct intake_model *out,
                  struct err *err)
{
    struct registry_model model;
    if (!registry_resolve(app->registry, name, &model, err))
        return false;
    intake_model_of(&model, out);
    return true;
}

bool intake_seed(uint64_t *seed, struct err *err)
{
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_set(err, ERR_INTERNAL, "no random seed: %s", strerror(errno));
    *seed = random;
    return true;
}

size_t intake_pixels_max(const struct settings *settings)
{
    return (size_t)settings->max_pixels * PICTURE_FACTOR;
}

bool intake_picture(const struct settings *settings, const void *data, size_t size,
                    struct pictor_image *out, struct err *err)
{
    return image_decode(data, size, intake_pixels_max(settings), out, err);
}

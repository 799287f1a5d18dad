/* sdapi_outpaint.c: "Poor man's outpainting" has the args pixels, mask blur, what is there before,
 * directions; "Outpainting mk2" has a text, pixels, mask blur, directions, and two numbers about
 * its noise. Args that are left out are those of the WebUI's page. */
#include "server/api/sdapi/sdapi_outpaint.h"

#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/api/sdapi/sdapi_args.h"
#include "server/job/job.h"

const char *const sdapi_outpaint_titles[] = {"outpainting mk2", "poor man's outpainting", NULL};

bool sdapi_outpaint_is(const struct sdapi_request *r)
{
    for (int i = 0; r->kind == SDAPI_IMG2IMG && r->script_name && sdapi_outpaint_titles[i]; i++)
        if (strcasecmp(sdapi_outpaint_titles[i], r->script_name) == 0)
            return true;
    return false;
}

/* "fill", ... or its number. */
static bool fill_at(const struct sdapi_request *r, int i, int *out, struct sdapi_fault *fault)
{
    static const char *const words[] = {"fill", "original", "latent noise", "latent nothing"};
    const char *word = cJSON_GetStringValue(cJSON_GetArrayItem(r->script_args, i));
    double number = *out;
    for (int k = 0; word && k < 4; k++)
        if (strcasecmp(words[k], word) == 0) {
            *out = k;
            return true;
        }
    if (!sdapi_args_number(r, i, "the masked content", 0, PICTOR_FILL_NOTHING, &number, fault))
        return false;
    *out = (int)number;
    return true;
}

static bool directions_at(const struct sdapi_request *r, int i, int pixels,
                          struct image_margins *out, struct sdapi_fault *fault)
{
    const cJSON *list = cJSON_GetArrayItem(r->script_args, i), *item;
    *out = (struct image_margins){pixels, pixels, pixels, pixels};
    if (!list || cJSON_IsNull(list))
        return true;
    *out = (struct image_margins){0};
    cJSON_ArrayForEach(item, list) {
        const char *word = cJSON_GetStringValue(item);
        int *side = !word                            ? NULL
                    : strcasecmp(word, "left") == 0  ? &out->left
                    : strcasecmp(word, "right") == 0 ? &out->right
                    : strcasecmp(word, "up") == 0    ? &out->up
                    : strcasecmp(word, "down") == 0  ? &out->down
                                                     : NULL;
        if (!side)
            return sdapi_args_refuse(
                fault,
                "script_args[%d] must be a list of \"left\", \"right\", \"up\" and "
                "\"down\"",
                i);
        *side = pixels;
    }
    return true;
}

bool sdapi_outpaint_read(const struct sdapi_request *r, struct job_params *p,
                         struct image_margins *out, struct sdapi_fault *fault)
{
    bool second = strcasecmp(r->script_name, sdapi_outpaint_titles[0]) == 0;
    double pixels = 128, blur = second ? 8 : 4, ignored = 0;
    int fill = second ? PICTOR_FILL_ORIGINAL : PICTOR_FILL_BLUR, at = second;
    if (!sdapi_args_number(r, at, "the pixels", 0, 4096, &pixels, fault) ||
        !sdapi_args_number(r, at + 1, "the mask blur", 0, 32, &blur, fault) ||
        (!second && !fill_at(r, at + 2, &fill, fault)) ||
        !directions_at(r, 3, (int)pixels, out, fault) ||
        (second && (!sdapi_args_number(r, 4, "the fall-off", 0, 1000, &ignored, fault) ||
                    !sdapi_args_number(r, 5, "the colour variation", 0, 1, &ignored, fault))))
        return false;
    p->mask_blur = second ? blur : 2 * blur;
    p->fill = fill;
    return true;
}

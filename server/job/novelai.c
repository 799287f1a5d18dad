/* novelai.c: the texts "Software", "Description", which is the prompt, and "Comment", which is JSON
 * with the rest. */
#include "server/job/novelai.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/pyjson.h"

#define DEPTH_MAX 16

static void put_number(struct pyjson *out, const char *name, cJSON *json, const char *key)
{
    cJSON *value = cJSON_GetObjectItemCaseSensitive(json, key);
    char *text = cJSON_IsNumber(value) ? json_text_print(value) : NULL;
    if (text)
        pyjson_printf(out, ", %s: %s", name, text);
    cJSON_free(text);
}

char *novelai_infotext(const struct image_texts *texts, int width, int height)
{
    const char *software = image_texts_get(texts, "Software");
    const char *prompt = image_texts_get(texts, "Description");
    const char *comment = image_texts_get(texts, "Comment");
    struct err err;
    if (!software || strcmp(software, "NovelAI") != 0 || !prompt || !comment)
        return NULL;
    cJSON *json = json_text_parse(comment, strlen(comment), DEPTH_MAX, &err);
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(json, "steps");
    const char *negative = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "uc"));
    const char *named = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "sampler"));
    const struct pictor_sampler_info *sampler = named ? pictor_sampler_find(named, NULL) : NULL;
    struct pyjson out = {0};
    if (!cJSON_IsNumber(steps)) {
        cJSON_Delete(json);
        return NULL;
    }
    pyjson_puts(&out, prompt);
    if (negative && *negative) {
        pyjson_puts(&out, "\nNegative prompt: ");
        pyjson_puts(&out, negative);
    }
    pyjson_printf(&out, "\nSteps: %d, Sampler: %s", steps->valueint,
                  sampler ? sampler->name : "Euler a");
    put_number(&out, "CFG scale", json, "scale");
    put_number(&out, "Seed", json, "seed");
    pyjson_printf(&out, ", Size: %dx%d, Clip skip: 2, ENSD: 31337", width, height);
    cJSON_Delete(json);
    if (!out.failed)
        return out.text;
    free(out.text);
    return NULL;
}

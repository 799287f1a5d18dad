#include "server/job/relay.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"

#define VARIATION "variation"
#define DEPTH 2

static const struct {
    const char *name;
    bool number;
    bool by_pictor; /* it is done to the picture that comes back, where the model cannot */
} fields[] = {
    {.name = "quality"},
    {.name = "style"},
    {.name = "background"},
    {.name = "moderation"},
    {.name = "input_fidelity"},
    {.name = "user"},
    {.name = "safety_identifier"},
    {.name = "complexity"},
    {.name = "output_format", .by_pictor = true},
    {.name = "output_compression", .number = true, .by_pictor = true},
};
#define FIELDS (int)(sizeof fields / sizeof *fields)

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

bool relay_make(const struct cJSON *body, bool variation, char **text, struct err *err)
{
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < FIELDS; i++) {
        const cJSON *item = member(body, fields[i].name);
        const char *words = cJSON_GetStringValue(item);
        if (fields[i].number && words)
            cJSON_AddNumberToObject(json, fields[i].name, strtod(words, NULL));
        else if (words)
            cJSON_AddStringToObject(json, fields[i].name, words);
        else if (cJSON_IsNumber(item))
            cJSON_AddNumberToObject(json, fields[i].name, item->valuedouble);
    }
    if (variation)
        cJSON_AddTrueToObject(json, VARIATION);
    *text = json && json->child ? json_text_print(json) : NULL;
    bool ok = json && (!json->child || *text);
    cJSON_Delete(json);
    return ok || err_set(err, ERR_INTERNAL, "no memory for a job");
}

struct cJSON *relay_read(const char *text)
{
    cJSON *json = text ? json_text_parse(text, strlen(text), DEPTH, NULL) : NULL;
    if (cJSON_IsObject(json))
        return json;
    cJSON_Delete(json);
    return NULL;
}

bool relay_is_variation(const struct cJSON *relay)
{
    return cJSON_IsTrue(member(relay, VARIATION));
}

/* OpenAI's GPT models and all servers that are not OpenAI choose a file's format themselves. */
static bool chooses_format(const char *model)
{
    return strncmp(model, "dall-e", 6) != 0;
}

const struct cJSON *relay_next(const struct cJSON *relay, const char *model, int *i,
                               const char **name)
{
    while (*i < FIELDS) {
        int at = (*i)++;
        const cJSON *item = member(relay, fields[at].name);
        *name = fields[at].name;
        if ((cJSON_IsString(item) || cJSON_IsNumber(item)) &&
            (!fields[at].by_pictor || chooses_format(model)))
            return item;
    }
    return NULL;
}

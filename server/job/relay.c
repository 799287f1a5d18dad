#include "server/job/relay.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"

#define VARIATION "variation"
#define PARTIALS "partial_images" /* which go with a stream, and are asked for there */
#define PARTIALS_MAX 3
#define TEXT_MAX 512
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

static const char *const inputs[RELAY_IMAGES_MAX] = {
    "more1", "more2",  "more3",  "more4",  "more5",  "more6",  "more7", "more8",
    "more9", "more10", "more11", "more12", "more13", "more14", "more15"};

const char *relay_input(size_t i)
{
    return inputs[i];
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

bool relay_make(const struct cJSON *body, bool variation, bool partials, char **text,
                struct err *err)
{
    cJSON *json = cJSON_CreateObject();
    *text = NULL;
    for (int i = 0; i < FIELDS; i++) {
        const cJSON *item = member(body, fields[i].name);
        const char *words = cJSON_GetStringValue(item);
        if (words && strlen(words) > TEXT_MAX) { /* it is kept with the job, and in every list */
            cJSON_Delete(json);
            return err_set(err, ERR_INVALID, "%s: wanted a text of at most %d bytes, got %zu",
                           fields[i].name, TEXT_MAX, strlen(words));
        }
        if (fields[i].number && words)
            cJSON_AddNumberToObject(json, fields[i].name, strtod(words, NULL));
        else if (words)
            cJSON_AddStringToObject(json, fields[i].name, words);
        else if (cJSON_IsNumber(item))
            cJSON_AddNumberToObject(json, fields[i].name, item->valuedouble);
    }
    const cJSON *item = member(body, PARTIALS);
    double count = cJSON_IsString(item)   ? strtod(item->valuestring, NULL)
                   : cJSON_IsNumber(item) ? item->valuedouble
                                          : -1;
    if (partials && count >= 0 && count <= PARTIALS_MAX)
        cJSON_AddNumberToObject(json, PARTIALS, floor(count));
    if (variation)
        cJSON_AddTrueToObject(json, VARIATION);
    *text = json && json->child ? json_text_print(json) : NULL;
    bool ok = json && (!json->child || *text);
    cJSON_Delete(json);
    return ok || err_set(err, ERR_INTERNAL, "no memory for a job");
}

/* NULL: it may be given as it is. */
static const char *wanted(const cJSON *item)
{
    if (strcmp(item->string, VARIATION) == 0)
        return cJSON_IsBool(item) ? NULL : "true or false";
    if (strcmp(item->string, PARTIALS) == 0)
        return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= PARTIALS_MAX
                   ? NULL
                   : "a number from 0 to 3";
    for (int i = 0; i < FIELDS; i++) {
        if (strcmp(item->string, fields[i].name) != 0)
            continue;
        if (fields[i].number)
            return cJSON_IsNumber(item) ? NULL : "a number";
        return cJSON_IsString(item) && strlen(item->valuestring) <= TEXT_MAX
                   ? NULL
                   : "a text of at most 512 bytes";
    }
    return "no field of this name";
}

bool relay_given(const struct cJSON *object, bool upstream, char **text, struct err *err)
{
    const cJSON *item;
    if (!cJSON_IsObject(object))
        return err_set(err, ERR_INVALID, "relay: wanted an object");
    if (object->child && !upstream)
        return err_set(err, ERR_INVALID,
                       "relay: wanted a model of another server, since nobody else reads it");
    cJSON_ArrayForEach(item, object) {
        const char *what = cJSON_IsNull(item) ? NULL : wanted(item);
        if (what)
            return err_set(err, ERR_INVALID, "relay.%.60s: wanted %s", item->string, what);
    }
    return relay_make(object, cJSON_IsTrue(member(object, VARIATION)), true, text, err);
}

struct cJSON *relay_schema(void)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    for (int i = 0; i < FIELDS; i++) {
        cJSON *property = cJSON_AddObjectToObject(properties, fields[i].name);
        cJSON_AddStringToObject(property, "type", fields[i].number ? "number" : "string");
        if (!fields[i].number)
            cJSON_AddNumberToObject(property, "maxLength", TEXT_MAX);
    }
    cJSON *partials = cJSON_AddObjectToObject(properties, PARTIALS);
    cJSON_AddStringToObject(partials, "type", "number");
    cJSON_AddNumberToObject(partials, "minimum", 0);
    cJSON_AddNumberToObject(partials, "maximum", PARTIALS_MAX);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(properties, VARIATION), "type", "boolean");
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

int relay_partials(const struct cJSON *relay)
{
    const cJSON *item = member(relay, PARTIALS);
    return cJSON_IsNumber(item) ? item->valueint : -1;
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

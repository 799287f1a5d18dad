#include "server/job/lora_list.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/base/pyjson.h"
#include "server/job/lora_tags.h"

enum key { NAME, WEIGHT, TEXT_WEIGHT, NOTHING };

static const struct {
    const char *name;
    enum key key;
} keys[] = {
    {"name", NAME},
    {"path", NAME},
    {"lora_name", NAME},
    {"adapter_name", NAME},
    {"weight", WEIGHT},
    {"multiplier", WEIGHT},
    {"scale", WEIGHT},
    {"strength_model", WEIGHT},
    {"text_weight", TEXT_WEIGHT},
    {"strength_clip", TEXT_WEIGHT},
    {"is_high_noise", NOTHING}, /* of networks in two halves, which there are none of: false */
};

static bool key_of(const cJSON *item, enum key *out, struct err *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].name, item->string) == 0) {
            *out = keys[i].key;
            return true;
        }
    return err_set(err, ERR_INVALID, "wanted name, weight and text_weight, got \"%.40s\"",
                   item->string);
}

static bool take_weight(const cJSON *item, double *out, struct err *err)
{
    if (!cJSON_IsNumber(item))
        return err_set(err, ERR_INVALID, "%s must be a number", item->string);
    if (!(fabs(item->valuedouble) <= LORA_TAGS_STRENGTH))
        return err_set(err, ERR_INVALID, "%s must be %d..%d, got %g", item->string,
                       -LORA_TAGS_STRENGTH, LORA_TAGS_STRENGTH, item->valuedouble);
    *out = item->valuedouble;
    return true;
}

static bool take_name(const char *text, struct lora_tag *out, struct err *err)
{
    if (!text || !*text)
        return err_set(err, ERR_INVALID, "name must be a text that is not empty");
    if (*out->name)
        return err_set(err, ERR_INVALID, "a second name, \"%.60s\"", text);
    if ((size_t)snprintf(out->name, sizeof out->name, "%s", text) >= sizeof out->name)
        return err_set(err, ERR_INVALID, "name has at most %d bytes", LORA_TAGS_NAME - 1);
    return true;
}

/* What was not said of the weights is NAN. */
static bool read_object(const cJSON *object, struct lora_tag *out, struct err *err)
{
    const cJSON *item;
    enum key key = NOTHING;
    cJSON_ArrayForEach(item, object) {
        if (cJSON_IsNull(item))
            continue;
        if (!key_of(item, &key, err))
            return false;
        switch (key) {
        case NAME:
            if (!take_name(cJSON_GetStringValue(item), out, err))
                return false;
            break;
        case WEIGHT:
            if (!take_weight(item, &out->unet, err))
                return false;
            break;
        case TEXT_WEIGHT:
            if (!take_weight(item, &out->text, err))
                return false;
            break;
        case NOTHING:
            if (!cJSON_IsFalse(item))
                return err_set(err, ERR_INVALID, "%s must be false", item->string);
            break;
        }
    }
    return *out->name || err_set(err, ERR_INVALID, "name must be given");
}

/* Its name becomes one that is found: as it is, or without the ending of a file. */
static bool find(struct files *files, char name[LORA_TAGS_NAME], struct err *err)
{
    char path[PATH_MAX];
    struct err why;
    const char *const *endings = folders_endings(FOLDERS_LORA);
    size_t n = strlen(name);
    if (name[strcspn(name, ":<>\n")]) /* a tag could not say it */
        return err_set(err, ERR_INVALID, "a name without ':', '<' and '>' is wanted, got \"%.60s\"",
                       name);
    if (files_find(files, name, path, &why))
        return true;
    for (size_t i = 0; why.code == ERR_NOT_FOUND && endings[i]; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcasecmp(name + n - m, endings[i]) == 0) {
            name[n - m] = '\0';
            if (files_find(files, name, path, &why))
                return true;
        }
    }
    return why.code == ERR_NOT_FOUND
               ? err_set(err, ERR_INVALID, "there is no LoRA \"%.100s\"", name)
               : err_copy(err, &why);
}

static bool add_tag(const struct lora_tag *tag, char **prompt, struct err *err)
{
    char text[PYJSON_FLOAT_SIZE], unet[PYJSON_FLOAT_SIZE], *longer;
    pyjson_float(text, tag->text);
    pyjson_float(unet, tag->unet);
    bool same = tag->text == tag->unet;
    if (asprintf(&longer, "%s%s<lora:%s:%s%s%s>", *prompt, **prompt ? " " : "", tag->name, text,
                 same ? "" : ":", same ? "" : unet) < 0)
        return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    free(*prompt);
    *prompt = longer;
    return true;
}

static bool add(const cJSON *item, struct files *files, char **prompt, struct err *err)
{
    struct lora_tag tag = {.text = NAN, .unet = NAN};
    bool ok = cJSON_IsString(item)   ? take_name(item->valuestring, &tag, err)
              : cJSON_IsObject(item) ? read_object(item, &tag, err)
                                     : err_set(err, ERR_INVALID, "wanted an object or a name");
    if (isnan(tag.unet))
        tag.unet = 1;
    if (isnan(tag.text))
        tag.text = tag.unet;
    return ok && find(files, tag.name, err) && add_tag(&tag, prompt, err);
}

bool lora_list_add(const struct cJSON *list, struct files *files, char **prompt, struct err *err)
{
    const cJSON *item;
    size_t i = 0;
    if (!list || cJSON_IsNull(list))
        return true;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > PICTOR_LORAS_MAX)
        return err_set(err, ERR_INVALID, "loras must be a list of at most %d LoRAs",
                       PICTOR_LORAS_MAX);
    cJSON_ArrayForEach(item, list) {
        if (!add(item, files, prompt, err))
            return err_prefix(err, "loras[%zu]", i);
        i++;
    }
    return true;
}

bool lora_list_add_words(const char *words, struct files *files, char **prompt, struct err *err)
{
    struct lora_tags tags;
    char *tag, *rest = NULL;
    if (words[strcspn(words, "<>\n")] || *words == ':' || !*words)
        return err_set(err, ERR_INVALID, "wanted NAME or NAME:WEIGHT, got '%.64s'", words);
    if (asprintf(&tag, "<lora:%s>", words) < 0)
        return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    bool ok = (rest = lora_tags_take(tag, &tags, err)) &&
              (tags.count == 1 ||
               err_set(err, ERR_INVALID, "wanted NAME or NAME:WEIGHT, got '%.64s'", words)) &&
              find(files, tags.at[0].name, err) && add_tag(&tags.at[0], prompt, err);
    free(rest);
    free(tag);
    return ok;
}

struct cJSON *lora_list_schema(void)
{
    static const char *const names[] = {"name", "weight", "text_weight"};
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "array");
    cJSON_AddNumberToObject(schema, "maxItems", PICTOR_LORAS_MAX);
    cJSON *items = cJSON_AddObjectToObject(schema, "items");
    cJSON_AddStringToObject(items, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(items, "properties");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *property = cJSON_AddObjectToObject(properties, names[i]);
        cJSON_AddStringToObject(property, "type", i == 0 ? "string" : "number");
        if (i == 0)
            continue;
        cJSON_AddNumberToObject(property, "minimum", -LORA_TAGS_STRENGTH);
        cJSON_AddNumberToObject(property, "maximum", LORA_TAGS_STRENGTH);
    }
    cJSON_AddItemToArray(cJSON_AddArrayToObject(items, "required"), cJSON_CreateString("name"));
    return schema;
}

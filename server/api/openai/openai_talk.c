#include "server/api/openai/openai_talk.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT_BYTES 131072 /* more than a prompt's 32000 characters have */

static bool no_memory(struct openai_fault *f)
{
    return openai_fault(f, 500, NULL, NULL, "out of memory");
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text ? text : "";
}

/* Pieces of text are lines of the prompt. */
static bool add_text(cJSON *request, const char *text, const char *param, struct openai_fault *f)
{
    const char *before = text_of(request, "prompt");
    char *both = NULL;
    if (!*text)
        return true;
    if (strlen(before) > PROMPT_BYTES) /* and every piece copies all of it */
        return openai_fault(f, 400, "string_above_max_length", param,
                            "Invalid '%s': its texts are longer than any prompt.", param);
    if (asprintf(&both, "%s%s%s", before, *before ? "\n" : "", text) < 0)
        return no_memory(f);
    cJSON_DeleteItemFromObjectCaseSensitive(request, "prompt");
    bool ok = cJSON_AddStringToObject(request, "prompt", both) || no_memory(f);
    free(both);
    return ok;
}

bool openai_talk_add_image(cJSON *request, cJSON *image, struct openai_fault *f)
{
    cJSON *images = cJSON_GetObjectItemCaseSensitive(request, "images");
    if (!images)
        images = cJSON_AddArrayToObject(request, "images");
    if (image && images && cJSON_AddItemToArray(images, image))
        return true;
    cJSON_Delete(image);
    return no_memory(f);
}

static bool add_part(cJSON *parts, cJSON *part, const char *param, cJSON *request,
                     struct openai_fault *f)
{
    const char *type = text_of(part, "type");
    bool text = strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0;
    bool picture = strcmp(type, "image_url") == 0 || strcmp(type, "input_image") == 0;
    const cJSON *said = cJSON_GetObjectItemCaseSensitive(part, "text");
    if (cJSON_IsString(part))
        return add_text(request, part->valuestring, param, f);
    if (picture)
        return openai_talk_add_image(request, cJSON_DetachItemViaPointer(parts, part), f);
    if (text && cJSON_IsString(said))
        return add_text(request, said->valuestring, param, f);
    return openai_fault(f, 400, "invalid_value", param,
                        "Invalid content in '%s': wanted text and pictures, got a part of type "
                        "'%.40s'.",
                        param, type);
}

bool openai_talk_content(cJSON *content, const char *param, cJSON *request, struct openai_fault *f)
{
    if (cJSON_IsString(content))
        return add_text(request, content->valuestring, param, f);
    if (!cJSON_IsArray(content))
        return openai_fault(f, 400, "invalid_type", param,
                            "Invalid type for '%s': expected text or a list of parts as the "
                            "content of the user's last message.",
                            param);
    for (cJSON *part = content->child, *next; part; part = next) {
        next = part->next;
        if (!add_part(content, part, param, request, f))
            return false;
    }
    return true;
}

/* What a part of a message says, NULL: it is none of text. */
static const char *words_of(const cJSON *part)
{
    const char *type = text_of(part, "type");
    bool text = strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0;
    return cJSON_IsString(part) ? part->valuestring
           : text ? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "text"))
                  : NULL;
}

char *openai_talk_words(const cJSON *content)
{
    struct openai_fault f;
    const cJSON *part;
    if (cJSON_IsString(content))
        return strdup(content->valuestring);
    if (!cJSON_IsArray(content))
        return NULL;
    cJSON *request = cJSON_CreateObject();
    bool good = request;
    cJSON_ArrayForEach(part, content) {
        const char *words = words_of(part);
        good = good && (!words || add_text(request, words, "", &f));
    }
    const char *all = text_of(request, "prompt");
    char *text = good && *all ? strdup(all) : NULL;
    cJSON_Delete(request);
    return text;
}

bool openai_talk_say(cJSON *message, const char *name, const char *text)
{
    cJSON *content = cJSON_GetObjectItemCaseSensitive(message, name);
    if (!cJSON_IsArray(content))
        return cJSON_ReplaceItemInObjectCaseSensitive(message, name, cJSON_CreateString(text));
    for (cJSON *part = content->child, *next; part; part = next) {
        next = part->next;
        if (words_of(part))
            cJSON_Delete(cJSON_DetachItemViaPointer(content, part));
    }
    cJSON *part = cJSON_CreateObject();
    return cJSON_AddStringToObject(part, "type", "text") &&
           cJSON_AddStringToObject(part, "text", text) && cJSON_AddItemToArray(content, part);
}

cJSON *openai_talk_last(const cJSON *messages)
{
    cJSON *item, *last = NULL;
    cJSON_ArrayForEach(item, messages) {
        if (strcmp(text_of(item, "role"), "user") == 0)
            last = item;
    }
    return last;
}

void openai_talk_blame(struct openai_fault *f, const char *said)
{
    if (strcmp(f->param, "prompt") == 0 || strncmp(f->param, "image", 5) == 0)
        snprintf(f->param, sizeof f->param, "%s", said);
}

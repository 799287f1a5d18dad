/* job_tags.c: a list of tags as one text, and back. */
#include "server/job/job_tags.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"

bool job_tags_read(const struct cJSON *list, char **tags, struct err *err)
{
    *tags = NULL;
    if (!list || cJSON_IsNull(list) || (cJSON_IsArray(list) && !list->child))
        return true;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > JOB_MARKS_MAX)
        return err_set(err, ERR_INVALID, "tags: wanted a list of at most %d texts", JOB_MARKS_MAX);
    char *text = calloc(JOB_MARKS_MAX, JOB_MARK_SIZE), *to = text;
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for tags");
    for (const cJSON *item = list->child; item; item = item->next) {
        bool good = cJSON_IsString(item) ? job_mark_check(item->valuestring, err)
                                         : err_set(err, ERR_INVALID, "wanted texts");
        if (!good) {
            free(text);
            return err_prefix(err, "tags");
        }
        if (to != text)
            *to++ = ',';
        size_t size = strlen(item->valuestring);
        memcpy(to, item->valuestring, size);
        to += size;
    }
    *tags = text;
    return true;
}

bool job_tags_next(const char **at, char tag[JOB_MARK_SIZE])
{
    if (!*at || !**at)
        return false;
    size_t size = strcspn(*at, ",");
    snprintf(tag, JOB_MARK_SIZE, "%.*s", (int)size, *at);
    *at += size + ((*at)[size] == ',');
    return true;
}

struct cJSON *job_tags_schema(void)
{
    cJSON *schema = json_text_constant(
        "{\"type\": \"array\", \"items\": {\"type\": \"string\", \"minLength\": 1}}");
    cJSON_AddNumberToObject(schema, "maxItems", JOB_MARKS_MAX);
    return schema;
}

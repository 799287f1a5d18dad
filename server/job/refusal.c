#include "server/job/refusal.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"

#define DEPTH 8

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static void copy(char *to, size_t size, const cJSON *from)
{
    const char *text = cJSON_GetStringValue(from);
    if (text && strlen(text) < size)
        snprintf(to, size, "%s", text);
}

void refusal_set(struct refusal *r, int status, int retry_after, const struct cJSON *error)
{
    *r = (struct refusal){.status = status, .retry_after = retry_after};
    copy(r->type, sizeof r->type, member(error, "type"));
    copy(r->code, sizeof r->code, member(error, "code"));
    copy(r->param, sizeof r->param, member(error, "param"));
    const cJSON *moderation = member(error, "moderation_details");
    cJSON *owned = cJSON_IsObject(moderation) ? cJSON_Duplicate(moderation, true) : NULL;
    char *text = json_text_print(owned);
    if (text && strlen(text) < sizeof r->moderation)
        snprintf(r->moderation, sizeof r->moderation, "%s", text);
    free(text);
    cJSON_Delete(owned);
}

int refusal_status(const struct refusal *r)
{
    switch (r->status) {
    case 400:
    case 409:
    case 413:
    case 415:
    case 422:
    case 429:
    case 451:
    case 503:
        return r->status;
    default:
        return 502;
    }
}

static void add_text(cJSON *json, const char *name, const char *text)
{
    cJSON_AddItemToObject(json, name, *text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

struct cJSON *refusal_to_json(const struct refusal *r)
{
    if (r->status == 0)
        return NULL;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "status", r->status);
    add_text(json, "type", r->type);
    add_text(json, "code", r->code);
    add_text(json, "param", r->param);
    if (r->retry_after >= 0)
        cJSON_AddNumberToObject(json, "retry_after", r->retry_after);
    else
        cJSON_AddNullToObject(json, "retry_after");
    if (*r->moderation)
        cJSON_AddItemToObject(json, "moderation_details",
                              json_text_parse(r->moderation, strlen(r->moderation), DEPTH, NULL));
    return json;
}

char *refusal_to_text(const struct refusal *r)
{
    cJSON *json = refusal_to_json(r);
    char *text = json_text_print(json);
    cJSON_Delete(json);
    return text;
}

void refusal_from_text(struct refusal *r, const char *text)
{
    *r = (struct refusal){.retry_after = -1};
    cJSON *json = *text ? json_text_parse(text, strlen(text), DEPTH, NULL) : NULL;
    const cJSON *status = member(json, "status"), *after = member(json, "retry_after");
    if (cJSON_IsNumber(status) && status->valuedouble >= 100 && status->valuedouble < 600)
        refusal_set(r, status->valueint, cJSON_IsNumber(after) ? after->valueint : -1, json);
    cJSON_Delete(json);
}

#include "server/api/sdapi/sdapi_styles.h"

#include <stddef.h>

#include <cjson/cJSON.h>

#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/base/json_fields.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/styles.h"

static cJSON *style_json(const struct style *style)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", style->name);
    cJSON_AddStringToObject(item, "prompt", style->prompt);
    cJSON_AddStringToObject(item, "negative_prompt", style->negative);
    return item;
}

void sdapi_styles_list(struct http_request *req)
{
    struct styles styles;
    struct err err;
    if (!styles_read(http_app(req)->settings->styles, &styles, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateArray();
    for (size_t i = 0; i < styles.count; i++)
        cJSON_AddItemToArray(json, style_json(&styles.at[i]));
    styles_free(&styles);
    sdapi_reply_json(req, json);
}

#define AT(member) .offset = offsetof(struct style, member)
static const struct json_field fields[] = {
    {.name = "name", AT(name), .type = JSON_FIELD_STRING},
    {.name = "prompt", AT(prompt), .type = JSON_FIELD_STRING, .text = ""},
    {.name = "negative_prompt", AT(negative), .type = JSON_FIELD_STRING, .text = ""},
};

struct cJSON *sdapi_styles_schema(const struct settings *settings)
{
    return json_fields_schema(fields, sizeof fields / sizeof *fields);
}

void sdapi_styles_put(struct http_request *req)
{
    struct style style;
    struct json_problem problem;
    struct err err;
    cJSON *body = sdapi_reply_body(req);
    if (!body)
        return;
    if (!json_fields_parse(fields, sizeof fields / sizeof *fields, body, JSON_FIELDS_COERCE, &style,
                           &problem))
        sdapi_reply_unprocessable(req, sdapi_reply_problem(&problem));
    else if (!style.name)
        sdapi_reply_unprocessable(
            req, sdapi_reply_fault("name", "field required", "value_error.missing"));
    else if (!styles_put(http_app(req)->settings->styles, &style, &err))
        sdapi_reply_err(req, &err, "name");
    else
        sdapi_reply_json(req, style_json(&style));
    cJSON_Delete(body);
}

void sdapi_styles_remove(struct http_request *req)
{
    struct err err;
    if (styles_remove(http_app(req)->settings->styles, http_param(req, "name"), &err))
        sdapi_reply_null(req);
    else
        sdapi_reply_err(req, &err, NULL);
}

#include "server/openapi_answers.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/routes.h"

#define TEXT "{\"type\":\"string\"}"
#define WHOLE "{\"type\":\"integer\"}"
#define NUMBER "{\"type\":\"number\"}"
#define FLAG "{\"type\":\"boolean\"}"
#define OR_NULL(type) "{\"type\":[\"" type "\",\"null\"]}"
#define LIST(of) "{\"type\":\"array\",\"items\":" of "}"
#define OBJECT(required, members)                                                                  \
    "{\"type\":\"object\",\"required\":[" required "],\"properties\":{" members "}}"

#define IMAGE                                                                                      \
    OBJECT("\"id\",\"index\",\"url\",\"width\",\"height\",\"seed\",\"format\",\"bytes\"",          \
           "\"id\":" TEXT ",\"index\":" WHOLE ",\"url\":" TEXT ",\"width\":" WHOLE                 \
           ",\"height\":" WHOLE ",\"seed\":" WHOLE ",\"subseed\":" WHOLE ",\"format\":" TEXT       \
           ",\"bytes\":" WHOLE ",\"infotext\":" TEXT)
#define JOB                                                                                        \
    OBJECT("\"id\",\"state\",\"position\",\"params\",\"progress\",\"images\",\"error\"",           \
           "\"id\":" TEXT                                                                          \
           ",\"state\":{\"enum\":[\"queued\",\"running\",\"done\",\"failed\",\"cancelled\"]}"      \
           ",\"position\":" WHOLE ",\"priority\":" WHOLE ",\"attempts\":" WHOLE                    \
           ",\"created_at\":" OR_NULL("integer") ",\"started_at\":" OR_NULL("integer")             \
           ",\"finished_at\":" OR_NULL("integer") ",\"params\":{\"type\":\"object\"}"              \
           ",\"progress\":{\"type\":\"object\"},\"images\":" LIST(IMAGE)                           \
           ",\"revised_prompt\":" OR_NULL("string") ",\"usage\":" OR_NULL("object")                \
           ",\"error\":" OR_NULL("object"))
#define PICTURES                                                                                   \
    OBJECT("\"created\",\"data\",\"usage\"",                                                       \
           "\"created\":" WHOLE ",\"background\":" TEXT ",\"output_format\":" TEXT                 \
           ",\"quality\":" TEXT ",\"size\":" TEXT ",\"usage\":{\"type\":\"object\"}"               \
           ",\"data\":" LIST(OBJECT("", "\"b64_json\":" TEXT ",\"url\":" TEXT                      \
                                        ",\"revised_prompt\":" TEXT)))
#define MODEL                                                                                      \
    OBJECT("\"id\",\"object\",\"created\",\"owned_by\"",                                           \
           "\"id\":" TEXT ",\"object\":{\"const\":\"model\"},\"created\":" WHOLE                   \
           ",\"owned_by\":" TEXT)
#define PAINTED                                                                                    \
    OBJECT("\"images\",\"parameters\",\"info\"",                                                   \
           "\"images\":{\"type\":[\"array\",\"null\"],\"items\":" TEXT                             \
           "},\"parameters\":{\"type\":\"object\"},\"info\":" TEXT)

static const struct {
    const char *method, *path, *status, *schema;
} answers[] = {
    {"POST", "/api/jobs", "202", JOB},
    {"GET", "/api/jobs/{id}", "200", JOB},
    {"GET", "/api/jobs", "200", OBJECT("\"jobs\"", "\"jobs\":" LIST(JOB))},
    {"GET", "/api/models", "200",
     OBJECT("\"models\"", "\"models\":" LIST(OBJECT(
                              "\"name\",\"kind\"",
                              "\"name\":" TEXT ",\"kind\":{\"enum\":[\"local\",\"upstream\"]}")))},
    {"POST", "/api/compose", "200",
     OBJECT("\"text\",\"by\",\"theme\",\"seed\"",
            "\"text\":" TEXT ",\"by\":" TEXT ",\"theme\":" TEXT ",\"seed\":" WHOLE)},
    {"POST", "/images/generations", "200", PICTURES},
    {"POST", "/images/edits", "200", PICTURES},
    {"POST", "/images/variations", "200", PICTURES},
    {"GET", "/models", "200",
     OBJECT("\"object\",\"data\"", "\"object\":{\"const\":\"list\"},\"data\":" LIST(MODEL))},
    {"GET", "/models/{model}", "200", MODEL},
    {"POST", "/sdapi/v1/txt2img", "200", PAINTED},
    {"POST", "/sdapi/v1/img2img", "200", PAINTED},
    {"GET", "/sdapi/v1/progress", "200",
     OBJECT("\"progress\",\"eta_relative\",\"state\"",
            "\"progress\":" NUMBER ",\"eta_relative\":" NUMBER ",\"state\":{\"type\":\"object\"}"
            ",\"current_image\":" OR_NULL("string"))},
    {"GET", "/sdapi/v1/sd-models", "200",
     LIST(OBJECT("\"title\",\"model_name\",\"hash\",\"sha256\",\"filename\"",
                 "\"title\":" TEXT ",\"model_name\":" TEXT ",\"hash\":" OR_NULL("string")
                 ",\"sha256\":" OR_NULL("string") ",\"filename\":" TEXT))},
    {"GET", "/sdapi/v1/samplers", "200",
     LIST(OBJECT("\"name\",\"aliases\",\"options\"",
                 "\"name\":" TEXT ",\"aliases\":" LIST(TEXT)
                 ",\"options\":{\"type\":\"object\"}"))},
    {"GET", "/sdapi/v1/options", "200", "{\"type\":\"object\"}"},
};

struct cJSON *openapi_answers_good(const char *method, const char *path, const char **status)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        if (strcmp(method, answers[i].method) == 0 && strcmp(path, answers[i].path) == 0) {
            *status = answers[i].status;
            return json_text_constant(answers[i].schema);
        }
    }
    return NULL;
}

struct cJSON *openapi_answers_error(int dialect)
{
    if (dialect == ROUTES_OPENAI)
        return json_text_constant(OBJECT(
            "\"error\"", "\"error\":" OBJECT("\"message\",\"type\",\"param\",\"code\"",
                                             "\"message\":" TEXT ",\"type\":" TEXT
                                             ",\"param\":" OR_NULL("string")
                                             ",\"code\":" OR_NULL("string"))));
    if (dialect == ROUTES_NATIVE)
        return json_text_constant(
            OBJECT("\"error\"", "\"error\":" OBJECT("\"code\",\"message\"",
                                                    "\"code\":" TEXT ",\"message\":" TEXT
                                                    ",\"param\":" OR_NULL("string"))));
    if (dialect == ROUTES_SDAPI)
        return json_text_constant(
            OBJECT("\"detail\"", "\"detail\":{},\"message\":" TEXT));
    return NULL;
}

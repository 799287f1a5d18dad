#include "server/openapi_answers.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/routes.h"

#define JSON "application/json"
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
           ",\"notes\":" LIST(TEXT) ",\"waiting_for\":" TEXT \
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

#define ANY_OBJECT "{\"type\":\"object\"}"
#define ANY_LIST LIST(ANY_OBJECT)
#define NOTHING "{\"type\":\"null\"}"
#define QUEUE                                                                                      \
    OBJECT("\"paused\",\"queued\",\"running\"",                                              \
           "\"paused\":" FLAG ",\"queued\":" WHOLE ",\"running\":" WHOLE)
#define EXPERIMENT OBJECT("\"id\",\"name\"", "\"id\":" TEXT ",\"name\":" TEXT)
#define WEBHOOK                                                                                    \
    OBJECT("\"id\",\"url\",\"states\"",                                                      \
           "\"id\":" TEXT ",\"url\":" TEXT ",\"states\":" LIST(TEXT) ",\"secret\":" TEXT)
#define PULL \
    OBJECT("\"id\",\"ref\",\"state\"", "\"id\":" TEXT ",\"ref\":" TEXT ",\"state\":" TEXT)
#define KEY                                                                                        \
    OBJECT("\"id\",\"name\",\"admin\",\"weight\"",                                                 \
           "\"id\":" TEXT ",\"name\":" TEXT ",\"admin\":" FLAG ",\"worker\":" FLAG                 \
           ",\"weight\":" WHOLE                                                                  \
           ",\"pictures_per_day\":" WHOLE ",\"pictures_per_month\":" WHOLE                         \
           ",\"megapixel_steps_per_day\":" WHOLE ",\"megapixel_steps_per_month\":" WHOLE           \
           ",\"money_per_day\":" NUMBER ",\"money_per_month\":" NUMBER)
#define USED                                                                                       \
    OBJECT("\"day\",\"key\",\"model\",\"jobs\",\"pictures\",\"seconds\"",                          \
           "\"day\":" TEXT ",\"key\":" TEXT ",\"key_name\":" TEXT ",\"model\":" TEXT               \
           ",\"jobs\":" WHOLE ",\"failed\":" WHOLE ",\"pictures\":" WHOLE                          \
           ",\"megapixel_steps\":" NUMBER ",\"seconds\":" NUMBER ",\"money\":" NUMBER)
#define SIZE                                                                                       \
    "{\"type\":[\"object\",\"null\"],\"properties\":{\"tokens\":" WHOLE                  \
    ",\"chunks\":" WHOLE ",\"texts\":" WHOLE ",\"chunk_tokens\":" WHOLE ",\"most\":" WHOLE \
    ",\"cut\":" OR_NULL("string") "}}"
/* OpenAI's objects say what they are. */
#define NAMED(kind) \
    OBJECT("\"id\",\"object\"", "\"id\":" TEXT ",\"object\":{\"const\":\"" kind "\"}")
#define LISTED(of)                                                                                 \
    OBJECT("\"object\",\"data\"", "\"object\":{\"const\":\"list\"},\"data\":" LIST(of))
#define DELETED \
    OBJECT("\"id\",\"object\",\"deleted\"", "\"id\":" TEXT ",\"object\":" TEXT ",\"deleted\":" \
    FLAG)
#define HAS(name) OBJECT("\"" name "\"", "")
#define LIST_OF(name) LIST(HAS(name))

/* As FastAPI's, with a text beside. */
#define WRONG OBJECT("\"detail\"", "\"detail\":{},\"message\":" TEXT)

#define ORDER                                                                                      \
    OBJECT("\"job\",\"token\",\"index\",\"generate\",\"files\"", \
           "\"job\":" TEXT ",\"token\":" WHOLE ",\"index\":" WHOLE                                 \
           ",\"attempt\":" WHOLE ",\"lease_seconds\":" WHOLE                                       \
           ",\"inputs\":" WHOLE ",\"generate\":" ANY_OBJECT                                        \
           ",\"files\":" LIST(OBJECT("", "\"sha256\":" TEXT ",\"size\":" WHOLE)))

#define WORKER                                                                                    \
    OBJECT("\"id\",\"name\",\"local\",\"state\",\"job\",\"families\",\"models\",\"warm\"", \
           "\"id\":" TEXT ",\"name\":" TEXT ",\"local\":" FLAG ",\"key\":" OR_NULL("string") \
           ",\"host\":" OR_NULL("string") ",\"version\":" OR_NULL("string") \
           ",\"state\":{\"enum\":[\"starting\",\"idle\",\"painting\",\"away\"]}" \
           ",\"job\":" OR_NULL("string") ",\"device\":" OR_NULL("string") \
           ",\"cpu\":" OR_NULL("string") ",\"memory\":" OR_NULL("integer") \
           ",\"disk\":" OR_NULL("integer") ",\"families\":" LIST(TEXT) \
           ",\"models\":" LIST(TEXT) ",\"warm\":" LIST(TEXT) \
           ",\"seconds_per_step\":" OR_NULL("number") \
           ",\"seconds_per_megapixel_step\":" OR_NULL("number") \
           ",\"since\":" OR_NULL("integer") ",\"seen_at\":" OR_NULL("integer"))

#define PICTURE "image/*"
#define BYTES "application/octet-stream"
#define EVENTS "text/event-stream"
#define PLAIN "text/plain"

static const struct {
    const char *method, *path, *status, *schema, *type;
} answers[] = {
    {"GET", "/", "200", NULL, "text/html"},
    {"GET", "/docs", "200", NULL, "text/html"},
    {"GET", "/openapi.json", "200", ANY_OBJECT, JSON},
    {"GET", "/api/workers", "200", OBJECT("\"workers\"", "\"workers\":" LIST(WORKER)), JSON},
    {"POST", "/api/worker/claim", "200", ORDER, JSON},
    {"POST", "/api/worker/claim", "204", NULL, NULL},
    {"GET", "/api/worker/jobs/{id}/order", "200", ORDER, JSON},
    {"GET", "/api/worker/jobs/{id}/order", "204", NULL, NULL},
    {"POST", "/api/worker/jobs/{id}/heartbeat", "200",
     OBJECT("\"interrupted\",\"skipped\"", "\"interrupted\":" FLAG ",\"skipped\":" WHOLE), JSON},
    {"POST", "/api/worker/jobs/{id}/image", "200",
     OBJECT("\"next\"", "\"next\":" OR_NULL("integer")), JSON},
    {"POST", "/api/worker/jobs/{id}/end", "200", ANY_OBJECT, JSON},
    {"GET", "/api/worker/jobs/{id}/inputs", "200", NULL, BYTES},
    {"GET", "/api/worker/files/{sha256}", "200", NULL, BYTES},
    {"POST", "/api/jobs", "202", JOB, JSON},
    {"GET", "/api/jobs/{id}", "200", JOB, JSON},
    {"GET", "/api/jobs", "200", OBJECT("\"jobs\"", "\"jobs\":" LIST(JOB)), JSON},
    {"POST", "/api/jobs/batch", "202",
     OBJECT("\"jobs\"", "\"jobs\":" LIST(JOB) ",\"removed\":" LIST(TEXT)), JSON},
    {"POST", "/api/jobs/{id}/cancel", "200", JOB, JSON},
    {"POST", "/api/jobs/{id}/interrupt", "200", JOB, JSON},
    {"POST", "/api/jobs/{id}/retry", "202", JOB, JSON},
    {"POST", "/api/jobs/{id}/move", "200", JOB, JSON},
    {"DELETE", "/api/jobs/{id}", "204", NULL, NULL},
    {"DELETE", "/api/jobs/{id}/images/{image}", "204", NULL, NULL},
    {"POST", "/api/jobs/{id}/restore", "200", JOB, JSON},
    {"POST", "/api/jobs/{id}/images/{image}/restore", "200", JOB, JSON},
    {"GET", "/api/jobs/{id}/events", "200", NULL, EVENTS},
    {"GET", "/api/jobs/{id}/events", "204", NULL, NULL},
    {"GET", "/api/events", "200", NULL, EVENTS},
    {"GET", "/api/queue", "200", QUEUE, JSON},
    {"POST", "/api/queue/pause", "200", QUEUE, JSON},
    {"POST", "/api/queue/resume", "200", QUEUE, JSON},
    {"POST", "/api/experiments", "202", EXPERIMENT, JSON},
    {"GET", "/api/experiments", "200",
     OBJECT("\"experiments\"", "\"experiments\":" LIST(EXPERIMENT)), JSON},
    {"GET", "/api/experiments/{id}", "200", EXPERIMENT, JSON},
    {"POST", "/api/experiments/{id}", "200", EXPERIMENT, JSON},
    {"DELETE", "/api/experiments/{id}", "204", NULL, NULL},
    {"POST", "/api/experiments/{id}/rerun", "202", EXPERIMENT, JSON},
    {"GET", "/api/experiments/{id}/export", "200", ANY_OBJECT, JSON},
    {"GET", "/api/experiments/{id}/export", "200", NULL, "text/csv"},
    {"POST", "/api/webhooks", "201", WEBHOOK, JSON},
    {"GET", "/api/webhooks", "200", OBJECT("\"webhooks\"", "\"webhooks\":" LIST(WEBHOOK)), JSON},
    {"DELETE", "/api/webhooks/{id}", "204", NULL, NULL},
    {"POST", "/api/marks", "204", NULL, NULL},
    {"GET", "/api/tags", "200",
     OBJECT("\"tags\"", "\"tags\":" LIST(OBJECT("\"tag\",\"jobs\"", "\"tag\":" TEXT
                                                ",\"jobs\":" WHOLE))), JSON},
    {"POST", "/api/delete", "200",
     OBJECT("\"jobs\",\"images\",\"failed\"",
            "\"jobs\":" LIST(TEXT) ",\"images\":" LIST(TEXT) ",\"failed\":" ANY_LIST), JSON},
    {"POST", "/api/restore", "200",
     OBJECT("\"jobs\",\"images\",\"failed\"",
            "\"jobs\":" LIST(TEXT) ",\"images\":" LIST(TEXT) ",\"failed\":" ANY_LIST), JSON},
    {"GET", "/api/images/{id}", "200", NULL, PICTURE},
    {"GET", "/api/images/{id}", "206", NULL, PICTURE},
    {"GET", "/api/images/{id}/thumb", "200", NULL, "image/webp"},
    {"GET", "/api/images/{id}/thumb", "206", NULL, "image/webp"},
    {"POST", "/api/upscale", "200", NULL, PICTURE},
    {"POST", "/api/upscale", "201", IMAGE, JSON},
    {"GET", "/api/models", "200",
     OBJECT("\"models\"", "\"models\":" LIST(OBJECT(
                              "\"name\",\"kind\"",
    "\"name\":" TEXT ",\"kind\":{\"enum\":[\"local\",\"upstream\"]}"))), JSON},
    {"POST", "/api/models/load", "202", ANY_OBJECT, JSON},
    {"POST", "/api/models/unload", "202", ANY_OBJECT, JSON},
    {"POST", "/api/models/default", "204", NULL, NULL},
    {"GET", "/api/files", "200", OBJECT("\"files\",\"count\"", "\"files\":" ANY_LIST ",\"count\":"
     WHOLE), JSON},
    {"GET", "/api/files/preview", "200", NULL, PICTURE},
    {"GET", "/api/files/preview", "206", NULL, PICTURE},
    {"POST", "/api/pulls", "202", PULL, JSON},
    {"GET", "/api/pulls", "200",
     OBJECT("\"pulls\",\"catalogue\"", "\"pulls\":" LIST(PULL) ",\"catalogue\":" ANY_LIST), JSON},
    {"GET", "/api/pulls/{id}", "200", PULL, JSON},
    {"DELETE", "/api/pulls/{id}", "204", NULL, NULL},
    {"POST", "/api/pulls/{id}/cancel", "200", PULL, JSON},
    {"POST", "/api/pulls/{id}/resume", "200", PULL, JSON},
    {"GET", "/api/keys", "200", OBJECT("\"keys\"", "\"keys\":" LIST(KEY)), JSON},
    {"POST", "/api/keys", "201", KEY, JSON},
    {"PUT", "/api/keys/{id}", "200", KEY, JSON},
    {"GET", "/api/usage", "200",
     OBJECT("\"from\",\"to\",\"complete\",\"usage\",\"quota\"",
            "\"from\":" TEXT ",\"to\":" TEXT ",\"complete\":" FLAG ",\"usage\":" LIST(USED)
            ",\"quota\":" OR_NULL("object")),
     JSON},
    {"GET", "/api/usage", "200", NULL, "text/csv"},
    {"POST", "/api/keys/{id}/revoke", "204", NULL, NULL},
    {"GET", "/api/schema", "200", OBJECT("\"properties\"", "\"properties\":" ANY_OBJECT), JSON},
    {"POST", "/api/tokens", "200",
     OBJECT("\"model\",\"prompt\",\"negative_prompt\",\"reason\"",
    "\"model\":" TEXT ",\"prompt\":" SIZE ",\"negative_prompt\":" SIZE ",\"reason\":"
     OR_NULL("string")), JSON},
    {"POST", "/api/infotext", "200", OBJECT("\"params\"", "\"params\":" ANY_OBJECT), JSON},
    {"GET", "/api/info", "200",
     OBJECT("\"version\",\"samplers\",\"schedulers\",\"limits\",\"defaults\"",
            "\"version\":" TEXT ",\"samplers\":" ANY_LIST ",\"schedulers\":" ANY_LIST), JSON},
    {"GET", "/healthz", "200", NULL, PLAIN},
    {"GET", "/health", "200", NULL, PLAIN},
    {"GET", "/readyz", "200", NULL, PLAIN},
    {"GET", "/metrics", "200", NULL, PLAIN},
    {"POST", "/api/compose", "200",
     OBJECT("\"text\",\"by\",\"theme\",\"seed\"",
            "\"text\":" TEXT ",\"by\":" TEXT ",\"theme\":" TEXT ",\"seed\":" WHOLE), JSON},
    {"POST", "/api/compose", "200", NULL, EVENTS},

    {"POST", "/mcp", "200", OBJECT("\"jsonrpc\"", "\"jsonrpc\":{\"const\":\"2.0\"}"), JSON},
    {"POST", "/mcp", "200", NULL, EVENTS},
    {"POST", "/mcp", "202", NULL, NULL},
    {"DELETE", "/mcp", "204", NULL, NULL},

    {"POST", "/images/generations", "200", PICTURES, JSON},
    {"POST", "/images/generations", "200", NULL, EVENTS},
    {"POST", "/images/edits", "200", PICTURES, JSON},
    {"POST", "/images/edits", "200", NULL, EVENTS},
    {"POST", "/images/variations", "200", PICTURES, JSON},
    {"GET", "/images/files/{file}", "200", NULL, PICTURE},
    {"GET", "/images/files/{file}", "206", NULL, PICTURE},
    {"POST", "/chat/completions", "200",
    OBJECT("\"id\",\"object\",\"choices\"", "\"id\":" TEXT
     ",\"object\":{\"const\":\"chat.completion\"},\"choices\":" LIST(HAS("message"))), JSON},
    {"POST", "/chat/completions", "200", NULL, EVENTS},
    {"POST", "/responses", "200", NAMED("response"), JSON},
    {"POST", "/responses", "200", NULL, EVENTS},
    {"GET", "/responses/{id}", "200", NAMED("response"), JSON},
    {"POST", "/responses/{id}/cancel", "200", NAMED("response"), JSON},
    {"DELETE", "/responses/{id}", "200", DELETED, JSON},
    {"POST", "/batches", "200", NAMED("batch"), JSON},
    {"GET", "/batches", "200", LISTED(NAMED("batch")), JSON},
    {"GET", "/batches/{id}", "200", NAMED("batch"), JSON},
    {"POST", "/batches/{id}/cancel", "200", NAMED("batch"), JSON},
    {"DELETE", "/batches/{id}", "200", DELETED, JSON},
    {"POST", "/files", "200", NAMED("file"), JSON},
    {"GET", "/files", "200", LISTED(NAMED("file")), JSON},
    {"GET", "/files/{id}", "200", NAMED("file"), JSON},
    {"DELETE", "/files/{id}", "200", DELETED, JSON},
    {"GET", "/files/{id}/content", "200", NULL, "application/octet-stream"},
    {"GET", "/files/{id}/content", "206", NULL, "application/octet-stream"},
    {"GET", "/models", "200", LISTED(MODEL), JSON},
    {"GET", "/models/{model}", "200", MODEL, JSON},

    {"POST", "/sdapi/v1/txt2img", "200", PAINTED, JSON},
    {"POST", "/sdapi/v1/img2img", "200", PAINTED, JSON},
    {"POST", "/sdapi/v1/extra-single-image", "200", OBJECT("\"image\",\"html_info\"", "\"image\":"
     TEXT), JSON},
    {"POST", "/sdapi/v1/extra-batch-images", "200", OBJECT("\"images\",\"html_info\"",
     "\"images\":" LIST(TEXT)), JSON},
    {"POST", "/sdapi/v1/png-info", "200", OBJECT("\"info\",\"items\",\"parameters\"", "\"info\":"
     TEXT), JSON},
    {"POST", "/sdapi/v1/interrogate", "200", OBJECT("\"caption\"", "\"caption\":" TEXT), JSON},
    {"GET", "/sdapi/v1/progress", "200",
     OBJECT("\"progress\",\"eta_relative\",\"state\"",
            "\"progress\":" NUMBER ",\"eta_relative\":" NUMBER ",\"state\":{\"type\":\"object\"}"
            ",\"current_image\":" OR_NULL("string")), JSON},
    {"POST", "/sdapi/v1/interrupt", "200", ANY_OBJECT, JSON},
    {"POST", "/sdapi/v1/skip", "200", NOTHING, JSON},
    {"GET", "/sdapi/v1/options", "200", ANY_OBJECT, JSON},
    {"POST", "/sdapi/v1/options", "200", NOTHING, JSON},
    {"GET", "/sdapi/v1/cmd-flags", "200", ANY_OBJECT, JSON},
    {"GET", "/sdapi/v1/memory", "200", OBJECT("\"ram\",\"cuda\"", "\"ram\":" ANY_OBJECT), JSON},
    {"GET", "/sdapi/v1/sd-models", "200",
     LIST(OBJECT("\"title\",\"model_name\",\"hash\",\"sha256\",\"filename\"",
                 "\"title\":" TEXT ",\"model_name\":" TEXT ",\"hash\":" OR_NULL("string")
                 ",\"sha256\":" OR_NULL("string") ",\"filename\":" TEXT)), JSON},
    {"GET", "/sdapi/v1/samplers", "200",
     LIST(OBJECT("\"name\",\"aliases\",\"options\"",
                 "\"name\":" TEXT ",\"aliases\":" LIST(TEXT)
                 ",\"options\":{\"type\":\"object\"}")), JSON},
    {"GET", "/sdapi/v1/schedulers", "200", LIST(OBJECT("\"name\",\"label\"", "\"name\":" TEXT
     ",\"label\":" TEXT)), JSON},
    {"GET", "/sdapi/v1/upscalers", "200", LIST_OF("name"), JSON},
    {"GET", "/sdapi/v1/latent-upscale-modes", "200", LIST_OF("name"), JSON},
    {"GET", "/sdapi/v1/embeddings", "200", OBJECT("\"loaded\",\"skipped\"", "\"loaded\":"
     ANY_OBJECT ",\"skipped\":" ANY_OBJECT), JSON},
    {"GET", "/sdapi/v1/scripts", "200", OBJECT("\"txt2img\",\"img2img\"", "\"txt2img\":"
     LIST(TEXT) ",\"img2img\":" LIST(TEXT)), JSON},
    {"GET", "/sdapi/v1/script-info", "200", LIST_OF("name"), JSON},
    {"GET", "/controlnet/version", "200", OBJECT("\"version\"", "\"version\":" WHOLE), JSON},
    {"GET", "/controlnet/model_list", "200", OBJECT("\"model_list\"", "\"model_list\":"
     LIST(TEXT)), JSON},
    {"GET", "/controlnet/module_list", "200", OBJECT("\"module_list\"", "\"module_list\":"
     LIST(TEXT)), JSON},
    {"GET", "/controlnet/control_types", "200", OBJECT("\"control_types\"", "\"control_types\":"
     ANY_OBJECT), JSON},
    {"GET", "/controlnet/settings", "200", OBJECT("\"control_net_unit_count\"",
     "\"control_net_unit_count\":" WHOLE), JSON},
    {"POST", "/controlnet/detect", "200", OBJECT("\"images\"", "\"images\":" LIST(TEXT)), JSON},
    {"GET", "/sdapi/v1/sd-vae", "200", LIST_OF("model_name"), JSON},
    {"GET", "/sdapi/v1/sd-modules", "200", LIST_OF("model_name"), JSON},
    {"GET", "/sdapi/v1/loras", "200", LIST_OF("name"), JSON},
    {"GET", "/sdapi/v1/hypernetworks", "200", ANY_LIST, JSON},
    {"GET", "/sdapi/v1/face-restorers", "200", ANY_LIST, JSON},
    {"GET", "/sdapi/v1/realesrgan-models", "200", ANY_LIST, JSON},
    {"GET", "/sdapi/v1/extensions", "200", ANY_LIST, JSON},
    {"GET", "/sdapi/v1/prompt-styles", "200", LIST_OF("name"), JSON},
    {"POST", "/sdapi/v1/prompt-styles", "200", ANY_OBJECT, JSON},
    {"DELETE", "/sdapi/v1/prompt-styles/{name}", "200", NOTHING, JSON},
    {"POST", "/sdapi/v1/refresh-checkpoints", "200", NOTHING, JSON},
    {"POST", "/sdapi/v1/refresh-loras", "200", NOTHING, JSON},
    {"POST", "/sdapi/v1/refresh-vae", "200", NOTHING, JSON},
    {"POST", "/sdapi/v1/refresh-embeddings", "200", NOTHING, JSON},
    {"POST", "/sdapi/v1/unload-checkpoint", "200", ANY_OBJECT, JSON},
    {"POST", "/sdapi/v1/reload-checkpoint", "200", ANY_OBJECT, JSON},
    {"POST", "/internal/progress", "200", OBJECT("\"active\",\"queued\",\"completed\"",
     "\"active\":" FLAG ",\"queued\":" FLAG ",\"completed\":" FLAG), JSON},
    {"GET", "/internal/pending-tasks", "200", OBJECT("\"size\",\"tasks\"", "\"size\":" WHOLE
     ",\"tasks\":" LIST("{}")), JSON},
    {"GET", "/internal/ping", "200", ANY_OBJECT, JSON},
    {"GET", "/queue/status", "200", OBJECT("\"msg\",\"queue_size\"", "\"msg\":" TEXT
     ",\"queue_size\":" WHOLE), JSON},
    {"GET", "/app_id", "200", OBJECT("\"app_id\"", "\"app_id\":" WHOLE), JSON},
    {"GET", "/config", "200", ANY_OBJECT, JSON},
    {"GET", "/internal/sysinfo", "200", NULL, PLAIN},
    {"GET", "/internal/sysinfo-download", "200", NULL, PLAIN},
    {"GET", "/internal/quicksettings-hint", "200", LIST_OF("name"), JSON},
    {"GET", "/internal/profile-startup", "200", ANY_OBJECT, JSON},

    /* The WebUI answers what cannot be a picture, an upscaler or a batch by 500, and its clients
     * know these answers by it; what is not built here is 501. */
    {"POST", "/sdapi/v1/txt2img", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/img2img", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/extra-single-image", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/extra-batch-images", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/png-info", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/interrogate", "500", WRONG, JSON},
    {"POST", "/sdapi/v1/interrogate", "501", WRONG, JSON},
    {"POST", "/sdapi/v1/create/{kind}", "501", WRONG, JSON},
    {"POST", "/sdapi/v1/train/{kind}", "501", WRONG, JSON},
    {"POST", "/sdapi/v1/server-restart", "501", WRONG, JSON},
};

bool openapi_answers_good(const char *method, const char *path, size_t *at,
                          struct openapi_answer *out)
{
    for (size_t i = *at; i < sizeof answers / sizeof *answers; i++) {
        if (strcmp(method, answers[i].method) == 0 && strcmp(path, answers[i].path) == 0) {
            *out = (struct openapi_answer){
                answers[i].status, answers[i].type,
                answers[i].schema ? json_text_constant(answers[i].schema) : NULL};
            *at = i + 1;
            return true;
        }
    }
    return false;
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
        return json_text_constant(WRONG);
    return NULL;
}

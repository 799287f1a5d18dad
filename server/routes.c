/* routes.c: the table of routes, what its dialects share, and the server that answers them.
 * Constant; no state. */
#include "server/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/assets.h"
#include "server/api/gate.h"
#include "server/api/mcp/mcp.h"
#include "server/api/mcp/mcp_reply.h"
#include "server/api/metrics.h"
#include "server/api/native/native.h"
#include "server/api/native/native_compose.h"
#include "server/api/native/native_events.h"
#include "server/api/native/native_experiment.h"
#include "server/api/native/native_experiment_make.h"
#include "server/api/native/native_fields.h"
#include "server/api/native/native_files.h"
#include "server/api/native/native_job.h"
#include "server/api/native/native_keys.h"
#include "server/api/native/native_usage.h"
#include "server/api/quota_headers.h"
#include "server/api/native/native_list.h"
#include "server/api/native/native_marks.h"
#include "server/api/native/native_model.h"
#include "server/api/native/native_pulls.h"
#include "server/api/native/native_queue.h"
#include "server/api/native/native_submit.h"
#include "server/api/native/native_thumb.h"
#include "server/api/native/native_tokens.h"
#include "server/api/native/native_upscale.h"
#include "server/api/native/native_webhook.h"
#include "server/api/native/native_worker.h"
#include "server/api/native/native_worker_run.h"
#include "server/api/native/native_workers.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_batch.h"
#include "server/api/openai/openai_chat.h"
#include "server/api/openai/openai_files.h"
#include "server/api/openai/openai_images.h"
#include "server/api/openai/openai_request.h"
#include "server/api/openai/openai_responses.h"
#include "server/api/openai/openai_tool.h"
#include "server/api/sdapi/sdapi_control.h"
#include "server/api/sdapi/sdapi.h"
#include "server/api/sdapi/sdapi_embeddings.h"
#include "server/api/sdapi/sdapi_generate.h"
#include "server/api/sdapi/sdapi_internal.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_picture.h"
#include "server/api/sdapi/sdapi_progress.h"
#include "server/api/sdapi/sdapi_request.h"
#include "server/api/sdapi/sdapi_styles.h"
#include "server/base/settings.h"
#include "server/http/access.h"
#include "server/http/http.h"
#include "server/openapi.h"

/* A designated first member, so that the compiler takes the rest of a row for zero on purpose. */
#define GET .method = "GET"
#define POST .method = "POST"
#define DELETE .method = "DELETE"
#define PAINTS ROUTE_BODY_IMAGES, .paints = true

#define OPENAI_IMAGES(at, words)                                                                   \
    {POST, at "/images/generations", ROUTES_OPENAI, openai_images_generate, PAINTS,                \
     .schema = openai_request_schema,                                                           \
     .query = words},                                                                              \
        {POST, at "/images/edits", ROUTES_OPENAI, openai_images_edit, PAINTS,                      \
         .schema = openai_request_schema, .query = words},                                         \
        {POST, at "/images/variations", ROUTES_OPENAI, openai_images_vary, PAINTS,                 \
         .schema = openai_images_vary_schema, .query = words}
#define OPENAI_ROUTES(at, words)                                                                   \
    OPENAI_IMAGES(at, words),                                                                      \
        {POST, at "/chat/completions", ROUTES_OPENAI, openai_chat_complete, PAINTS,                \
         .schema = openai_chat_schema,                                                             \
         .query = words},                                                                          \
        {POST, at "/responses", ROUTES_OPENAI, openai_responses_create, PAINTS,                    \
         .schema = openai_tool_schema, .query = words},                                            \
        {GET, at "/responses/{id}", ROUTES_OPENAI, openai_responses_get, .query = words},          \
        {DELETE, at "/responses/{id}", ROUTES_OPENAI, openai_responses_delete, .query = words},    \
        {POST, at "/responses/{id}/cancel", ROUTES_OPENAI, openai_responses_cancel,                \
         .query = words},                                                                          \
        {POST, at "/batches", ROUTES_OPENAI, openai_batch_create, ROUTE_BODY_SMALL,                \
         .stores = true, .schema = openai_batch_schema, .query = words},                           \
        {GET, at "/batches", ROUTES_OPENAI, openai_batch_list, .query = words " after limit"},     \
        {GET, at "/batches/{id}", ROUTES_OPENAI, openai_batch_get, .query = words},                \
        {DELETE, at "/batches/{id}", ROUTES_OPENAI, openai_batch_delete, .query = words},          \
        {POST, at "/batches/{id}/cancel", ROUTES_OPENAI, openai_batch_cancel, .query = words},     \
        {POST, at "/files", ROUTES_OPENAI, openai_files_add, ROUTE_BODY_IMAGES, .stores = true,    \
         .query = words},                                                                          \
        {GET, at "/files", ROUTES_OPENAI, openai_files_list,                                       \
         .query = words " after limit order purpose"},                                             \
        {GET, at "/files/{id}", ROUTES_OPENAI, openai_files_get, .query = words},                  \
        {DELETE, at "/files/{id}", ROUTES_OPENAI, openai_files_delete, .query = words},            \
        {GET, at "/files/{id}/content", ROUTES_OPENAI, openai_files_content, .query = words},      \
        {GET, at "/models", ROUTES_OPENAI, openai_models, .query = words},                         \
        {GET, at "/models/{model...}", ROUTES_OPENAI, openai_model, .query = words},               \
        {DELETE, at "/models/{model...}", ROUTES_OPENAI, openai_model_delete, .query = words}

static const struct route routes[] = {
    {GET, "/", ROUTES_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/web/{name...}", ROUTES_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/favicon.ico", ROUTES_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/docs", ROUTES_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/openapi.json", ROUTES_PAGE, openapi_serve, .access = ROUTE_OPEN},

    {POST, "/api/jobs", ROUTES_NATIVE, native_submit, PAINTS,
     .schema = native_job_schema},
    {POST, "/api/jobs/batch", ROUTES_NATIVE, native_submit_batch, PAINTS,
     .schema = native_submit_batch_schema},
    {POST, "/api/compose", ROUTES_NATIVE, native_compose, ROUTE_BODY_SMALL,
     .schema = native_compose_schema},
    {POST, "/api/upscale", ROUTES_NATIVE, native_upscale, PAINTS, .schema = native_upscale_schema},
    {GET, "/api/jobs", ROUTES_NATIVE, native_list,
     .query = "before favourite limit model params q since state tag until"},
    {GET, "/api/jobs/{id}", ROUTES_NATIVE, native_get},
    {DELETE, "/api/jobs/{id}", ROUTES_NATIVE, native_delete, .query = "now"},
    {DELETE, "/api/jobs/{id}/images/{image}", ROUTES_NATIVE, native_delete_image, .query = "now"},
    {POST, "/api/jobs/{id}/restore", ROUTES_NATIVE, native_restore},
    {POST, "/api/jobs/{id}/images/{image}/restore", ROUTES_NATIVE, native_restore_image},
    {POST, "/api/jobs/{id}/cancel", ROUTES_NATIVE, native_cancel},
    {POST, "/api/jobs/{id}/interrupt", ROUTES_NATIVE, native_interrupt},
    {POST, "/api/jobs/{id}/retry", ROUTES_NATIVE, native_submit_retry, .paints = true},
    {POST, "/api/jobs/{id}/move", ROUTES_NATIVE, native_queue_move, ROUTE_BODY_SMALL, .admin = true,
     .schema = native_queue_move_schema},
    {GET, "/api/queue", ROUTES_NATIVE, native_queue_get},
    {POST, "/api/queue/pause", ROUTES_NATIVE, native_queue_pause, .admin = true},
    {POST, "/api/queue/resume", ROUTES_NATIVE, native_queue_resume, .admin = true},
    {POST, "/api/experiments", ROUTES_NATIVE, native_experiment_make, PAINTS,
     .schema = native_experiment_make_schema},
    {GET, "/api/experiments", ROUTES_NATIVE, native_experiment_list},
    {GET, "/api/experiments/{id}", ROUTES_NATIVE, native_experiment_get},
    {POST, "/api/experiments/{id}", ROUTES_NATIVE, native_experiment_change, ROUTE_BODY_SMALL,
     .schema = native_experiment_change_schema},
    {DELETE, "/api/experiments/{id}", ROUTES_NATIVE, native_experiment_delete},
    {POST, "/api/experiments/{id}/rerun", ROUTES_NATIVE, native_experiment_rerun, .paints = true},
    {GET, "/api/experiments/{id}/export", ROUTES_NATIVE, native_experiment_export,
     .query = "format"},
    {POST, "/api/webhooks", ROUTES_NATIVE, native_webhook_add, ROUTE_BODY_SMALL,
     .schema = native_webhook_schema},
    {GET, "/api/webhooks", ROUTES_NATIVE, native_webhook_list},
    {DELETE, "/api/webhooks/{id}", ROUTES_NATIVE, native_webhook_delete},
    {POST, "/api/marks", ROUTES_NATIVE, native_marks_change, ROUTE_BODY_SMALL,
     .schema = native_marks_change_schema},
    {GET, "/api/tags", ROUTES_NATIVE, native_marks_tags},
    {POST, "/api/delete", ROUTES_NATIVE, native_marks_delete, ROUTE_BODY_SMALL,
     .schema = native_marks_delete_schema},
    {POST, "/api/restore", ROUTES_NATIVE, native_marks_restore, ROUTE_BODY_SMALL,
     .schema = native_marks_restore_schema},
    {GET, "/api/jobs/{id}/events", ROUTES_NATIVE, native_events_job},
    {GET, "/api/events", ROUTES_NATIVE, native_events_all},
    {GET, "/api/images/{id}", ROUTES_NATIVE, native_image, .query = "download"},
    {GET, "/api/images/{id}/thumb", ROUTES_NATIVE, native_thumb},
    {GET, "/api/models", ROUTES_NATIVE, native_models},
    {POST, "/api/models/load", ROUTES_NATIVE, native_model_load, ROUTE_BODY_SMALL, .admin = true,
     .schema = native_model_load_schema},
    {POST, "/api/models/unload", ROUTES_NATIVE, native_models_unload, ROUTE_BODY_SMALL,
     .admin = true},
    {POST, "/api/models/default", ROUTES_NATIVE, native_model_default, ROUTE_BODY_SMALL,
     .admin = true, .schema = native_model_default_schema},
    {GET, "/api/files", ROUTES_NATIVE, native_files_list, .query = "kind limit offset q"},
    {GET, "/api/files/preview", ROUTES_NATIVE, native_files_preview, .query = "kind name"},
    {POST, "/api/pulls", ROUTES_NATIVE, native_pulls_add, ROUTE_BODY_SMALL, .admin = true,
     .schema = native_pulls_schema},
    {GET, "/api/pulls", ROUTES_NATIVE, native_pulls_list, .admin = true},
    {GET, "/api/pulls/{id}", ROUTES_NATIVE, native_pulls_get, .admin = true},
    {DELETE, "/api/pulls/{id}", ROUTES_NATIVE, native_pulls_delete, .admin = true},
    {POST, "/api/pulls/{id}/cancel", ROUTES_NATIVE, native_pulls_cancel, .admin = true},
    {POST, "/api/pulls/{id}/resume", ROUTES_NATIVE, native_pulls_resume, .admin = true},
    {GET, "/api/keys", ROUTES_NATIVE, native_keys_list, .admin = true},
    {GET, "/api/usage", ROUTES_NATIVE, native_usage, .query = "from to key format"},
    {POST, "/api/keys", ROUTES_NATIVE, native_keys_add, ROUTE_BODY_SMALL, .admin = true,
     .schema = native_keys_schema},
    {.method = "PUT", "/api/keys/{id}", ROUTES_NATIVE, native_keys_set, ROUTE_BODY_SMALL,
     .admin = true, .schema = native_keys_share_schema},
    {POST, "/api/keys/{id}/revoke", ROUTES_NATIVE, native_keys_revoke, ROUTE_BODY_SMALL,
     .admin = true},
    {GET, "/api/workers", ROUTES_NATIVE, native_workers_list, .admin = true},
    {POST, "/api/worker/claim", ROUTES_NATIVE, native_worker_claim, ROUTE_BODY_SMALL,
     .worker = true, .schema = native_worker_claim_schema},
    {GET, "/api/worker/jobs/{id}/order", ROUTES_NATIVE, native_worker_order, .worker = true,
     .query = "index token worker"},
    {POST, "/api/worker/jobs/{id}/heartbeat", ROUTES_NATIVE, native_worker_run_heartbeat,
     ROUTE_BODY_IMAGES, .worker = true, .schema = native_worker_run_schema_heartbeat,
     .query = "index token worker", .probe = true},
    {POST, "/api/worker/jobs/{id}/image", ROUTES_NATIVE, native_worker_run_image,
     ROUTE_BODY_IMAGES, .worker = true, .query = "index token worker"},
    {POST, "/api/worker/jobs/{id}/end", ROUTES_NATIVE, native_worker_run_end, ROUTE_BODY_SMALL,
     .worker = true, .schema = native_worker_run_schema_end, .query = "token worker"},
    {GET, "/api/worker/jobs/{id}/inputs", ROUTES_NATIVE, native_worker_run_inputs, .worker = true,
     .query = "index token worker"},
    {GET, "/api/worker/files/{sha256}", ROUTES_NATIVE, native_worker_run_file, .worker = true,
     .query = "index job token worker"},
    {GET, "/api/schema", ROUTES_NATIVE, native_fields_schema},
    {POST, "/api/tokens", ROUTES_NATIVE, native_tokens_count, ROUTE_BODY_SMALL,
     .schema = native_tokens_schema},
    {POST, "/api/infotext", ROUTES_NATIVE, native_fields_infotext, ROUTE_BODY_SMALL,
     .schema = native_fields_infotext_schema},
    {GET, "/api/info", ROUTES_NATIVE, native_info, .access = ROUTE_OPEN},
    {GET, "/healthz", ROUTES_NATIVE, native_healthz, .access = ROUTE_OPEN, .probe = true},
    {GET, "/health", ROUTES_NATIVE, native_healthz, .access = ROUTE_OPEN},
    {GET, "/readyz", ROUTES_NATIVE, native_readyz, .access = ROUTE_OPEN, .probe = true},
    {GET, "/metrics", ROUTES_NATIVE, metrics_serve, .admin = true, .probe = true},

    {POST, "/mcp", ROUTES_MCP, mcp_post, PAINTS},
    {DELETE, "/mcp", ROUTES_MCP, mcp_delete},

    /* Users forget the /v1 in their base URL, and Azure's clients have paths of their own. */
    {GET, "/v1/images/files/{file}", ROUTES_OPENAI, openai_file, .access = ROUTE_OPEN},
    {GET, "/images/files/{file}", ROUTES_OPENAI, openai_file, .access = ROUTE_OPEN},
    OPENAI_ROUTES("/v1", ""),
    OPENAI_ROUTES("", ""),
    OPENAI_ROUTES("/openai/v1", "api-version"),
    OPENAI_ROUTES("/openai", "api-version"),
    OPENAI_IMAGES("/openai/deployments/{deployment}", "api-version"),
    {POST, "/openai/deployments/{deployment}/chat/completions", ROUTES_OPENAI, openai_chat_complete,
     PAINTS, .query = "api-version"},

    {POST, "/sdapi/v1/txt2img", ROUTES_SDAPI, sdapi_generate_txt2img, PAINTS,
     .schema = sdapi_request_schema_txt2img},
    {POST, "/sdapi/v1/img2img", ROUTES_SDAPI, sdapi_generate_img2img, PAINTS,
     .schema = sdapi_request_schema_img2img},
    {POST, "/sdapi/v1/extra-single-image", ROUTES_SDAPI, sdapi_picture_extras, PAINTS,
     .schema = sdapi_picture_schema_extras},
    {POST, "/sdapi/v1/extra-batch-images", ROUTES_SDAPI, sdapi_picture_extras_batch, PAINTS,
     .schema = sdapi_picture_schema_extras},
    {POST, "/sdapi/v1/png-info", ROUTES_SDAPI, sdapi_picture_info, ROUTE_BODY_IMAGES,
     .schema = sdapi_picture_schema_image},
    {POST, "/sdapi/v1/interrogate", ROUTES_SDAPI, sdapi_picture_interrogate, ROUTE_BODY_IMAGES,
     .schema = sdapi_picture_schema_image},
    {GET, "/sdapi/v1/progress", ROUTES_SDAPI, sdapi_progress_get, .query = "skip_current_image"},
    {POST, "/sdapi/v1/interrupt", ROUTES_SDAPI, sdapi_progress_interrupt},
    {POST, "/sdapi/v1/skip", ROUTES_SDAPI, sdapi_progress_skip},
    {GET, "/sdapi/v1/options", ROUTES_SDAPI, sdapi_options_get},
    {POST, "/sdapi/v1/options", ROUTES_SDAPI, sdapi_options_set, ROUTE_BODY_SMALL,
     .schema = sdapi_options_schema},
    {GET, "/sdapi/v1/cmd-flags", ROUTES_SDAPI, sdapi_cmd_flags},
    {GET, "/sdapi/v1/memory", ROUTES_SDAPI, sdapi_memory},
    {GET, "/sdapi/v1/sd-models", ROUTES_SDAPI, sdapi_models_list},
    {GET, "/sdapi/v1/samplers", ROUTES_SDAPI, sdapi_samplers},
    {GET, "/sdapi/v1/schedulers", ROUTES_SDAPI, sdapi_schedulers},
    {GET, "/sdapi/v1/upscalers", ROUTES_SDAPI, sdapi_upscalers},
    {GET, "/sdapi/v1/latent-upscale-modes", ROUTES_SDAPI, sdapi_latent_upscale_modes},
    {GET, "/sdapi/v1/embeddings", ROUTES_SDAPI, sdapi_embeddings_list},
    {GET, "/sdapi/v1/scripts", ROUTES_SDAPI, sdapi_scripts},
    {GET, "/controlnet/version", ROUTES_SDAPI, sdapi_control_version},
    {GET, "/controlnet/model_list", ROUTES_SDAPI, sdapi_control_models},
    {POST, "/controlnet/detect", ROUTES_SDAPI, sdapi_control_detect, PAINTS},
    {GET, "/controlnet/module_list", ROUTES_SDAPI, sdapi_control_modules},
    {GET, "/controlnet/control_types", ROUTES_SDAPI, sdapi_control_types},
    {GET, "/controlnet/settings", ROUTES_SDAPI, sdapi_control_settings},
    {GET, "/sdapi/v1/sd-vae", ROUTES_SDAPI, sdapi_vaes},
    {GET, "/sdapi/v1/sd-modules", ROUTES_SDAPI, sdapi_vaes},
    {GET, "/sdapi/v1/loras", ROUTES_SDAPI, sdapi_loras},
    {GET, "/sdapi/v1/hypernetworks", ROUTES_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/face-restorers", ROUTES_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/realesrgan-models", ROUTES_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/prompt-styles", ROUTES_SDAPI, sdapi_styles_list},
    {POST, "/sdapi/v1/prompt-styles", ROUTES_SDAPI, sdapi_styles_put, ROUTE_BODY_SMALL,
     .admin = true, .schema = sdapi_styles_schema},
    {DELETE, "/sdapi/v1/prompt-styles/{name...}", ROUTES_SDAPI, sdapi_styles_remove, .admin = true},
    {GET, "/sdapi/v1/script-info", ROUTES_SDAPI, sdapi_script_info},
    {GET, "/sdapi/v1/extensions", ROUTES_SDAPI, sdapi_empty_list},
    {POST, "/sdapi/v1/refresh-checkpoints", ROUTES_SDAPI, sdapi_refresh_checkpoints},
    {POST, "/sdapi/v1/refresh-loras", ROUTES_SDAPI, sdapi_refresh_loras},
    {POST, "/sdapi/v1/refresh-vae", ROUTES_SDAPI, sdapi_refresh_vaes},
    {POST, "/sdapi/v1/refresh-embeddings", ROUTES_SDAPI, sdapi_embeddings_refresh},
    {POST, "/sdapi/v1/unload-checkpoint", ROUTES_SDAPI, sdapi_unload_checkpoint, .admin = true},
    {POST, "/sdapi/v1/reload-checkpoint", ROUTES_SDAPI, sdapi_reload_checkpoint},
    {POST, "/internal/progress", ROUTES_SDAPI, sdapi_progress_task, ROUTE_BODY_SMALL},
    {GET, "/internal/pending-tasks", ROUTES_SDAPI, sdapi_progress_pending},
    {GET, "/internal/ping", ROUTES_SDAPI, sdapi_ping, .access = ROUTE_OPEN},
    {GET, "/queue/status", ROUTES_SDAPI, sdapi_queue_status},
    {GET, "/app_id", ROUTES_SDAPI, sdapi_app_id},
    {GET, "/config", ROUTES_SDAPI, sdapi_internal_config},
    {GET, "/internal/sysinfo", ROUTES_SDAPI, sdapi_internal_sysinfo},
    {GET, "/internal/sysinfo-download", ROUTES_SDAPI, sdapi_internal_sysinfo_file},
    {GET, "/internal/quicksettings-hint", ROUTES_SDAPI, sdapi_internal_quicksettings},
    {GET, "/internal/profile-startup", ROUTES_SDAPI, sdapi_internal_profile},
    {POST, "/sdapi/v1/server-stop", ROUTES_SDAPI, sdapi_internal_stop, .admin = true},
    {POST, "/sdapi/v1/server-kill", ROUTES_SDAPI, sdapi_internal_stop, .admin = true},
    {POST, "/sdapi/v1/server-restart", ROUTES_SDAPI, sdapi_internal_restart, .admin = true},
    {POST, "/sdapi/v1/create/{kind}", ROUTES_SDAPI, sdapi_internal_train, ROUTE_BODY_SMALL},
    {POST, "/sdapi/v1/train/{kind}", ROUTES_SDAPI, sdapi_internal_train, ROUTE_BODY_SMALL},
};

/* What errors look like on a path that no route has. */
static int dialect_of(const char *path)
{
    static const struct {
        const char *prefix;
        enum routes_dialect dialect;
    } prefixes[] = {
        {"/api", ROUTES_NATIVE},    {"/v1", ROUTES_OPENAI}, {"/images", ROUTES_OPENAI},
        {"/models", ROUTES_OPENAI}, {"/openai", ROUTES_OPENAI}, {"/web", ROUTES_PAGE},
        {"/responses", ROUTES_OPENAI}, {"/chat", ROUTES_OPENAI},   {"/files", ROUTES_OPENAI},
        {"/batches", ROUTES_OPENAI},  {"/mcp", ROUTES_MCP},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (strncmp(path, prefixes[i].prefix, n) == 0 && (path[n] == '\0' || path[n] == '/'))
            return prefixes[i].dialect;
    }
    /* Clients of the SD WebUI probe for its extensions all over the root. */
    return ROUTES_SDAPI;
}

static bool is_on(const struct settings *s, int dialect)
{
    return !(dialect == ROUTES_OPENAI && !s->openai) && !(dialect == ROUTES_SDAPI && !s->sdapi) &&
           !(dialect == ROUTES_MCP && !s->mcp);
}

static const struct route_dialect dialects[ROUTES_DIALECTS] = {
    [ROUTES_PAGE] = {"page", assets_error},
    [ROUTES_NATIVE] = {"native", native_error, .strict_query = true, .free_query = "download q"},
    [ROUTES_OPENAI] = {"openai", openai_error, .free_query = "api-version"},
    /* Its only parameter is refused in the words of the WebUI's framework. */
    [ROUTES_SDAPI] = {"sdapi", sdapi_error, .basic = true, .free_query = "skip_current_image"},
    [ROUTES_MCP] = {"mcp", mcp_error},
};

const struct route_table routes_table = {
    routes, sizeof routes / sizeof *routes, dialects, ROUTES_DIALECTS, dialect_of, is_on,
};

static bool check_key(const struct app *app, const struct access_request *r,
                      struct access_grant *out, struct err *err)
{
    return gate_check(app->settings, app->keys, r, out, err);
}

struct http *routes_serve(const struct app *app, struct err *err)
{
    struct http_options options = {app->settings, app, &routes_table, check_key, quota_headers};
    return http_start(&options, err);
}

/* route.c: see route.h. The table is searched from the top; it is short, and a request paints for
 * seconds. Thread-safe; no state. */
#include "server/api/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/assets.h"
#include "server/api/metrics.h"
#include "server/api/native/native.h"
#include "server/api/native/native_events.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_images.h"
#include "server/api/sdapi/sdapi.h"
#include "server/api/sdapi/sdapi_generate.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_picture.h"
#include "server/api/sdapi/sdapi_progress.h"
#include "server/base/url.h"

/* A designated first member, so that the compiler takes the rest of a row for zero on purpose. */
#define GET .method = "GET"
#define POST .method = "POST"
#define DELETE .method = "DELETE"
#define PAINTS ROUTE_BODY_IMAGES, .paints = true

static const struct route routes[] = {
    {GET, "/", ROUTE_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/web/{name...}", ROUTE_PAGE, assets_serve, .access = ROUTE_OPEN},
    {GET, "/favicon.ico", ROUTE_PAGE, assets_serve, .access = ROUTE_OPEN},

    {POST, "/api/jobs", ROUTE_NATIVE, native_submit, PAINTS},
    {GET, "/api/jobs", ROUTE_NATIVE, native_list},
    {GET, "/api/jobs/{id}", ROUTE_NATIVE, native_get},
    {DELETE, "/api/jobs/{id}", ROUTE_NATIVE, native_delete},
    {POST, "/api/jobs/{id}/cancel", ROUTE_NATIVE, native_cancel},
    {POST, "/api/jobs/{id}/interrupt", ROUTE_NATIVE, native_interrupt},
    {POST, "/api/jobs/{id}/retry", ROUTE_NATIVE, native_retry, .paints = true},
    {GET, "/api/jobs/{id}/events", ROUTE_NATIVE, native_events_job},
    {GET, "/api/events", ROUTE_NATIVE, native_events_all},
    {GET, "/api/images/{id}", ROUTE_NATIVE, native_image},
    {GET, "/api/models", ROUTE_NATIVE, native_models},
    {GET, "/api/info", ROUTE_NATIVE, native_info, .access = ROUTE_OPEN},
    {GET, "/healthz", ROUTE_NATIVE, native_healthz, .access = ROUTE_OPEN},
    {GET, "/health", ROUTE_NATIVE, native_healthz, .access = ROUTE_OPEN},
    {GET, "/readyz", ROUTE_NATIVE, native_readyz, .access = ROUTE_OPEN},
    {GET, "/metrics", ROUTE_NATIVE, metrics_serve},

    {POST, "/v1/images/generations", ROUTE_OPENAI, openai_images_generate, PAINTS},
    {POST, "/v1/images/edits", ROUTE_OPENAI, openai_images_edit, PAINTS},
    {POST, "/v1/images/variations", ROUTE_OPENAI, openai_images_vary, PAINTS},
    {GET, "/v1/images/files/{file}", ROUTE_OPENAI, openai_file, .access = ROUTE_OPEN},
    {GET, "/v1/models", ROUTE_OPENAI, openai_models},
    {GET, "/v1/models/{model...}", ROUTE_OPENAI, openai_model},
    {DELETE, "/v1/models/{model...}", ROUTE_OPENAI, openai_model_delete},
    /* The same without /v1: users forget it in their base URL. */
    {POST, "/images/generations", ROUTE_OPENAI, openai_images_generate, PAINTS},
    {POST, "/images/edits", ROUTE_OPENAI, openai_images_edit, PAINTS},
    {POST, "/images/variations", ROUTE_OPENAI, openai_images_vary, PAINTS},
    {GET, "/images/files/{file}", ROUTE_OPENAI, openai_file, .access = ROUTE_OPEN},
    {GET, "/models", ROUTE_OPENAI, openai_models},
    {GET, "/models/{model...}", ROUTE_OPENAI, openai_model},
    {DELETE, "/models/{model...}", ROUTE_OPENAI, openai_model_delete},

    {POST, "/sdapi/v1/txt2img", ROUTE_SDAPI, sdapi_generate_txt2img, PAINTS},
    {POST, "/sdapi/v1/img2img", ROUTE_SDAPI, sdapi_generate_img2img, PAINTS},
    {POST, "/sdapi/v1/extra-single-image", ROUTE_SDAPI, sdapi_picture_extras, PAINTS},
    {POST, "/sdapi/v1/extra-batch-images", ROUTE_SDAPI, sdapi_picture_extras_batch, PAINTS},
    {POST, "/sdapi/v1/png-info", ROUTE_SDAPI, sdapi_picture_info, ROUTE_BODY_IMAGES},
    {POST, "/sdapi/v1/interrogate", ROUTE_SDAPI, sdapi_interrogate, ROUTE_BODY_IMAGES},
    {GET, "/sdapi/v1/progress", ROUTE_SDAPI, sdapi_progress_get},
    {POST, "/sdapi/v1/interrupt", ROUTE_SDAPI, sdapi_progress_interrupt},
    {POST, "/sdapi/v1/skip", ROUTE_SDAPI, sdapi_progress_skip},
    {GET, "/sdapi/v1/options", ROUTE_SDAPI, sdapi_options_get},
    {POST, "/sdapi/v1/options", ROUTE_SDAPI, sdapi_options_set, ROUTE_BODY_SMALL},
    {GET, "/sdapi/v1/cmd-flags", ROUTE_SDAPI, sdapi_cmd_flags},
    {GET, "/sdapi/v1/memory", ROUTE_SDAPI, sdapi_memory},
    {GET, "/sdapi/v1/sd-models", ROUTE_SDAPI, sdapi_models_list},
    {GET, "/sdapi/v1/samplers", ROUTE_SDAPI, sdapi_samplers},
    {GET, "/sdapi/v1/schedulers", ROUTE_SDAPI, sdapi_schedulers},
    {GET, "/sdapi/v1/upscalers", ROUTE_SDAPI, sdapi_upscalers},
    {GET, "/sdapi/v1/latent-upscale-modes", ROUTE_SDAPI, sdapi_latent_upscale_modes},
    {GET, "/sdapi/v1/embeddings", ROUTE_SDAPI, sdapi_embeddings},
    {GET, "/sdapi/v1/scripts", ROUTE_SDAPI, sdapi_scripts},
    {GET, "/sdapi/v1/sd-vae", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/sd-modules", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/loras", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/hypernetworks", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/face-restorers", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/realesrgan-models", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/prompt-styles", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/script-info", ROUTE_SDAPI, sdapi_empty_list},
    {GET, "/sdapi/v1/extensions", ROUTE_SDAPI, sdapi_empty_list},
    {POST, "/sdapi/v1/refresh-checkpoints", ROUTE_SDAPI, sdapi_refresh_checkpoints},
    {POST, "/sdapi/v1/refresh-loras", ROUTE_SDAPI, sdapi_refresh_nothing},
    {POST, "/sdapi/v1/refresh-vae", ROUTE_SDAPI, sdapi_refresh_nothing},
    {POST, "/sdapi/v1/refresh-embeddings", ROUTE_SDAPI, sdapi_refresh_nothing},
    {POST, "/sdapi/v1/unload-checkpoint", ROUTE_SDAPI, sdapi_unload_checkpoint},
    {POST, "/sdapi/v1/reload-checkpoint", ROUTE_SDAPI, sdapi_reload_checkpoint},
    {POST, "/internal/progress", ROUTE_SDAPI, sdapi_progress_task, ROUTE_BODY_SMALL},
    {GET, "/internal/pending-tasks", ROUTE_SDAPI, sdapi_progress_pending},
    {GET, "/internal/ping", ROUTE_SDAPI, sdapi_ping, .access = ROUTE_OPEN},
    {GET, "/queue/status", ROUTE_SDAPI, sdapi_queue_status},
    {GET, "/app_id", ROUTE_SDAPI, sdapi_app_id},
};

const struct route *route_table(size_t *count)
{
    *count = sizeof routes / sizeof *routes;
    return routes;
}

/* The next segment of a path or pattern: sets *size, returns its start; NULL past the last one. */
static const char *segment(const char **at, size_t *size)
{
    if (**at != '/')
        return NULL;
    const char *start = *at + 1;
    *size = strcspn(start, "/");
    *at = start + *size;
    return start;
}

/* The pattern's literals are plain, so decoded segments are compared byte by byte. */
static bool same(const char *literal, size_t literal_size, const char *raw, size_t raw_size)
{
    char decoded[64];
    return raw_size < sizeof decoded && url_decode(decoded, raw, raw_size, false) &&
           strlen(decoded) == literal_size && memcmp(decoded, literal, literal_size) == 0;
}

struct match {
    size_t count;
    struct {
        const char *name, *raw;
        size_t name_size, raw_size;
    } at[ROUTE_PARAMS_MAX];
};

static bool matches(const char *pattern, const char *path, struct match *m)
{
    m->count = 0;
    if (strcmp(pattern, "/") == 0)
        return strcmp(path, "/") == 0;
    for (;;) {
        size_t want_size = 0, got_size = 0;
        const char *want = segment(&pattern, &want_size);
        const char *got = segment(&path, &got_size);
        if (got && got_size == 0 && *path == '\0')
            got = NULL; /* one trailing slash */
        if (!want || !got)
            return !want && !got;
        if (want[0] != '{') {
            if (!same(want, want_size, got, got_size))
                return false;
            continue;
        }
        if (got_size == 0)
            return false;
        bool rest = want_size > 5 && memcmp(want + want_size - 4, "...}", 4) == 0;
        if (rest) {
            got_size += strlen(path);
            if (got[got_size - 1] == '/')
                got_size--;
        }
        m->at[m->count].name = want + 1;
        m->at[m->count].name_size = want_size - (rest ? 5 : 2);
        m->at[m->count].raw = got;
        m->at[m->count].raw_size = got_size;
        m->count++;
        if (rest)
            return true;
    }
}

/* False when a value holds a NUL (then the path is nobody's) or memory is short. */
static enum route_result keep_params(const struct match *m, struct route_params *params)
{
    size_t size = 1;
    for (size_t i = 0; i < m->count; i++)
        size += m->at[i].raw_size + 1;
    char *out = malloc(size);
    if (!out)
        return ROUTE_NO_MEMORY;
    *params = (struct route_params){.count = m->count, .storage = out};
    for (size_t i = 0; i < m->count; i++) {
        params->at[i].name = m->at[i].name;
        params->at[i].name_size = m->at[i].name_size;
        params->at[i].value = out;
        if (!url_decode(out, m->at[i].raw, m->at[i].raw_size, false)) {
            route_params_free(params);
            return ROUTE_NO_PATH;
        }
        out += strlen(out) + 1;
    }
    return ROUTE_FOUND;
}

void route_params_free(struct route_params *params)
{
    free(params->storage);
    *params = (struct route_params){0};
}

static void add_method(char *allow, size_t size, const char *method)
{
    size_t n = strlen(allow);
    snprintf(allow + n, size - n, "%s%s", n ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        add_method(allow, size, "HEAD");
}

enum route_result route_find(const char *method, const char *path, const struct route **route,
                             struct route_params *params, char *allow, size_t allow_size)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    *params = (struct route_params){0};
    *route = NULL;
    allow[0] = '\0';
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        struct match m;
        if (!matches(routes[i].pattern, path, &m))
            continue;
        *route = &routes[i];
        if (strcmp(routes[i].method, method) == 0)
            return keep_params(&m, params);
        add_method(allow, allow_size, routes[i].method);
    }
    return *route ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

enum route_dialect route_dialect_of(const char *path)
{
    static const struct {
        const char *prefix;
        enum route_dialect dialect;
    } prefixes[] = {
        {"/api", ROUTE_NATIVE},    {"/v1", ROUTE_OPENAI}, {"/images", ROUTE_OPENAI},
        {"/models", ROUTE_OPENAI}, {"/web", ROUTE_PAGE},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (strncmp(path, prefixes[i].prefix, n) == 0 && (path[n] == '\0' || path[n] == '/'))
            return prefixes[i].dialect;
    }
    /* Clients of the SD WebUI probe for its extensions all over the root. */
    return ROUTE_SDAPI;
}

route_error_fn *route_error_of(enum route_dialect dialect)
{
    switch (dialect) {
    case ROUTE_PAGE:
        return assets_error;
    case ROUTE_NATIVE:
        return native_error;
    case ROUTE_OPENAI:
        return openai_error;
    case ROUTE_SDAPI:
        return sdapi_error;
    case ROUTE_DIALECTS:
        break;
    }
    return native_error;
}

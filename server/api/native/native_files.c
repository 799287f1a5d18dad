/* native_files.c: a page of a list, since what lies beside a file is read for each of its lines. */
#include "server/api/native/native_files.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/files.h"
#include "server/job/registry.h"
#include "server/job/sidecars.h"
#include "server/job/wildcards.h"

#define LIMIT 50
#define LIMIT_MAX 200
#define PREVIEW_MOST (16 << 20) /* bytes */

static void reply_wrong(struct http_request *req, const char *param, const char *message)
{
    struct http_problem problem = {400, ERR_INVALID, message, param};
    native_error(req, &problem);
}

/* The `kind` of the query; replies if it is none. */
static bool kind_of(struct http_request *req, enum folders_kind *kind)
{
    const char *text = http_query(req, "kind");
    for (int k = FOLDERS_LORA; text && k < FOLDERS_KINDS; k++)
        if (strcmp(pictor_kind_name((enum pictor_kind)k), text) == 0) {
            *kind = (enum folders_kind)k;
            return true;
        }
    reply_wrong(req, "kind",
                "kind must be lora, vae, upscaler, embedding, controlnet, text-encoder or "
                "wildcard");
    return false;
}

/* On failure it has replied. */
static bool number_of(struct http_request *req, const char *name, int64_t most, int64_t fallback,
                      int64_t *out)
{
    struct err err;
    bool good = http_query_number(req, name, 0, most, fallback, out, &err);
    if (!good)
        reply_wrong(req, name, err.msg);
    return good;
}

static void add_text(cJSON *json, const char *name, const char *text)
{
    cJSON_AddItemToObject(json, name, *text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

/* What its file is: "pickle" can carry programs, though pictor runs none. */
static const char *format_of(const struct registry_model *m)
{
    if (m->kind == REGISTRY_UPSTREAM)
        return "";
    if (strcmp(m->name, REGISTRY_BUILTIN) == 0)
        return "built in";
    if (!*m->ending)
        return "folder";
    return strcasecmp(m->ending, ".safetensors") == 0 ? "safetensors"
           : strcasecmp(m->ending, ".gguf") == 0 ? "gguf" : "pickle";
}

void native_files_describe(cJSON *json, const struct registry *registry,
                           const struct registry_model *m)
{
    struct sidecar *s = calloc(1, sizeof *s);
    if (!s)
        return;
    if (m->path)
        sidecars_get(registry_sidecars(registry), m->path, s);
    add_text(json, "trigger", *s->trigger ? s->trigger : m->trigger);
    add_text(json, "description", s->description);
    add_text(json, "base", s->base);
    cJSON_AddItemToObject(json, "weight",
                          s->weight != 0 ? cJSON_CreateNumber(s->weight) : cJSON_CreateNull());
    cJSON_AddBoolToObject(json, "preview", *s->preview != '\0');
    add_text(json, "format", format_of(m));
    free(s);
}

static cJSON *file_json(const struct registry *registry, const struct registry_entry *e)
{
    const struct registry_model *m = &e->model;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", m->name);
    add_text(json, "alias", m->alias);
    add_text(json, "title", m->title);
    add_text(json, "family", m->architecture);
    cJSON_AddNumberToObject(json, "bytes", (double)m->size);
    cJSON_AddNumberToObject(json, "mtime_ms", (double)m->mtime_ms);
    native_files_describe(json, registry, m);
    if (m->embedding.vectors > 0) {
        cJSON_AddNumberToObject(json, "vectors", m->embedding.vectors);
        cJSON_AddNumberToObject(json, "shape", m->embedding.widths[0] + m->embedding.widths[1]);
    }
    add_text(json, "problem", m->fault ? m->problem : "");
    return json;
}

/* Files of lines that prompts choose from, __NAME__: they have names and nothing more. */
static void list_wildcards(struct http_request *req, int64_t limit, int64_t offset)
{
    struct err err;
    bool any;
    struct wildcards *w = wildcards_new(http_app(req)->settings->wildcards, &err);
    if (!w || !wildcards_any(w, &any, &err)) {
        wildcards_free(w);
        http_reply_error(req, &err, NULL);
        return;
    }
    const char *q = http_query(req, "q");
    int64_t at = 0;
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "files");
    for (size_t i = 0; i < wildcards_count(w); i++) {
        if (q && *q && !strcasestr(wildcards_name(w, i), q))
            continue;
        if (at >= offset && at < offset + limit) {
            cJSON *file = cJSON_CreateObject();
            cJSON_AddStringToObject(file, "name", wildcards_name(w, i));
            cJSON_AddItemToArray(list, file);
        }
        at++;
    }
    cJSON_AddNumberToObject(json, "count", (double)at);
    wildcards_free(w);
    http_reply_json(req, 200, json);
}

void native_files_list(struct http_request *req)
{
    enum folders_kind kind;
    const char *wanted = http_query(req, "kind");
    bool wild = wanted && strcmp(wanted, "wildcard") == 0;
    struct registry_table table;
    struct err err;
    int64_t limit, offset, at = 0;
    if ((!wild && !kind_of(req, &kind)) || !number_of(req, "limit", LIMIT_MAX, LIMIT, &limit) ||
        !number_of(req, "offset", REGISTRY_SCAN_MODELS, 0, &offset))
        return;
    if (wild) {
        list_wildcards(req, limit, offset);
        return;
    }
    if (!files_list(registry_files(http_app(req)->registry, kind), &table, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    const char *q = http_query(req, "q");
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "files");
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_entry *e = &table.entries[i];
        if (e->same != i || (q && *q && !strcasestr(e->model.name, q)))
            continue;
        if (at >= offset && at < offset + limit)
            cJSON_AddItemToArray(list, file_json(http_app(req)->registry, e));
        at++;
    }
    cJSON_AddNumberToObject(json, "count", (double)at);
    registry_scan_free(&table);
    http_reply_json(req, 200, json);
}

static const char *mime_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    return strcasecmp(dot, ".png") == 0 ? "image/png"
           : strcasecmp(dot, ".webp") == 0 ? "image/webp" : "image/jpeg";
}

static bool is_of_models(struct http_request *req)
{
    const char *kind = http_query(req, "kind");
    return kind && strcmp(kind, "model") == 0;
}

static bool find_file(struct http_request *req, enum folders_kind kind, char path[PATH_MAX],
                      struct err *err)
{
    const char *name = http_query(req, "name");
    struct files *files = registry_files(http_app(req)->registry, kind);
    return files_find(files, name ? name : "", path, err);
}

static bool find_model(struct http_request *req, char path[PATH_MAX], struct err *err)
{
    const char *name = http_query(req, "name");
    struct registry_model m = {.path = NULL};
    if (!name || !*name)
        return err_set(err, ERR_NOT_FOUND, "there is no such model");
    /* Also of one that cannot be painted with. */
    if (!registry_resolve(http_app(req)->registry, name, &m, err) && !m.path)
        return false;
    snprintf(path, PATH_MAX, "%s", m.path ? m.path : "");
    return m.path || err_set(err, ERR_NOT_FOUND, "there is no preview beside it");
}

void native_files_preview(struct http_request *req)
{
    enum folders_kind kind;
    char path[PATH_MAX];
    struct stat st;
    struct sidecar s;
    struct err err;
    if (!is_of_models(req) && !kind_of(req, &kind))
        return;
    bool ok = is_of_models(req) ? find_model(req, path, &err) : find_file(req, kind, path, &err);
    if (ok) {
        s = (struct sidecar){0};
        sidecars_get(registry_sidecars(http_app(req)->registry), path, &s);
        ok = *s.preview || err_set(&err, ERR_NOT_FOUND, "there is no preview beside it");
    }
    int fd = ok ? open(s.preview, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (ok && (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > PREVIEW_MOST))
        ok = err_at(&err, s.preview, ERR_IO, "the preview cannot be read");
    if (ok) {
        char etag[80]; /* it may be exchanged */
        snprintf(etag, sizeof etag, "\"%jx-%jx-%jx\"", (uintmax_t)st.st_ino,
                 (uintmax_t)st.st_size,
                 (uintmax_t)st.st_mtim.tv_sec * 1000000000 + (uintmax_t)st.st_mtim.tv_nsec);
        http_reply_header(req, "ETag", etag);
        http_reply_file(req, 200, mime_of(s.preview), fd, (uint64_t)st.st_size);
        return;
    }
    if (fd >= 0)
        close(fd);
    http_reply_error(req, &err, NULL);
}

/* native_tokens.c: the engine counts, as it will read the prompts; of a prompt that is too long,
 * the longest beginning that is not says which words would be cut. */
#include "server/api/native/native_tokens.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/native/native_job.h"
#include "server/base/json_fields.h"
#include "server/http/http.h"
#include "server/job/embeddings.h"
#include "server/job/folders.h"
#include "server/job/intake.h"
#include "server/job/styles.h"

struct request {
    struct job_params p;
    cJSON *styles;
    bool prompt_comments;
};

static const struct json_field own_fields[] = {
    {"styles", .type = JSON_FIELD_RAW, .offset = offsetof(struct request, styles)},
    {"prompt_comments", .type = JSON_FIELD_BOOL,
     .offset = offsetof(struct request, prompt_comments)},
};
#define OWN_COUNT (sizeof own_fields / sizeof *own_fields)

struct counting {
    struct registry *registry;
    struct files *embeddings;
    struct job_params p;
    struct intake_model model;
    cJSON *reply; /* NULL: `err` */
    const char *param;
    struct err err;
};

static size_t rows_of(struct json_field rows[JOB_TABLE_MAX + OWN_COUNT])
{
    size_t count = job_field_rows(&job_table, rows);
    memcpy(rows + count, own_fields, sizeof own_fields);
    return count + OWN_COUNT;
}

/* Of what a job is asked for with, that which is read here. */
struct cJSON *native_tokens_schema(const struct settings *settings)
{
    struct json_field rows[JOB_TABLE_MAX + OWN_COUNT];
    size_t count = rows_of(rows);
    cJSON *schema = native_job_schema(settings);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (cJSON *property = properties ? properties->child : NULL, *next; property;
         property = next) {
        size_t i = 0;
        next = property->next;
        while (i < count && strcmp(rows[i].name, property->string) != 0)
            i++;
        if (i == count)
            cJSON_Delete(cJSON_DetachItemViaPointer(properties, property));
    }
    cJSON_ReplaceItemInObjectCaseSensitive(schema, "title", cJSON_CreateString("Prompts"));
    return schema;
}

/* ---- counting ---- */

static bool measure(const struct counting *c, bool negative, const char *text,
                    struct pictor_prompt_size *size, struct err *err)
{
    struct job_params p = c->p; /* borrows */
    if (negative)
        p.negative_prompt = (char *)text;
    else
        p.prompt = (char *)text;
    return c->model.text_widths[0] > 0
               ? embeddings_measure(c->embeddings, c->model.text_widths, &p, negative, size, err)
               : intake_tokens(c->registry, &c->model, &p, negative, size, err);
}

/* How many bytes of the text are its longest beginning of whole words that can be read. */
static size_t fitting(const struct counting *c, bool negative, const char *text)
{
    size_t low = 0, high = strlen(text);
    char *part = malloc(high + 1);
    struct pictor_prompt_size size;
    struct err err;
    while (part && low < high) {
        size_t middle = low + (high - low + 1) / 2, end = middle;
        while (end > low && text[end] != ' ' && text[end] != ',' && text[end] != '\n')
            end--;
        if (end == low) { /* no word ends between */
            high = middle - 1;
            continue;
        }
        memcpy(part, text, end);
        part[end] = '\0';
        if (measure(c, negative, part, &size, &err))
            low = end;
        else
            high = end - 1;
    }
    free(part);
    return low;
}

static bool add_size(struct counting *c, const char *name, bool negative)
{
    const char *text = negative ? c->p.negative_prompt : c->p.prompt;
    struct pictor_prompt_size size;
    text = text ? text : "";
    if (!measure(c, negative, text, &size, &c->err) && c->err.code != ERR_TOO_LARGE) {
        c->param = name;
        return false;
    }
    bool cut = c->err.code == ERR_TOO_LARGE;
    cJSON *json = cJSON_AddObjectToObject(c->reply, name);
    if (cut) {
        size_t bytes = fitting(c, negative, text);
        char *part = strndup(text, bytes);
        struct err err;
        if (part)
            measure(c, negative, part, &size, &err);
        free(part);
        cJSON_AddStringToObject(json, "cut", text + bytes);
    } else {
        cJSON_AddNullToObject(json, "cut");
    }
    cJSON_AddNumberToObject(json, "tokens", (double)size.tokens);
    cJSON_AddNumberToObject(json, "chunks", (double)size.chunks);
    cJSON_AddNumberToObject(json, "texts", (double)size.texts);
    cJSON_AddNumberToObject(json, "chunk_tokens", (double)size.chunk_tokens);
    cJSON_AddNumberToObject(json, "most", (double)size.tokens_most);
    c->err.code = ERR_NONE;
    return true;
}

/* Whether nobody here knows the model's tokens, and why. */
static bool unknown(const struct counting *c, char *reason, size_t size)
{
    struct pictor_prompt_size ignored;
    struct err err;
    struct job_params none = c->p; /* borrows */
    none.prompt = none.negative_prompt = (char *)"";
    if (c->model.upstream)
        snprintf(reason, size, "the model is another server's, which counts by itself");
    else if (c->model.text_widths[0] <= 0 && !*c->model.architecture)
        snprintf(reason, size, "the model cannot be read");
    else if (c->model.text_widths[0] <= 0 &&
             !intake_tokens(c->registry, &c->model, &none, false, &ignored, &err))
        snprintf(reason, size, "a model of the kind %s reads tokens that are not counted here",
                 c->model.architecture);
    return *reason;
}

static bool count_work(void *ctx, const atomic_bool *gone)
{
    struct counting *c = ctx;
    (void)gone;
    c->err.code = ERR_NONE;
    c->reply = cJSON_CreateObject();
    cJSON_AddStringToObject(c->reply, "model", c->model.name);
    char reason[160] = "";
    if (unknown(c, reason, sizeof reason)) {
        cJSON_AddNullToObject(c->reply, "prompt");
        cJSON_AddNullToObject(c->reply, "negative_prompt");
    } else if (!add_size(c, "prompt", false) || !add_size(c, "negative_prompt", true)) {
        cJSON_Delete(c->reply);
        c->reply = NULL;
    }
    if (c->reply)
        cJSON_AddItemToObject(c->reply, "reason",
                              *reason ? cJSON_CreateString(reason) : cJSON_CreateNull());
    return false;
}

static void count_reply(struct http_request *req, void *ctx)
{
    struct counting *c = ctx;
    if (c->reply)
        http_reply_json(req, 200, c->reply);
    else
        http_reply_error(req, &c->err, c->param);
    c->reply = NULL;
}

static void count_free(void *ctx)
{
    struct counting *c = ctx;
    job_params_free(&c->p);
    cJSON_Delete(c->reply);
    free(c);
}

/* ---- the request ---- */

static bool read_request(const struct app *app, cJSON *body, struct counting *c, char param[64],
                         struct err *err)
{
    struct json_field rows[JOB_TABLE_MAX + OWN_COUNT];
    struct json_problem problem;
    struct request r = {0};
    size_t count = rows_of(rows);
    job_params_init(&r.p);
    job_params_init(&c->p);
    param[0] = '\0';
    if (!json_fields_parse(rows, count, body, JSON_FIELDS_STRICT, &r, &problem)) {
        snprintf(param, 64, "%s", problem.name);
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    if (!job_field_own(&job_table, &r.p, body, err))
        return false;
    c->p = r.p;
    if (!intake_model(app->registry, c->p.model, &c->model, err)) {
        snprintf(param, 64, "model");
        return false;
    }
    if (!styles_prompts(app->settings, r.styles, r.prompt_comments, &c->p, err)) {
        snprintf(param, 64, "styles");
        return false;
    }
    c->registry = app->registry;
    c->embeddings = registry_files(app->registry, FOLDERS_EMBEDDING);
    return intake_fill(&c->model, app->settings, &c->p, err);
}

void native_tokens_count(struct http_request *req)
{
    char param[64] = "";
    struct err err;
    struct counting *c = calloc(1, sizeof *c);
    cJSON *body = http_json(req, &err);
    if (!c)
        err_set(&err, ERR_INTERNAL, "no memory for a count");
    bool ok = c && body && read_request(http_app(req), body, c, param, &err);
    cJSON_Delete(body);
    if (ok) {
        http_work(req, count_work, count_reply, c, count_free);
        return;
    }
    http_reply_error(req, &err, param);
    if (c)
        count_free(c);
}

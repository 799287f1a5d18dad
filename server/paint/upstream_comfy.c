#include "server/paint/upstream_comfy.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/base/small_file.h"
#include "server/job/job.h"

#define WORKFLOW_BYTES ((size_t)4 << 20)
#define DEPTH 32
#define NODES_MOST 5000
#define NAME_MOST 32 /* of a placeholder */
#define PLACE_MOST 256
#define STEPS_MOST 10000

/* What ComfyUI calls them. */
static const struct {
    const char *ours, *theirs;
} words[] = {
    {"Euler", "euler"},
    {"Euler a", "euler_ancestral"},
    {"Heun", "heun"},
    {"DPM2", "dpm_2"},
    {"DPM2 a", "dpm_2_ancestral"},
    {"LMS", "lms"},
    {"DPM fast", "dpm_fast"},
    {"DPM adaptive", "dpm_adaptive"},
    {"DPM++ 2S a", "dpmpp_2s_ancestral"},
    {"DPM++ SDE", "dpmpp_sde"},
    {"DPM++ 2M", "dpmpp_2m"},
    {"DPM++ 2M SDE", "dpmpp_2m_sde"},
    {"DPM++ 3M SDE", "dpmpp_3m_sde"},
    {"DDIM", "ddim"},
    {"UniPC", "uni_pc"},
    {"LCM", "lcm"},
    {"automatic", "normal"},
    {"uniform", "normal"},
    {"ddim", "ddim_uniform"},
};

static const char *theirs(const char *ours)
{
    for (size_t i = 0; ours && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].ours, ours) == 0)
            return words[i].theirs;
    return ours;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* ---- placeholders ---- */

/* A placeholder that begins at `text`, "%name%" or "%name:value%"; its length, or 0. */
static size_t placeholder(const char *text, char name[NAME_MOST], char value[PLACE_MOST])
{
    size_t n = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_"), k = 0;
    if (*text != '%' || n == 0 || n >= NAME_MOST)
        return 0;
    memcpy(name, text + 1, n);
    name[n] = value[0] = '\0';
    const char *end = text + 1 + n;
    if (*end == ':') {
        k = strcspn(++end, "%");
        if (k >= PLACE_MOST)
            return 0;
        memcpy(value, end, k);
        value[k] = '\0';
        end += k;
    }
    return *end == '%' ? (size_t)(end - text) + 1 : 0;
}

static bool text_wants(const char *text, const char *wanted)
{
    char name[NAME_MOST], value[PLACE_MOST];
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 1, '%'))
        if (placeholder(at, name, value) && strcmp(name, wanted) == 0)
            return true;
    return false;
}

bool upstream_comfy_wants(const struct cJSON *json, const char *name)
{
    const cJSON *item;
    if (cJSON_IsString(json))
        return text_wants(json->valuestring, name);
    cJSON_ArrayForEach(item, json)
        if (upstream_comfy_wants(item, name))
            return true;
    return false;
}

/* ---- the file ---- */

struct cJSON *upstream_comfy_read(const char *path, struct err *err)
{
    const cJSON *node;
    size_t size;
    int nodes = 0;
    char *text = small_file_read(path, WORKFLOW_BYTES, &size, err);
    if (!text)
        return NULL;
    cJSON *json = json_text_parse(text, size, DEPTH, err);
    free(text);
    if (!json) {
        err_prefix(err, "a workflow");
        return NULL;
    }
    err->code = ERR_NONE;
    if (cJSON_IsArray(member(json, "nodes")))
        err_set(err, ERR_INVALID,
                "a workflow is to be saved for the API (Export (API)), got one of the page");
    else if (!cJSON_IsObject(json) || !json->child)
        err_set(err, ERR_INVALID, "a workflow wants an object of nodes");
    if (err->code == ERR_NONE)
        cJSON_ArrayForEach(node, json)
            if (++nodes > NODES_MOST || !cJSON_IsString(member(node, "class_type")) ||
                !cJSON_IsObject(member(node, "inputs"))) {
                err_set(err, ERR_INVALID,
                        "a workflow wants nodes with class_type and inputs, and at most %d: "
                        "\"%.40s\" is none",
                        NODES_MOST, node->string);
                break;
            }
    if (err->code == ERR_NONE && !upstream_comfy_wants(json, "prompt"))
        err_set(err, ERR_INVALID, "a workflow wants \"%%prompt%%\" where the prompt belongs");
    if (err->code == ERR_NONE)
        return json;
    cJSON_Delete(json);
    return NULL;
}

bool upstream_comfy_fits(const struct cJSON *workflow, const struct job_params *p, const char *name,
                         struct err *err)
{
    bool init = upstream_comfy_wants(workflow, "init_image");
    bool mask = upstream_comfy_wants(workflow, "mask");
    if (p->has_init && !init)
        return err_set(err, ERR_UPSTREAM, "the workflow of %s takes no picture to begin from",
                       name);
    if (p->has_mask && !mask)
        return err_set(err, ERR_UPSTREAM, "the workflow of %s takes no mask", name);
    if ((init && !p->has_init) || (mask && !p->has_mask))
        return err_set(err, ERR_UPSTREAM, "the workflow of %s wants %s", name,
                       init && !p->has_init ? "a picture to begin from" : "a mask");
    if (p->more_images > 0)
        return err_set(err, ERR_UPSTREAM, "the workflow of %s takes one picture, and %d were given",
                       name, p->more_images + 1);
    return true;
}

/* ---- filling it in ---- */

struct values {
    const struct job_params *p;
    int index;
    const char *model, *init, *mask;
};

static cJSON *whole_or(int value, const char *given, int usual)
{
    if (value == JOB_UNSET)
        value = *given ? atoi(given) : usual;
    return cJSON_CreateNumber(value);
}

static cJSON *real_or(double value, const char *given, double usual)
{
    if (isnan(value))
        value = *given ? strtod(given, NULL) : usual;
    return cJSON_CreateNumber(value);
}

static cJSON *text_or(const char *text, const char *given, const char *usual)
{
    return cJSON_CreateString(text && *text ? text : *given ? given : usual);
}

/* NULL: there is no such value. */
static cJSON *value_of(const struct values *v, const char *name, const char *given)
{
    const struct job_params *p = v->p;
    if (strcmp(name, "prompt") == 0)
        return text_or(p->prompt, given, "");
    if (strcmp(name, "negative_prompt") == 0)
        return text_or(p->negative_prompt, given, "");
    if (strcmp(name, "model") == 0)
        return cJSON_CreateString(v->model);
    if (strcmp(name, "seed") == 0)
        return json_number_item(job_seed(p, v->index));
    if (strcmp(name, "width") == 0)
        return cJSON_CreateNumber(p->width);
    if (strcmp(name, "height") == 0)
        return cJSON_CreateNumber(p->height);
    if (strcmp(name, "steps") == 0)
        return whole_or(p->steps, given, 20);
    if (strcmp(name, "cfg") == 0 || strcmp(name, "scale") == 0)
        return real_or(p->guidance, given, 7);
    if (strcmp(name, "denoise") == 0)
        return real_or(p->has_init ? p->strength : NAN, given, p->has_init ? 0.75 : 1);
    if (strcmp(name, "sampler") == 0)
        return text_or(theirs(p->sampler), given, "euler");
    if (strcmp(name, "scheduler") == 0)
        return text_or(theirs(p->scheduler), given, "normal");
    if (strcmp(name, "clip_skip") == 0)
        return cJSON_CreateNumber(-p->clip_skip);
    if (strcmp(name, "init_image") == 0)
        return cJSON_CreateString(v->init);
    if (strcmp(name, "mask") == 0)
        return cJSON_CreateString(v->mask);
    return NULL;
}

static void append_value(FILE *out, cJSON *value)
{
    char *text = cJSON_IsString(value) ? NULL : json_text_print(value);
    fputs(cJSON_IsString(value) ? value->valuestring : text ? text : "", out);
    free(text);
}

/* What a text becomes; NULL: it stays, or there is no memory (*ok false). */
static cJSON *filled(const struct values *v, const char *text, bool *ok)
{
    char name[NAME_MOST], given[PLACE_MOST], *full = NULL;
    size_t size, whole = placeholder(text, name, given);
    if (whole && !text[whole])
        return value_of(v, name, given);
    FILE *out = strchr(text, '%') ? open_memstream(&full, &size) : NULL;
    bool changed = false;
    for (const char *at = text; out && *at;) {
        size_t n = *at == '%' ? placeholder(at, name, given) : 0;
        cJSON *value = n ? value_of(v, name, given) : NULL;
        if (value) {
            append_value(out, value);
            changed = true;
            at += n;
        } else {
            fputc(*at++, out);
        }
        cJSON_Delete(value);
    }
    bool written = !out || fclose(out) == 0;
    cJSON *item = changed && written ? cJSON_CreateString(full) : NULL;
    *ok = *ok && written && (!changed || item);
    free(full);
    return item;
}

static bool fill(const struct values *v, cJSON *json)
{
    bool ok = true;
    for (cJSON *item = json ? json->child : NULL, *next; ok && item; item = next) {
        next = item->next;
        cJSON *value = cJSON_IsString(item) ? filled(v, item->valuestring, &ok) : NULL;
        if (!value)
            ok = ok && fill(v, item);
        else if (item->string)
            ok = cJSON_ReplaceItemInObjectCaseSensitive(json, item->string, value);
        else
            ok = cJSON_ReplaceItemViaPointer(json, item, value);
    }
    return ok;
}

char *upstream_comfy_order(const struct cJSON *workflow, const struct job_params *p, int index,
                           const char *model, const char *init, const char *mask,
                           const char *client)
{
    struct values v = {p, index, model, init, mask};
    cJSON *body = cJSON_CreateObject(), *prompt = cJSON_Duplicate(workflow, true), *node;
    bool ok = body && prompt && cJSON_AddItemToObject(body, "prompt", prompt);
    if (!ok)
        cJSON_Delete(prompt);
    if (ok)
        cJSON_ArrayForEach(node, prompt)
            ok = ok && fill(&v, cJSON_GetObjectItemCaseSensitive(node, "inputs"));
    ok = ok && cJSON_AddStringToObject(body, "client_id", client);
    char *text = ok ? json_text_print(body) : NULL;
    cJSON_Delete(body);
    return text;
}

/* ---- answers ---- */

bool upstream_comfy_name(const struct cJSON *answer, char name[UPSTREAM_COMFY_NAME])
{
    const char *file = cJSON_GetStringValue(member(answer, "name"));
    const char *folder = cJSON_GetStringValue(member(answer, "subfolder"));
    if (!file || !*file)
        return false;
    int n = folder && *folder ? snprintf(name, UPSTREAM_COMFY_NAME, "%s/%s", folder, file)
                              : snprintf(name, UPSTREAM_COMFY_NAME, "%s", file);
    return n < UPSTREAM_COMFY_NAME;
}

/* The first picture of a kind that the nodes have made. */
static const cJSON *find_image(const cJSON *outputs, const char *kind)
{
    const cJSON *node, *image;
    cJSON_ArrayForEach(node, outputs)
        cJSON_ArrayForEach(image, member(node, "images")) {
            const char *type = cJSON_GetStringValue(member(image, "type"));
            if (cJSON_IsString(member(image, "filename")) && type && strcmp(type, kind) == 0)
                return image;
        }
    return NULL;
}

static void add_query(FILE *out, const char *name, const cJSON *value)
{
    fputs(name, out);
    for (const char *p = cJSON_IsString(value) ? value->valuestring : ""; *p; p++)
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            fputc(*p, out);
        else
            fprintf(out, "%%%02X", (unsigned)(unsigned char)*p);
}

static cJSON *answer_with(const char *base_url, const cJSON *image)
{
    char *url = NULL;
    size_t size;
    FILE *out = open_memstream(&url, &size);
    if (!out)
        return NULL;
    fputs(base_url, out);
    add_query(out, "/view?filename=", member(image, "filename"));
    add_query(out, "&subfolder=", member(image, "subfolder"));
    add_query(out, "&type=", member(image, "type"));
    cJSON *answer = cJSON_CreateObject(), *item = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(answer, "data"), item);
    bool ok = fclose(out) == 0 && cJSON_AddStringToObject(item, "url", url);
    free(url);
    if (ok)
        return answer;
    cJSON_Delete(answer);
    return NULL;
}

/* What an execution_error says: [["execution_error", {"exception_message"}]]. */
static const char *trouble_of(const cJSON *status)
{
    const cJSON *message;
    cJSON_ArrayForEach(message, member(status, "messages")) {
        const char *text = cJSON_GetStringValue(
            member(cJSON_GetArrayItem(message, 1), "exception_message"));
        if (text)
            return text;
    }
    return NULL;
}

bool upstream_comfy_over(const struct cJSON *history, const char *id, const char *base_url,
                         struct cJSON **answer, struct err *err)
{
    const cJSON *run = member(history, id), *status = member(run, "status");
    const char *word = cJSON_GetStringValue(member(status, "status_str"));
    const cJSON *outputs = member(run, "outputs");
    *answer = NULL;
    if (!run)
        return false;
    if (word && strcmp(word, "error") == 0) {
        const char *text = trouble_of(status);
        err_set(err, ERR_UPSTREAM, "its workflow failed%s%.150s", text ? ": " : "",
                text ? text : "");
        return true;
    }
    const cJSON *image = find_image(outputs, "output");
    if (!image)
        image = find_image(outputs, "temp");
    if (image) {
        if (!(*answer = answer_with(base_url, image)))
            err_set(err, ERR_INTERNAL, "no memory for an answer");
        return true;
    }
    if (status && !cJSON_IsTrue(member(status, "completed")))
        return false;
    err_set(err, ERR_UPSTREAM, "its workflow has made no picture");
    return true;
}

/* ---- how far it is ---- */

/* Whether [number, "ID", ...] is an entry of the queue for the run. */
static bool is_of(const cJSON *entry, const char *id)
{
    const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(entry, 1));
    return text && strcmp(text, id) == 0;
}

enum upstream_comfy_place upstream_comfy_queued(const struct cJSON *queue, const char *id,
                                                int *ahead)
{
    const cJSON *running = member(queue, "queue_running");
    const cJSON *pending = member(queue, "queue_pending");
    const cJSON *entry, *own = NULL;
    *ahead = cJSON_GetArraySize(running);
    cJSON_ArrayForEach(entry, running)
        if (is_of(entry, id))
            return UPSTREAM_COMFY_RUNS;
    cJSON_ArrayForEach(entry, pending)
        if (is_of(entry, id))
            own = entry;
    if (!own)
        return UPSTREAM_COMFY_NOWHERE;
    /* The list is a heap: in the order of its numbers, not of its places. */
    cJSON_ArrayForEach(entry, pending) {
        const cJSON *number = cJSON_GetArrayItem(entry, 0), *ours = cJSON_GetArrayItem(own, 0);
        if (cJSON_IsNumber(number) && cJSON_IsNumber(ours) &&
            number->valuedouble < ours->valuedouble)
            ++*ahead;
    }
    return UPSTREAM_COMFY_WAITS;
}

static bool take_steps(const cJSON *of, int *step, int *steps)
{
    double value = json_number_in(of, "value", -1), most = json_number_in(of, "max", 0);
    if (!(most > 1 && most <= STEPS_MOST && value >= 0 && value <= most))
        return false; /* a node of one step says nothing of the picture */
    *step = (int)value;
    *steps = (int)most;
    return true;
}

enum upstream_comfy_news upstream_comfy_heard(const struct cJSON *message, const char *id,
                                              int *step, int *steps)
{
    const char *type = cJSON_GetStringValue(member(message, "type"));
    const cJSON *data = member(message, "data"), *node;
    const char *run = cJSON_GetStringValue(member(data, "prompt_id"));
    if (!type || (*id && run && strcmp(run, id) != 0))
        return UPSTREAM_COMFY_NOTHING;
    if (strcmp(type, "progress") == 0)
        return take_steps(data, step, steps) ? UPSTREAM_COMFY_STEP : UPSTREAM_COMFY_NOTHING;
    if (strcmp(type, "progress_state") == 0) {
        cJSON_ArrayForEach(node, member(data, "nodes")) {
            const char *state = cJSON_GetStringValue(member(node, "state"));
            if (state && strcmp(state, "running") == 0 && take_steps(node, step, steps))
                return UPSTREAM_COMFY_STEP;
        }
        return UPSTREAM_COMFY_NOTHING;
    }
    if (strcmp(type, "execution_start") == 0)
        return UPSTREAM_COMFY_BEGUN;
    bool last = strcmp(type, "executing") == 0 && run && cJSON_IsNull(member(data, "node"));
    return last || strcmp(type, "execution_success") == 0 ||
                   strcmp(type, "execution_error") == 0 ||
                   strcmp(type, "execution_interrupted") == 0
               ? UPSTREAM_COMFY_OVER
               : UPSTREAM_COMFY_NOTHING;
}

static uint32_t big_endian(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Type 1: the kind of picture, and it. Type 4: how long what it says is, that, and the picture. */
const char *upstream_comfy_preview(const char *message, size_t size, size_t *file_size)
{
    if (size < 8)
        return NULL;
    uint32_t type = big_endian(message), second = big_endian(message + 4);
    size_t skip = type == 1 ? 8 : type == 4 && second <= size - 8 ? 8 + (size_t)second : size;
    *file_size = size - skip;
    return *file_size > 0 ? message + skip : NULL;
}

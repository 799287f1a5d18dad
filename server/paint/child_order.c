/* child_order.c: the message "generate" (server/worker/worker.h) and what goes along with it. */
#include "server/paint/child_order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/job/companions.h"
#include "server/job/controls.h"
#include "server/job/embeddings.h"
#include "server/job/job.h"
#include "server/job/loras.h"
#include "server/job/registry.h"
#include "server/job/relay.h"
#include "server/job/tiny.h"
#include "server/job/upscalers.h"
#include "server/job/vaes.h"
#include "server/paint/child.h"

static_assert((1 + COMPANIONS) * PICTOR_FILES_MAX + PICTOR_LORAS_MAX + PICTOR_EMBEDDINGS_MAX + 2 +
                      PICTOR_CONTROLS_MAX <=
                  WIRE_FDS_MAX,
              "all of them go along");

void child_order_files(struct child_order *o, const struct pictor_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        o->fds[o->fd_count++] = files->items[i].fd;
}

/* In the order that worker.h says. */
static void add_all(struct child_order *o, const struct child_request *r)
{
    child_order_files(o, r->files);
    for (size_t i = 0; i < r->loras->count; i++)
        o->fds[o->fd_count++] = r->loras->at[i].fd;
    for (size_t i = 0; i < r->embeddings->count; i++)
        o->fds[o->fd_count++] = r->embeddings->at[i].fd;
    if (*r->upscaler->name)
        o->fds[o->fd_count++] = r->upscaler->fd;
    for (size_t i = 0; i < COMPANIONS; i++)
        child_order_files(o, &r->others[i].files);
    if (*r->tiny->name)
        o->fds[o->fd_count++] = r->tiny->fd;
    for (size_t i = 0; i < r->controls->count; i++)
        o->fds[o->fd_count++] = r->controls->at[i].fd;
}

void child_order_model(cJSON *json, const char *role, const struct registry_model *m,
                       const struct pictor_files *files, const struct vaes_version *vae)
{
    cJSON *model = cJSON_AddObjectToObject(json, role);
    cJSON_AddStringToObject(model, "name", m->name);
    cJSON_AddNumberToObject(model, "size", (double)m->size);
    cJSON_AddNumberToObject(model, "mtime_ms", (double)m->mtime_ms);
    if (vae) {
        wire_add_text(model, "vae", vae->name);
        cJSON_AddNumberToObject(model, "vae_size", (double)vae->size);
        cJSON_AddNumberToObject(model, "vae_mtime_ms", (double)vae->mtime_ms);
    }
    cJSON_AddNumberToObject(model, "variant", files->variant);
    cJSON *names = cJSON_AddArrayToObject(model, "files");
    for (size_t i = 0; i < files->count; i++)
        cJSON_AddItemToArray(names, cJSON_CreateString(files->items[i].name));
}

static void add_loras(cJSON *json, const struct loras *loras)
{
    cJSON *list = cJSON_AddArrayToObject(json, "loras");
    for (size_t i = 0; i < loras->count; i++) {
        const struct lora_file *l = &loras->at[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", l->tag.name);
        cJSON_AddNumberToObject(item, "unet", l->tag.unet);
        cJSON_AddNumberToObject(item, "text", l->tag.text);
        cJSON_AddNumberToObject(item, "size", (double)l->size);
        cJSON_AddNumberToObject(item, "mtime_ms", (double)l->mtime_ms);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_embeddings(cJSON *json, const struct embeddings *embeddings)
{
    cJSON *list = cJSON_AddArrayToObject(json, "embeddings");
    for (size_t i = 0; i < embeddings->count; i++) {
        const struct embedding_file *e = &embeddings->at[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", e->name);
        cJSON_AddNumberToObject(item, "size", (double)e->size);
        cJSON_AddNumberToObject(item, "mtime_ms", (double)e->mtime_ms);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_upscaler(cJSON *json, const struct upscaler_file *file)
{
    cJSON *item = cJSON_AddObjectToObject(json, "upscaler");
    cJSON_AddStringToObject(item, "name", file->name);
    cJSON_AddNumberToObject(item, "size", (double)file->size);
    cJSON_AddNumberToObject(item, "mtime_ms", (double)file->mtime_ms);
}

static void add_tiny(cJSON *json, const struct tiny_file *file)
{
    cJSON *item = cJSON_AddObjectToObject(json, "tiny");
    cJSON_AddStringToObject(item, "name", file->name);
    cJSON_AddNumberToObject(item, "size", (double)file->size);
    cJSON_AddNumberToObject(item, "mtime_ms", (double)file->mtime_ms);
}

static void add_controls(cJSON *json, const struct child_request *r)
{
    cJSON *list = cJSON_AddArrayToObject(json, "controls");
    for (size_t i = 0; i < r->controls->count; i++) {
        const struct files_open *f = &r->controls->at[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "size", (double)f->size);
        cJSON_AddNumberToObject(item, "mtime_ms", (double)f->mtime_ms);
        cJSON_AddItemToArray(list, item);
    }
    cJSON *sizes = cJSON_AddArrayToObject(json, "leading");
    for (size_t i = 0; i < CONTROLS_INPUTS && r->controls->count; i++)
        cJSON_AddItemToArray(sizes, cJSON_CreateNumber((double)r->leading_size[i]));
}

static void add_shown(cJSON *json, const struct child_request *r)
{
    cJSON *sizes = cJSON_AddArrayToObject(json, "shown");
    for (size_t i = 0; i < RELAY_IMAGES_MAX && r->shown_size[i]; i++)
        cJSON_AddItemToArray(sizes, cJSON_CreateNumber((double)r->shown_size[i]));
}

/* The inputs, one after the other. */
static bool add_inputs(struct child_order *o, const struct child_request *r, struct err *err)
{
    size_t size = r->init_size + r->mask_size, used = size;
    for (size_t i = 0; i < CONTROLS_INPUTS && r->controls->count; i++)
        size += r->leading_size[i];
    for (size_t i = 0; i < RELAY_IMAGES_MAX && r->shown_size[i]; i++)
        size += r->shown_size[i];
    uint8_t *inputs = size ? malloc(size) : NULL;
    if (size && !inputs)
        return err_set(err, ERR_INTERNAL, "no memory for %zu bytes of inputs", size);
    if (r->init_size)
        memcpy(inputs, r->init, r->init_size);
    if (r->mask_size)
        memcpy(inputs + r->init_size, r->mask, r->mask_size);
    for (size_t i = 0; i < CONTROLS_INPUTS && r->controls->count; used += r->leading_size[i++])
        if (r->leading_size[i])
            memcpy(inputs + used, r->leading[i], r->leading_size[i]);
    for (size_t i = 0; i < RELAY_IMAGES_MAX && r->shown_size[i]; used += r->shown_size[i++])
        memcpy(inputs + used, r->shown[i], r->shown_size[i]);
    o->inputs = inputs;
    o->size = size;
    return true;
}

bool child_order_make(struct child_order *o, const struct child_request *r, struct err *err)
{
    *o = (struct child_order){.json = cJSON_CreateObject()};
    cJSON *json = o->json;
    cJSON_AddStringToObject(json, "type", "generate");
    cJSON_AddNumberToObject(json, "serial", (double)r->serial);
    cJSON_AddNumberToObject(json, "index", r->index);
    cJSON_AddNumberToObject(json, "init_size", (double)r->init_size);
    cJSON_AddNumberToObject(json, "mask_size", (double)r->mask_size);
    child_order_model(json, "model", r->model, r->files, r->vae);
    for (size_t i = 0; i < COMPANIONS; i++)
        if (*r->others[i].model.name)
            child_order_model(json, companions_field((enum companions_role)i),
                              &r->others[i].model, &r->others[i].files, &r->others[i].vae);
    cJSON_AddItemToObject(json, "params", job_params_to_json(r->params));
    add_loras(json, r->loras);
    add_embeddings(json, r->embeddings);
    if (*r->upscaler->name)
        add_upscaler(json, r->upscaler);
    if (*r->tiny->name)
        add_tiny(json, r->tiny);
    add_controls(json, r);
    add_shown(json, r);
    add_all(o, r);
    return (json || err_set(err, ERR_INTERNAL, "no memory for a message")) &&
           add_inputs(o, r, err);
}

void child_order_free(struct child_order *o)
{
    cJSON_Delete(o->json);
    free(o->inputs);
    *o = (struct child_order){0};
}

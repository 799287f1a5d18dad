/* child.c: fork, exec and the messages of the server's side. */
#include "server/paint/child.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/companions.h"
#include "server/job/controls.h"
#include "server/job/embeddings.h"
#include "server/job/loras.h"
#include "server/job/tiny.h"
#include "server/job/vaes.h"
#include "server/job/registry.h"
#include "server/job/relay.h"
#include "server/job/upscalers.h"
#include "server/worker/process.h"
#include "server/worker/sandbox.h"

#define SEND_MS 10000 /* a worker always reads; one that does not is stuck */
#define PIXELS_SIDE_MAX 65535
#define JSON_BYTES 65536 /* of what a worker says */

struct child {
    const struct settings *settings;
    struct process process;
};

struct child *child_new(const struct settings *settings, struct err *err)
{
    struct child *c = calloc(1, sizeof *c);
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for a worker");
        return NULL;
    }
    c->settings = settings;
    c->process = PROCESS_NONE;
    return c;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    child_kill(c, NULL);
    free(c);
}

int child_fd(const struct child *c)
{
    return c->process.fd;
}

int child_log_fd(const struct child *c)
{
    return c->process.log;
}

pid_t child_pid(const struct child *c)
{
    return c->process.pid;
}

size_t child_memory(pid_t pid)
{
    char path[64];
    size_t size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%zu %zu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- what it is told ---- */

static_assert((1 + COMPANIONS) * PICTOR_FILES_MAX + PICTOR_LORAS_MAX + PICTOR_EMBEDDINGS_MAX + 2 +
                      PICTOR_CONTROLS_MAX <=
                  WIRE_FDS_MAX,
              "all of them go along");

/* The descriptors that go along, in the order that worker.h says. */
struct along {
    int fds[WIRE_FDS_MAX];
    size_t count;
};

static void add_files(struct along *a, const struct pictor_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        a->fds[a->count++] = files->items[i].fd;
}

static void add_all(struct along *a, const struct child_request *r)
{
    add_files(a, r->files);
    for (size_t i = 0; i < r->loras->count; i++)
        a->fds[a->count++] = r->loras->at[i].fd;
    for (size_t i = 0; i < r->embeddings->count; i++)
        a->fds[a->count++] = r->embeddings->at[i].fd;
    if (*r->upscaler->name)
        a->fds[a->count++] = r->upscaler->fd;
    for (size_t i = 0; i < COMPANIONS; i++)
        add_files(a, &r->others[i].files);
    if (*r->tiny->name)
        a->fds[a->count++] = r->tiny->fd;
    for (size_t i = 0; i < r->controls->count; i++)
        a->fds[a->count++] = r->controls->at[i].fd;
}

/* Takes json, which is NULL without memory. */
static bool tell_files(struct child *c, cJSON *json, const void *binary, size_t size,
                       const struct along *along, struct err *err)
{
    int fd = c->process.fd;
    bool done = json ? fd >= 0 || err_set(err, ERR_IO, "the worker is not running")
                     : err_set(err, ERR_INTERNAL, "no memory for a message");
    done = done && wire_write_fds(fd, json, binary, size, along->fds, along->count, SEND_MS, err);
    cJSON_Delete(json);
    return done;
}

static bool tell(struct child *c, cJSON *json, struct err *err)
{
    static const struct along nothing = {.count = 0};
    return tell_files(c, json, NULL, 0, &nothing, err);
}

static cJSON *message(const char *type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    return json;
}

static cJSON *message_serial(const char *type, int64_t serial)
{
    cJSON *json = message(type);
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    return json;
}

static void add_model(cJSON *json, const char *role, const struct registry_model *m,
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

bool child_load(struct child *c, struct registry *registry, const char *name, struct err *err)
{
    struct registry_model m;
    struct pictor_files files;
    struct along along = {.count = 0};
    struct err why;
    err->code = ERR_NONE;
    if (!registry_resolve(registry, name, &m, NULL) || m.kind != REGISTRY_LOCAL)
        return false;
    if (!registry_open(registry, &m, &files, &why)) {
        log_err(LOG_WARN, "model_not_opened", &why, " ");
        return false;
    }
    cJSON *json = message("load");
    add_model(json, "model", &m, &files, NULL);
    add_files(&along, &files);
    bool told = tell_files(c, json, NULL, 0, &along, err);
    pictor_files_close(&files);
    return told;
}

bool child_unload(struct child *c, struct err *err)
{
    return tell(c, message("unload"), err);
}

bool child_ask(struct child *c, struct err *err)
{
    return tell(c, message("ask"), err);
}

bool child_cancel(struct child *c, int64_t serial, struct err *err)
{
    return tell(c, message_serial("cancel", serial), err);
}

bool child_interrupt(struct child *c, int64_t serial, struct err *err)
{
    return tell(c, message_serial("interrupt", serial), err);
}

bool child_generate(struct child *c, const struct child_request *r, struct err *err)
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
    cJSON *json = message_serial("generate", r->serial);
    cJSON_AddNumberToObject(json, "index", r->index);
    cJSON_AddNumberToObject(json, "init_size", (double)r->init_size);
    cJSON_AddNumberToObject(json, "mask_size", (double)r->mask_size);
    add_model(json, "model", r->model, r->files, r->vae);
    for (size_t i = 0; i < COMPANIONS; i++)
        if (*r->others[i].model.name)
            add_model(json, companions_field((enum companions_role)i), &r->others[i].model,
                      &r->others[i].files, &r->others[i].vae);
    cJSON_AddItemToObject(json, "params", job_params_to_json(r->params));
    add_loras(json, r->loras);
    add_embeddings(json, r->embeddings);
    if (*r->upscaler->name)
        add_upscaler(json, r->upscaler);
    if (*r->tiny->name)
        add_tiny(json, r->tiny);
    add_controls(json, r);
    add_shown(json, r);
    struct along along = {.count = 0};
    add_all(&along, r);
    bool done = tell_files(c, json, inputs, size, &along, err);
    free(inputs);
    return done;
}

/* ---- its life ---- */

static bool send_start(struct child *c, struct err *err)
{
    const struct settings *s = c->settings;
    cJSON *json = message("start");
    cJSON_AddNumberToObject(json, "threads", s->threads);
    cJSON_AddStringToObject(json, "precision", s->precision);
    cJSON_AddStringToObject(json, "cpu", s->cpu);
    cJSON_AddNumberToObject(json, "memory_limit", (double)s->memory_limit_mb * 1048576);
    cJSON_AddNumberToObject(json, "idle_unload_seconds", s->idle_unload_seconds);
    cJSON_AddNumberToObject(json, "max_input_pixels", (double)intake_pixels_max(s));
    cJSON_AddStringToObject(json, "log_level", s->log_level);
    cJSON_AddNumberToObject(json, "unconfined", sandbox_may_stay_open(s));
    return tell(c, json, err);
}

bool child_start(struct child *c, struct err *err)
{
    /* A picture that is painted over another one may be as large as that. */
    size_t bytes = intake_pixels_max(c->settings) * 3;
    struct wire_limits limits = {.json = JSON_BYTES,
                                 .binary = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX};
    if (process_start(&c->process, NULL, limits, err) && send_start(c, err))
        return true;
    child_kill(c, NULL);
    return false;
}

void child_kill(struct child *c, char how[64])
{
    process_end(&c->process, how);
}

void child_relay_log(struct child *c)
{
    process_relay(&c->process);
}

enum wire_result child_read(struct child *c, struct wire_message *out, struct err *err)
{
    if (c->process.fd < 0)
        return WIRE_CLOSED;
    return wire_read(&c->process.reader, out, err);
}

bool child_take_pixels(struct wire_message *m, struct pictor_image *out)
{
    int width = (int)wire_integer(m, "width", 1, PIXELS_SIDE_MAX, 0);
    int height = (int)wire_integer(m, "height", 1, PIXELS_SIDE_MAX, 0);
    if (width == 0 || height == 0 || m->binary_size != (size_t)width * (size_t)height * 3)
        return false;
    *out = (struct pictor_image){width, height, 3, m->binary};
    m->binary = NULL;
    return true;
}

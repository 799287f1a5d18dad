/* child.c: fork, exec and the messages of the server's side. */
#include "server/paint/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/paint/child_order.h"
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

/* Takes json, which is NULL without memory. */
static bool tell(struct child *c, cJSON *json, struct err *err)
{
    struct child_order order = {.json = json};
    bool done = json ? child_send(c, &order, err)
                     : err_set(err, ERR_INTERNAL, "no memory for a message");
    cJSON_Delete(json);
    return done;
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

bool child_load(struct child *c, struct registry *registry, const char *name, struct err *err)
{
    struct registry_model m;
    struct pictor_files files;
    struct err why;
    err->code = ERR_NONE;
    if (!registry_resolve(registry, name, &m, NULL) || m.kind != REGISTRY_LOCAL)
        return false;
    if (!registry_open(registry, &m, &files, &why)) {
        log_err(LOG_WARN, "model_not_opened", &why, " ");
        return false;
    }
    struct child_order order = {.json = message("load")};
    child_order_model(order.json, "model", &m, &files, NULL);
    child_order_files(&order, &files);
    bool told = child_send(c, &order, err);
    child_order_free(&order);
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

bool child_send(struct child *c, const struct child_order *o, struct err *err)
{
    if (c->process.fd < 0)
        return err_set(err, ERR_IO, "the worker is not running");
    return wire_write_fds(c->process.fd, o->json, o->inputs, o->size, o->fds, o->fd_count, SEND_MS,
                          err);
}

bool child_generate(struct child *c, const struct child_request *r, struct err *err)
{
    struct child_order order;
    bool done = child_order_make(&order, r, err) && child_send(c, &order, err);
    child_order_free(&order);
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

void child_about(struct child *c, const char *job_id)
{
    process_relay(&c->process);
    snprintf(c->process.about, sizeof c->process.about, "%s", job_id);
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

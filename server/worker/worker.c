/* worker.c: the main thread paints and writes; a second one reads, so that a request to stop
 * arrives while the engine is busy. They share the list of requests, under a lock, and the serials
 * up to which requests are cancelled or interrupted. */
#include "server/worker/worker.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/machine.h"
#include "server/job/job_engine.h"
#include "server/job/controls.h"
#include "server/job/relay.h"
#include "server/job/lora_tags.h"
#include "server/worker/sandbox.h"
#include "server/worker/wire.h"
#include "server/worker/worker_codec.h"
#include "server/worker/worker_door.h"
#include "server/worker/worker_models.h"
#include "server/worker/worker_upscaler.h"

#define NICE 5 /* the server answers while every core paints */
#define SERIAL_MAX (INT64_C(1) << 53)
/* What the server sends was bounded by it: prompts and encoded pictures. */
static const struct wire_limits limits = {.json = UINT32_MAX, .binary = UINT32_MAX};

struct picture_request {
    struct wire_message message;
    struct picture_request *next;
};

struct worker {
    struct wire_reader reader;
    struct pictor_engine *engine;
    struct worker_models *models;
    struct worker_upscaler upscaler;
    size_t max_input_pixels;
    int idle_unload_seconds;

    pthread_mutex_t lock;
    pthread_mutex_t writing; /* one message at a time */
    pthread_cond_t more;
    struct picture_request *first, *last;

    _Atomic int64_t cancelled, interrupted; /* requests up to these serials */
    _Atomic int64_t current;                /* being painted; 0: none */
};

/* ---- writing ---- */

/* A server that cannot be written to is gone, and so is every reason to go on. */
static void send_message(struct worker *w, cJSON *json, const void *binary, size_t size)
{
    struct err err;
    pthread_mutex_lock(&w->writing);
    if (!json || !wire_write(WORKER_FD, json, binary, size, -1, &err))
        _exit(1);
    pthread_mutex_unlock(&w->writing);
    cJSON_Delete(json);
}

static cJSON *message(const char *type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    return json;
}

static void send_error(struct worker *w, int64_t serial, const struct err *err)
{
    cJSON *json = message("error");
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    cJSON_AddStringToObject(json, "code", err_name(err->code));
    wire_add_text(json, "message", err->msg);
    wire_add_text(json, "where", err->where);
    send_message(w, json, NULL, 0);
}

static void model_changed(void *ctx, const char *name, const struct pictor_model_info *info)
{
    struct worker *w = ctx;
    cJSON *json = message(info ? "opened" : "closed");
    cJSON_AddStringToObject(json, "model", name);
    if (info) {
        wire_add_text(json, "title", info->title);
        wire_add_text(json, "architecture", info->architecture);
        cJSON_AddNumberToObject(json, "width", info->native_width);
        cJSON_AddNumberToObject(json, "height", info->native_height);
        cJSON_AddNumberToObject(json, "guidance", (double)info->default_guidance);
        cJSON_AddNumberToObject(json, "steps", info->default_steps);
        cJSON_AddNumberToObject(json, "bytes", (double)info->weight_bytes);
    }
    send_message(w, json, NULL, 0);
}

static bool on_progress(void *ctx, const struct pictor_progress *progress)
{
    struct worker *w = ctx;
    int64_t serial = w->current;
    /* The engine forgets what was asked before a picture begins; here it is remembered. */
    if (serial <= w->cancelled)
        return false;
    if (serial <= w->interrupted)
        pictor_engine_interrupt(w->engine);
    const struct pictor_image *preview = progress->preview;
    cJSON *json = message("progress");
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    cJSON_AddNumberToObject(json, "step", progress->step);
    cJSON_AddNumberToObject(json, "steps", progress->steps);
    cJSON_AddNumberToObject(json, "step_seconds", progress->step_seconds);
    if (progress->seconds_left >= 0) {
        cJSON_AddNumberToObject(json, "left", progress->seconds_left);
        cJSON_AddNumberToObject(json, "whole", progress->elapsed + progress->seconds_left);
    }
    if (preview) {
        cJSON_AddNumberToObject(json, "width", preview->width);
        cJSON_AddNumberToObject(json, "height", preview->height);
    }
    send_message(w, json, preview ? preview->pixels : NULL,
                 preview ? (size_t)preview->width * (size_t)preview->height * 3 : 0);
    return true;
}

/* ---- requests ---- */

static size_t count_of(const cJSON *json, const char *list)
{
    return (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, list));
}

/* How many files come with the model that is called so in the message. */
static size_t files_of(const struct wire_message *m, const char *role)
{
    return count_of(cJSON_GetObjectItemCaseSensitive(m->json, role), "files");
}

/* The model that is called so, whose descriptors came with the message from the `fd`th on, under
 * the names that it says. */
static struct pictor_model *get_model(struct worker *w, const struct wire_message *message,
                                      const char *role, size_t fd, struct err *err)
{
    struct wire_message m = {.json = cJSON_GetObjectItemCaseSensitive(message->json, role)};
    struct pictor_files files = {
        .variant = (enum pictor_variant)wire_integer(&m, "variant", 0, PICTOR_VARIANT_BASE, 0)};
    struct worker_model_ref ref = {
        .name = wire_string(&m, "name"),
        .size = (uint64_t)wire_integer(&m, "size", 0, SERIAL_MAX, 0),
        .mtime_ms = wire_integer(&m, "mtime_ms", 0, SERIAL_MAX, 0),
        .vae = wire_string(&m, "vae"),
        .vae_size = (uint64_t)wire_integer(&m, "vae_size", 0, SERIAL_MAX, 0),
        .vae_mtime_ms = wire_integer(&m, "vae_mtime_ms", 0, SERIAL_MAX, 0),
        .files = &files,
    };
    const cJSON *name;
    cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(m.json, "files")) {
        struct pictor_file *file = &files.items[files.count];
        if (!cJSON_IsString(name) || files.count == PICTOR_FILES_MAX || fd >= message->fd_count) {
            err_set(err, ERR_INTERNAL, "the model's files do not come with their names");
            return NULL;
        }
        snprintf(file->name, sizeof file->name, "%s", name->valuestring);
        file->fd = message->fds[fd++];
        files.count++;
    }
    return strcmp(role, "model") == 0 ? worker_models_get(w->models, &ref, err)
                                      : worker_models_get_beside(w->models, &ref, err);
}

/* The LoRAs of the message, whose descriptors come behind the model's. */
static bool read_loras(const struct wire_message *m, struct worker_lora loras[PICTOR_LORAS_MAX],
                       size_t *count, struct err *err)
{
    size_t fd = files_of(m, "model");
    cJSON *item;
    *count = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(m->json, "loras")) {
        struct wire_message l = {.json = item};
        if (*count == PICTOR_LORAS_MAX || fd >= m->fd_count)
            return err_set(err, ERR_INTERNAL, "the LoRAs do not come with their files");
        loras[(*count)++] = (struct worker_lora){
            .lora = {.name = wire_string(&l, "name"),
                     .fd = m->fds[fd++],
                     .unet = wire_number(&l, "unet", 0),
                     .text = wire_number(&l, "text", 0)},
            .size = (uint64_t)wire_integer(&l, "size", 0, SERIAL_MAX, 0),
            .mtime_ms = wire_integer(&l, "mtime_ms", 0, SERIAL_MAX, 0),
        };
    }
    return true;
}

/* The embeddings of the message, whose descriptors come behind the LoRAs'. */
static bool embed(struct worker *w, const struct wire_message *m, struct pictor_model *model,
                  struct err *err)
{
    struct worker_embedding list[PICTOR_EMBEDDINGS_MAX];
    size_t count = 0, fd = files_of(m, "model") + count_of(m->json, "loras");
    cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(m->json, "embeddings")) {
        struct wire_message e = {.json = item};
        if (count == PICTOR_EMBEDDINGS_MAX || fd >= m->fd_count)
            return err_set(err, ERR_INTERNAL, "the embeddings do not come with their files");
        list[count++] = (struct worker_embedding){
            .file = {.name = wire_string(&e, "name"), .fd = m->fds[fd++]},
            .size = (uint64_t)wire_integer(&e, "size", 0, SERIAL_MAX, 0),
            .mtime_ms = wire_integer(&e, "mtime_ms", 0, SERIAL_MAX, 0),
        };
    }
    return worker_models_embed(w->models, model, list, count, err);
}

/* The models that a picture is painted with, the LoRAs and embeddings in them. */
struct models {
    struct pictor_model *own, *refiner, *hires; /* the others may be NULL, or `own` */
};

static bool get_models(struct worker *w, const struct wire_message *m, struct models *out,
                       struct err *err)
{
    static const char *const roles[] = {"refiner", "hires_model"};
    struct pictor_model **const places[] = {&out->refiner, &out->hires};
    struct worker_lora loras[PICTOR_LORAS_MAX];
    size_t count, fd = files_of(m, "model") + count_of(m->json, "loras") +
                       count_of(m->json, "embeddings") +
                       (cJSON_GetObjectItemCaseSensitive(m->json, "upscaler") != NULL);
    *out = (struct models){NULL};
    if (!read_loras(m, loras, &count, err) || !(out->own = get_model(w, m, "model", 0, err)) ||
        !worker_models_merge(w->models, out->own, loras, count, err) || !embed(w, m, out->own, err))
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; fd += files_of(m, roles[i++])) {
        if (!cJSON_GetObjectItemCaseSensitive(m->json, roles[i]))
            continue;
        if (!(*places[i] = get_model(w, m, roles[i], fd, err)) ||
            (*places[i] != out->own &&
             (!worker_models_merge_fitting(w->models, *places[i], loras, count, err) ||
              !embed(w, m, *places[i], err))))
            return err_prefix(err, "%s", roles[i]);
    }
    worker_models_settle(w->models);
    return true;
}

/* The network between the passes, whose descriptor comes behind the embeddings'. */
static bool get_upscaler(struct worker *w, const struct wire_message *m,
                         struct pictor_upscaler **out, struct err *err)
{
    size_t fd = files_of(m, "model") + count_of(m->json, "loras") + count_of(m->json, "embeddings");
    return worker_upscaler_get(&w->upscaler, w->engine, m, fd, out, err);
}

/* init and mask out of the binary part; a picture of size 0 is left out. */
static bool decode_inputs(const struct worker *w, const struct wire_message *m,
                          struct pictor_image *init, struct pictor_image *mask, struct err *err)
{
    int64_t total = (int64_t)m->binary_size;
    int64_t init_size = wire_integer(m, "init_size", 0, total, 0);
    int64_t mask_size = wire_integer(m, "mask_size", 0, total - init_size, 0);
    if (init_size > 0 &&
        !image_decode(m->binary, (size_t)init_size, w->max_input_pixels, init, err))
        return err_prefix(err, "init image");
    if (mask_size > 0 &&
        !image_decode(m->binary + init_size, (size_t)mask_size, w->max_input_pixels, mask, err))
        return err_prefix(err, "mask");
    return true;
}

/* What leads a picture. */
struct leading {
    struct pictor_image images[CONTROLS_INPUTS];
    struct pictor_control at[PICTOR_CONTROLS_MAX];
    size_t count;
};

static void leading_free(struct leading *l)
{
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        pictor_image_free(&l->images[i]);
}

/* What the units are shown, which comes behind the mask. */
static bool decode_leading(struct worker *w, const struct wire_message *m,
                           const struct controls *units, struct leading *out, struct err *err)
{
    int64_t total = (int64_t)m->binary_size, at = wire_integer(m, "init_size", 0, total, 0);
    at += wire_integer(m, "mask_size", 0, total - at, 0);
    const cJSON *sizes = cJSON_GetObjectItemCaseSensitive(m->json, "leading");
    for (size_t i = 0; i < CONTROLS_INPUTS; i++) {
        const cJSON *item = cJSON_GetArrayItem(sizes, (int)i);
        double size = cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (!controls_has(units, i))
            continue;
        if (!(size >= 1 && size <= (double)(total - at)))
            return err_set(err, ERR_INTERNAL, "a ControlNet without its picture");
        if (!image_decode(m->binary + at, (size_t)size, w->max_input_pixels, &out->images[i], err))
            return false;
        at += (int64_t)size;
    }
    return true;
}

/* Pictures that a model is shown beside the one that is begun from. */
struct shown {
    struct pictor_image images[RELAY_IMAGES_MAX];
    const struct pictor_image *at[RELAY_IMAGES_MAX];
    size_t count;
};

static void shown_free(struct shown *s)
{
    for (size_t i = 0; i < s->count; i++)
        pictor_image_free(&s->images[i]);
}

/* They are the end of the binary part. */
static bool decode_shown(const struct worker *w, const struct wire_message *m, struct shown *out,
                         struct err *err)
{
    const cJSON *item, *sizes = cJSON_GetObjectItemCaseSensitive(m->json, "shown");
    double total = 0, size = (double)m->binary_size;
    cJSON_ArrayForEach(item, sizes)
        total += cJSON_IsNumber(item) && item->valuedouble >= 1 ? item->valuedouble : size + 1;
    if (total > size || cJSON_GetArraySize(sizes) > RELAY_IMAGES_MAX)
        return err_set(err, ERR_INTERNAL, "pictures to show do not come with their bytes");
    size_t at = m->binary_size - (size_t)total;
    cJSON_ArrayForEach(item, sizes) {
        size_t n = (size_t)item->valuedouble;
        struct pictor_image *image = &out->images[out->count];
        if (!image_decode(m->binary + at, n, w->max_input_pixels, image, err))
            return err_prefix(err, "picture %zu", out->count + 2);
        out->at[out->count++] = image;
        at += n;
    }
    return true;
}

/* The ControlNets, whose descriptors come last, and what they lead by. */
static bool get_controls(struct worker *w, const struct wire_message *m,
                         const struct job_params *job, const struct models *models,
                         struct leading *out, struct err *err)
{
    struct controls units;
    struct worker_control nets[PICTOR_CONTROLS_MAX];
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(m->json, "controls");
    if (!controls_read(job->controls, &units, err))
        return false;
    if (units.count != (size_t)cJSON_GetArraySize(list) || units.count > m->fd_count)
        return err_set(err, ERR_INTERNAL, "the ControlNets do not come with their files");
    if (!decode_leading(w, m, &units, out, err))
        return err_prefix(err, "ControlNets");
    size_t fd = m->fd_count - units.count;
    cJSON *item = list ? list->child : NULL;
    for (size_t i = 0; i < units.count; i++, item = item->next) {
        const struct controls_unit *u = &units.at[i];
        struct wire_message c = {.json = item};
        nets[i] = (struct worker_control){
            .file = {u->model, m->fds[fd + i]},
            .size = (uint64_t)wire_integer(&c, "size", 0, SERIAL_MAX, 0),
            .mtime_ms = wire_integer(&c, "mtime_ms", 0, SERIAL_MAX, 0),
        };
    }
    out->count = units.count;
    /* They lead both passes, and no refiner. */
    struct pictor_model *own = models->own, *hires = models->hires, *refiner = models->refiner;
    bool second = hires && hires != own;
    return controls_see(&units, job->width, job->height, out->images, out->at, err) &&
           (!refiner || refiner == own || refiner == hires ||
            worker_models_control(w->models, refiner, NULL, 0, err)) &&
           worker_models_control(w->models, own, nets, units.count, err) &&
           (!second || worker_models_control(w->models, hires, nets, units.count, err));
}

/* The tiny autoencoder for previews, whose descriptor comes before the ControlNets'. A picture is
 * painted without it as well. */
static void use_tiny(struct worker *w, const struct wire_message *m, struct pictor_model *model)
{
    struct wire_message t = {.json = cJSON_GetObjectItemCaseSensitive(m->json, "tiny")};
    const cJSON *controls = cJSON_GetObjectItemCaseSensitive(m->json, "controls");
    size_t behind = (size_t)cJSON_GetArraySize(controls);
    if (!t.json || m->fd_count < behind + 1)
        return;
    struct worker_control tiny = {
        .file = {wire_string(&t, "name"), m->fds[m->fd_count - behind - 1]},
        .size = (uint64_t)wire_integer(&t, "size", 0, SERIAL_MAX, 0),
        .mtime_ms = wire_integer(&t, "mtime_ms", 0, SERIAL_MAX, 0),
    };
    worker_models_previews(w->models, model, &tiny);
}

static void generate(struct worker *w, const struct wire_message *m)
{
    struct err err = {0};
    struct job_params job;
    struct pictor_params p;
    struct pictor_image init = {0}, mask = {0}, image = {0};
    struct lora_tags tags;
    struct pictor_upscaler *network;
    struct leading leading = {.count = 0};
    struct shown shown = {.count = 0};
    char *prompt = NULL, *hires_prompt = NULL;
    int64_t serial = wire_integer(m, "serial", 1, SERIAL_MAX, 0);
    bool done = false;
    job_params_init(&job);
    w->current = serial;
    if (serial <= w->cancelled) {
        err_set(&err, ERR_CANCELLED, "cancelled");
        goto fail;
    }
    if (!job_params_from_json(&job, cJSON_GetObjectItemCaseSensitive(m->json, "params"), &err) ||
        !decode_inputs(w, m, &init, &mask, &err) || !decode_shown(w, m, &shown, &err))
        goto fail;
    if (!worker_door(job.prompt, &err))
        goto fail;
    struct models models;
    if (!get_models(w, m, &models, &err) || !get_upscaler(w, m, &network, &err) ||
        !get_controls(w, m, &job, &models, &leading, &err) ||
        !(prompt = lora_tags_take(job.prompt ? job.prompt : "", &tags, &err)) ||
        !(hires_prompt = lora_tags_take(job.hires_prompt ? job.hires_prompt : "", &tags, &err)))
        goto fail;
    use_tiny(w, m, models.own);
    job_engine_params(&job, (int)wire_integer(m, "index", 0, INT32_MAX, 0), &p);
    p.prompt = prompt;
    p.hires_prompt = hires_prompt;
    p.hires_network = network;
    p.refiner = models.refiner;
    p.hires_model = models.hires;
    p.init = init.pixels ? &init : NULL;
    p.mask = mask.pixels ? &mask : NULL;
    p.controls = leading.at;
    p.control_count = leading.count;
    p.references = shown.at;
    p.reference_count = shown.count;
    p.on_progress = on_progress;
    p.ctx = w;
    if (serial <= w->cancelled) { /* while a model was loaded, say */
        err_set(&err, ERR_CANCELLED, "cancelled");
        goto fail;
    }
    if (!pictor_generate(models.own, &p, &image, &err))
        goto fail;
    cJSON *json = message("image");
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    cJSON_AddNumberToObject(json, "width", image.width);
    cJSON_AddNumberToObject(json, "height", image.height);
    send_message(w, json, image.pixels, (size_t)image.width * (size_t)image.height * 3);
    done = true;

fail:
    w->current = 0;
    if (!done)
        send_error(w, serial, &err);
    leading_free(&leading);
    shown_free(&shown);
    pictor_image_free(&image);
    pictor_image_free(&mask);
    pictor_image_free(&init);
    job_params_free(&job);
    free(prompt);
    free(hires_prompt);
}

static void close_all(struct worker *w)
{
    worker_models_close_all(w->models);
    worker_upscaler_close(&w->upscaler);
}

static void handle(struct worker *w, const struct wire_message *m)
{
    const char *type = wire_type(m);
    struct err err = {0};
    if (strcmp(type, "generate") == 0)
        generate(w, m);
    else if (strcmp(type, "unload") == 0)
        close_all(w);
    else if (strcmp(type, "load") == 0 && !get_model(w, m, "model", 0, &err))
        send_error(w, 0, &err);
}

/* The next request; NULL after idle_unload_seconds without one. */
static struct picture_request *next_request(struct worker *w)
{
    struct timespec deadline;
    bool waits = w->idle_unload_seconds > 0 && worker_models_any(w->models);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += w->idle_unload_seconds;
    pthread_mutex_lock(&w->lock);
    while (!w->first) {
        if (!waits)
            pthread_cond_wait(&w->more, &w->lock);
        else if (pthread_cond_timedwait(&w->more, &w->lock, &deadline) == ETIMEDOUT)
            break;
    }
    struct picture_request *r = w->first;
    if (r)
        w->first = r->next;
    pthread_mutex_unlock(&w->lock);
    return r;
}

/* ---- reading ---- */

static void add_request(struct worker *w, struct wire_message *m)
{
    struct picture_request *r = calloc(1, sizeof *r);
    if (!r)
        _exit(1);
    r->message = *m;
    pthread_mutex_lock(&w->lock);
    if (w->first)
        w->last->next = r;
    else
        w->first = r;
    w->last = r;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

/* Stops requests up to the message's serial; also the one being painted, if it is among them. */
static void stop(struct worker *w, const struct wire_message *m, _Atomic int64_t *upto,
                 void (*engine_stop)(struct pictor_engine *))
{
    int64_t serial = wire_integer(m, "serial", 1, SERIAL_MAX, 0);
    if (serial > *upto)
        *upto = serial;
    int64_t current = w->current;
    if (current > 0 && current <= serial)
        engine_stop(w->engine);
}

static void *read_requests(void *arg)
{
    struct worker *w = arg;
    struct wire_message m;
    struct err err;
    for (;;) {
        switch (wire_read(&w->reader, &m, &err)) {
        case WIRE_MESSAGE:
            break;
        case WIRE_AGAIN:
            continue;
        case WIRE_CLOSED: /* the server is gone */
            _exit(0);
        case WIRE_FAILED:
            log_err(LOG_ERROR, "worker_lost_server", &err, " ");
            _exit(1);
        }
        if (strcmp(wire_type(&m), "ask") == 0) {
            cJSON *json = message("alive");
            uint64_t beats = pictor_engine_beats(w->engine);
            cJSON_AddNumberToObject(json, "beats", (double)(beats % SERIAL_MAX));
            send_message(w, json, NULL, 0);
            wire_message_free(&m);
        } else if (strcmp(wire_type(&m), "cancel") == 0) {
            stop(w, &m, &w->cancelled, pictor_engine_cancel);
            wire_message_free(&m);
        } else if (strcmp(wire_type(&m), "interrupt") == 0) {
            stop(w, &m, &w->interrupted, pictor_engine_interrupt);
            wire_message_free(&m);
        } else {
            add_request(w, &m);
        }
    }
    return NULL;
}

/* ---- start ---- */

/* For models that wait. */
static size_t spare_memory(void)
{
    return (size_t)(machine_memory() / 2);
}

/* What would open a file later, by way of the C library, does so now. */
static void look_around(void)
{
    tzset();
    worker_codec_warm_up();
    mallopt(M_ARENA_MAX, 8); /* not as many as there are CPUs, which would have to be counted */
}

/* Reads "start", becomes what it says, starts every thread there will be, and closes the door. */
static bool start(struct worker *w, struct err *err)
{
    struct wire_message m;
    enum log_level level;
    pthread_t reader;
    bool done = false;
    wire_reader_init(&w->reader, WORKER_FD, limits);
    w->reader.takes_fds = true;
    if (wire_read(&w->reader, &m, err) != WIRE_MESSAGE || strcmp(wire_type(&m), "start") != 0)
        return err_set(err, ERR_IO, "the server did not say how to start");
    if (log_level_of(wire_string(&m, "log_level"), &level))
        log_set_level(level);
    size_t memory_limit = (size_t)wire_integer(&m, "memory_limit", 0, SERIAL_MAX, 0);
    size_t budget = memory_limit ? memory_limit : spare_memory();
    bool may_stand_open = wire_integer(&m, "unconfined", 0, 1, 0) == 1;
    look_around();
    sandbox_enter(memory_limit);

    const char *cpu = wire_string(&m, "cpu");
    struct pictor_engine_options options;
    job_engine_options((int)wire_integer(&m, "threads", 0, 1024, 0), cpu,
                       wire_string(&m, "precision"), memory_limit, &options);
    w->max_input_pixels = (size_t)wire_integer(&m, "max_input_pixels", 1, SERIAL_MAX, 1);
    w->idle_unload_seconds = (int)wire_integer(&m, "idle_unload_seconds", 0, INT32_MAX, 0);
    w->engine = pictor_engine_new(&options, err);
    if (w->engine)
        w->models = worker_models_new(w->engine, budget, memory_limit, model_changed, w, err);
    if (w->models) {
        done = pthread_create(&reader, NULL, read_requests, w) == 0;
        if (!done)
            err_set(err, ERR_INTERNAL, "no thread for the worker");
    }
    if (done && !sandbox_close(err)) {
        done = may_stand_open;
        if (done)
            log_err(LOG_WARN, "sandbox_open", err, " ");
    }
    wire_message_free(&m);
    return done;
}

int worker_main(int argc, char **argv)
{
    int type;
    socklen_t size = sizeof type;
    struct err err;
    bool codec = argc > 1 && strcmp(argv[1], WORKER_CODEC_WORD) == 0;
    if ((argc > 1 && !codec) || getsockopt(WORKER_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return WORKER_NOT_STARTED;
    /* Ctrl-C and a service manager signal the whole group; the server says when to stop, by
     * closing the socket, and the kernel if the server could not. */
    prctl(PR_SET_NAME, codec ? "pictor-codec" : "pictor-worker");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (codec)
        return worker_codec_main();
    setpriority(PRIO_PROCESS, 0, NICE);

    struct worker w = {.lock = PTHREAD_MUTEX_INITIALIZER,
                       .writing = PTHREAD_MUTEX_INITIALIZER,
                       .more = PTHREAD_COND_INITIALIZER};
    if (!start(&w, &err)) {
        send_error(&w, 0, &err);
        return 1;
    }
    cJSON *ready = message("ready");
    cJSON_AddStringToObject(ready, "description", pictor_engine_description(w.engine));
    send_message(&w, ready, NULL, 0);
    for (;;) { /* the reader ends the process */
        struct picture_request *r = next_request(&w);
        if (!r) {
            log_event(LOG_INFO, "models_unloaded", "idle_seconds=%d", w.idle_unload_seconds);
            close_all(&w);
            continue;
        }
        handle(&w, &r->message);
        wire_message_free(&r->message);
        free(r);
    }
}

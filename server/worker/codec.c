/* codec.c: One thread, the keeper, starts the processes and replaces those that broke; whoever
 * calls takes an idle one, speaks with it, and puts it back or marks it broken. */
#include "server/worker/codec.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/job/upscalers.h"
#include "server/worker/process.h"
#include "server/worker/worker_codec.h"

#define LEAST 2 /* one slow picture does not hold up all others */
#define MOST 4
#define START_MS 20000
#define WAIT_MS 30000 /* for an idle process */
#define WORK_MS 20000 /* the largest picture takes a few seconds; a thread of HTTP waits for it */
#define RESTART_LEAST_MS 100
#define RESTART_MOST_MS 10000
#define JSON_BYTES 65536
/* A picture's texts, or an encoded picture, which is hardly larger than its pixels. */
#define BYTES_MORE ((size_t)256 << 20)
#define BYTES_A_PIXEL 4
#define UPSCALE_BYTES ((size_t)1 << 30) /* that enlarging a picture may take */

enum state { BROKEN, STARTING, IDLE, TAKEN };

struct slot {
    struct process process;
    enum state state; /* under the lock; the rest belongs to whoever has taken it */
    int64_t due;      /* BROKEN: when to start again */
    int failures;     /* to start, in a row */
};

struct codec {
    bool unconfined;
    size_t max_pixels;
    pthread_t keeper;
    pthread_mutex_t lock;
    pthread_cond_t idle;   /* a slot is */
    pthread_cond_t broken; /* a slot is, or stop */
    bool stop;
    int threads;
    bool upscaling; /* one of them is */
    unsigned starts;
    size_t count;
    struct slot slots[MOST];
};

static cJSON *message(const char *type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    return json;
}

/* ---- talking ---- */

/* Waits for one message. */
static bool receive(struct process *p, int timeout_ms, struct wire_message *out, struct err *err)
{
    int64_t deadline = now_ms() + timeout_ms;
    for (;;) {
        enum wire_result result = wire_read(&p->reader, out, err);
        process_relay(p);
        if (result == WIRE_MESSAGE)
            return true;
        if (result == WIRE_CLOSED)
            return err_set(err, ERR_IO, "it ended");
        if (result == WIRE_FAILED)
            return false;
        int64_t left = deadline - now_ms();
        if (left <= 0)
            return err_set(err, ERR_BUSY, "it was silent for too long");
        struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN}, {.fd = p->log, .events = POLLIN}};
        poll(fds, 2, (int)left);
    }
}

static struct slot *take_idle(struct codec *c, struct err *err)
{
    struct slot *found = NULL;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&c->lock);
    for (bool waited = false; !found && !waited;) {
        for (size_t i = 0; i < c->count && !found; i++)
            if (c->slots[i].state == IDLE)
                found = &c->slots[i];
        if (!found)
            waited = pthread_cond_timedwait(&c->idle, &c->lock, &until) != 0;
    }
    if (found)
        found->state = TAKEN;
    pthread_mutex_unlock(&c->lock);
    if (!found)
        err_set(err, ERR_BUSY, "every process that reads pictures is busy");
    return found;
}

/* Puts it back; `broken`: for the keeper to replace. */
static void give(struct codec *c, struct slot *s, bool broken)
{
    pthread_mutex_lock(&c->lock);
    s->state = broken ? BROKEN : IDLE;
    s->due = now_ms();
    pthread_cond_signal(broken ? &c->broken : &c->idle);
    pthread_mutex_unlock(&c->lock);
}

/* One that died while it had nothing to do is no matter to whoever comes next. */
static struct slot *take(struct codec *c, struct err *err)
{
    struct slot *s;
    while ((s = take_idle(c, err))) {
        struct pollfd state = {.fd = s->process.fd, .events = POLLIN};
        if (poll(&state, 1, 0) == 0)
            return s;
        process_end(&s->process, NULL);
        give(c, s, true);
    }
    return NULL;
}

/* What the answer is made into; false: no honest process would say so. */
typedef bool read_fn(struct wire_message *m, void *out);

enum outcome { DONE, REFUSED, LOST, KILLED };

/* What is asked of a process. */
struct question {
    cJSON *json;
    const void *data;
    size_t size;
    int fd;                  /* goes along; -1: none */
    const atomic_bool *gone; /* when it says "progress" it is told whether to go on */
};

/* Sends the question and waits for the answer, which may be preceded by signs of life. */
static bool talk(struct slot *s, const struct question *q, struct wire_message *m, struct err *err)
{
    int fd = s->process.fd;
    if (!wire_write_fds(fd, q->json, q->data, q->size, &q->fd, q->fd >= 0, WORK_MS, err))
        return false;
    while (receive(&s->process, WORK_MS, m, err)) {
        if (!q->gone || strcmp(wire_type(m), "progress") != 0)
            return true;
        wire_message_free(m);
        cJSON *json = message(atomic_load(q->gone) ? "stop" : "on");
        bool told = json && wire_write(fd, json, NULL, 0, WORK_MS, err);
        cJSON_Delete(json);
        if (!told)
            return false;
    }
    return false;
}

/* Asks one process. LOST: it died, or had to; `err` says how. KILLED: somebody killed it, the
 * kernel when memory ran out for one. */
static enum outcome ask_once(struct codec *c, const struct question *q, read_fn *read, void *out,
                             struct err *err)
{
    struct wire_message m = {0};
    struct err why = {0};
    enum outcome outcome = LOST;
    struct slot *s = take(c, err);
    if (!s)
        return REFUSED;
    if (talk(s, q, &m, &why)) {
        if (strcmp(wire_type(&m), "error") == 0) {
            err_set(err, err_code_of(wire_string(&m, "code")), "%s", wire_string(&m, "message"));
            json_text_mend(err->msg);
            if (err->code == ERR_NONE)
                err->code = ERR_INTERNAL;
            outcome = REFUSED;
        } else if (strcmp(wire_type(&m), "done") == 0 && read(&m, out)) {
            outcome = DONE;
        } else {
            err_set(&why, ERR_INVALID, "it sent a message that makes no sense");
        }
    }
    if (outcome == LOST) {
        char how[64], text[400], quoted[420];
        process_end(&s->process, how);
        snprintf(text, sizeof text, "it %s: %s", how, why.msg);
        log_event(LOG_WARN, "codec_lost", "reason=%s", log_quote(quoted, sizeof quoted, text));
        err_set(err, ERR_INVALID, "the picture cannot be %s %s",
                q->gone ? "enlarged: the process that did it" : "read: its decoder", how);
        if (why.code == ERR_IO && strncmp(how, PROCESS_WAS_KILLED, strlen(PROCESS_WAS_KILLED)) == 0)
            outcome = KILLED;
    }
    give(c, s, outcome == LOST || outcome == KILLED);
    wire_message_free(&m);
    return outcome;
}

/* Takes the question's json. Sends it and has `read` look at the answer of type "done". A picture
 * whose process was killed by others gets a second one. */
static bool ask_question(struct codec *c, const struct question *q, read_fn *read, void *out,
                         struct err *err)
{
    struct err ignored;
    enum outcome outcome = REFUSED;
    err = err ? err : &ignored;
    if (!q->json)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    for (int i = 0; q->json && i < 2 && (i == 0 || outcome == KILLED); i++)
        outcome = ask_once(c, q, read, out, err);
    cJSON_Delete(q->json);
    return outcome == DONE;
}

static bool ask(struct codec *c, cJSON *json, const void *data, size_t size, read_fn *read,
                void *out, struct err *err)
{
    const struct question q = {.json = json, .data = data, .size = size, .fd = -1};
    return ask_question(c, &q, read, out, err);
}

static int side(const struct wire_message *m, const char *name)
{
    return (int)wire_integer(m, name, 1, IMAGE_SIDE_MAX, 0);
}

static bool read_header(struct wire_message *m, void *out)
{
    struct image_header *header = out;
    header->format =
        (enum image_format)wire_integer(m, "format", IMAGE_PNG, IMAGE_BMP, IMAGE_NONE);
    header->width = side(m, "width");
    header->height = side(m, "height");
    return header->format != IMAGE_NONE && header->width && header->height;
}

bool codec_probe(struct codec *c, const void *data, size_t size, struct image_header *out,
                 struct err *err)
{
    return ask(c, message("probe"), data, size, read_header, out, err);
}

struct decoded {
    size_t max_pixels;
    struct pictor_image *image;
};

static bool read_pixels(struct wire_message *m, void *out)
{
    struct decoded *d = out;
    int width = side(m, "width"), height = side(m, "height");
    int channels = (int)wire_integer(m, "channels", 1, 4, 0);
    size_t pixels = (size_t)width * (size_t)height;
    if (pixels == 0 || pixels > d->max_pixels || channels == 0 || channels == 2 ||
        m->binary_size != pixels * (size_t)channels)
        return false;
    *d->image = (struct pictor_image){width, height, channels, m->binary};
    m->binary = NULL;
    return true;
}

bool codec_decode(struct codec *c, const void *data, size_t size, size_t max_pixels,
                  struct pictor_image *out, struct err *err)
{
    struct decoded d = {.max_pixels = max_pixels, .image = out};
    cJSON *json = message("decode");
    *out = (struct pictor_image){0};
    cJSON_AddNumberToObject(json, "max_pixels", (double)max_pixels);
    return ask(c, json, data, size, read_pixels, &d, err);
}

/* key, 0, value, 0, key ... */
static bool read_texts(struct wire_message *m, void *out)
{
    struct image_texts *texts = out;
    const char *at = (const char *)m->binary, *end = at ? at + m->binary_size : NULL;
    size_t count = 0;
    if (!at)
        return true;
    for (size_t i = 0; i < m->binary_size; i++)
        count += m->binary[i] == '\0';
    if (count % 2 != 0 || end[-1] != '\0' ||
        !(texts->items = calloc(count / 2, sizeof *texts->items)))
        return false;
    for (; at < end; texts->count++) {
        const char *value = at + strlen(at) + 1, *next = value + strlen(value) + 1;
        struct image_text *t = &texts->items[texts->count];
        *t = (struct image_text){strdup(at), strdup(value)};
        if (!t->key || !t->value || !json_text_is_utf8(at, strlen(at), NULL) ||
            !json_text_is_utf8(value, strlen(value), NULL)) {
            texts->count++;
            image_texts_free(texts);
            return false;
        }
        at = next;
    }
    return true;
}

bool codec_texts(struct codec *c, const void *data, size_t size, struct image_texts *out,
                 struct err *err)
{
    *out = (struct image_texts){0};
    return ask(c, message("texts"), data, size, read_texts, out, err);
}

struct encoded {
    enum image_format format;
    struct image_file *file;
};

static bool read_file(struct wire_message *m, void *out)
{
    struct encoded *e = out;
    if (!m->binary || image_sniff(m->binary, m->binary_size) != e->format)
        return false;
    *e->file = (struct image_file){m->binary, m->binary_size};
    m->binary = NULL;
    return true;
}

bool codec_encode(struct codec *c, const struct pictor_image *image, enum image_format format,
                  int quality, const struct image_texts *texts, struct image_file *out,
                  struct err *err)
{
    struct encoded e = {.format = format, .file = out};
    *out = (struct image_file){0};
    if (!image_check(image, err))
        return false;
    cJSON *json = message("encode"), *list = cJSON_AddArrayToObject(json, "texts");
    cJSON_AddNumberToObject(json, "format", (double)format);
    cJSON_AddNumberToObject(json, "quality", quality);
    cJSON_AddNumberToObject(json, "width", image->width);
    cJSON_AddNumberToObject(json, "height", image->height);
    cJSON_AddNumberToObject(json, "channels", image->channels);
    for (size_t i = 0; texts && i < texts->count; i++) {
        cJSON *text = cJSON_CreateObject();
        wire_add_text(text, "key", texts->items[i].key);
        wire_add_text(text, "value", texts->items[i].value);
        cJSON_AddItemToArray(list, text);
    }
    size_t size = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    bool done = ask(c, json, image->pixels, size, read_file, &e, err);
    if (!done && err && err->code == ERR_INVALID) /* these pixels are ours */
        err->code = ERR_INTERNAL;
    return done;
}

/* ---- enlarging ---- */

struct enlarged {
    int width, height;
    struct pictor_image *image;
};

static bool read_enlarged(struct wire_message *m, void *out)
{
    struct enlarged *e = out;
    if (m->binary_size != (size_t)e->width * (size_t)e->height * 3)
        return false;
    *e->image = (struct pictor_image){e->width, e->height, 3, m->binary};
    m->binary = NULL;
    return true;
}

/* Whether this is the one that may begin. */
static bool begin_upscaling(struct codec *c)
{
    pthread_mutex_lock(&c->lock);
    bool free_now = !c->upscaling;
    c->upscaling = true;
    pthread_mutex_unlock(&c->lock);
    return free_now;
}

bool codec_is_upscaling(struct codec *c)
{
    pthread_mutex_lock(&c->lock);
    bool upscaling = c->upscaling;
    pthread_mutex_unlock(&c->lock);
    return upscaling;
}

static void end_upscaling(struct codec *c)
{
    pthread_mutex_lock(&c->lock);
    c->upscaling = false;
    pthread_mutex_unlock(&c->lock);
}

bool codec_upscale(struct codec *c, const struct upscaler_file *file, const struct pictor_image *in,
                   int width, int height, const atomic_bool *gone, struct pictor_image *out,
                   struct err *err)
{
    struct enlarged e = {width, height, out};
    *out = (struct pictor_image){0};
    if (!image_check(in, err))
        return false;
    if (!begin_upscaling(c))
        return err_set(err, ERR_BUSY, "another picture is being enlarged");
    cJSON *json = message("upscale");
    cJSON_AddNumberToObject(json, "width", in->width);
    cJSON_AddNumberToObject(json, "height", in->height);
    cJSON_AddNumberToObject(json, "channels", in->channels);
    cJSON_AddNumberToObject(json, "to_width", width);
    cJSON_AddNumberToObject(json, "to_height", height);
    if (*file->name) {
        cJSON *item = cJSON_AddObjectToObject(json, "upscaler");
        cJSON_AddStringToObject(item, "name", file->name);
        cJSON_AddNumberToObject(item, "size", (double)file->size);
        cJSON_AddNumberToObject(item, "mtime_ms", (double)file->mtime_ms);
    }
    const struct question q = {
        .json = json,
        .data = in->pixels,
        .size = (size_t)in->width * (size_t)in->height * (size_t)in->channels,
        .fd = *file->name ? file->fd : -1,
        .gone = gone,
    };
    bool done = ask_question(c, &q, read_enlarged, &e, err);
    end_upscaling(c);
    return done;
}

/* ---- the keeper ---- */

static bool start(struct codec *c, struct slot *s, struct err *err)
{
    size_t bytes = c->max_pixels * BYTES_A_PIXEL + BYTES_MORE;
    struct wire_limits limits = {.json = JSON_BYTES,
                                 .binary = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX};
    struct wire_message m;
    if (!process_start(&s->process, WORKER_CODEC_WORD, limits, err))
        return false;
    cJSON *json = message("start");
    cJSON_AddNumberToObject(json, "memory_limit",
                            (double)c->max_pixels * 4 * BYTES_A_PIXEL + UPSCALE_BYTES);
    cJSON_AddNumberToObject(json, "upscale_bytes", UPSCALE_BYTES);
    cJSON_AddNumberToObject(json, "threads", c->threads);
    cJSON_AddNumberToObject(json, "unconfined", c->unconfined);
    bool ok = wire_write(s->process.fd, json, NULL, 0, START_MS, err) &&
              receive(&s->process, START_MS, &m, err);
    cJSON_Delete(json);
    if (ok && strcmp(wire_type(&m), "ready") != 0)
        ok = err_set(err, ERR_IO, "%s", wire_string(&m, "message"));
    if (ok || m.json)
        wire_message_free(&m);
    return ok;
}

/* With the lock held. The slot to start now, or NULL and when to look again. */
static struct slot *find_broken(struct codec *c, int64_t *due)
{
    *due = INT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        struct slot *s = &c->slots[i];
        if (s->state == BROKEN && s->due <= now_ms())
            return s;
        if (s->state == BROKEN && s->due < *due)
            *due = s->due;
    }
    return NULL;
}

static void restart(struct codec *c, struct slot *s)
{
    struct err err = {0};
    bool ok = start(c, s, &err);
    if (!ok) {
        char how[64];
        process_end(&s->process, how);
        log_err(LOG_ERROR, "codec_not_started", &err, "how=\"%s\"", how);
    }
    pthread_mutex_lock(&c->lock);
    c->starts++;
    s->failures = ok ? 0 : s->failures + 1;
    s->due = now_ms() + backoff_ms(s->failures, RESTART_LEAST_MS, RESTART_MOST_MS);
    s->state = ok ? IDLE : BROKEN;
    if (ok)
        pthread_cond_signal(&c->idle);
    pthread_mutex_unlock(&c->lock);
}

static void *keep(void *arg)
{
    struct codec *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        int64_t due;
        struct slot *s = find_broken(c, &due);
        if (s) {
            s->state = STARTING;
            pthread_mutex_unlock(&c->lock);
            restart(c, s);
            pthread_mutex_lock(&c->lock);
        } else if (due == INT64_MAX) {
            pthread_cond_wait(&c->broken, &c->lock);
        } else {
            struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
            pthread_cond_timedwait(&c->broken, &c->lock, &until);
        }
    }
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->count; i++)
        process_end(&c->slots[i].process, NULL);
    return NULL;
}

struct codec *codec_new(bool unconfined, size_t max_pixels, int threads, struct err *err)
{
    struct codec *c = calloc(1, sizeof *c);
    cpu_set_t cpus;
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for the pictures' processes");
        return NULL;
    }
    c->unconfined = unconfined;
    c->max_pixels = max_pixels;
    c->threads = threads;
    c->count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : LEAST;
    c->count = c->count < LEAST ? LEAST : c->count > MOST ? MOST : c->count;
    for (size_t i = 0; i < c->count; i++)
        c->slots[i].process = PROCESS_NONE;
    pthread_mutex_init(&c->lock, NULL);
    now_cond_init(&c->idle);
    now_cond_init(&c->broken);
    if (pthread_create(&c->keeper, NULL, keep, c) == 0)
        return c;
    free(c);
    err_set(err, ERR_INTERNAL, "no thread for the pictures' processes");
    return NULL;
}

void codec_free(struct codec *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->broken);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->keeper, NULL);
    pthread_cond_destroy(&c->idle);
    pthread_cond_destroy(&c->broken);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned codec_starts(struct codec *c)
{
    pthread_mutex_lock(&c->lock);
    unsigned starts = c->starts;
    pthread_mutex_unlock(&c->lock);
    return starts;
}

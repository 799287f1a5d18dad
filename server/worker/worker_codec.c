/* worker_codec.c: One thread that reads, works and writes. */
#include "server/worker/worker_codec.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "server/worker/sandbox.h"
#include "server/worker/wire.h"
#include "server/worker/worker.h"
#include "server/worker/worker_door.h"
#include "server/worker/worker_upscaler.h"

#define NUMBER_MAX (INT64_C(1) << 53)
#define SILENCE 1.0                  /* seconds without a word while a picture is enlarged */
#define TRIM_BYTES ((size_t)8 << 20) /* of a picture, after which memory is given back */

/* What the server sends was bounded by it. */
static const struct wire_limits limits = {.json = UINT32_MAX, .binary = UINT32_MAX};

/* What goes back: takes json; the binary part is borrowed. A server that cannot be written to is
 * gone. */
static bool answer(cJSON *json, const void *binary, size_t size)
{
    struct err err;
    bool ok = json && wire_write(WORKER_FD, json, binary, size, -1, &err);
    cJSON_Delete(json);
    return ok;
}

static cJSON *message(const char *type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    return json;
}

static bool answer_error(const struct err *err)
{
    cJSON *json = message("error");
    cJSON_AddStringToObject(json, "code", err_name(err->code));
    wire_add_text(json, "message", err->msg);
    return answer(json, NULL, 0);
}

static bool probe(const struct wire_message *m)
{
    struct image_header header;
    struct err err = {0};
    if (!image_probe(m->binary, m->binary_size, &header, &err))
        return answer_error(&err);
    cJSON *json = message("done");
    cJSON_AddNumberToObject(json, "format", (double)header.format);
    cJSON_AddNumberToObject(json, "width", header.width);
    cJSON_AddNumberToObject(json, "height", header.height);
    return answer(json, NULL, 0);
}

static bool decode(const struct wire_message *m)
{
    struct pictor_image image;
    struct err err = {0};
    size_t max_pixels = (size_t)wire_integer(m, "max_pixels", 0, NUMBER_MAX, 0);
    if ((m->binary && !worker_door((const char *)m->binary, &err)) ||
        !image_decode(m->binary, m->binary_size, max_pixels, &image, &err))
        return answer_error(&err);
    size_t size = (size_t)image.width * (size_t)image.height * (size_t)image.channels;
    cJSON *json = message("done");
    cJSON_AddNumberToObject(json, "width", image.width);
    cJSON_AddNumberToObject(json, "height", image.height);
    cJSON_AddNumberToObject(json, "channels", image.channels);
    bool ok = answer(json, image.pixels, size);
    pictor_image_free(&image);
    if (size > TRIM_BYTES)
        malloc_trim(0);
    return ok;
}

static bool texts(const struct wire_message *m)
{
    struct image_texts found;
    struct err err = {0};
    if (!image_texts_read(m->binary, m->binary_size, &found, &err))
        return answer_error(&err);
    size_t size = 0;
    for (size_t i = 0; i < found.count; i++)
        size += strlen(found.items[i].key) + strlen(found.items[i].value) + 2;
    char *bytes = malloc(size + 1), *at = bytes;
    for (size_t i = 0; bytes && i < found.count; i++) {
        at = stpcpy(at, found.items[i].key) + 1;
        at = stpcpy(at, found.items[i].value) + 1;
    }
    image_texts_free(&found);
    if (!bytes)
        err_set(&err, ERR_INTERNAL, "no memory for a picture's texts");
    bool ok = bytes ? answer(message("done"), bytes, size) : answer_error(&err);
    free(bytes);
    return ok;
}

static bool encode(const struct wire_message *m)
{
    struct pictor_image image = {
        .width = (int)wire_integer(m, "width", 1, IMAGE_SIDE_MAX, 0),
        .height = (int)wire_integer(m, "height", 1, IMAGE_SIDE_MAX, 0),
        .channels = (int)wire_integer(m, "channels", 1, 4, 0),
        .pixels = m->binary,
    };
    enum image_format format =
        (enum image_format)wire_integer(m, "format", IMAGE_PNG, IMAGE_WEBP, IMAGE_NONE);
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(m->json, "texts"), *item;
    size_t room = (size_t)cJSON_GetArraySize(array);
    struct image_texts list = {.items = calloc(room + 1, sizeof *list.items)};
    struct image_file file = {0};
    struct err err = {0};
    cJSON_ArrayForEach(item, array) {
        struct wire_message text = {.json = (cJSON *)item};
        if (list.items)
            list.items[list.count++] = (struct image_text){(char *)wire_string(&text, "key"),
                                                           (char *)wire_string(&text, "value")};
    }
    bool ok = list.items &&
              m->binary_size == (size_t)image.width * (size_t)image.height * (size_t)image.channels;
    if (!ok)
        err_set(&err, ERR_INTERNAL, "no memory, or pixels of another size");
    ok = ok && image_encode(&image, format, (int)wire_integer(m, "quality", 0, 100, 90), &list,
                            &file, &err);
    ok = ok ? answer(message("done"), file.data, file.size) : answer_error(&err);
    image_file_free(&file);
    free(list.items);
    if (m->binary_size > TRIM_BYTES)
        malloc_trim(0);
    return ok;
}

/* ---- enlarging ---- */

/* The engine's threads and the network in the file that was wanted last. */
struct enlarging {
    struct pictor_engine *engine; /* NULL: it could not be made, `why` */
    struct err why;
    struct worker_upscaler file;
    struct pictor_upscaler *shipped;
    struct wire_reader *reader;
    double spoke; /* seconds */
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Every second or so the server says whether to go on. */
static bool go_on(void *ctx, double share)
{
    struct enlarging *e = ctx;
    struct wire_message m;
    struct err err;
    if (seconds() - e->spoke < SILENCE)
        return true;
    e->spoke = seconds();
    if (!answer(message("progress"), NULL, 0) || wire_read(e->reader, &m, &err) != WIRE_MESSAGE)
        _exit(0); /* the server is gone */
    bool on = strcmp(wire_type(&m), "on") == 0;
    wire_message_free(&m);
    return on;
}

static struct pictor_upscaler *network_of(struct enlarging *e, const struct wire_message *m,
                                          struct err *err)
{
    static const struct pictor_files none = {.count = 0};
    struct pictor_upscaler *file;
    if (!e->engine) {
        err_copy(err, &e->why);
        return NULL;
    }
    if (!worker_upscaler_get(&e->file, e->engine, m, 0, &file, err))
        return NULL;
    if (!file && !e->shipped)
        e->shipped = pictor_upscaler_open_files(e->engine, &none, err);
    return file ? file : e->shipped;
}

static bool upscale(struct enlarging *e, const struct wire_message *m)
{
    struct pictor_image in = {
        .width = (int)wire_integer(m, "width", 1, IMAGE_SIDE_MAX, 0),
        .height = (int)wire_integer(m, "height", 1, IMAGE_SIDE_MAX, 0),
        .channels = (int)wire_integer(m, "channels", 1, 4, 0),
        .pixels = m->binary,
    };
    int width = (int)wire_integer(m, "to_width", 1, IMAGE_SIDE_MAX, 0);
    int height = (int)wire_integer(m, "to_height", 1, IMAGE_SIDE_MAX, 0);
    struct pictor_image out = {0};
    struct err err = {0};
    bool ok = m->binary_size == (size_t)in.width * (size_t)in.height * (size_t)in.channels ||
              err_set(&err, ERR_INTERNAL, "pixels of another size");
    struct pictor_upscaler *network = ok ? network_of(e, m, &err) : NULL;
    e->spoke = seconds();
    ok = network && pictor_upscale(network, &in, width, height, go_on, e, &out, &err);
    ok = ok ? answer(message("done"), out.pixels, (size_t)out.width * (size_t)out.height * 3)
            : answer_error(&err);
    pictor_image_free(&out);
    malloc_trim(0);
    return ok;
}

void worker_codec_warm_up(void)
{
    uint8_t grey[8 * 8 * 3] = {0};
    struct pictor_image small = {8, 8, 3, grey};
    const struct image_texts none = {0};
    for (int format = IMAGE_PNG; format <= IMAGE_WEBP; format++) {
        struct image_file file = {0};
        struct pictor_image image = {0};
        if (image_encode(&small, (enum image_format)format, 90, &none, &file, NULL))
            image_decode(file.data, file.size, 64, &image, NULL);
        pictor_image_free(&image);
        image_file_free(&file);
    }
}

static bool start(struct wire_reader *reader, struct enlarging *e, struct err *err)
{
    struct wire_message m;
    if (wire_read(reader, &m, err) != WIRE_MESSAGE || strcmp(wire_type(&m), "start") != 0)
        return err_set(err, ERR_IO, "the server did not say how to start");
    size_t memory_limit = (size_t)wire_integer(&m, "memory_limit", 0, NUMBER_MAX, 0);
    bool unconfined = wire_integer(&m, "unconfined", 0, 1, 0) == 1;
    const struct pictor_engine_options options = {
        .threads = (int)wire_integer(&m, "threads", 0, 1024, 1),
        .memory_limit = (size_t)wire_integer(&m, "upscale_bytes", 0, NUMBER_MAX, 0)};
    wire_message_free(&m);
    tzset();
    worker_codec_warm_up();
    sandbox_enter(memory_limit);
    e->engine = pictor_engine_new(&options, &e->why); /* no thread can be made later */
    if (sandbox_close(err))
        return true;
    if (unconfined)
        log_event(LOG_WARN, "sandbox_open", "reason=\"%s\"", err->msg);
    return unconfined;
}

int worker_codec_main(void)
{
    struct wire_reader reader;
    struct wire_message m;
    struct err err = {0};
    struct enlarging enlarging = {.reader = &reader};
    wire_reader_init(&reader, WORKER_FD, limits);
    reader.takes_fds = true;
    if (!start(&reader, &enlarging, &err)) {
        answer_error(&err);
        return 1;
    }
    bool ok = answer(message("ready"), NULL, 0);
    while (ok && wire_read(&reader, &m, &err) == WIRE_MESSAGE) {
        const char *type = wire_type(&m);
        ok = strcmp(type, "probe") == 0     ? probe(&m)
             : strcmp(type, "decode") == 0  ? decode(&m)
             : strcmp(type, "texts") == 0   ? texts(&m)
             : strcmp(type, "encode") == 0  ? encode(&m)
             : strcmp(type, "upscale") == 0 ? upscale(&enlarging, &m)
                                            : false;
        wire_message_free(&m);
    }
    return 0;
}

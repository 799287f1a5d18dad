/* codec_test.c: pictures through the processes that read and write them; what those say is checked.
 * They are this program again: with LIAR in its environment it answers what the request asks it to
 * lie. */
#include "server/worker/codec.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "engine/base/log.h"
#include "server/worker/wire.h"
#include "server/worker/worker.h"

#define PIXELS ((size_t)1 << 20)

static struct codec *codec;
static uint8_t pixels[64 * 48 * 3];
static const struct pictor_image picture = {64, 48, 3, pixels};

static const struct wire_limits limits = {1 << 20, 1 << 20};

/* GLIBC_TUNABLES is one of the few variables that a worker gets. */
static bool is_liar(void)
{
    const char *text = getenv("GLIBC_TUNABLES");
    return text && strcmp(text, "liar") == 0;
}

/* The picture's bytes are the answer: JSON, and a number of bytes of data after it. */
static int liar(void)
{
    struct wire_reader reader;
    struct wire_message m;
    struct err err;
    wire_reader_init(&reader, WORKER_FD, limits);
    for (bool started = false; wire_read(&reader, &m, &err) == WIRE_MESSAGE; started = true) {
        cJSON *json = cJSON_Parse(started ? (char *)m.binary : "{\"type\":\"ready\"}");
        int size = started ? atoi(strchr((char *)m.binary, '}') + 1) : 0;
        char *data = calloc(1, (size_t)size + 1);
        wire_write(WORKER_FD, json, data, (size_t)size, -1, &err);
        cJSON_Delete(json);
        free(data);
        wire_message_free(&m);
    }
    return 0;
}

static int start(void **state)
{
    struct err err;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i / 3);
    codec = codec_new(true, PIXELS, 1, &err);
    return codec ? 0 : -1;
}

static int stop(void **state)
{
    codec_free(codec);
    unsetenv("GLIBC_TUNABLES");
    return 0;
}

static int start_liar(void **state)
{
    setenv("GLIBC_TUNABLES", "liar", 1);
    return start(state);
}

static void there_and_back(void **state)
{
    struct image_text items[] = {{(char[]){"parameters"}, (char[]){"a caf\xc3\xa9"}},
                                 {(char[]){"other"}, (char[]){""}}};
    struct image_texts texts = {items, 2}, found;
    struct image_header header;
    struct image_file file;
    struct pictor_image back;
    struct err err;
    for (int format = IMAGE_PNG; format <= IMAGE_WEBP; format++) {
        assert_true(
            codec_encode(codec, &picture, (enum image_format)format, 90, &texts, &file, &err));
        assert_true(codec_probe(codec, file.data, file.size, &header, &err));
        assert_int_equal(header.format, format);
        assert_int_equal(header.width, 64);
        assert_int_equal(header.height, 48);
        assert_true(codec_decode(codec, file.data, file.size, PIXELS, &back, &err));
        assert_int_equal(back.width, 64);
        assert_int_equal(back.channels, 3);
        if (format == IMAGE_PNG)
            assert_memory_equal(back.pixels, pixels, sizeof pixels);
        pictor_image_free(&back);
        assert_true(codec_texts(codec, file.data, file.size, &found, &err));
        assert_string_equal(image_texts_get(&found, "parameters"), "a caf\xc3\xa9");
        assert_int_equal(found.count, format == IMAGE_PNG ? 2 : 1);
        image_texts_free(&found);
        assert_false(codec_decode(codec, file.data, file.size, 100, &back, &err));
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_false(codec_decode(codec, file.data, file.size / 2, PIXELS, &back, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(back.pixels);
        image_file_free(&file);
    }
    assert_false(codec_decode(codec, "", 0, PIXELS, &back, &err));
    assert_false(codec_texts(codec, "what", 4, &found, &err));
    assert_false(codec_decode(codec, "what", 4, PIXELS, &back, NULL)); /* nobody asks why */
    assert_true(codec_encode(codec, &picture, IMAGE_PNG, 0, NULL, &file, &err));
    assert_true(codec_texts(codec, file.data, file.size, &found, &err));
    assert_int_equal(found.count, 0);
    image_file_free(&file);
    image_texts_free(&found);
}

static void *many(void *arg)
{
    struct image_file file;
    struct pictor_image back;
    struct err err;
    for (int i = 0; i < 20; i++) {
        if (!codec_encode(codec, &picture, IMAGE_PNG, 0, NULL, &file, &err) ||
            !codec_decode(codec, file.data, file.size, PIXELS, &back, &err) ||
            memcmp(back.pixels, pixels, sizeof pixels) != 0)
            return arg;
        image_file_free(&file);
        pictor_image_free(&back);
    }
    return NULL;
}

static void from_many_threads(void **state)
{
    pthread_t threads[8];
    void *failed;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, many, &failed);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void lies_are_not_believed(void **state)
{
    static const char *const cases[] = {
        "{\"type\":\"done\"}0",
        "{\"type\":\"what\"}0",
        "{\"x\":1}0",
        "{\"type\":\"done\",\"width\":64,\"height\":48,\"channels\":3}9215",
        "{\"type\":\"done\",\"width\":64,\"height\":48,\"channels\":2}6144",
        "{\"type\":\"done\",\"width\":64,\"height\":48,\"channels\":5}15360",
        "{\"type\":\"done\",\"width\":-64,\"height\":-48,\"channels\":3}9216",
        "{\"type\":\"done\",\"width\":1e30,\"height\":1,\"channels\":1}1",
        "{\"type\":\"done\",\"width\":101,\"height\":100,\"channels\":1}10100",
    };
    struct pictor_image image;
    struct image_header header;
    struct image_texts texts;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (codec_decode(codec, cases[i], strlen(cases[i]) + 1, 10000, &image, &err) ||
            err.code != ERR_INVALID || image.pixels)
            fail_msg("%s: %s %s", cases[i], err_name(err.code), err.msg);
    }
    for (size_t i = 0; i < 3; i++)
        assert_false(codec_probe(codec, cases[i], strlen(cases[i]) + 1, &header, &err));
    static const char one[] = "{\"type\":\"done\"}1",
                      error[] = "{\"type\":\"error\",\"code\":\"none\"}0";
    assert_false(codec_texts(codec, one, sizeof one, &texts, &err));
    assert_null(texts.items);
    assert_false(codec_probe(codec, error, sizeof error, &header, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return is_liar() ? liar() : worker_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, start, stop),
        cmocka_unit_test_setup_teardown(from_many_threads, start, stop),
        cmocka_unit_test_setup_teardown(lies_are_not_believed, start_liar, stop),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

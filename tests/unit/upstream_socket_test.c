/* upstream_socket_test.c: frames of RFC 6455, whole, in pieces, and such as no server sends; and
 * what ComfyUI says in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "server/paint/upstream_comfy.h"
#include "server/paint/upstream_socket.h"

static void test_frames(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum upstream_socket_kind kind;
        size_t length;
    } rows[] = {
        {"\x81\x05Hello", 7, UPSTREAM_SOCKET_TEXT, 5},
        {"\x81\x05Hello\x81", 8, UPSTREAM_SOCKET_TEXT, 5},
        {"\x82\x00", 2, UPSTREAM_SOCKET_BINARY, 0},
        {"\x01\x03Hel", 5, UPSTREAM_SOCKET_OTHER, 3},
        {"\x80\x02lo", 4, UPSTREAM_SOCKET_OTHER, 2},
        {"\x89\x05Hello", 7, UPSTREAM_SOCKET_OTHER, 5},
        {"\x88\x02\x03\xe8", 4, UPSTREAM_SOCKET_OTHER, 2},
        {"\x81\x7e\x00\x05Hello", 9, UPSTREAM_SOCKET_TEXT, 5},
        {"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", 11, UPSTREAM_SOCKET_BINARY, 1},
        {"", 0, UPSTREAM_SOCKET_MORE, 0},
        {"\x81", 1, UPSTREAM_SOCKET_MORE, 0},
        {"\x81\x05Hell", 6, UPSTREAM_SOCKET_MORE, 0},
        {"\x81\x7e\x00", 3, UPSTREAM_SOCKET_MORE, 0},
        {"\x82\x7f\x00\x00\x00\x00\x00\x00\x00", 9, UPSTREAM_SOCKET_MORE, 0},
        {"\x81\x85", 2, UPSTREAM_SOCKET_BROKEN, 0},         /* masked */
        {"\xc1\x05Hello", 7, UPSTREAM_SOCKET_BROKEN, 0},    /* compressed */
        {"\x89\x7e\x00\x7e", 4, UPSTREAM_SOCKET_BROKEN, 0}, /* a ping of 126 bytes */
        {"\x09\x00", 2, UPSTREAM_SOCKET_BROKEN, 0},         /* a piece of one */
        {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, UPSTREAM_SOCKET_BROKEN, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *data = NULL;
        size_t length = 0, whole = 0;
        /* On the heap, so that a byte too far is noticed. */
        char *bytes = malloc(rows[i].size ? rows[i].size : 1);
        memcpy(bytes, rows[i].bytes, rows[i].size);
        assert_int_equal(upstream_socket_next(bytes, rows[i].size, &data, &length, &whole),
                         rows[i].kind);
        if (rows[i].kind < UPSTREAM_SOCKET_BROKEN && rows[i].kind > UPSTREAM_SOCKET_MORE) {
            assert_int_equal(length, rows[i].length);
            assert_true(whole <= rows[i].size && data + length == bytes + whole);
        }
        free(bytes);
    }
}

static void test_messages(void **state)
{
    static const struct {
        const char *json;
        enum upstream_comfy_news news;
        int step, steps;
    } rows[] = {
        {"{\"type\":\"progress\",\"data\":{\"value\":3,\"max\":20,\"prompt_id\":\"a\"}}",
         UPSTREAM_COMFY_STEP, 3, 20},
        {"{\"type\":\"progress\",\"data\":{\"value\":3,\"max\":20}}", UPSTREAM_COMFY_STEP, 3, 20},
        {"{\"type\":\"progress\",\"data\":{\"value\":3,\"max\":20,\"prompt_id\":\"b\"}}",
         UPSTREAM_COMFY_NOTHING, 0, 0},
        {"{\"type\":\"progress\",\"data\":{\"value\":1,\"max\":1}}", UPSTREAM_COMFY_NOTHING, 0, 0},
        {"{\"type\":\"progress\",\"data\":{\"value\":1e99,\"max\":1e99}}", UPSTREAM_COMFY_NOTHING,
         0, 0},
        {"{\"type\":\"progress_state\",\"data\":{\"prompt_id\":\"a\",\"nodes\":{"
         "\"1\":{\"state\":\"finished\",\"value\":5,\"max\":5},"
         "\"3\":{\"state\":\"running\",\"value\":2,\"max\":9}}}}",
         UPSTREAM_COMFY_STEP, 2, 9},
        {"{\"type\":\"execution_start\",\"data\":{\"prompt_id\":\"a\"}}", UPSTREAM_COMFY_BEGUN, 0,
         0},
        {"{\"type\":\"executing\",\"data\":{\"node\":\"3\",\"prompt_id\":\"a\"}}",
         UPSTREAM_COMFY_NOTHING, 0, 0},
        {"{\"type\":\"executing\",\"data\":{\"node\":null,\"prompt_id\":\"a\"}}",
         UPSTREAM_COMFY_OVER, 0, 0},
        {"{\"type\":\"execution_error\",\"data\":{\"prompt_id\":\"a\"}}", UPSTREAM_COMFY_OVER, 0,
         0},
        {"{\"type\":7,\"data\":[]}", UPSTREAM_COMFY_NOTHING, 0, 0},
        {"[]", UPSTREAM_COMFY_NOTHING, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int step = 0, steps = 0;
        cJSON *json = cJSON_Parse(rows[i].json);
        assert_non_null(json);
        assert_int_equal(upstream_comfy_heard(json, "a", &step, &steps), rows[i].news);
        assert_int_equal(step, rows[i].step);
        assert_int_equal(steps, rows[i].steps);
        cJSON_Delete(json);
    }
    int step, steps;
    assert_int_equal(upstream_comfy_heard(NULL, "", &step, &steps), UPSTREAM_COMFY_NOTHING);
}

static void test_queue(void **state)
{
    int ahead;
    cJSON *queue = cJSON_Parse("{\"queue_running\": [[4, \"r\"]], \"queue_pending\": "
                               "[[7, \"b\"], [9, \"c\"], [5, \"a\"], [\"x\"], 3]}");
    assert_int_equal(upstream_comfy_queued(queue, "r", &ahead), UPSTREAM_COMFY_RUNS);
    assert_int_equal(upstream_comfy_queued(queue, "a", &ahead), UPSTREAM_COMFY_WAITS);
    assert_int_equal(ahead, 1);
    assert_int_equal(upstream_comfy_queued(queue, "c", &ahead), UPSTREAM_COMFY_WAITS);
    assert_int_equal(ahead, 3);
    assert_int_equal(upstream_comfy_queued(queue, "z", &ahead), UPSTREAM_COMFY_NOWHERE);
    assert_int_equal(upstream_comfy_queued(NULL, "z", &ahead), UPSTREAM_COMFY_NOWHERE);
    cJSON_Delete(queue);
}

static void test_previews(void **state)
{
    size_t size;
    const char plain[] = "\0\0\0\1\0\0\0\1JPEG", told[] = "\0\0\0\4\0\0\0\2{}PNG";
    assert_string_equal(upstream_comfy_preview(plain, sizeof plain, &size), "JPEG");
    assert_int_equal(size, 5);
    assert_string_equal(upstream_comfy_preview(told, sizeof told, &size), "PNG");
    assert_null(upstream_comfy_preview("\0\0\0\4\xff\xff\xff\xff{}", 10, &size));
    assert_null(upstream_comfy_preview("\0\0\0\3\0\0\0\1text", 12, &size));
    assert_null(upstream_comfy_preview("\0\0\0\1\0\0\0\1", 8, &size));
    assert_null(upstream_comfy_preview("\0\0", 2, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_previews),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

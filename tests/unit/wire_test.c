/* wire_test.c: messages over a socket pair, whole, in pieces and hostile. */
#include "server/worker/wire.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

static const struct wire_limits limits = {.json = 1000, .binary = 1 << 20};

struct pair {
    int near, far;
    struct wire_reader reader;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    p->near = fds[0];
    p->far = fds[1];
    fcntl(p->near, F_SETFL, O_NONBLOCK);
    wire_reader_init(&p->reader, p->near, limits);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    wire_reader_free(&p->reader);
    close(p->near);
    if (p->far >= 0)
        close(p->far);
    free(p);
    return 0;
}

static void send_raw(struct pair *p, uint32_t json_size, uint32_t binary_size, const char *rest)
{
    uint32_t header[2] = {json_size, binary_size};
    assert_int_equal(write(p->far, header, sizeof header), sizeof header);
    assert_int_equal(write(p->far, rest, strlen(rest)), strlen(rest));
}

static void round_trip(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err;
    cJSON *json = cJSON_Parse("{\"type\":\"image\",\"width\":64,\"x\":-1.5,\"big\":1e300}");
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_AGAIN);
    assert_true(wire_write(p->far, json, "pixels", 6, 1000, &err));
    assert_true(wire_write(p->far, json, NULL, 0, 1000, &err));
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
    assert_string_equal(wire_type(&m), "image");
    assert_int_equal(wire_integer(&m, "width", 0, 100, -7), 64);
    assert_int_equal(wire_integer(&m, "width", 0, 63, -7), -7);
    assert_int_equal(wire_integer(&m, "big", 0, INT64_C(1) << 53, -7), -7);
    assert_int_equal(wire_integer(&m, "type", 0, 100, -7), -7);
    assert_true(wire_number(&m, "x", 0) == -1.5);
    assert_string_equal(wire_string(&m, "width"), "");
    assert_int_equal(m.binary_size, 6);
    assert_memory_equal(m.binary, "pixels", 6);
    wire_message_free(&m);
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
    assert_null(m.binary);
    wire_message_free(&m);
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_AGAIN);
    close(p->far);
    p->far = -1;
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_CLOSED);
    cJSON_Delete(json);
}

static void text_is_made_utf8(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err;
    cJSON *json = cJSON_CreateObject();
    wire_add_text(json, "message", "tensor \xc3\xa9 \xff\xe2\x82 \x01");
    assert_true(wire_write(p->far, json, NULL, 0, 1000, &err));
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
    assert_non_null(strstr(wire_string(&m, "message"), "tensor \xc3\xa9 \xef\xbf\xbd"));
    wire_message_free(&m);
    cJSON_Delete(json);
}

static void byte_by_byte(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err;
    unsigned char bytes[8 + 14 + 3];
    uint32_t header[2] = {14, 3};
    memcpy(bytes, header, 8);
    memcpy(bytes + 8, "{\"type\":\"abc\"}", 14);
    memcpy(bytes + 22, "xyz", 3);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_AGAIN);
        assert_int_equal(write(p->far, bytes + i, 1), 1);
    }
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
    assert_string_equal(wire_type(&m), "abc");
    assert_memory_equal(m.binary, "xyz", 3);
    wire_message_free(&m);
}

static void lengths_over_the_limit(void **state)
{
    static const uint32_t bad[][2] = {
        {0, 0},          {1001, 0},
        {UINT32_MAX, 0}, {2, (1 << 20) + 1},
        {2, UINT32_MAX}, {UINT32_MAX, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire_message m;
        struct err err = {0};
        struct pair *p = *state;
        send_raw(p, bad[i][0], bad[i][1], "");
        assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_FAILED);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        teardown(state);
        setup(state);
    }
}

static void not_an_object(void **state)
{
    static const char *const bad[] = {"[]",
                                      "1",
                                      "\"x\"",
                                      "{]",
                                      "{}}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":[[[[[[[[[]]]]]]]]]}",
                                      "{\"a\":\"\\u0000\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire_message m;
        struct err err = {0};
        struct pair *p = *state;
        send_raw(p, (uint32_t)strlen(bad[i]), 0, bad[i]);
        assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_FAILED);
        assert_int_not_equal(err.code, ERR_NONE);
        teardown(state);
        setup(state);
    }
}

static void cut_in_the_middle(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err = {0};
    send_raw(p, 14, 3, "{\"type\":");
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_AGAIN);
    close(p->far);
    p->far = -1;
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_FAILED);
    assert_int_equal(err.code, ERR_IO);
}

static void writer_gives_up_on_a_deaf_reader(void **state)
{
    struct pair *p = *state;
    struct err err = {0};
    size_t size = 8 << 20;
    char *big = calloc(1, size);
    cJSON *json = cJSON_Parse("{}");
    assert_false(wire_write(p->near, json, big, size, 50, &err));
    assert_int_equal(err.code, ERR_IO);
    close(p->far);
    p->far = -1;
    assert_false(wire_write(p->near, json, NULL, 0, 50, &err)); /* and no SIGPIPE */
    cJSON_Delete(json);
    free(big);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void descriptors_travel(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err;
    cJSON *json = cJSON_Parse("{\"type\":\"load\"}");
    int before = open_descriptors(), ends[2], too_many[WIRE_FDS_MAX + 1] = {0};
    char byte = 0;
    assert_int_equal(pipe(ends), 0);
    p->reader.takes_fds = true;
    assert_true(wire_write(p->far, json, NULL, 0, 1000, &err));
    assert_true(wire_write_fds(p->far, json, "ab", 2, ends, 2, 1000, &err));
    assert_true(wire_write(p->far, json, NULL, 0, 1000, &err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
        assert_int_equal(m.fd_count, i == 1 ? 2 : 0);
        if (i == 1) {
            assert_true(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
            assert_int_equal(write(m.fds[1], "x", 1), 1);
        }
        wire_message_free(&m);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    assert_false(wire_write_fds(p->far, json, NULL, 0, too_many, WIRE_FDS_MAX + 1, 1000, &err));

    /* Who takes none gets none, and those of a message that was never whole are closed. */
    p->reader.takes_fds = false;
    assert_true(wire_write_fds(p->far, json, NULL, 0, ends, 2, 1000, &err));
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_MESSAGE);
    assert_int_equal(m.fd_count, 0);
    wire_message_free(&m);
    p->reader.takes_fds = true;
    assert_true(wire_write_fds(p->far, json, "ab", 2, ends, 2, 1000, &err));
    p->reader.limits.binary = 1;
    assert_int_equal(wire_read(&p->reader, &m, &err), WIRE_FAILED);
    wire_reader_free(&p->reader);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(open_descriptors(), before);
    cJSON_Delete(json);
}

static void *write_large(void *arg)
{
    struct pair *p = arg;
    size_t size = 1 << 20;
    uint8_t *big = malloc(size);
    cJSON *json = cJSON_Parse("{\"type\":\"large\"}");
    struct err err;
    for (size_t i = 0; i < size; i++)
        big[i] = (uint8_t)(i * 7);
    for (int i = 0; i < 3; i++)
        assert_true(wire_write(p->far, json, big, size, 5000, &err));
    cJSON_Delete(json);
    free(big);
    return NULL;
}

static void larger_than_the_socket(void **state)
{
    struct pair *p = *state;
    struct wire_message m;
    struct err err;
    pthread_t writer;
    pthread_create(&writer, NULL, write_large, p);
    for (int got = 0; got < 3;) {
        enum wire_result result = wire_read(&p->reader, &m, &err);
        if (result == WIRE_AGAIN) {
            usleep(100);
            continue;
        }
        assert_int_equal(result, WIRE_MESSAGE);
        assert_int_equal(m.binary_size, 1 << 20);
        for (size_t i = 0; i < m.binary_size; i++)
            if (m.binary[i] != (uint8_t)(i * 7))
                fail_msg("byte %zu differs", i);
        wire_message_free(&m);
        got++;
    }
    pthread_join(writer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_made_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_over_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(not_an_object, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(writer_gives_up_on_a_deaf_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(larger_than_the_socket, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

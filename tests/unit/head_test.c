/* head_test.c: heads of requests that proxies and this server could read differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/http/head.h"

/* "Name: value" lines, each ended by '\n'. */
static int check(const char *lines, const char *version, struct err *err)
{
    struct head head = {0};
    for (const char *at = lines; *at;) {
        const char *end = strchr(at, '\n'), *colon = strchr(at, ':');
        assert_non_null(end);
        assert_true(colon && colon < end);
        head_add(&head, at, (size_t)(colon - at), colon + 2, (size_t)(end - colon - 2));
        at = end + 1;
    }
    *err = (struct err){0};
    return head_check(&head, version, err);
}

static void test_framing(void **state)
{
    static const struct {
        const char *lines;
        int status, old; /* of HTTP/1.1, 1.0 */
    } rows[] = {
        {"Host: a\n", 0, 0},
        {"", 400, 0},
        {"Host: a\nHost: a\n", 400, 400},
        {"host: a\nHOST: b\n", 400, 400},
        {"Host: a\nContent-Length: 0\n", 0, 0},
        {"Host: a\nContent-Length: 007\n", 0, 0},
        {"Host: a\nContent-Length: \n", 400, 400},
        {"Host: a\nContent-Length: +2\n", 400, 400},
        {"Host: a\nContent-Length: -2\n", 400, 400},
        {"Host: a\nContent-Length: 0x2\n", 400, 400},
        {"Host: a\nContent-Length: 2 \n", 400, 400},
        {"Host: a\nContent-Length: 2, 2\n", 400, 400},
        {"Host: a\nContent-Length: 2\nContent-Length: 2\n", 400, 400},
        {"Host: a\nContent-Length: 2\ncontent-length: 3\n", 400, 400},
        {"Host: a\nTransfer-Encoding: chunked\n", 0, 400},
        {"Host: a\ntransfer-encoding: CHUNKED\n", 0, 400},
        {"Host: a\nTransfer-Encoding: chunked\nContent-Length: 2\n", 400, 400},
        {"Host: a\nContent-Length: 2\nTransfer-Encoding: chunked\n", 400, 400},
        {"Host: a\nContent-Length: 2\nTransfer-Encoding: identity\n", 400, 400},
        {"Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n", 501, 400},
        {"Host: a\nTransfer-Encoding: gzip, chunked\n", 501, 400},
        {"Host: a\nTransfer-Encoding: chunked, chunked\n", 501, 400},
        {"Host: a\nTransfer-Encoding: xchunked\n", 501, 400},
        {"Host: a\nTransfer-Encoding: identity\n", 501, 400},
        {"Host: a\nTransfer-Encoding: \n", 501, 400},
        {"Host: a\nTransfer-Encoding: chunked \n", 501, 400},
        {"Host: a\nContent-Length : 2\n", 400, 400},
        {"Host: a\nX Y: 2\n", 400, 400},
        {"Host: a\n: 2\n", 400, 400},
        {"Host: a\nX(Y): 2\n", 400, 400},
        {"Host: a\nX: a\x01\n", 400, 400},
        {"Host: a\nX: a\rb\n", 400, 400},
        {"Host: a\nX: tab\tand \xc3\xa9\n", 0, 0},
        {"Host: a\nContent-Encoding: identity\n", 0, 0},
        {"Host: a\nContent-Encoding: \n", 0, 0},
        {"Host: a\nContent-Encoding: gzip\n", 415, 415},
        {"Host: a\nContent-Encoding: br\n", 415, 415},
    };
    struct err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int now = check(rows[i].lines, "HTTP/1.1", &err);
        if (now != rows[i].status)
            fail_msg("%s: wanted %d, got %d", rows[i].lines, rows[i].status, now);
        assert_int_equal(err.code != ERR_NONE, now != 0);
        int old = check(rows[i].lines, "HTTP/1.0", &err);
        if (old != rows[i].old)
            fail_msg("%s: wanted %d of HTTP/1.0, got %d", rows[i].lines, rows[i].old, old);
    }
}

static void test_encoding_is_named(void **state)
{
    struct err err;
    assert_int_equal(check("Host: a\nContent-Encoding: zstd\n", "HTTP/1.1", &err), 415);
    assert_non_null(strstr(err.msg, "\"zstd\""));
    check("Host: a\nContent-Encoding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "HTTP/1.1", &err);
    assert_non_null(strstr(err.msg, "aaaaaaaaaaaaaaa\""));
}

static void test_targets(void **state)
{
    static const struct {
        const char *target, *path, *authority; /* path NULL: refused */
    } rows[] = {
        {"/", "/", ""},
        {"/a/b", "/a/b", ""},
        {"//", "/", ""},
        {"//sdapi/v1/txt2img", "/sdapi/v1/txt2img", ""},
        {"/sdapi///v1//txt2img//", "/sdapi/v1/txt2img/", ""},
        {"/a%2F%2Fb", "/a%2F%2Fb", ""},
        {"*", "*", ""},
        {"http://host:1/a", "/a", "host:1"},
        {"HTTPS://Host//a", "/a", "Host"},
        {"http://host", "/", "host"},
        {"http://[::1]:80/", "/", "[::1]:80"},
        {"http://user@host/a", "/a", "user@host"},
        {"http://", NULL, NULL},
        {"http:///a", NULL, NULL},
        {"ftp://host/a", NULL, NULL},
        {"host:80", NULL, NULL},
        {"a", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = strlen(rows[i].target);
        char *path = malloc(size + 2), *authority = malloc(size + 1);
        bool ok = head_target(rows[i].target, path, authority);
        if (ok != (rows[i].path != NULL))
            fail_msg("%s", rows[i].target);
        if (ok) {
            assert_string_equal(path, rows[i].path);
            assert_string_equal(authority, rows[i].authority);
        }
        free(path);
        free(authority);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_encoding_is_named),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* range_test.c: what a Range asks for, by RFC 9110's examples (14.1.2), and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/http/gzip.h"
#include "server/http/range.h"

static void test_ranges(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        enum range_kind kind;
        size_t first, count;
    } rows[] = {
        {"bytes=0-499", 10000, RANGE_PART, 0, 500},
        {"bytes=500-999", 10000, RANGE_PART, 500, 500},
        {"bytes=-500", 10000, RANGE_PART, 9500, 500},
        {"bytes=9500-", 10000, RANGE_PART, 9500, 500},
        {"bytes=0-", 10000, RANGE_PART, 0, 10000},
        {"bytes=0-0", 10000, RANGE_PART, 0, 1},
        {"bytes=-1", 10000, RANGE_PART, 9999, 1},
        {"bytes=9999-20000", 10000, RANGE_PART, 9999, 1},
        {"bytes=-20000", 10000, RANGE_PART, 0, 10000},
        {"Bytes = 1-2 ", 10, RANGE_PART, 1, 2},
        {"bytes=0-99999999999999999999999999", 10, RANGE_PART, 0, 10},
        {"bytes=10000-", 10000, RANGE_OUTSIDE, 0, 0},
        {"bytes=10000-10001", 10000, RANGE_OUTSIDE, 0, 0},
        {"bytes=99999999999999999999999999-", 10, RANGE_OUTSIDE, 0, 0},
        {"bytes=-0", 10, RANGE_OUTSIDE, 0, 0},
        {"bytes=-1", 0, RANGE_OUTSIDE, 0, 0},
        {"bytes=0-", 0, RANGE_OUTSIDE, 0, 0},
        {NULL, 10, RANGE_WHOLE, 0, 0},
        {"", 10, RANGE_WHOLE, 0, 0},
        {"bytes", 10, RANGE_WHOLE, 0, 0},
        {"bytes=", 10, RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, RANGE_WHOLE, 0, 0},
        {"bytes=2-1", 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-1,3-4", 10, RANGE_WHOLE, 0, 0},
        {"bytes=0 - 1", 10, RANGE_WHOLE, 0, 0},
        {"bytes=+1-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1--2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 10, RANGE_WHOLE, 0, 0},
        {"items=0-1", 10, RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t first = 0, count = 0;
        assert_int_equal(range_parse(rows[i].text, rows[i].size, &first, &count), rows[i].kind);
        if (rows[i].kind != RANGE_PART)
            continue;
        assert_int_equal(first, rows[i].first);
        assert_int_equal(count, rows[i].count);
    }
}

static void test_what_shrinks_is_packed(void **state)
{
    char text[2000];
    size_t size;
    memset(text, 'a', sizeof text);
    unsigned char *packed = gzip_pack(text, sizeof text, &size);
    assert_non_null(packed);
    assert_in_range(size, 20, 100);
    assert_int_equal(packed[0], 0x1f);
    assert_int_equal(packed[1], 0x8b);
    free(packed);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)((i * i * 2654435761u) >> 13);
    assert_null(gzip_pack(text, 30, &size));
    assert_null(gzip_pack(text, 0, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_what_shrinks_is_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

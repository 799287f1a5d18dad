/* bodies_test.c: what arrives in request bodies: base64, JSON text, forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/http/multipart.h"

/* ---- base64 ---- */

/* RFC 4648, section 10. */
static const char *const rfc4648[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void test_base64_encode(void **state)
{
    for (size_t i = 0; i < sizeof rfc4648 / sizeof *rfc4648; i++) {
        char *text = base64_encode(rfc4648[i][0], strlen(rfc4648[i][0]));
        assert_string_equal(text, rfc4648[i][1]);
        assert_int_equal(base64_encoded_size(strlen(rfc4648[i][0])), strlen(text));
        free(text);
    }
    assert_true(base64_encoded_size(SIZE_MAX) == SIZE_MAX);
    assert_true(base64_encoded_size(SIZE_MAX / 2) <= SIZE_MAX);
}

static void expect_decoded(const char *text, const char *want)
{
    uint8_t *data;
    size_t size;
    struct err err;
    if (!base64_decode(text, strlen(text), &data, &size, &err))
        fail_msg("'%s': %s", text, err.msg);
    assert_int_equal(size, strlen(want));
    assert_memory_equal(data, want, size);
    free(data);
}

static void expect_refused(const char *text)
{
    uint8_t *data = NULL;
    size_t size;
    struct err err;
    if (base64_decode(text, strlen(text), &data, &size, &err))
        fail_msg("'%s' was taken", text);
    assert_int_equal(err.code, ERR_INVALID);
}

static void test_base64_decode(void **state)
{
    for (size_t i = 0; i < sizeof rfc4648 / sizeof *rfc4648; i++)
        expect_decoded(rfc4648[i][1], rfc4648[i][0]);
    expect_decoded("Zm9v\r\nYmFy\n", "foobar");
    expect_decoded(" Z m 9 v ", "foo");
    expect_decoded("Zg", "f");
    expect_decoded("Zm8", "fo");
    expect_decoded("Zg==\n", "f");
    expect_decoded("Zg====", "f");
    expect_decoded("\xff\xfeZm9v\x80", "foo");
    expect_decoded("data:image/png;base64,Zm9v", "foo");
    expect_decoded("DATA:;charset=x;BASE64, Zm9v", "foo");
    expect_decoded("_-_-", "\xff\xef\xfe");
    expect_decoded("/+/+", "\xff\xef\xfe");
    expect_refused("Z");
    expect_refused("Zm9vY");
    expect_refused("Zg==Zg==");
    expect_refused("data:image/png,abc");
    expect_refused("data:image/png;base64");
    expect_refused("data:");
}

/* Every length and alignment goes there and back, also with a break every few letters. */
static void test_base64_round(void **state)
{
    uint8_t bytes[200], *data;
    size_t size;
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        char *text = base64_encode(bytes, n), broken[600];
        size_t used = 0;
        for (size_t i = 0; text[i]; i++) {
            if (i % 7 == 5)
                broken[used++] = '\n';
            broken[used++] = text[i];
        }
        assert_true(base64_decode(broken, used, &data, &size, NULL));
        assert_int_equal(size, n);
        assert_memory_equal(data, bytes, n);
        free(data);
        free(text);
    }
}

/* ---- JSON ---- */

static void expect_json(const char *text, bool good)
{
    struct err err = {0};
    cJSON *json = json_text_parse(text, strlen(text), 8, &err);
    if ((json != NULL) != good)
        fail_msg("%s: %s", text, good ? err.msg : "was taken");
    if (!good)
        assert_int_equal(err.code, ERR_INVALID);
    cJSON_Delete(json);
}

static void test_json_text(void **state)
{
    expect_json("{}", true);
    expect_json(" {\"a\": [1, 2.5e3, null, true, \"x\"]}\r\n", true);
    expect_json("\"\xc3\xa9\xf0\x9f\x98\x80\"", true);
    expect_json("\"\\u00e9\\ud83d\\ude00\"", true);
    expect_json("\"\\\\u0000\"", true); /* a backslash, then u0000 */
    expect_json("[[[[[[[[1]]]]]]]]", true);
    expect_json("\"[[[[[[[[[[\"", true);
    expect_json("\"\\\"[[[[[[[[[[\"", true);

    expect_json("", false);
    expect_json("{", false);
    expect_json("{\"prompt\":", false);
    expect_json("{} {}", false);
    expect_json("{}x", false);
    expect_json("[[[[[[[[[1]]]]]]]]]", false);
    expect_json("\"\\u0000\"", false);
    expect_json("\"\\ud83d\"", false);
    expect_json("\"\xc3\"", false);
    expect_json("\"\xc0\xaf\"", false);         /* overlong */
    expect_json("\"\xed\xa0\x80\"", false);     /* surrogate */
    expect_json("\"\xf4\x90\x80\x80\"", false); /* above U+10FFFF */
    expect_json("\"\xff\"", false);
    assert_null(json_text_parse("{}\0", 3, 8, NULL));
    assert_null(json_text_parse("\"a\0b\"", 5, 8, NULL));
}

static void test_json_text_mend(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"a\xc3\xa9", "a\xc3\xa9"},
        {"a\xc3", "a"},
        {"a\xf0\x9f\x8e", "a"},
        {"\xc3\"a\"", "?\"a\""},
        {"\xffx\xa9y\xe2\x82", "?x?y"},
        {"\xa9\xa9\xa9\xa9\xa9", "?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[16];
        strcpy(text, rows[i][0]);
        json_text_mend(text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void test_json_text_many(void **state)
{
    struct err err;
    size_t n = 300000;
    char *text = malloc(n);
    memset(text, '[', n);
    assert_null(json_text_parse(text, n, 1000, &err));
    assert_int_equal(err.code, ERR_INVALID);
    for (size_t i = 1; i < n; i++)
        text[i] = i % 2 ? '1' : ',';
    text[n - 1] = ']';
    assert_null(json_text_parse(text, n, 1000, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(text);
}

static void test_code_points(void **state)
{
    size_t n;
    assert_true(json_text_is_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10, &n));
    assert_int_equal(n, 4);
    assert_false(json_text_is_utf8("a\xc3", 2, &n));
}

/* ---- forms ---- */

static const char *const TYPE = "multipart/form-data; boundary=XX";

static bool parse(struct multipart *m, const char *type, const char *body, struct err *err)
{
    return multipart_parse(m, type, body, strlen(body), err);
}

static void test_form(void **state)
{
    struct multipart m;
    struct err err;
    const char *body =
        "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n"
        "a\r\nb\r\n--XX\r\ncontent-disposition: form-data; name=\"image[]\"; "
        "filename=\"\xc3\xa9 \\\"1\\\".png\"\r\nContent-Type: Image/PNG; x=y\r\n\r\n"
        "\r\n-\r\n--X\r\n\r\n--XX  \r\nContent-Disposition: form-data; name=empty\r\n"
        "\r\n\r\n--XX--\r\nepilogue";
    if (!parse(&m, TYPE, body, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(m.count, 3);
    assert_string_equal(m.parts[0].name, "prompt");
    assert_null(m.parts[0].filename);
    assert_null(m.parts[0].mime);
    assert_int_equal(m.parts[0].size, 4);
    assert_memory_equal(m.parts[0].data, "a\r\nb", 4);
    assert_string_equal(m.parts[1].name, "image[]");
    assert_string_equal(m.parts[1].filename, "\xc3\xa9 \"1\".png");
    assert_string_equal(m.parts[1].mime, "image/png");
    assert_int_equal(m.parts[1].size, 10);
    assert_memory_equal(m.parts[1].data, "\r\n-\r\n--X\r\n", 10);
    assert_string_equal(m.parts[2].name, "empty");
    assert_int_equal(m.parts[2].size, 0);
    multipart_free(&m);
}

static void test_form_shapes(void **state)
{
    static const struct {
        const char *type, *body;
    } good[] = {
        {"multipart/form-data; boundary=\"X X\"",
         "--X X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--X X--\r\n"},
        {"Multipart/Form-Data;charset=utf-8;BOUNDARY=X",
         "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--X--"},
        {"multipart/form-data; boundary=X",
         "--X\nContent-Disposition: form-data; name=\"a\"\n\nv\r\n--X--"},
        {"multipart/form-data; boundary=X",
         "--X\r\nX-Other: 1\r\nContent-Disposition: form-data; name*=UTF-8''b; name=\"a\"\r\n\r\n"
         "v\r\n--X--\r\n"},
        {"multipart/form-data; boundary=X",
         "--X\r\nContent-Disposition: form-data ;name = \"a\"\r\n\r\nv\r\n--X--\r\n"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct multipart m;
        struct err err;
        if (!parse(&m, good[i].type, good[i].body, &err))
            fail_msg("%zu: %s", i, err.msg);
        assert_int_equal(m.count, 1);
        assert_string_equal(m.parts[0].name, "a");
        assert_int_equal(m.parts[0].size, 1);
        multipart_free(&m);
    }
}

static void test_form_filenames(void **state)
{
    static const char *const names[][2] = {
        {"filename=\"a.png\"", "a.png"},
        {"filename=a.png", "a.png"},
        {"filename=\"\"", ""},
        {"filename=\"C:\\dir\\a.png\"", "C:\\dir\\a.png"},
        {"filename=\"a%22b%22.png\"", "a\"b\".png"},
        {"filename=\"100%.png\"", "100%.png"},
        {"filename=\"x\"; filename*=UTF-8''%c3%a9.png", "\xc3\xa9.png"},
        {"filename*=utf-8'en'%C3%A9.png; filename=\"x\"", "\xc3\xa9.png"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char body[256];
        struct multipart m;
        struct err err;
        snprintf(body, sizeof body,
                 "--XX\r\nContent-Disposition: form-data; name=\"f\"; %s\r\n\r\nv\r\n--XX--",
                 names[i][0]);
        if (!parse(&m, TYPE, body, &err))
            fail_msg("%s: %s", names[i][0], err.msg);
        assert_string_equal(m.parts[0].filename, names[i][1]);
        multipart_free(&m);
    }
}

static void test_form_hostile(void **state)
{
    static const struct {
        const char *type, *body;
    } bad[] = {
        {NULL, "--XX--"},
        {"application/json", "{}"},
        {"multipart/form-data", "--XX--"},
        {"multipart/form-data; boundary=", "--XX--"},
        {"multipart/form-data; boundary=\"\"", "----"},
        {"multipart/form-data; boundary=XX", ""},
        {"multipart/form-data; boundary=XX", "--YY--"},
        {"multipart/form-data; boundary=XX", "--XX"},
        {"multipart/form-data; boundary=XX", "--XX-"},
        {"multipart/form-data; boundary=XX", "--XX\r\n"},
        {"multipart/form-data; boundary=XX", "--XXjunk\r\n\r\nv\r\n--XX--"},
        {"multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data; name=\"a\""},
        {"multipart/form-data; boundary=XX",
         "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue"},
        {"multipart/form-data; boundary=XX",
         "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--XX"},
        {"multipart/form-data; boundary=XX",
         "--XX\r\nContent-Disposition: form-data\r\n\r\nv\r\n--XX--"},
        {"multipart/form-data; boundary=XX", "--XX\r\n\r\nv\r\n--XX--"},
        {"multipart/form-data; boundary=XX",
         "--XX\r\nContent-Disposition: form-data; name=\"a%00b\"\r\n\r\nv\r\n--XX--"},
        {"multipart/form-data; boundary=XX",
         "--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\nv\r\n--XX--"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct multipart m;
        struct err err = {0};
        if (parse(&m, bad[i].type, bad[i].body, &err))
            fail_msg("%zu was taken", i);
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(m.parts);
    }
}

static void test_form_limits(void **state)
{
    static const char part[] = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n";
    size_t n = sizeof part - 1, count = MULTIPART_PARTS_MAX;
    char *body = malloc((count + 1) * n + 16);
    struct multipart m;
    struct err err;
    for (size_t i = 0; i <= count; i++)
        memcpy(body + i * n, part, n);
    strcpy(body + count * n, "--XX--");
    assert_true(parse(&m, TYPE, body, &err));
    assert_int_equal(m.count, count);
    multipart_free(&m);
    memcpy(body + count * n, part, n);
    strcpy(body + (count + 1) * n, "--XX--");
    assert_false(parse(&m, TYPE, body, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(body);

    char *wide = calloc(1, MULTIPART_HEADERS_MAX + 200);
    strcpy(wide, "--XX\r\nX-Pad: ");
    memset(wide + strlen(wide), 'x', MULTIPART_HEADERS_MAX);
    strcat(wide, "\r\n\r\nv\r\n--XX--");
    assert_false(parse(&m, TYPE, wide, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(wide);
}

/* Cut anywhere, a body is an error and never a shorter form. */
static void test_form_cut(void **state)
{
    const char *body = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--X\r\n--XX\r\n"
                       "Content-Disposition: form-data; name=\"b\"; filename=\"f\"\r\n"
                       "Content-Type: image/png\r\n\r\ndata\r\n--XX--";
    for (size_t n = 0; n < strlen(body); n++) {
        char *copy = malloc(n + 1); /* its own block, so that a sanitizer sees a step too far */
        struct multipart m;
        memcpy(copy, body, n);
        assert_false(multipart_parse(&m, TYPE, copy, n, NULL));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_encode),  cmocka_unit_test(test_base64_decode),
        cmocka_unit_test(test_base64_round),   cmocka_unit_test(test_json_text),
        cmocka_unit_test(test_json_text_mend),
        cmocka_unit_test(test_json_text_many), cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_form),           cmocka_unit_test(test_form_shapes),
        cmocka_unit_test(test_form_filenames), cmocka_unit_test(test_form_hostile),
        cmocka_unit_test(test_form_limits),    cmocka_unit_test(test_form_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

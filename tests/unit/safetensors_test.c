/* safetensors_test.c: good files, and a table of hostile ones. */
#include "engine/io/safetensors.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/tiny/text.safetensors"

/* A file of this header and `data` bytes, each its own place modulo 256. In a block of exactly its
 * size, so that a sanitizer sees reads past the end. */
static unsigned char *make(const char *json, size_t json_len, size_t data, size_t *size)
{
    *size = 8 + json_len + data;
    unsigned char *file = malloc(*size);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)json_len >> 8 * i);
    memcpy(file + 8, json, json_len);
    for (size_t i = 0; i < data; i++)
        file[8 + json_len + i] = (unsigned char)i;
    return file;
}

static void good(void **state)
{
    static const char json[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"modelspec.title\":\"T\\u00e9st\"},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[5,17]},"
        "\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[5],\"data_offsets\":[0,5]},"
        "\"scalar\":{\"data_offsets\":[17,25],\"dtype\":\"I64\",\"shape\":[]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[25,25]},"
        "\"flags\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[25,28]},"
        "\"new\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[28,30]}}   ";
    size_t size;
    unsigned char *file = make(json, sizeof json - 1, 30, &size);
    struct err err;
    struct safetensors *st = safetensors_open_memory(file, size, &err);
    if (!st)
        fail_msg("%s", err.msg);
    assert_int_equal(safetensors_count(st), 6);
    assert_string_equal(safetensors_at(st, 0)->name, "a");
    assert_string_equal(safetensors_metadata(st, "modelspec.title"), "T\xc3\xa9st");
    assert_null(safetensors_metadata(st, "other"));
    assert_null(safetensors_find(st, "c"));
    assert_null(safetensors_find(st, "__metadata__"));

    const struct raw_tensor *b = safetensors_find(st, "b");
    assert_non_null(b);
    assert_int_equal(b->dtype, DTYPE_F16);
    assert_int_equal(b->ndim, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->bytes, 12);
    assert_int_equal(*(const unsigned char *)b->data, 5);
    assert_int_equal(safetensors_find(st, "scalar")->ndim, 0);
    assert_int_equal(safetensors_find(st, "empty")->bytes, 0);
    assert_int_equal(safetensors_find(st, "flags")->dtype, DTYPE_OTHER);
    assert_int_equal(safetensors_find(st, "new")->dtype, DTYPE_OTHER);
    safetensors_close(st);
    free(file);
}

static void without_metadata(void **state)
{
    size_t size;
    unsigned char *file = make("{}", 2, 0, &size);
    struct safetensors *st = safetensors_open_memory(file, size, NULL);
    assert_non_null(st);
    assert_int_equal(safetensors_count(st), 0);
    assert_null(safetensors_metadata(st, "format"));
    assert_null(safetensors_find(st, "a"));
    safetensors_close(st);
    free(file);
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{\"a\":" T(dtype, shape, offsets) "}"
#define TWICE(x) x x
#define DEEP TWICE(TWICE(TWICE(TWICE(TWICE(TWICE(TWICE(TWICE(TWICE(TWICE("[")))))))))) /* 1024 */

static const struct {
    const char *json;
    const char *message; /* a part of it */
} hostile[] = {
    {"", "not a JSON object"},
    {"[]", "not a JSON object"},
    {"null", "not a JSON object"},
    {"{} x", "not a JSON object"},
    {"{\"a\":", "not a JSON object"},
    {"{\"a", "not a JSON object"},
    {"{\"a\\", "not a JSON object"},
    {"{\"a\":" DEEP, "nested deeper"},
    {DEEP, "nested deeper"},
    {"{\"a\":1}", "wanted {dtype, shape, data_offsets}"},
    {"{\"a\":[]}", "wanted {dtype, shape, data_offsets}"},
    {"{\"a\":{}}", "wanted {dtype, shape, data_offsets}"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "wanted {dtype, shape, data_offsets}"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     "wanted {dtype, shape, data_offsets}"},
    {"{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", "wanted {dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", "wanted {dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"0\":0}}}", "wanted {dtype"},
    {ONE("F32", "[1]", "[0,8]"), "wants 1 elements of 4 bytes, found 8"},
    {ONE("F16", "[4]", "[0,4]"), "wants 4 elements of 2 bytes, found 4"},
    {ONE("F64", "[2]", "[0,8]"), "wants 2 elements of 8 bytes, found 8"},
    {ONE("F32", "[4]", "[0]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[0,8,16]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[16,0]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[-16,0]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[\"0\",16]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[0.5,16.5]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[0,1e400]"), "not [begin, end]"},
    {ONE("F32", "[4]", "[18446744073709551600,18446744073709551616]"), "not [begin, end]"},
    {ONE("F32", "[8]", "[16,48]"), "ends at byte 48"},
    {ONE("F32", "[0]", "[33,33]"), "ends at byte 33"},
    {ONE("X9", "[8]", "[0,33]"), "ends at byte 33"},
    {ONE("F32", "[-1]", "[0,4]"), "a dimension is not a whole number"},
    {ONE("F32", "[1.5]", "[0,4]"), "a dimension is not a whole number"},
    {ONE("F32", "[true]", "[0,4]"), "a dimension is not a whole number"},
    {ONE("F32", "[[1]]", "[0,4]"), "a dimension is not a whole number"},
    {ONE("F32", "[1e17]", "[0,4]"), "a dimension is not a whole number"},
    {ONE("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "more than 8 dimensions"},
    {ONE("F32", "[4294967296,4294967296]", "[0,0]"), "shape too large"},
    {ONE("F32", "[4294967296,4294967296,0]", "[0,0]"), "shape too large"},
    /* 2^62 elements fit a size, their bytes do not: they wrap around to 0. */
    {ONE("F32", "[4611686018427387904]", "[0,0]"), "a dimension is not a whole number"},
    {ONE("F32", "[2147483648,2147483648]", "[0,0]"), "wants 4611686018427387904 elements"},
    {"{\"a\":" T("F32", "[4]", "[0,16]") ",\"b\":" T("F32", "[4]", "[12,28]") "}",
     "a and b overlap"},
    {"{\"a\":" T("F32", "[8]", "[0,32]") ",\"b\":" T("F32", "[1]", "[8,12]") "}",
     "a and b overlap"},
    {"{\"a\":" T("F32", "[4]", "[0,16]") ",\"b\":" T("F32", "[4]", "[0,16]") "}", "overlap"},
    {"{\"a\":" T("F32", "[4]", "[0,16]") ",\"a\":" T("F32", "[4]", "[16,32]") "}",
     "a is there twice"},
    {"{\"a\":" T("F32", "[4]", "[0,16]") ",\"\\u0061\":" T("F32", "[4]", "[16,32]") "}",
     "a is there twice"},
    {"{\"a\\u0000b\":" T("F32", "[4]", "[0,16]") "}", "a NUL byte"},
    {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", "a NUL byte"},
    {"{\"\x1b[31m\xff\":1}", "?[31m?: wanted"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__ is there twice"},
    {"{\"__metadata__\":{\"k\":1}}", "not a string"},
    {"{\"__metadata__\":\"k\"}", "__metadata__ is not an object"},
};

static void assert_refused(const void *file, size_t size, enum err_code code, const char *message,
                           const char *what)
{
    struct err err = {0};
    struct safetensors *st = safetensors_open_memory(file, size, &err);
    if (st || err.code != code || !strstr(err.msg, message))
        fail_msg("%.80s: got %s \"%s\", wanted \"%s\"", what, st ? "a file" : err_name(err.code),
                 err.msg, message);
}

static void hostile_headers(void **state)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        size_t size;
        unsigned char *file = make(hostile[i].json, strlen(hostile[i].json), 32, &size);
        assert_refused(file, size, ERR_INVALID, hostile[i].message, hostile[i].json);
        free(file);
    }
}

static void nul_bytes(void **state)
{
    static const char in_name[] = "{\"a\0b\":" T("F32", "[4]", "[0,16]") "}";
    static const char behind[] = "{}\0";
    size_t size;
    unsigned char *file = make(in_name, sizeof in_name - 1, 32, &size);
    assert_refused(file, size, ERR_INVALID, "a NUL byte", "NUL in a name");
    free(file);
    file = make(behind, sizeof behind - 1, 32, &size);
    assert_refused(file, size, ERR_INVALID, "a NUL byte", "NUL behind the object");
    free(file);
}

/* [0,0,...]: `commas` of them, and the bracket, are what the limit counts. */
static void check_values(size_t commas, enum err_code code, const char *message)
{
    size_t len = 2 * commas + 3, size;
    char *json = malloc(len);
    assert_non_null(json);
    for (size_t i = 0; i < len; i++)
        json[i] = i % 2 ? '0' : ',';
    json[0] = '[';
    json[len - 1] = ']';
    unsigned char *file = make(json, len, 0, &size);
    free(json);
    assert_refused(file, size, code, message, "a million values");
    free(file);
}

static void too_many_values(void **state)
{
    check_values(999999, ERR_INVALID, "not a JSON object");
    check_values(1000000, ERR_TOO_LARGE, "more than 1000000 values");
}

static void bad_lengths(void **state)
{
    static const unsigned char zeros[8];
    static const unsigned char all_ones[9] = {255, 255, 255, 255, 255, 255, 255, 255, '{'};
    static const unsigned char past_end[10] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    static const unsigned char huge[10] = {0, 0, 0, 0, 0, 0, 0, 128, '{', '}'};
    assert_refused(zeros, 0, ERR_INVALID, "empty", "nothing");
    assert_refused(zeros, 7, ERR_INVALID, "zeros", "7 bytes");
    assert_refused(zeros, 8, ERR_INVALID, "zeros", "no header");
    assert_refused(all_ones, 9, ERR_INVALID, "cut short", "length 2^64 - 1");
    assert_refused(past_end, 10, ERR_INVALID, "cut short", "header past the end");
    assert_refused(huge, 10, ERR_INVALID, "cut short", "length 2^63");
}

/* What people have in their folders in place of a model, and what it is called. */
static void other_files(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum err_code code;
        const char *message;
    } files[] = {
#define F(bytes, code, message) {bytes, sizeof bytes - 1, code, message}
        F("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ERR_INVALID, "Git LFS"),
        F("<!DOCTYPE html><html>Sign in</html>", ERR_INVALID, "web page (HTML)"),
        F("\xef\xbb\xbf \r\n<HTML lang=de>", ERR_INVALID, "web page (HTML)"),
        F("<?xml version=\"1.0\"?><Error>", ERR_INVALID, "XML"),
        F("{\"error\": \"not found\"}", ERR_INVALID, "JSON"),
        F("Entry not found", ERR_INVALID, "a text"),
        F("PK\3\4\0\0\10\10xxxxxxxxxxxxxxxxxx\20\0\0\0archive/data.pkl", ERR_UNSUPPORTED,
          "PyTorch checkpoint"),
        F("PK\3\4\0\0\10\10xxxxxxxxxxxxxxxxxx\7\0\0\0foo.txt", ERR_UNSUPPORTED, "zip archive"),
        F("\x80\2\x8a\nl\xfc\x9c", ERR_UNSUPPORTED, "pickle"),
        F("GGUF\3\0\0\0\0\0\0\0", ERR_UNSUPPORTED, "GGUF"),
        F("\x1f\x8b\10\0", ERR_UNSUPPORTED, "gzip"),
        F("\x89PNG\r\n\x1a\n", ERR_UNSUPPORTED, "picture"),
        F("\0\0\0\0\0\0\0\0\0\0\0\0", ERR_INVALID, "zeros"),
        F("\x40\0\0\0\0\0\0\0{\"a\":", ERR_INVALID, "cut short"),
        F("\0\0\0\0\1\0\0\0{\"a\":", ERR_INVALID, "cut short"),
#undef F
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_refused(files[i].bytes, files[i].size, files[i].code, files[i].message,
                       files[i].message);
}

/* A real file, cut at every place in the header and at some in the data, is refused. */
static void truncated(void **state)
{
    FILE *f = fopen(GOLDEN, "rb");
    assert_non_null(f);
    static unsigned char all[200000];
    size_t size = fread(all, 1, sizeof all, f);
    fclose(f);
    size_t header = 8 + ((size_t)all[0] | (size_t)all[1] << 8 | (size_t)all[2] << 16);
    struct safetensors *st = safetensors_open_memory(all, size, NULL);
    assert_non_null(st);
    safetensors_close(st);
    for (size_t n = 0; n < size; n += n < header ? 1 : 997) {
        unsigned char *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, all, n);
        struct err err = {0};
        if (safetensors_open_memory(cut, n, &err) || !*err.msg)
            fail_msg("cut to %zu bytes: accepted", n);
        free(cut);
    }
}

/* The header alone says as much as the file, and what is asked for is fetched. */
static void header_alone(void **state)
{
    struct err err = {0};
    char name[] = "/tmp/safetensors_test.XXXXXX";
    int fd = open(GOLDEN, O_RDONLY), cut = mkstemp(name);
    struct safetensors *whole = safetensors_open(GOLDEN, &err);
    struct safetensors *st = safetensors_open_header(fd, NULL, &err);
    assert_non_null(whole);
    assert_non_null(st);
    assert_int_equal(safetensors_count(st), safetensors_count(whole));
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *a = safetensors_at(st, i), *b = safetensors_at(whole, i);
        assert_string_equal(a->name, b->name);
        assert_null(a->data);
        assert_int_equal(a->bytes, b->bytes);
        void *bytes = malloc(a->bytes + 1);
        assert_non_null(bytes);
        assert_true(raw_tensor_read(a, bytes, &err));
        assert_memory_equal(bytes, b->data, b->bytes);
        free(bytes);
    }
    safetensors_close(st);
    safetensors_close(whole);
    close(fd);

    /* A file that becomes shorter is an error, not a signal. */
    size_t size;
    static const char json[] = ONE("F32", "[1]", "[0,4]");
    unsigned char *file = make(json, sizeof json - 1, 4, &size);
    assert_int_equal(write(cut, file, size), size);
    st = safetensors_open_header(cut, NULL, &err);
    assert_non_null(st);
    assert_int_equal(ftruncate(cut, (off_t)size - 1), 0);
    float f;
    assert_false(raw_tensor_read(safetensors_at(st, 0), &f, &err));
    assert_int_equal(err.code, ERR_IO);
    safetensors_close(st);
    assert_null(safetensors_open_header(cut, NULL, &err)); /* its data is cut short */
    assert_non_null(strstr(err.msg, "cut short"));
    free(file);
    close(cut);
    unlink(name);
}

static void files(void **state)
{
    struct err err = {0};
    struct safetensors *st = safetensors_open(GOLDEN, &err);
    if (!st)
        fail_msg("%s", err.msg);
    const struct raw_tensor *t = safetensors_find(st, "empty.ids");
    assert_non_null(t);
    float ids[77];
    assert_int_equal(t->bytes, sizeof ids);
    dtype_to_f32(t->dtype, t->data, ids, 77);
    assert_true(ids[0] == 49406 && ids[76] == 49407);
    safetensors_close(st);

    assert_null(safetensors_open("tests/golden/none.safetensors", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.msg, "No such file or directory");
    assert_string_equal(err.where, "tests/golden/none.safetensors");
    assert_null(safetensors_open("tests/golden", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(safetensors_open("/dev/zero", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(safetensors_open("tests/golden/tiny/index.txt", &err));
    assert_non_null(strstr(err.msg, "not a file of weights"));
    assert_string_equal(err.where, "tests/golden/tiny/index.txt");
    safetensors_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(without_metadata),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(too_many_values),
        cmocka_unit_test(bad_lengths),
        cmocka_unit_test(other_files),
        cmocka_unit_test(truncated),
        cmocka_unit_test(header_alone),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

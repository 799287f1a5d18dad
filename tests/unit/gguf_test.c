/* gguf_test.c: every type of GGML's that is read gives what PyPI's `gguf` makes of it, bit for bit,
 * whole and in pieces; and a table of hostile files, of which each is refused with its reason. */
#include "engine/io/gguf.h"

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

#include "engine/compute/ops.h"
#include "engine/io/tensor_file.h"
#include "tests/unit/nchw.h"

#define FOLDER "tests/golden/gguf/"

static unsigned char *golden;
static size_t golden_size;

static int load(void **state)
{
    int fd = open(FOLDER "kinds.gguf", O_RDONLY | O_CLOEXEC);
    golden_size = fd < 0 ? 0 : (size_t)lseek(fd, 0, SEEK_END);
    golden = malloc(golden_size + 1);
    bool ok = golden && golden_size && pread(fd, golden, golden_size, 0) == (ssize_t)golden_size;
    close(fd);
    return ok ? 0 : -1;
}

static int unload(void **state)
{
    free(golden);
    return 0;
}

/* All of it, and from every place in the first two blocks on. */
static void compare(const struct raw_tensor *t, const struct raw_tensor *want)
{
    size_t n = raw_tensor_count(want);
    float *got = malloc(n * sizeof *got);
    const float *numbers = want->data;
    assert_non_null(got);
    assert_int_equal(raw_tensor_count(t), n);
    assert_int_equal(t->ndim, want->ndim);
    assert_memory_equal(t->shape, want->shape, (size_t)t->ndim * sizeof *t->shape);
    raw_tensor_floats(t, 0, n, got);
    if (memcmp(got, numbers, n * sizeof *got) != 0)
        fail_msg("%s: other numbers", t->name);
    for (size_t first = 0; first < 514 && first < n; first++) {
        for (size_t some = 1; some <= n - first; some = 3 * some + 1) {
            raw_tensor_floats(t, first, some, got);
            if (memcmp(got, numbers + first, some * sizeof *got) != 0)
                fail_msg("%s: other numbers from %zu on", t->name, first);
        }
    }
    free(got);
}

static void kinds(void **state)
{
    struct err err;
    int fd = open(FOLDER "kinds.safetensors", O_RDONLY | O_CLOEXEC);
    struct tensor_file *want = tensor_file_open_fd(fd, NULL, &err);
    struct tensor_file *tf = tensor_file_open_memory(golden, golden_size, &err);
    close(fd);
    if (!want || !tf)
        fail_msg("%s", err.msg);
    assert_int_equal(tensor_file_count(tf), tensor_file_count(want) + 1); /* I32 */
    for (size_t i = 0; i < tensor_file_count(want); i++) {
        const struct raw_tensor *w = tensor_file_at(want, i), *t = tensor_file_find(tf, w->name);
        if (!t)
            fail_msg("no %s", w->name);
        compare(t, w);
    }
    assert_string_equal(tensor_file_metadata(tf, "general.architecture"), "sd1");
    assert_string_equal(tensor_file_metadata(tf, "general.name"), "kinds");
    assert_null(tensor_file_metadata(tf, "numbers"));
    assert_null(tensor_file_metadata(tf, "half"));
    tensor_file_close(tf);
    tensor_file_close(want);
}

static void header_alone(void **state)
{
    struct err err;
    int fd = open(FOLDER "kinds.gguf", O_RDONLY | O_CLOEXEC);
    struct tensor_file *tf = tensor_file_open_header(fd, NULL, &err);
    struct tensor_file *whole = tensor_file_open_memory(golden, golden_size, &err);
    assert_non_null(tf);
    assert_non_null(whole);
    for (size_t i = 0; i < tensor_file_count(whole); i++) {
        const struct raw_tensor *a = tensor_file_at(tf, i), *b = tensor_file_at(whole, i);
        unsigned char *bytes = malloc(a->bytes + 1);
        assert_string_equal(a->name, b->name);
        assert_null(a->data);
        assert_true(bytes && a->bytes == b->bytes && raw_tensor_read(a, bytes, &err));
        assert_memory_equal(bytes, b->data, b->bytes);
        free(bytes);
    }
    tensor_file_close(whole);
    tensor_file_close(tf);
    close(fd);
}

/* y = x w^T + bias for `pixels` pixels; malloc'd. */
static float *multiply(struct device *dev, const struct matrix *m, int pixels, int k)
{
    struct err err;
    struct arena arena = {0};
    struct ops o = {dev, &arena};
    enum dtype dtype = device_dtype(dev);
    float *x = malloc((size_t)(pixels * k) * sizeof *x);
    float *y = malloc((size_t)(pixels * matrix_rows(m)) * sizeof *y);
    assert_true(x && y);
    for (int i = 0; i < pixels * k; i++)
        x[i] = (float)(i * 37 % 101 - 50) / 64;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            arena_plan(&arena);
        else
            assert_true(arena_init(&arena, arena.peak, &err));
        struct tensor in = tensor_new(&arena, dtype, 1, 1, pixels, k, 0);
        struct tensor out = tensor_new(&arena, DTYPE_F32, 1, 1, pixels, matrix_rows(m), 0);
        nchw_load(&o, &in, x);
        ops_linear(&o, &out, &in, m, NULL);
        if (pass == 1)
            nchw_store(&o, y, &out);
    }
    arena_free(&arena);
    free(x);
    return y;
}

enum { ROWS = 24, COLUMNS = 64, PIXELS = 5 };

static float *product(struct device *dev, const struct matrix_part *part, bool coarse)
{
    struct err err;
    struct matrix *m = (coarse ? matrix_new_coarse : matrix_new_stacked)(dev, MATRIX_LINEAR,
                                                                         COLUMNS, part, 1, &err);
    assert_non_null(m);
    float *y = multiply(dev, m, PIXELS, COLUMNS);
    matrix_free(m);
    return y;
}

/* Weights and biases in blocks, at a scale, are packed as their numbers are: rows that are whole
 * blocks, and rows of which four make one. */
static void packed(void **state)
{
    static const char *const names[] = {
        "blocks.Q4_0", "blocks.Q4_1",   "blocks.Q5_0",   "blocks.Q5_1", "blocks.Q8_0",
        "blocks.BF16", "blocks.Q2_K",   "blocks.Q3_K",   "blocks.Q4_K", "blocks.Q5_K",
        "blocks.Q6_K", "blocks.IQ4_NL", "blocks.IQ4_XS", "blocks.MXFP4"};
    struct err err;
    struct tensor_file *tf = tensor_file_open_memory(golden, golden_size, &err);
    assert_non_null(tf);
    float numbers[ROWS * COLUMNS], bias[ROWS];
    for (int i = 0; device_level_name(i); i++) {
        for (int kind = 0; kind < 3; kind++) {
            struct device_options options = {
                .threads = 1, .cpu = device_level_name(i), .bf16 = kind == 1, .int8 = kind == 2};
            struct device *dev = device_new(&options, &err);
            for (size_t n = 0; dev && n < sizeof names / sizeof *names; n++) {
                const struct raw_tensor *t = tensor_file_find(tf, names[n]);
                assert_non_null(t);
                for (int how = 0; how < 4; how++) {
                    bool at = how & 1, stays = how & 2;
                    struct matrix_part part = {
                        ROWS,  t->dtype, t->dtype, t->data, t->data, at ? 0.375f : 0,
                        stays, NULL,     NULL,     0,       false};
                    struct matrix_part plain = {ROWS,  DTYPE_F32, DTYPE_F32, numbers, bias, 0,
                                                false, NULL,      NULL,      0,       false};
                    raw_tensor_floats(t, 0, ROWS * COLUMNS, numbers);
                    memcpy(bias, numbers, sizeof bias);
                    for (int k = 0; at && k < ROWS * COLUMNS; k++)
                        numbers[k] *= 0.375f;
                    float *got = product(dev, &part, kind == 2);
                    float *want = product(dev, &plain, kind == 2);
                    assert_memory_equal(got, want, PIXELS * ROWS * sizeof *got);
                    free(got);
                    free(want);
                }
            }
            device_free(dev);
        }
    }
    tensor_file_close(tf);
}

/* Weights that stay in blocks until a product wants them: the product is that of their numbers.
 * Then others are packed into the matrix, and it goes back. */
static void lean_case(struct device *dev, enum matrix_kind kind, int pixels, int k, int n1, int n2)
{
    struct err err;
    size_t count = (size_t)(n1 + n2) * (size_t)k, bytes = count / 32 * 34;
    unsigned char *blocks = malloc(bytes);
    float *numbers = malloc(count * sizeof *numbers);
    assert_true(blocks && numbers);
    for (size_t i = 0; i < bytes; i++)
        blocks[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < bytes; i += 34)
        memcpy(blocks + i, "\x12\x14", 2); /* about 2^-10 */
    dtype_to_f32(DTYPE_Q8_0, blocks, numbers, count);
    const unsigned char *second = blocks + (size_t)n1 * (size_t)k / 32 * 34;
    struct matrix_part lean[2] = {
        {n1, DTYPE_Q8_0, DTYPE_F32, blocks, numbers, 0, true, NULL, NULL, 0, false},
        {n2, DTYPE_Q8_0, DTYPE_F32, second, numbers + n1, 0, true, NULL, NULL, 0, false},
    };
    struct matrix_part plain[2] = {
        {n1, DTYPE_F32, DTYPE_F32, numbers, numbers, 0, false, NULL, NULL, 0, false},
        {n2, DTYPE_F32, DTYPE_F32, numbers + (size_t)n1 * (size_t)k, numbers + n1, 0, false, NULL,
         NULL, 0, false},
    };
    int parts = n2 ? 2 : 1;
    struct matrix *a = matrix_new_stacked(dev, kind, k, lean, parts, &err);
    struct matrix *b = matrix_new_stacked(dev, kind, k, plain, parts, &err);
    assert_true(a && b && matrix_bytes(a) < matrix_bytes(b));
    float *want = multiply(dev, b, pixels, k);
    size_t size = (size_t)(pixels * matrix_rows(a)) * sizeof *want;
    for (int round = 0; round < 3; round++) {
        float *got = multiply(dev, a, pixels, k);
        if (memcmp(got, want, size) != 0)
            fail_msg("%s: kind %d pixels %d k %d n %d+%d, round %d: another product",
                     device_level(dev), kind, pixels, k, n1, n2, round);
        free(got);
        assert_true(matrix_refill(dev, a, round ? lean : plain, parts, NULL));
    }
    matrix_free(a);
    matrix_free(b);
    free(want);
    free(blocks);
    free(numbers);
}

static void lean(void **state)
{
    struct err err;
    for (int i = 0; device_level_name(i); i++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct device_options options = {
                .threads = 2, .cpu = device_level_name(i), .bf16 = bf16};
            struct device *dev = device_new(&options, &err);
            if (!dev)
                continue;
            lean_case(dev, MATRIX_LINEAR, 1, 32, 1, 0);
            lean_case(dev, MATRIX_LINEAR, 70, 96, 33, 0);
            lean_case(dev, MATRIX_LINEAR, 600, 32, 64, 200);
            lean_case(dev, MATRIX_LINEAR, 65, 1056, 320, 0);
            lean_case(dev, MATRIX_LINEAR, 70, 12800, 40, 31); /* more than one chunk of k */
            lean_case(dev, MATRIX_GATED, 70, 64, 66, 0);
            lean_case(dev, MATRIX_GATED, 9, 320, 512, 0);
            lean_case(dev, MATRIX_SWIGLU, 70, 64, 33, 33);
            lean_case(dev, MATRIX_SWIGLU, 9, 320, 256, 256);
            lean_case(dev, MATRIX_GATED_TANH, 9, 320, 256, 256);
            device_free(dev);
        }
    }
}

/* A file put together: its version, counts, then text. */
struct made {
    unsigned char bytes[1024];
    size_t size;
};

static void add(struct made *m, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        m->bytes[m->size++] = (unsigned char)(value >> 8 * i);
}

static void add_text(struct made *m, const char *text)
{
    add(m, strlen(text), 8);
    memcpy(m->bytes + m->size, text, strlen(text));
    m->size += strlen(text);
}

static struct made start(uint64_t tensors, uint64_t values)
{
    struct made m = {{'G', 'G', 'U', 'F'}, 4};
    add(&m, 3, 4);
    add(&m, tensors, 8);
    add(&m, values, 8);
    return m;
}

static void add_tensor(struct made *m, const char *name, uint64_t columns, uint64_t rows,
                       uint64_t type, uint64_t offset)
{
    add_text(m, name);
    add(m, 2, 4);
    add(m, columns, 8);
    add(m, rows, 8);
    add(m, type, 4);
    add(m, offset, 8);
}

static void assert_refused(const void *data, size_t size, enum err_code code, const char *message)
{
    struct err err = {0};
    unsigned char *copy = malloc(size + 1); /* so that a byte too many is seen */
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct tensor_file *tf = tensor_file_open_memory(copy, size, &err);
    if (tf || err.code != code || !strstr(err.msg, message))
        fail_msg("wanted \"%s\", got %s", message, tf ? "a file" : err.msg);
    free(copy);
}

static void hostile_tensors(void **state)
{
    static const struct {
        uint64_t columns, rows, type, offset;
        enum err_code code;
        const char *message;
    } cases[] = {
        {32, 1, 2, 32, ERR_INVALID, "cut short?"},
        {32, 1ull << 40, 2, 0, ERR_INVALID, "cut short?"},
        {1ull << 33, 1ull << 33, 0, 0, ERR_INVALID, "shape too large"},
        {1ull << 62, 1, 0, 0, ERR_INVALID, "shape too large"},
        {33, 1, 2, 0, ERR_INVALID, "no blocks of 32"},
        {32, 1, 12, 0, ERR_INVALID, "no blocks of 256"},
        {32, 1, 21, 0, ERR_UNSUPPORTED, "IQ3_S"},
        {32, 1, 4, 0, ERR_UNSUPPORTED, "type 4"},
        {32, 1, UINT32_MAX, 0, ERR_UNSUPPORTED, "type 4294967295"},
        {4, 1, 0, 1, ERR_INVALID, "alignment"},
        {4, 1, 0, UINT64_MAX - 31, ERR_INVALID, "cut short?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made m = start(1, 0);
        add_tensor(&m, "w", cases[i].columns, cases[i].rows, cases[i].type, cases[i].offset);
        m.size = (m.size + 31) / 32 * 32 + 32;
        assert_refused(m.bytes, m.size, cases[i].code, cases[i].message);
    }
    struct made m = start(2, 0);
    add_tensor(&m, "w", 4, 4, 0, 0);
    add_tensor(&m, "v", 4, 1, 0, 32);
    assert_refused(m.bytes, m.size + 256, ERR_INVALID, "w and v overlap");
    m = start(2, 0);
    add_tensor(&m, "w", 4, 1, 0, 0);
    add_tensor(&m, "w", 4, 1, 0, 32);
    assert_refused(m.bytes, m.size + 256, ERR_INVALID, "w is there twice");
    m = start(1, 0);
    add_text(&m, "w");
    add(&m, 5, 4);
    assert_refused(m.bytes, m.size + 256, ERR_INVALID, "5 dimensions");
}

static void hostile_headers(void **state)
{
    struct made m = start(1ull << 60, 0);
    assert_refused(m.bytes, m.size, ERR_TOO_LARGE, "tensors");
    m = start(0, 1ull << 60);
    assert_refused(m.bytes, m.size, ERR_TOO_LARGE, "values");
    m = start(0, 0);
    m.bytes[4] = 1;
    assert_refused(m.bytes, m.size, ERR_UNSUPPORTED, "version 1");
    memcpy(m.bytes + 4, "\0\0\0\3", 4);
    assert_refused(m.bytes, m.size, ERR_UNSUPPORTED, "the other way round");

    m = start(0, 1);
    add_text(&m, "k");
    add(&m, 13, 4);
    assert_refused(m.bytes, m.size, ERR_INVALID, "value of type 13");
    m = start(0, 1);
    add_text(&m, "k");
    add(&m, 9, 4);
    add(&m, 9, 4); /* an array of arrays */
    add(&m, 1, 8);
    assert_refused(m.bytes, m.size, ERR_INVALID, "array of type 9");
    m = start(0, 1);
    add_text(&m, "k");
    add(&m, 9, 4);
    add(&m, 4, 4);
    add(&m, UINT64_MAX / 4, 8);
    assert_refused(m.bytes, m.size, ERR_TOO_LARGE, "header of more than");
    m = start(0, 1);
    add_text(&m, "k");
    add(&m, 9, 4);
    add(&m, 8, 4);
    add(&m, UINT64_MAX, 8); /* strings */
    assert_refused(m.bytes, m.size, ERR_INVALID, "cut short");
    m = start(0, 1);
    add(&m, UINT64_MAX, 8); /* a key */
    assert_refused(m.bytes, m.size, ERR_TOO_LARGE, "header of more than");
    m = start(0, 1);
    add_text(&m, "general.alignment");
    add(&m, 4, 4);
    add(&m, 3, 4);
    assert_refused(m.bytes, m.size, ERR_INVALID, "alignment of 3");

    m = start(1, 1);
    add_text(&m, "comfy.gguf.orig_shape.w");
    add(&m, 9, 4);
    add(&m, 4, 4);
    add(&m, 2, 8);
    add(&m, 3, 4);
    add(&m, 5, 4);
    add_tensor(&m, "w", 4, 4, 0, 0);
    assert_refused(m.bytes, m.size + 256, ERR_INVALID, "one of 15 numbers, it has 16");

    m = start(1, 1);
    add_text(&m, "comfy.gguf.orig_shape.w");
    add(&m, 9, 4);
    add(&m, 10, 4);
    add(&m, 2, 8);
    add(&m, 3, 8);
    add(&m, 0xaaaaaaaaaaaaaaab, 8); /* 3 times this is 1, but for what does not fit */
    add_tensor(&m, "w", 1, 1, 0, 0);
    assert_refused(m.bytes, m.size + 256, ERR_INVALID, "shape before is too large");
}

static void truncated(void **state)
{
    for (size_t n = 0; n < golden_size; n += n < 4096 ? 1 : 61) {
        struct err err = {0};
        unsigned char *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, golden, n);
        struct tensor_file *tf = tensor_file_open_memory(cut, n, &err);
        if ((tf && n + 32 <= golden_size) || (!tf && !*err.msg)) /* but for the last padding */
            fail_msg("opens with %zu of its %zu bytes", n, golden_size);
        tensor_file_close(tf);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(header_alone),
        cmocka_unit_test(hostile_tensors),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(truncated),
        cmocka_unit_test(packed),
        cmocka_unit_test(lean),
    };
    return cmocka_run_group_tests(tests, load, unload);
}

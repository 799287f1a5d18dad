/* torch_test.c: files that torch.save wrote hold what their safetensors twins hold, bit for bit;
 * and a table of hostile pickles and archives, of which each is refused with its reason. */
#include "engine/io/torch_file.h"

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

#include "engine/io/pickle.h"
#include "engine/io/tensor_file.h"

#define FOLDER "tests/golden/torch/"

static int open_or_fail(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: cannot open", path);
    return fd;
}

static unsigned char *read_file(const char *path, size_t *size)
{
    int fd = open_or_fail(path);
    *size = (size_t)lseek(fd, 0, SEEK_END);
    unsigned char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(pread(fd, data, *size, 0), *size);
    close(fd);
    return data;
}

static void assert_same(const struct tensor_file *a, const struct tensor_file *b, const char *name)
{
    if (tensor_file_count(a) != tensor_file_count(b))
        fail_msg("%s: %zu tensors, wanted %zu", name, tensor_file_count(a), tensor_file_count(b));
    for (size_t i = 0; i < tensor_file_count(a); i++) {
        const struct raw_tensor *x = tensor_file_at(a, i), *y = tensor_file_at(b, i);
        unsigned char *p = malloc(x->bytes + 1), *q = malloc(y->bytes + 1);
        struct err err;
        if (strcmp(x->name, y->name) != 0)
            fail_msg("%s: found %s, wanted %s", name, x->name, y->name);
        bool same = x->ndim == y->ndim && x->dtype == y->dtype && x->bytes == y->bytes &&
                    memcmp(x->shape, y->shape, (size_t)x->ndim * sizeof *x->shape) == 0 && p && q &&
                    raw_tensor_read(x, p, &err) && raw_tensor_read(y, q, &err) &&
                    memcmp(p, q, x->bytes) == 0;
        if (!same)
            fail_msg("%s: %s is another tensor", name, x->name);
        free(p);
        free(q);
    }
}

static void twins(void **state)
{
    static const char *const files[][2] = {
        {FOLDER "plain.pt", FOLDER "plain.safetensors"},
        {FOLDER "legacy.pt", FOLDER "plain.safetensors"},
        {FOLDER "protocol4.pt", FOLDER "plain.safetensors"},
        {FOLDER "legacy4.pt", FOLDER "plain.safetensors"},
        {FOLDER "trained.ckpt", FOLDER "trained.safetensors"},
        {FOLDER "trained-legacy.ckpt", FOLDER "trained.safetensors"},
        {FOLDER "upscaler.pth", FOLDER "upscaler.safetensors"},
        {FOLDER "words.pt", FOLDER "words.safetensors"},
        {FOLDER "float8.pt", FOLDER "float8.safetensors"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct err err;
        int fd = open_or_fail(files[i][0]), twin = open_or_fail(files[i][1]);
        struct tensor_file *want = tensor_file_open_fd(twin, NULL, &err);
        struct tensor_file *mapped = tensor_file_open_fd(fd, NULL, &err);
        struct tensor_file *header = mapped ? tensor_file_open_header(fd, NULL, &err) : NULL;
        if (!want || !mapped || !header)
            fail_msg("%s: %s", files[i][0], err.msg);
        assert_same(mapped, want, files[i][0]);
        assert_same(header, want, files[i][0]);
        tensor_file_close(want);
        tensor_file_close(mapped);
        tensor_file_close(header);
        close(fd);
        close(twin);
    }
}

static void metadata(void **state)
{
    struct err err;
    size_t size;
    unsigned char *data = read_file(FOLDER "trained.ckpt", &size);
    struct tensor_file *tf = tensor_file_open_memory(data, size, &err);
    assert_non_null(tf);
    assert_string_equal(tensor_file_metadata(tf, "name"), "trained");
    assert_null(tensor_file_metadata(tf, "epoch"));
    assert_null(tensor_file_metadata(tf, "nothing"));
    assert_non_null(tensor_file_find(tf, "0.weight"));
    assert_null(tensor_file_find(tf, "state_dict.0.weight"));
    tensor_file_close(tf);
    free(data);
}

static void assert_refused(const void *data, size_t size, enum err_code code, const char *message,
                           const char *what)
{
    struct err err = {0};
    unsigned char *copy = malloc(size + 1); /* so that a byte too many is seen */
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct tensor_file *tf = tensor_file_open_memory(copy, size, &err);
    if (tf || err.code != code || !strstr(err.msg, message))
        fail_msg("%s: wanted \"%s\", got %s", what, message, tf ? "a file" : err.msg);
    free(copy);
}

/* ---- pickles ---- */

/* Of a storage "0" of two floats, a tensor in strides; then `rest`. */
#define STORAGE(count)                                                                             \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000"     \
    "X\3\0\0\0cpu" count "tQ"
#define TENSOR(offset, shape, strides) offset "(" shape "t(" strides "t\x89}tR"

static void pickles(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum err_code code;
        const char *message;
    } cases[] = {
#define P(bytes, code, message) {"\x80\2" bytes, sizeof bytes + 1, code, message}
        P("cposix\nsystem\nX\4\0\0\0ls /\x85R.", ERR_UNSUPPORTED, "names posix.system"),
        P("}X\1\0\0\0acos\nsystem\ns.", ERR_UNSUPPORTED, "names os.system"),
        P("c__builtin__\neval\n.", ERR_UNSUPPORTED, "names __builtin__.eval"),
        P("X\2\0\0\0osX\6\0\0\0system\x93.", ERR_UNSUPPORTED, "names os.system"),
        P("ctorch\nload\n.", ERR_UNSUPPORTED, "names torch.load"),
        P("ctorch\nFloatStorage.__init__\n.", ERR_UNSUPPORTED, "torch.FloatStorage.__init__"),
        P("c\x1b[31m\nx\n.", ERR_UNSUPPORTED, "names ?[31m.x"),
        P("(ios\nsystem\n.", ERR_UNSUPPORTED, "instruction INST"),
        P("(cos\nsystem\no.", ERR_UNSUPPORTED, "names os.system"),
        P("(o.", ERR_UNSUPPORTED, "instruction OBJ"),
        P("\x82\1.", ERR_UNSUPPORTED, "instruction EXT1"),
        P("P0\n.", ERR_UNSUPPORTED, "instruction PERSID"),
        P("S'x'\n.", ERR_UNSUPPORTED, "instruction STRING"),
        P("\xff.", ERR_INVALID, "no instruction 0xff"),
        P("\x80\6.", ERR_UNSUPPORTED, "protocol 6"),
        P("", ERR_INVALID, "cut short"),
        P("X\xff\xff\xff\xffxx.", ERR_INVALID, "cut short"),
        P("\x8d\xff\xff\xff\xff\xff\xff\xff\xffxx.", ERR_TOO_LARGE, "string of"),
        P("cposix", ERR_INVALID, "cut short"),
        P(".", ERR_INVALID, "has not made"),
        P("K\1\x86.", ERR_INVALID, "has not made"),
        P("(N2s.", ERR_INVALID, "has not made"),
        P("t.", ERR_INVALID, "no mark"),
        P("h\0.", ERR_INVALID, "remembers no value 0"),
        P("Nr\xff\xff\xff\xff.", ERR_TOO_LARGE, "remembers a value 4294967295"),
        P("NNa.", ERR_INVALID, "no list or dict"),
        P("}(Nu.", ERR_INVALID, "no list or dict"),
        P("K\1)R.", ERR_INVALID, "calls what is no function"),
        P("NQ.", ERR_INVALID, "a storage is not"),
        P("K\1K\2\x93.", ERR_INVALID, "a name that is no string"),
        P(STORAGE("K\2") TENSOR("K\1", "K\2", "K\1") ".", ERR_INVALID, "reaches element 3"),
        P(STORAGE("K\2") TENSOR("K\0", "K\2", "K\2") ".", ERR_INVALID, "reaches element 3"),
        P(STORAGE("K\2") TENSOR("K\3", "", "") ".", ERR_INVALID, "reaches element 4"),
        P(STORAGE("K\2") TENSOR("J\xff\xff\xff\xff", "", "") ".", ERR_INVALID, "is not (storage"),
        P(STORAGE("K\2") TENSOR("K\0", "K\1", "") ".", ERR_INVALID, "is not (storage"),
        P(STORAGE("K\2") TENSOR("K\0", "J\xff\xff\xff\xff", "K\1") ".", ERR_INVALID, "size or"),
        P(STORAGE("K\2") TENSOR("K\0", "K\1K\1K\1K\1K\1K\1K\1K\1K\1", "K\1K\1K\1K\1K\1K\1K\1K\1K\1")
              ".", ERR_INVALID, "more than 8"),
        P(STORAGE("K\2") TENSOR("K\0", "\x8a\7\0\0\0\0\0\0\1\x8a\7\0\0\0\0\0\0\1", "K\0K\0") ".",
          ERR_INVALID, "shape too large"),
        P(STORAGE("\x8a\x9\0\0\0\0\0\0\0\0\1") TENSOR("K\0", "", "") ".", ERR_INVALID,
          "a storage is not"),
        P("}.", ERR_UNSUPPORTED, "none that PyTorch wrote"),
#undef P
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].bytes, cases[i].size, cases[i].code, cases[i].message,
                       cases[i].message);
}

/* Values in circles, and what only looks like a call. */
static void harmless(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum pickle_kind kind;
    } cases[] = {
#define P(bytes, kind) {"\x80\2" bytes, sizeof bytes + 1, kind}
        P("}q\0X\1\0\0\0ah\0s.", PICKLE_DICT),
        P("]q\0h\0a.", PICKLE_LIST),
        P("ccollections\nOrderedDict\n]X\1\0\0\0aK\1\x86\x61\x85R.", PICKLE_DICT),
        P("c__builtin__\nset\n]K\1a\x85R.", PICKLE_OTHER),
        P("cnumpy.core.multiarray\nscalar\n)R}b.", PICKLE_OTHER),
        P("\x8a\xa\0\0\0\0\0\0\0\0\0\x80.", PICKLE_INTEGER),
        P("NN0.", PICKLE_NONE),
        P("(NN1N.", PICKLE_NONE),
#undef P
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t used;
        bool more;
        struct err err = {0};
        struct pickle *p = pickle_read(cases[i].bytes, cases[i].size, &used, &more, &err);
        if (!p)
            fail_msg("%zu: %s", i, err.msg);
        assert_int_equal(pickle_root(p)->kind, cases[i].kind);
        assert_int_equal(used, cases[i].size);
        pickle_free(p);
    }
}

/* ---- files ---- */

static void truncated(void **state)
{
    static const char *const files[] = {FOLDER "plain.pt", FOLDER "legacy.pt"};
    for (size_t i = 0; i < 2; i++) {
        size_t size;
        unsigned char *data = read_file(files[i], &size);
        for (size_t n = 0; n < size; n++) {
            struct err err = {0};
            unsigned char *cut = malloc(n + 1);
            assert_non_null(cut);
            memcpy(cut, data, n);
            if (tensor_file_open_memory(cut, n, &err) || !*err.msg)
                fail_msg("%s opens with %zu of its %zu bytes", files[i], n, size);
            free(cut);
        }
        free(data);
    }
}

/* The place of the n-th `mark` of four bytes. */
static size_t find_mark(const unsigned char *data, size_t size, const char *mark, int n)
{
    for (size_t i = 0; i + 4 <= size; i++)
        if (memcmp(data + i, mark, 4) == 0 && n-- == 0)
            return i;
    fail_msg("no mark");
    return 0;
}

/* One field of the archive's second entry in its directory is another one. */
static void archives(void **state)
{
    static const struct {
        size_t at;
        uint32_t value;
        int bytes;
        enum err_code code;
        const char *message;
    } cases[] = {
        {10, 8, 2, ERR_UNSUPPORTED, "deflate"},
        {10, 99, 2, ERR_UNSUPPORTED, "method 99"},
        {8, 1, 2, ERR_UNSUPPORTED, "encrypted"},
        {20, 0x7fffffff, 4, ERR_INVALID, "cut short?"},
        {24, 1, 4, ERR_INVALID, "bytes, but"},
        {28, 0xffff, 2, ERR_INVALID, "directory is broken"},
        {42, 0, 4, ERR_INVALID, "overlap"},
        {42, 1, 4, ERR_INVALID, "not where the zip archive's directory says"},
        {42, 0xfffffff0, 4, ERR_INVALID, "not where the zip archive's directory says"},
    };
    size_t size;
    unsigned char *data = read_file(FOLDER "plain.pt", &size);
    size_t entry = find_mark(data, size, "PK\1\2", 1), end = find_mark(data, size, "PK\5\6", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, data, size);
        for (int b = 0; b < cases[i].bytes; b++)
            copy[entry + cases[i].at + (size_t)b] = (unsigned char)(cases[i].value >> 8 * b);
        assert_refused(copy, size, cases[i].code, cases[i].message, cases[i].message);
        free(copy);
    }
    memset(data + end + 10, 0, 2); /* no entries */
    size_t locator = find_mark(data, size, "PK\6\7", 0);
    memset(data + locator, 0, 4);
    assert_refused(data, size, ERR_UNSUPPORTED, "no data.pkl", "an empty archive");
    memset(data + end + 16, 0xff, 4);
    assert_refused(data, size, ERR_INVALID, "directory is not in the file", "no directory");
    free(data);
}

/* 1,000 x 1,000 x 1,000 numbers out of one, which the file has. */
static void expanded(void **state)
{
    size_t size;
    unsigned char *data = read_file(FOLDER "legacy.pt", &size);
    static const char from[] = "K\4K\3\x86q", to[] = "M\xe8\3K\3\x86q";
    unsigned char *at = memmem(data, size, from, sizeof from - 1);
    assert_non_null(at); /* [4, 3], strides [1, 0]: from 4 rows to 1,000 needs 1,000 elements */
    size_t n = (size_t)(at - data);
    unsigned char *longer = malloc(size + 1);
    assert_non_null(longer);
    memcpy(longer, data, n);
    memcpy(longer + n, to, sizeof to - 1);
    memcpy(longer + n + sizeof to - 1, at + sizeof from - 1, size - n - sizeof from + 1);
    assert_refused(longer, size + 1, ERR_INVALID, "a tensor of [1000, 3] reaches element", "rows");
    static const char columns[] = "K\4M\xe8\3\x86q"; /* [4, 1000] needs 4 */
    memcpy(longer + n, columns, sizeof columns - 1);
    assert_refused(longer, size + 1, ERR_TOO_LARGE, "larger than the file", "columns");
    /* No row: nothing is gathered, whatever the strides. */
    memcpy(at, "K\0K\3\x86q", 6);
    struct err err = {0};
    struct tensor_file *tf = tensor_file_open_memory(data, size, &err);
    if (!tf)
        fail_msg("%s", err.msg);
    tensor_file_close(tf);
    free(longer);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twins),    cmocka_unit_test(metadata), cmocka_unit_test(pickles),
        cmocka_unit_test(harmless), cmocka_unit_test(truncated), cmocka_unit_test(archives),
        cmocka_unit_test(expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

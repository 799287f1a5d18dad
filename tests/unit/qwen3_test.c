/* qwen3_test.c: Qwen3 as a text encoder against transformers (tests/golden, "qwen3"): with and
 * without padding, from every layout, with weights that stay in blocks; and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "engine/model/qwen3.h"
#include "engine/pictor.h"
#include "tests/unit/golden_model.h"

#define FOLDER "tests/golden/qwen3/"
#define TAKEN 3 /* layers whose states are there */
#define WIDTH 64

static struct checkpoint *opened(const char *path)
{
    struct pictor_files files = {.count = 0};
    struct err err;
    if (!pictor_files_add(&files, "text_encoder", path, &err))
        fail_msg("%s", err.msg);
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    pictor_files_close(&files);
    return cp;
}

/* The states of a case, in the order of `after`, against the stored ones. */
static void check_states(struct device *dev, const struct checkpoint *cp, const char *name, int n,
                         int seen, const int *after, int count, double limit)
{
    struct err err;
    struct qwen3_config c;
    struct safetensors *golden = open_file(FOLDER "states.safetensors");
    float *numbers = floats_of(want(golden, "ids"));
    int *ids = malloc((size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++)
        ids[i] = (int)numbers[i];
    if (!qwen3_read(cp, QWEN3_ROOT, &c, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(c.layers, 4);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.kv_heads, 2);
    c.used = after[count - 1] + 1;
    struct qwen3 *q = qwen3_load(dev, cp, &c, NULL, &err);
    if (!q)
        fail_msg("%s", err.msg);
    float *got = malloc((size_t)(n * count * WIDTH) * sizeof *got);
    struct arena arena;
    struct ops o = {dev, &arena};
    arena_plan(&arena);
    qwen3_encode(&o, q, NULL, n, seen, after, count, NULL);
    assert_true(arena_init(&arena, arena.peak, &err));
    qwen3_encode(&o, q, ids, n, seen, after, count, got);
    for (int i = 0; i < count; i++) {
        char which[32];
        double diff = 0, norm = 0;
        snprintf(which, sizeof which, "%s.%d", name, after[i]);
        float *wanted = floats_of(want(golden, which));
        for (int t = 0; t < n; t++)
            for (int j = 0; j < WIDTH; j++) {
                double w = wanted[t * WIDTH + j];
                double d = got[(t * count + i) * WIDTH + j] - w;
                diff += d * d;
                norm += w * w;
            }
        if (!(sqrt(diff / norm) <= limit))
            fail_msg("%s at %s, %s: error %.2e > %.0e", which, device_level(dev),
                     dtype_name(device_dtype(dev)), sqrt(diff / norm), limit);
        free(wanted);
    }
    arena_free(&arena);
    qwen3_free(q);
    free(got), free(ids), free(numbers);
    safetensors_close(golden);
}

static void test_states(void **state)
{
    static const int all[] = {0, 1, 2}, last[] = {2}, ends[] = {0, 2};
    struct checkpoint *plain = opened(FOLDER "model.safetensors");
    struct checkpoint *blocks = opened(FOLDER "model.gguf");
    struct err err;
    for (int i = 0; device_level_name(i); i++)
        for (int bf16 = 0; bf16 <= 1; bf16++) {
            struct device_options options = {
                .threads = 2, .cpu = device_level_name(i), .bf16 = bf16};
            struct device *dev = device_new(&options, &err);
            assert_non_null(dev);
            /* BF16 rounds the residual stream, too: 2^-9 a layer, and what becomes of it. */
            double limit = bf16 ? 2e-2 : 1e-5;
            check_states(dev, plain, "plain", 13, 13, last, 1, limit);
            check_states(dev, plain, "padded", 24, 13, all, TAKEN, limit);
            check_states(dev, plain, "padded", 24, 13, ends, 2, limit);
            check_states(dev, blocks, "blocks", 24, 13, all, TAKEN, limit);
            device_free(dev);
        }
    checkpoint_free(plain);
    checkpoint_free(blocks);
}

/* The encoder's file with every name behind `prefix`, less "model." if `bare`, which is a part of a
 * whole file (in `bytes`, the caller's) or not; the tensor `without` is left out. */
static struct checkpoint *renamed(const char *prefix, bool bare, const char *without,
                                  unsigned char **bytes)
{
    struct err err;
    size_t size;
    struct safetensors *st = open_file(FOLDER "model.safetensors");
    struct file f = file_new("");
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        char name[160];
        snprintf(name, sizeof name, "%s%s", prefix, t->name + (bare ? strlen("model.") : 0));
        if (!without || strcmp(t->name, without) != 0)
            file_add_whole(&f, name, t);
    }
    struct checkpoint *cp;
    if (*prefix) {
        *bytes = file_bytes(&f, &size);
        cp = checkpoint_open_memory(*bytes, size, &err);
        assert_non_null(cp);
    } else {
        char path[] = "/tmp/qwen3_test_XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        file_write(&f, path);
        cp = opened(path);
        unlink(path);
    }
    safetensors_close(st);
    return cp;
}

static void test_layouts(void **state)
{
    static const int last[] = {2};
    struct err err;
    struct qwen3_config c;
    struct device_options options = {.threads = 2, .bf16 = 0};
    struct device *dev = device_new(&options, &err);
    unsigned char *bytes = NULL;
    struct checkpoint *whole = renamed("text_encoders.qwen3_4b.transformer.", false, NULL, &bytes);
    check_states(dev, whole, "plain", 13, 13, last, 1, 1e-5);
    checkpoint_free(whole);
    free(bytes);
    struct checkpoint *bare = renamed("", true, NULL, NULL);
    check_states(dev, bare, "plain", 13, 13, last, 1, 1e-5);
    checkpoint_free(bare);

    struct checkpoint *holed = renamed("", false, "model.layers.1.mlp.up_proj.weight", NULL);
    assert_true(qwen3_read(holed, QWEN3_ROOT, &c, &err));
    assert_null(qwen3_load(dev, holed, &c, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "layers.1.mlp.up_proj.weight"));
    checkpoint_free(holed);
    holed = renamed("", false, "model.layers.0.self_attn.q_norm.weight", NULL);
    assert_false(qwen3_read(holed, QWEN3_ROOT, &c, &err));
    assert_non_null(strstr(err.msg, "self_attn.q_norm"));
    checkpoint_free(holed);
    device_free(dev);
}

/* ---- memory ---- */

enum { WIDE = 16384, LAYERS = 2 };

static void add_zeros(struct file *f, const char *name, int i, size_t rows, size_t columns)
{
    static const uint16_t zeros[WIDE * 64];
    char full[96];
    struct raw_tensor t = {.dtype = DTYPE_BF16, .ndim = columns ? 2 : 1, .data = zeros};
    t.shape[0] = rows;
    t.shape[1] = columns;
    t.bytes = 2 * rows * (columns ? columns : 1);
    if (i < 0)
        snprintf(full, sizeof full, "model.%s.weight", name);
    else
        snprintf(full, sizeof full, "model.layers.%d.%s.weight", i, name);
    file_add_whole(f, full, &t);
}

/* An encoder of BF16 whose feed-forwards are 12 MB. */
static void write_wide(const char *path)
{
    struct file f = file_new("");
    add_zeros(&f, "embed_tokens", -1, 64, 64);
    for (int i = 0; i < LAYERS; i++) {
        add_zeros(&f, "input_layernorm", i, 64, 0);
        add_zeros(&f, "post_attention_layernorm", i, 64, 0);
        add_zeros(&f, "self_attn.q_norm", i, 32, 0);
        add_zeros(&f, "self_attn.k_norm", i, 32, 0);
        add_zeros(&f, "self_attn.q_proj", i, 64, 64);
        add_zeros(&f, "self_attn.k_proj", i, 32, 64);
        add_zeros(&f, "self_attn.v_proj", i, 32, 64);
        add_zeros(&f, "self_attn.o_proj", i, 64, 64);
        add_zeros(&f, "mlp.gate_proj", i, WIDE, 64);
        add_zeros(&f, "mlp.up_proj", i, WIDE, 64);
        add_zeros(&f, "mlp.down_proj", i, 64, WIDE);
    }
    file_write(&f, path);
}

/* kB of this process that are in memory: of its mapping of `path`, or, NULL, of its own. */
static size_t resident(const char *path)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    size_t sum = 0, kb;
    bool counts = false;
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            counts = path && strstr(line, path);
        else if (counts && sscanf(line, "Rss: %zu kB", &kb) == 1)
            sum += kb;
        else if (!path && sscanf(line, "Anonymous: %zu kB", &kb) == 1)
            sum += kb;
    }
    fclose(maps);
    return sum;
}

/* Weights that are not of few bits are read in place, too, and let go when they were used: they
 * are no memory of the process before a prompt, and none after it. */
static void test_memory(void **state)
{
    static const int last[] = {LAYERS - 1}, ids[] = {1, 2, 3};
    struct err err;
    struct qwen3_config c;
    struct weights weights = {0};
    struct device_options options = {.threads = 1, .bf16 = 0};
    struct device *dev = device_new(&options, &err);
    char path[] = "/tmp/qwen3_test_XXXXXX";
    int fd = mkstemp(path);
    assert_true(dev && fd >= 0);
    close(fd);
    write_wide(path);
    struct checkpoint *cp = opened(path);
    size_t file = (size_t)LAYERS * 3 * WIDE * 64 * 2 >> 10, before = resident(NULL);
    assert_true(qwen3_read(cp, QWEN3_ROOT, &c, &err));
    struct qwen3 *q = qwen3_load(dev, cp, &c, &weights, &err);
    if (!q)
        fail_msg("%s", err.msg);
    float states[3 * 64];
    struct arena arena;
    struct ops o = {dev, &arena};
    arena_plan(&arena);
    qwen3_encode(&o, q, NULL, 3, 3, last, 1, NULL);
    assert_true(arena_init(&arena, arena.peak, &err));
    size_t opened_kb = resident(path);
    qwen3_encode(&o, q, ids, 3, 3, last, 1, states);
    size_t used = resident(path), own = resident(NULL);
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        checkpoint_release(cp, checkpoint_at(cp, i));
    size_t left = resident(path);
    printf("%zu kB of weights: %zu in memory when opened, %zu when used, %zu afterwards; %zu kB of "
           "the process's own, needed at a time %zu\n",
           file, opened_kb, used, left, own - before, weights_needed(&weights) >> 10);
    assert_true(opened_kb < file / 8 && used > file * 7 / 8 && left < file / 8);
    assert_true(own - before < file / 3 && weights.bytes > file << 10);
    assert_true(weights_needed(&weights) == weights.bytes); /* nothing takes turns with it */
    arena_free(&arena);
    qwen3_free(q);
    weights_free(&weights);
    checkpoint_free(cp);
    device_free(dev);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

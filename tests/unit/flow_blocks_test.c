/* flow_blocks_test.c: FLUX.2 and Z-Image in few bits (tests/golden, "flow_blocks"): GGUF files of
 * every type of blocks against diffusers with the numbers that PyPI's `gguf` makes of them; F8
 * files, which say what those of F16 do; and files in ComfyUI's formats with scales beside them
 * ("flow_scaled") against diffusers with the numbers that comfy-kitchen makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model/flux2.h"
#include "engine/model/zimage.h"
#include "tests/unit/nchw.h"

#define FLUX2 "tests/golden/flux2/"
#define ZIMAGE "tests/golden/zimage/"
#define BLOCKS "tests/golden/flow_blocks/"
#define SCALED "tests/golden/flow_scaled/"
#define FLOW BLOCKS
#define FLOW_FILES                                                                                 \
    {                                                                                              \
        BLOCKS "golden.safetensors"                                                                \
    }
#include "tests/unit/flow_model.h"

struct question {
    const char *golden, *text, *x, *y; /* a file, and what it calls these */
    double t;
};

static void check_flux2(struct fixture *f, const char *path, const struct question *q)
{
    struct err why;
    struct flux2_config config;
    struct flux2_scene scene = {0};
    struct flux2_call call;
    struct checkpoint *cp = flow_network("unet", path);
    struct flux2 *m =
        flux2_read(cp, &config, &why) ? flux2_load(f->dev, cp, &config, NULL, &why) : NULL;
    if (!m)
        fail_msg("%s: %s", path, why.msg);
    scene.tokens = (int)want(f->golden, q->text)->shape[0];
    float *text = floats_of(want(f->golden, q->text));
    float *x = latent_of(f, q->x, &scene.height, &scene.width);
    float *words = malloc((size_t)scene.tokens * (size_t)config.blocks.width * sizeof *words);
    float *y = malloc(want(f->golden, q->x)->bytes);
    assert_true(words && y);
    scene.words = words;
    RUN(f, flux2_words(&o, m, text, scene.tokens, words); flux2_begin(&o, m, &scene, &call);
        flux2_forward(&o, m, &call, x, q->t, y));
    check(f, q->y, y, want(f->golden, q->y));
    free(text);
    free(x);
    free(words);
    free(y);
    flux2_free(m);
    checkpoint_free(cp);
}

static void check_zimage(struct fixture *f, const char *path, const struct question *q)
{
    struct err why;
    struct zimage_config config;
    struct zimage_call call;
    int h, w;
    struct checkpoint *cp = flow_network("unet", path);
    struct zimage *m =
        zimage_read(cp, &config, &why) ? zimage_load(f->dev, cp, &config, NULL, &why) : NULL;
    if (!m)
        fail_msg("%s: %s", path, why.msg);
    float *text = floats_of(want(f->golden, q->text)), words[64 * 96];
    float *x = latent_of(f, q->x, &h, &w), *y = malloc(want(f->golden, q->x)->bytes);
    assert_non_null(y);
    RUN(f, zimage_words(&o, m, text, 33, 64, words); zimage_begin(&o, m, words, 64, h, w, &call);
        zimage_forward(&o, m, &call, x, q->t, y));
    check(f, q->y, y, want(f->golden, q->y));
    free(text);
    free(x);
    free(y);
    zimage_free(m);
    checkpoint_free(cp);
}

static void run(void (*ask)(struct fixture *, const char *, const struct question *),
                const char *path, const struct question *q)
{
    const char *level;
    for (int i = 0; (level = device_level_name(i)); i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct fixture f = fixture(level, bf16);
            safetensors_close(f.golden);
            f.golden = open_file(q->golden);
            f.limit = bf16 ? 0.1 : 1e-4; /* any bits make a network that magnifies roundings */
            ask(&f, path, q);
            flow_fixture_free(&f);
        }
}

/* ---- a LoRA ---- */

#define RANK 6

/* Of every matrix of the first double block and the single blocks. */
static void write_lora(const struct checkpoint *cp, const char *path)
{
    struct file f = file_new("");
    float *numbers = malloc(RANK * 4096 * sizeof *numbers);
    char name[200];
    assert_non_null(numbers);
    for (int i = 0; i < RANK * 4096; i++)
        numbers[i] = (float)(i * 37 % 23 - 11) / 256;
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        const char *own = t->name + strlen("model.diffusion_model.");
        size_t n = strlen(own), end = strlen(".weight");
        if (t->ndim != 2 || n < end || strcmp(own + n - end, ".weight") != 0 ||
            (strncmp(own, "double_blocks.0", 15) != 0 && strncmp(own, "single_blocks", 13) != 0))
            continue;
        for (int up = 0; up < 2; up++) {
            struct raw_tensor part = {.dtype = DTYPE_F32, .ndim = 2, .data = numbers};
            part.shape[0] = up ? t->shape[0] : RANK;
            part.shape[1] = up ? RANK : t->shape[1];
            part.bytes = part.shape[0] * part.shape[1] * sizeof *numbers;
            assert_true(part.bytes <= RANK * 4096 * sizeof *numbers);
            snprintf(name, sizeof name, "diffusion_model.%.*s.lora_%c.weight", (int)(n - end), own,
                     up ? 'B' : 'A');
            file_add_whole(&f, name, &part);
        }
    }
    file_write(&f, path);
    free(numbers);
}

struct lora_case {
    struct fixture *f;
    struct flux2 *m;
    struct weights weights;
    int width;
};

static float *answer(const struct lora_case *c)
{
    struct flux2_scene scene = {0};
    struct flux2_call call;
    struct fixture *f = c->f;
    scene.tokens = (int)want(f->golden, "flux2.text")->shape[0];
    float *text = floats_of(want(f->golden, "flux2.text"));
    float *x = latent_of(f, "flux2.x", &scene.height, &scene.width);
    float *words = malloc((size_t)scene.tokens * (size_t)c->width * sizeof *words);
    float *y = malloc(want(f->golden, "flux2.x")->bytes);
    assert_true(words && y);
    scene.words = words;
    RUN(f, flux2_words(&o, c->m, text, scene.tokens, words); flux2_begin(&o, c->m, &scene, &call);
        flux2_forward(&o, c->m, &call, x, 717.5, y));
    free(text);
    free(x);
    free(words);
    return y;
}

/* Added as the blocks are read, it does what it does when they are packed with it, bit for bit, and
 * takes the memory of its factors. */
static void check_lora(const char *in, const char *file, const char *level, int bf16)
{
    struct err why;
    struct flux2_config config;
    char of[80];
    snprintf(of, sizeof of, "%sgolden.safetensors", in);
    struct fixture f = flow_fixture(of, level, bf16);
    snprintf(of, sizeof of, "%s%s", in, file);
    struct checkpoint *cp = flow_network("unet", of);
    struct lora_case c = {.f = &f};
    char path[] = "/tmp/flow-lora-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && flux2_read(cp, &config, &why));
    c.width = config.blocks.width;
    assert_non_null(c.m = flux2_load(f.dev, cp, &config, &c.weights, &why));
    write_lora(cp, path);
    struct lora *lora = lora_open(fd, path, cp, &why);
    if (!lora)
        fail_msg("%s", why.msg);
    struct lora_use uses[2] = {{lora, 0.5, 0}, {lora, 0.25, 0}};
    size_t bytes = want(f.golden, "flux2.x")->bytes, sizes[4];
    float *got[4];
    for (int i = 0; i < 4; i++) {
        c.weights.spare = i == 2;
        assert_true(weights_merge(&c.weights, f.dev, cp, uses, i % 3 ? 2 : 0, &why));
        sizes[i] = c.weights.bytes;
        got[i] = answer(&c);
    }
    printf("%s: %zu bytes in blocks, %zu packed with a LoRA, %zu with it beside them\n",
           device_level(f.dev), sizes[0], sizes[1], sizes[2]);
    assert_memory_not_equal(got[1], got[0], bytes);
    assert_memory_equal(got[2], got[1], bytes);
    assert_memory_equal(got[3], got[0], bytes);
    assert_true(sizes[2] < sizes[1] && sizes[2] > sizes[0] && sizes[3] == sizes[0]);
    for (int i = 0; i < 4; i++)
        free(got[i]);
    lora_free(lora);
    flux2_free(c.m);
    weights_free(&c.weights);
    checkpoint_free(cp);
    close(fd);
    unlink(path);
    flow_fixture_free(&f);
}

static void test_lora(void **state)
{
    for (int i = 0; device_level_name(i); i++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            check_lora(BLOCKS, "flux2.gguf", device_level_name(i), bf16);
}

static void test_lora_scaled(void **state)
{
    for (int bf16 = 0; bf16 < 2; bf16++)
        check_lora(SCALED, "flux2.safetensors", NULL, bf16);
}

static void test_blocks(void **state)
{
    static const struct question flux2 = {BLOCKS "golden.safetensors", "flux2.text", "flux2.x",
                                          "flux2.y", 717.5},
                                 zimage = {BLOCKS "golden.safetensors", "zimage.text", "zimage.x",
                                           "zimage.y", 300};
    run(check_flux2, BLOCKS "flux2.gguf", &flux2);
    run(check_zimage, BLOCKS "zimage.gguf", &zimage);
}

static void test_f8(void **state)
{
    static const struct question flux2 = {FLUX2 "golden.safetensors", "text", "4x6.x",
                                          "4x6.t0.7175", 717.5},
                                 zimage = {ZIMAGE "golden.safetensors", "text33", "8x12.x",
                                           "8x12.t0.3", 300};
    run(check_flux2, BLOCKS "flux2-scaled.safetensors", &flux2);
    run(check_flux2, BLOCKS "flux2-plain.safetensors", &flux2);
    run(check_zimage, BLOCKS "zimage-mixed.safetensors", &zimage);
}

static void test_scaled(void **state)
{
    static const struct question flux2 = {SCALED "golden.safetensors", "flux2.text", "flux2.x",
                                          "flux2.y", 717.5},
                                 zimage = {SCALED "golden.safetensors", "zimage.text", "zimage.x",
                                           "zimage.y", 300};
    run(check_flux2, SCALED "flux2.safetensors", &flux2);
    run(check_zimage, SCALED "zimage.safetensors", &zimage);
}

enum { PIXELS = 3 };

static float *product(struct device *dev, const struct raw_tensor *t,
                      const struct matrix_part *part, bool coarse, size_t *bytes)
{
    struct err why;
    int k = (int)t->shape[1];
    struct matrix *m =
        (coarse ? matrix_new_coarse : matrix_new_stacked)(dev, MATRIX_LINEAR, k, part, 1, &why);
    float *x = malloc(PIXELS * (size_t)k * sizeof *x);
    float *y = calloc(PIXELS * t->shape[0], sizeof *y);
    assert_true(m && x && y);
    *bytes = matrix_bytes(m);
    for (int i = 0; i < PIXELS * k; i++)
        x[i] = (float)(i * 29 % 31 - 15) / 16;
    struct fixture f = {.dev = dev};
    struct tensor in, out;
    RUN(&f, in = tensor_new(&arena, device_dtype(dev), 1, 1, PIXELS, k, 0);
        out = tensor_new(&arena, device_dtype(dev), 1, 1, PIXELS, part->n, 0);
        nchw_load(&o, &in, x); ops_linear(&o, &out, &in, m, NULL); nchw_store(&o, y, &out));
    matrix_free(m);
    free(x);
    return y;
}

/* Weights that stay as they are in the file until a product wants them, from any row on: the
 * product is that of their numbers, bit for bit. */
static void check_products(const struct checkpoint *cp, struct device *dev, bool int8)
{
    int seen = 0;
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        struct raw_tensor t = *checkpoint_at(cp, i);
        if (!t.scales)
            continue;
        size_t from = t.shape[0] > 40 ? 33 : 0, row = t.bytes / t.shape[0], small, large;
        t.shape[0] = t.shape[0] - from < 150 ? t.shape[0] - from : 150;
        t.data = (const char *)t.data + from * row;
        t.first_row = from;
        size_t n = raw_tensor_count(&t);
        float *numbers = malloc(n * sizeof *numbers);
        assert_non_null(numbers);
        raw_tensor_floats(&t, 0, n, numbers);
        struct matrix_part stays = {.n = (int)t.shape[0],
                                    .dtype = t.dtype,
                                    .w = t.data,
                                    .stays = true,
                                    .scales = t.scales,
                                    .first_row = t.first_row};
        struct matrix_part plain = {.n = (int)t.shape[0], .w = numbers};
        float *got = product(dev, &t, &stays, int8, &small);
        float *wanted = product(dev, &t, &plain, int8, &large);
        if (memcmp(got, wanted, PIXELS * t.shape[0] * sizeof *got) != 0)
            fail_msg("%s: %s: another product", device_level(dev), t.name);
        assert_true(int8 || small < large);
        free(numbers);
        free(got);
        free(wanted);
        seen++;
    }
    assert_true(seen > 8);
}

static void test_products(void **state)
{
    struct err why;
    struct checkpoint *cp = flow_network("unet", SCALED "flux2.safetensors");
    for (int i = 0; device_level_name(i); i++)
        for (int kind = 0; kind < 3; kind++) {
            struct device_options options = {
                .threads = 1, .cpu = device_level_name(i), .bf16 = kind == 1, .int8 = kind == 2};
            struct device *dev = device_new(&options, &why);
            if (dev)
                check_products(cp, dev, kind == 2);
            device_free(dev);
        }
    checkpoint_free(cp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),      cmocka_unit_test(test_f8),
        cmocka_unit_test(test_scaled),      cmocka_unit_test(test_products),
        cmocka_unit_test(test_lora_scaled), cmocka_unit_test(test_lora)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

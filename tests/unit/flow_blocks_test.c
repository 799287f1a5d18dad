/* flow_blocks_test.c: FLUX.2 and Z-Image in few bits (tests/golden, "flow_blocks"): GGUF files of
 * every type of blocks against diffusers with the numbers that PyPI's `gguf` makes of them, and F8
 * files, which say what those of F16 do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model/flux2.h"
#include "engine/model/zimage.h"

#define FLUX2 "tests/golden/flux2/"
#define ZIMAGE "tests/golden/zimage/"
#define BLOCKS "tests/golden/flow_blocks/"
#define FLOW BLOCKS
#define FLOW_FILES {BLOCKS "golden.safetensors"}
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_f8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

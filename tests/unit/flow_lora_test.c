/* flow_lora_test.c: LoRAs of FLUX.2, Z-Image and Stable Diffusion 3 against PEFT (tests/golden,
 * "flow_lora"): three layouts of the same factors, merged into either layout of the model, and
 * taken out again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "engine/model/flux2.h"
#include "engine/model/lora.h"
#include "engine/model/sd3.h"
#include "engine/model/zimage.h"

#define FLUX2 "tests/golden/flux2/"
#define ZIMAGE "tests/golden/zimage/"
#define SD3 "tests/golden/sd3/"
#define LORAS "tests/golden/flow_lora/"
#define FLOW LORAS
#define FLOW_FILES {LORAS "golden.safetensors"}
#include "tests/unit/flow_model.h"

/* A family's velocity as it was asked for when the golden one was made; malloc'd. */
struct network {
    struct fixture *f;
    struct checkpoint *cp;
    struct weights weights;
    struct flux2 *flux2;
    struct zimage *zimage;
    struct sd3 *sd3;
};

static struct network open_network(struct fixture *f, const char *family, const char *path)
{
    struct err err;
    struct network n = {.f = f, .cp = flow_network("unet", path)};
    struct flux2_config flux2;
    struct zimage_config zimage;
    struct sd3_config sd3;
    bool ok =
        strcmp(family, "zimage") == 0
            ? zimage_read(n.cp, &zimage, &err) &&
                  (n.zimage = zimage_load(f->dev, n.cp, &zimage, &n.weights, &err))
        : strcmp(family, "sd3") == 0
            ? sd3_read(n.cp, &sd3, &err) && (n.sd3 = sd3_load(f->dev, n.cp, &sd3, &n.weights, &err))
            : flux2_read(n.cp, &flux2, &err) &&
                  (n.flux2 = flux2_load(f->dev, n.cp, &flux2, &n.weights, &err));
    if (!ok)
        fail_msg("%s", err.msg);
    return n;
}

static void close_network(struct network *n)
{
    flux2_free(n->flux2);
    zimage_free(n->zimage);
    sd3_free(n->sd3);
    weights_free(&n->weights);
    checkpoint_free(n->cp);
}

static float *ask_flux2(const struct network *n)
{
    struct fixture from = {.golden = open_file(FLUX2 "golden.safetensors")};
    struct flux2_scene scene = {.tokens = 24};
    struct flux2_call call;
    float *text = floats_of(want(from.golden, "text")), words[24 * 32];
    float *x = latent_of(&from, "4x6.x", &scene.height, &scene.width);
    float *y = malloc(128 * 4 * 6 * sizeof *y);
    assert_non_null(y);
    scene.words = words;
    RUN(n->f, flux2_words(&o, n->flux2, text, scene.tokens, words);
        flux2_begin(&o, n->flux2, &scene, &call); flux2_forward(&o, n->flux2, &call, x, 717.5, y));
    free(text);
    free(x);
    safetensors_close(from.golden);
    return y;
}

static float *ask_zimage(const struct network *n)
{
    struct fixture from = {.golden = open_file(ZIMAGE "golden.safetensors")};
    struct zimage_call call;
    int h, w;
    float *text = floats_of(want(from.golden, "text33")), words[64 * 96];
    float *x = latent_of(&from, "8x12.x", &h, &w), *y = malloc(16 * 8 * 12 * sizeof *y);
    assert_non_null(y);
    RUN(n->f, zimage_words(&o, n->zimage, text, 33, 64, words);
        zimage_begin(&o, n->zimage, words, 64, h, w, &call);
        zimage_forward(&o, n->zimage, &call, x, 300, y));
    free(text);
    free(x);
    safetensors_close(from.golden);
    return y;
}

static float *ask_sd3(const struct network *n)
{
    struct fixture from = {.golden = open_file(SD3 "golden.safetensors")};
    struct sd3_scene scene = {.tokens = 24};
    struct sd3_call call;
    float *text = floats_of(want(from.golden, "text")), words[24 * 64];
    float *pooled = floats_of(want(from.golden, "pooled"));
    float *x = latent_of(&from, "8x12.x", &scene.height, &scene.width);
    float *y = malloc(16 * 8 * 12 * sizeof *y);
    assert_non_null(y);
    scene.words = words;
    scene.pooled = pooled;
    RUN(n->f, sd3_words(&o, n->sd3, text, scene.tokens, words);
        sd3_begin(&o, n->sd3, &scene, &call); sd3_forward(&o, n->sd3, &call, x, 717.5, y));
    free(text);
    free(pooled);
    free(x);
    safetensors_close(from.golden);
    return y;
}

static float *ask(const struct network *n)
{
    return n->sd3 ? ask_sd3(n) : n->zimage ? ask_zimage(n) : ask_flux2(n);
}

static void merge(struct network *n, const char *path, double strength)
{
    struct err err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct lora *l = lora_open(fd, path, n->cp, &err);
    struct lora_use use = {l, strength, 0};
    if (!l || !weights_merge(&n->weights, n->f->dev, n->cp, &use, 1, &err))
        fail_msg("%s: %s", path, err.msg);
    lora_free(l);
    close(fd);
}

static void check_file(struct network *n, const char *family, const char *layout, size_t bytes)
{
    struct err err;
    char path[96];
    float *before = ask(n), *half, *got, *after;
    snprintf(path, sizeof path, LORAS "%s-%s.safetensors", family, layout);
    merge(n, path, 0.5);
    half = ask(n);
    merge(n, path, 1);
    got = ask(n);
    printf("%s: ", path);
    check(n->f, family, got, want(n->f->golden, family));
    assert_memory_not_equal(half, got, bytes);
    assert_memory_not_equal(half, before, bytes);
    assert_true(weights_merge(&n->weights, n->f->dev, n->cp, NULL, 0, &err));
    after = ask(n);
    assert_memory_equal(after, before, bytes);
    free(before);
    free(half);
    free(got);
    free(after);
}

static void check_family(const char *family, const char *golden, const char *const *models,
                         size_t bytes)
{
    static const char *const layouts[] = {"diffusers", "comfy", "kohya", "peft"};
    struct fixture f = flow_fixture(golden, NULL, 0);
    for (int i = 0; i < 2; i++) {
        struct network n = open_network(&f, family, models[i]);
        for (int k = 0; k < (n.sd3 ? 4 : 3); k++)
            check_file(&n, family, layouts[k], bytes);
        close_network(&n);
    }
    flow_fixture_free(&f);
}

static void test_flux2(void **state)
{
    static const char *const models[] = {FLUX2 "transformer/diffusion_pytorch_model.safetensors",
                                         FLUX2 "bfl.safetensors"};
    check_family("flux2", LORAS "golden.safetensors", models, 128 * 4 * 6 * sizeof(float));
}

static void test_zimage(void **state)
{
    static const char *const models[] = {ZIMAGE "transformer/diffusion_pytorch_model.safetensors",
                                         ZIMAGE "z_image_turbo.safetensors"};
    check_family("zimage", LORAS "golden.safetensors", models, 16 * 8 * 12 * sizeof(float));
}

static void test_sd3(void **state)
{
    static const char *const models[] = {SD3 "transformer/diffusion_pytorch_model.safetensors",
                                         SD3 "medium.safetensors"};
    check_family("sd3", LORAS "sd3-golden.safetensors", models, 16 * 8 * 12 * sizeof(float));
}

/* What a file goes with, and that it is refused where it does not. */
static void test_kinds(void **state)
{
    static const char *const families[] = {"flux2", "zimage"};
    static const char *const layouts[] = {"diffusers", "comfy", "kohya"};
    struct fixture f = fixture(NULL, 0);
    struct network n = open_network(&f, "zimage", ZIMAGE "z_image_turbo.safetensors");
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) {
            char path[96];
            struct pictor_file_info info;
            struct err err;
            snprintf(path, sizeof path, LORAS "%s-%s.safetensors", families[i], layouts[k]);
            assert_true(pictor_file_probe(path, &info, &err));
            assert_int_equal(info.kind, PICTOR_KIND_LORA);
            assert_string_equal(info.family, families[i]);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            struct lora *l = lora_open(fd, path, n.cp, &err);
            assert_true((l != NULL) == (i == 1));
            lora_free(l);
            close(fd);
        }
    close_network(&n);
    flow_fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flux2),
        cmocka_unit_test(test_zimage),
        cmocka_unit_test(test_sd3),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

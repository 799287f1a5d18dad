/* flux1_lora_test.c: LoRAs of FLUX.1 against PEFT (tests/golden, "flow_lora"): four layouts of the
 * same factors, merged into either layout of the model, and taken out again; and in a picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "engine/model/flux1.h"
#include "engine/model/lora.h"
#include "tests/unit/flow_case.h"

#define FLUX1 "tests/golden/flux1/"
#define T5 "tests/golden/t5/"
#define LORAS "tests/golden/flow_lora/flux1-"
#define BYTES (16 * 8 * 12 * sizeof(float))

struct network {
    struct fixture f;
    struct checkpoint *cp;
    struct weights weights;
    struct flux1 *flux1;
};

static struct network network_of(const char *path)
{
    struct err err;
    struct flux1_config config;
    struct network n = {.f = flow_fixture(LORAS "golden.safetensors", NULL, 0),
                        .cp = flow_network("unet", path)};
    if (!flux1_read(n.cp, &config, &err) ||
        !(n.flux1 = flux1_load(n.f.dev, n.cp, &config, &n.weights, &err)))
        fail_msg("%s", err.msg);
    return n;
}

static void network_free(struct network *n)
{
    flux1_free(n->flux1);
    weights_free(&n->weights);
    checkpoint_free(n->cp);
    flow_fixture_free(&n->f);
}

/* As it was asked for when the golden one was made; malloc'd. */
static float *ask(struct network *n)
{
    struct fixture from = {.golden = open_file(FLUX1 "golden.safetensors")};
    struct flux1_scene scene = {.tokens = 24, .guidance = 3.5f};
    struct flux1_call call;
    float *text = floats_of(want(from.golden, "text")), words[24 * 64];
    float *pooled = floats_of(want(from.golden, "pooled"));
    float *x = latent_of(&from, "8x12.x", &scene.height, &scene.width), *y = malloc(BYTES);
    assert_non_null(y);
    scene.words = words;
    scene.pooled = pooled;
    RUN(&n->f, flux1_words(&o, n->flux1, text, scene.tokens, words);
        flux1_begin(&o, n->flux1, &scene, &call); flux1_forward(&o, n->flux1, &call, x, 717.5, y));
    free(text);
    free(pooled);
    free(x);
    safetensors_close(from.golden);
    return y;
}

static void merge(struct network *n, const char *path, double strength)
{
    struct err err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct lora *l = lora_open(fd, path, n->cp, &err);
    struct lora_use use = {l, strength, 0};
    if (!l || !weights_merge(&n->weights, n->f.dev, n->cp, &use, 1, &err))
        fail_msg("%s: %s", path, err.msg);
    lora_free(l);
    close(fd);
}

static void check_file(struct network *n, const char *layout)
{
    struct err err;
    char path[96];
    snprintf(path, sizeof path, LORAS "%s.safetensors", layout);
    float *before = ask(n);
    merge(n, path, 0.5);
    float *half = ask(n);
    merge(n, path, 1);
    float *got = ask(n);
    printf("%s: ", path);
    check(&n->f, "flux1", got, want(n->f.golden, "flux1"));
    assert_memory_not_equal(half, got, BYTES);
    assert_memory_not_equal(half, before, BYTES);
    assert_true(weights_merge(&n->weights, n->f.dev, n->cp, NULL, 0, &err));
    float *after = ask(n);
    assert_memory_equal(after, before, BYTES);
    free(before);
    free(half);
    free(got);
    free(after);
}

static const char *const layouts[] = {"diffusers", "peft", "comfy", "kohya"};

static void test_merged(void **state)
{
    static const char *const models[] = {FLUX1 "transformer/diffusion_pytorch_model.safetensors",
                                         FLUX1 "bfl.safetensors"};
    for (int i = 0; i < 2; i++) {
        struct network n = network_of(models[i]);
        for (int k = 0; k < 4; k++)
            check_file(&n, layouts[k]);
        network_free(&n);
    }
}

/* Through engine/pictor.h: it changes a picture, every layout to the same one, and is gone again,
 * also when the model has rested. */
static void test_painted(void **state)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    struct pictor_image first, image, again = {0};
    if (!pictor_files_add(&files, "unet", FLUX1 "bfl.safetensors", &err) ||
        !pictor_files_add(&files, "text_encoder", TINY, &err) ||
        !pictor_files_add(&files, "text_encoder_2", T5 "model.safetensors", &err) ||
        !pictor_files_add(&files, "vae", FLUX1 "ae.safetensors", &err) ||
        !pictor_files_add(&files, "tokenizer", T5 "spiece.model", &err))
        fail_msg("%s", err.msg);
    struct flow_painter p = flow_painter(&files, FLUX1 "golden.safetensors", NULL);
    pictor_files_close(&files);
    struct pictor_params params;
    pictor_params_init(&params, p.model);
    params.prompt = "a red rabbit with a watch";
    params.seed = 7;
    params.width = 96;
    params.height = 64;
    params.steps = 2;
    assert_true(pictor_generate(p.model, &params, &first, &err));
    size_t bytes = (size_t)(3 * first.width * first.height);
    for (int i = 0; i < 4; i++) {
        char path[96];
        struct pictor_file_info info;
        snprintf(path, sizeof path, LORAS "%s.safetensors", layouts[i]);
        assert_true(pictor_file_probe(path, &info, &err));
        assert_int_equal(info.kind, PICTOR_KIND_LORA);
        assert_string_equal(info.family, "flux1");
        struct pictor_lora lora = {
            .name = layouts[i], .fd = open(path, O_RDONLY | O_CLOEXEC), .unet = 1, .text = 1};
        assert_true(lora.fd >= 0);
        if (!pictor_model_merge(p.model, &lora, 1, &err) ||
            !pictor_generate(p.model, &params, &image, &err))
            fail_msg("%s", err.msg);
        close(lora.fd);
        assert_memory_not_equal(image.pixels, first.pixels, bytes);
        int most = 0;
        for (size_t k = 0; k < bytes && again.pixels; k++)
            most = abs(image.pixels[k] - again.pixels[k]) > most
                       ? abs(image.pixels[k] - again.pixels[k])
                       : most;
        assert_in_range(most, 0, 1); /* sums of the fused ones round otherwise */
        pictor_image_free(&again);
        again = image;
    }
    assert_true(pictor_model_rest(p.model));
    assert_true(pictor_generate(p.model, &params, &image, &err));
    assert_memory_equal(image.pixels, again.pixels, bytes);
    pictor_image_free(&image);
    assert_true(pictor_model_merge(p.model, NULL, 0, &err));
    assert_true(pictor_generate(p.model, &params, &image, &err));
    assert_memory_equal(image.pixels, first.pixels, bytes);
    pictor_image_free(&image);
    pictor_image_free(&again);
    pictor_image_free(&first);
    flow_painter_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merged),
                                       cmocka_unit_test(test_painted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

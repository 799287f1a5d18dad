/* flux2_test.c: FLUX.2 against diffusers and transformers (tests/golden, "flux2"): its transformer
 * in both layouts, with pictures that it is shown and told its guidance, and its autoencoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model/flux2.h"
#include "engine/model/vae.h"
#include "tests/unit/golden_model.h"

#define FLUX2 "tests/golden/flux2/"

static struct checkpoint *network(const char *role, const char *path)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    if (!pictor_files_add(&files, role, path, &err))
        fail_msg("%s", err.msg);
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    pictor_files_close(&files);
    return cp;
}

static struct fixture fixture(const char *level, int bf16)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = bf16};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(FLUX2 "golden.safetensors"),
                        .limit = bf16 ? 5e-2 : 1e-4};
    if (!f.dev)
        fail_msg("%s", err.msg);
    return f;
}

static void fixture_free(struct fixture *f)
{
    safetensors_close(f->golden);
    device_free(f->dev);
}

/* A golden [1, c, h, w] as the engine has it. */
static float *latent_of(const struct fixture *f, const char *name, int *h, int *w)
{
    const struct raw_tensor *t = want(f->golden, name);
    float *planes = floats_of(t), *out = malloc(t->bytes);
    assert_non_null(out);
    *h = (int)t->shape[2];
    *w = (int)t->shape[3];
    nchw_to_last(out, planes, 1, (int)t->shape[1], t->shape[2] * t->shape[3]);
    free(planes);
    return out;
}

/* `shown`: of the golden references, how many the network sees. */
static void check_velocity(struct fixture *f, const struct flux2 *m, const char *input, double t,
                           int shown, const char *golden)
{
    char name[64];
    struct flux2_scene scene = {.guidance = 4, .reference_count = shown};
    struct flux2_call call;
    float *text = floats_of(want(f->golden, "text")), *references[2];
    scene.text = text;
    scene.tokens = (int)want(f->golden, "text")->shape[0];
    float *x = latent_of(f, input, &scene.height, &scene.width);
    for (int i = 0; i < shown; i++) {
        struct flux2_reference *r = &scene.references[i];
        snprintf(name, sizeof name, "reference%d", i);
        r->latent = references[i] = latent_of(f, name, &r->height, &r->width);
    }
    float *y = malloc(want(f->golden, input)->bytes);
    assert_non_null(y);
    RUN(f, flux2_begin(&o, m, &scene, &call); flux2_forward(&o, m, &call, x, t, y));
    check(f, golden, y, want(f->golden, golden));
    for (int i = 0; i < shown; i++)
        free(references[i]);
    free(text);
    free(x);
    free(y);
}

static struct flux2 *load(struct fixture *f, const struct checkpoint *cp, bool guided)
{
    struct err err;
    struct flux2_config config;
    struct flux2 *m =
        flux2_read(cp, &config, &err) ? flux2_load(f->dev, cp, &config, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    assert_int_equal(config.channels, 128);
    assert_int_equal(config.width, 32);
    assert_int_equal(config.heads, 2);
    assert_int_equal(config.inside, 96);
    assert_int_equal(config.doubles, guided ? 1 : 2);
    assert_int_equal(config.singles, guided ? 1 : 2);
    assert_true(config.guided == guided);
    return m;
}

static void check_transformer(const char *level, int bf16, const char *path)
{
    struct fixture f = fixture(level, bf16);
    struct checkpoint *cp = network("unet", path);
    struct flux2 *m = load(&f, cp, false);
    check_velocity(&f, m, "4x6.x", 1000, 0, "4x6.t1");
    check_velocity(&f, m, "4x6.x", 717.5, 0, "4x6.t0.7175");
    check_velocity(&f, m, "3x5.x", 1000, 0, "3x5.t1");
    check_velocity(&f, m, "3x5.x", 717.5, 0, "3x5.t0.7175");
    check_velocity(&f, m, "4x6.x", 717.5, 1, "4x6.one");
    check_velocity(&f, m, "4x6.x", 717.5, 2, "4x6.two");
    flux2_free(m);
    checkpoint_free(cp);
    fixture_free(&f);
}

static void test_transformer(void **state)
{
    const char *level;
    for (int i = 0; (level = device_level_name(i)); i++) {
        check_transformer(level, 0, FLUX2 "transformer/diffusion_pytorch_model.safetensors");
        check_transformer(level, 1, FLUX2 "transformer/diffusion_pytorch_model.safetensors");
    }
    check_transformer(NULL, 0, FLUX2 "bfl.safetensors");
}

static void test_told_its_guidance(void **state)
{
    struct fixture f = fixture(NULL, 0);
    struct checkpoint *cp = network("unet", FLUX2 "dev.safetensors");
    struct flux2 *m = load(&f, cp, true);
    check_velocity(&f, m, "4x6.x", 717.5, 0, "4x6.dev");
    flux2_free(m);
    checkpoint_free(cp);
    fixture_free(&f);
}

static void check_vae(const char *level, int bf16)
{
    struct err error;
    struct fixture f = fixture(level, bf16);
    struct checkpoint *cp = network("vae", FLUX2 "vae/diffusion_pytorch_model.safetensors");
    struct vae_config config;
    int h, w;
    if (!vae_read_flux(cp, 32, &config, &error))
        fail_msg("%s", error.msg);
    config.scale = 1;
    struct vae *v = vae_load(f.dev, cp, &config, NULL, &error);
    if (!v)
        fail_msg("%s", error.msg);
    assert_int_equal(vae_factor(v), 16);
    assert_int_equal(vae_channels(v), 128);
    float *picture = latent_of(&f, "first", &h, &w);
    for (int i = 0; i < 3 * h * w; i++)
        picture[i] = picture[i] / 127.5f - 1;
    float *latent = malloc(want(f.golden, "first.latent")->bytes);
    float *back = malloc(want(f.golden, "first.decoded")->bytes);
    assert_true(latent && back);
    RUN(&f, vae_encode(&o, v, picture, h / 16, w / 16, latent));
    check(&f, "first.latent", latent, want(f.golden, "first.latent"));
    RUN(&f, vae_decode(&o, v, latent, h / 16, w / 16, back));
    check(&f, "first.decoded", back, want(f.golden, "first.decoded"));
    free(picture);
    free(latent);
    free(back);
    vae_free(v);
    checkpoint_free(cp);
    fixture_free(&f);
}

static void test_vae(void **state)
{
    check_vae("scalar", 0);
    check_vae(NULL, 0);
    check_vae(NULL, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer),
        cmocka_unit_test(test_told_its_guidance),
        cmocka_unit_test(test_vae),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

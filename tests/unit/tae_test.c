/* tae_test.c: the tiny autoencoder against diffusers' AutoencoderTiny (tests/golden, "tae"), in
 * diffusers' layout and as its halves were published, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "engine/model/tae.h"
#include "engine/pipeline/preview.h"
#include "tests/unit/golden_model.h"

#define TAE "tests/golden/tae/"

static struct checkpoint *open_at(const char *path)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    if (!pictor_files_add(&files, "vae", path, &err))
        fail_msg("%s", err.msg);
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    pictor_files_close(&files);
    return cp;
}

static void check_sizes(struct fixture *f, const struct tae *t, const char *size, bool encodes)
{
    char name[64];
    snprintf(name, sizeof name, "%s.latent", size);
    const struct raw_tensor *latent = want(f->golden, name);
    snprintf(name, sizeof name, "%s.image", size);
    const struct raw_tensor *image = want(f->golden, name);
    int h = (int)latent->shape[2], w = (int)latent->shape[3];
    float *planes = floats_of(latent), *colours = floats_of(image);
    float *z = malloc(latent->bytes), *picture = malloc(image->bytes), *out = malloc(image->bytes);
    assert_true(z && picture && out);
    nchw_to_last(z, planes, 1, 4, (size_t)h * (size_t)w);
    nchw_to_last(picture, colours, 1, 3, 64 * (size_t)h * (size_t)w);
    RUN(f, (void)err; tae_decode(&o, t, z, h, w, out));
    snprintf(name, sizeof name, "%s.decoded", size);
    check(f, name, out, want(f->golden, name));
    if (encodes) {
        RUN(f, (void)err; tae_encode(&o, t, picture, h, w, out));
        snprintf(name, sizeof name, "%s.encoded", size);
        check(f, name, out, want(f->golden, name));
    }
    free(planes);
    free(colours);
    free(z);
    free(picture);
    free(out);
}

static void check_file(const char *path, const char *level, int bf16, double limit, bool encodes)
{
    struct err err;
    struct tae_config config;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = bf16};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(TAE "golden.safetensors"),
                        .limit = limit};
    struct checkpoint *cp = open_at(path);
    assert_true(tae_is_there(cp));
    struct tae *t =
        f.dev && tae_read(cp, &config, &err) ? tae_load(f.dev, cp, &config, NULL, &err) : NULL;
    if (!t)
        fail_msg("%s", err.msg);
    assert_int_equal(config.channels, 4);
    assert_int_equal(config.factor, 8);
    assert_int_equal(config.encoder.count > 0, encodes);
    check_sizes(&f, t, "8x8", encodes);
    check_sizes(&f, t, "5x12", encodes);
    tae_free(t);
    checkpoint_free(cp);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_both_halves(void **state)
{
    check_file(TAE "weights.safetensors", NULL, 0, 1e-4, true);
    check_file(TAE "weights.safetensors", "scalar", 0, 1e-4, true);
    check_file(TAE "weights.safetensors", NULL, 1, 2e-2, true); /* BF16 has 8 bits */
}

/* A half as it was published: layers by number alone, the decoder's counted from 1. `drop`: a
 * tensor of it that is left out. */
static void write_half(const char *root, int from, const char *drop, char *path)
{
    struct safetensors *st = open_file(TAE "weights.safetensors");
    struct file f = file_new("");
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        char name[64], *rest;
        if (strncmp(t->name, root, strlen(root)) != 0 || (drop && strcmp(t->name, drop) == 0))
            continue;
        long n = strtol(t->name + strlen(root), &rest, 10);
        snprintf(name, sizeof name, "%ld%s", n + from, rest);
        file_add_whole(&f, name, t);
    }
    safetensors_close(st);
    int fd = mkstemps(path, 12);
    assert_true(fd >= 0);
    close(fd);
    file_write(&f, path);
}

static void test_published_decoder(void **state)
{
    char path[] = P_tmpdir "/tae_test.XXXXXX.safetensors";
    write_half("decoder.layers.", 1, NULL, path);
    check_file(path, NULL, 0, 1e-4, false);
    unlink(path);
}

static const struct tae *previewing;

static void decode_tiny(const struct family_model *m, struct ops *o, const float *latent, int h,
                        int w, float *picture)
{
    tae_decode(o, previewing, latent, h, w, picture);
}

/* A preview is the decoded picture; of one that is too large, the mean of whole parts. */
static void test_preview(void **state)
{
    static const struct family family = {.preview = decode_tiny};
    static const struct family_model model = {.family = &family, .facts = {.factor = 8}};
    struct err why;
    struct tae_config config;
    struct device_options options = {.threads = 2, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &why),
                        .golden = open_file(TAE "golden.safetensors")};
    struct checkpoint *cp = open_at(TAE "weights.safetensors");
    assert_true(tae_read(cp, &config, &why));
    struct tae *t = tae_load(f.dev, cp, &config, NULL, &why);
    previewing = t;
    float *planes = floats_of(want(f.golden, "5x12.latent"));
    float *wanted = floats_of(want(f.golden, "5x12.decoded")), z[4 * 5 * 12];
    uint8_t *pixels = malloc(3 * PREVIEW_SIDE * PREVIEW_SIDE);
    float *wide = calloc(4 * 5 * 80, sizeof *wide);
    struct pictor_image image = {.pixels = pixels};
    nchw_to_last(z, planes, 1, 4, 5 * 12);
    RUN(&f, (void)err; preview_decode(&model, &o, z, 12, 5, &image));
    assert_int_equal(image.width, 96);
    assert_int_equal(image.height, 40);
    for (int i = 0; i < 96 * 40 * 3; i++) {
        float v = (wanted[(size_t)(i % 3) * 96 * 40 + (size_t)(i / 3)] + 1) * 127.5f;
        assert_true(fabsf(fminf(fmaxf(v, 0), 255) - (float)pixels[i]) < 1.01f);
    }
    RUN(&f, (void)err; preview_decode(&model, &o, wide, 80, 5, &image));
    assert_int_equal(image.width, 320);
    assert_int_equal(image.height, 20);
    free(planes);
    free(wanted);
    free(wide);
    free(pixels);
    tae_free(t);
    checkpoint_free(cp);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static bool measure_preview(void *ctx, const struct pictor_progress *progress)
{
    if (progress->preview)
        *(int *)ctx = progress->preview->width;
    return true;
}

/* Where there is no room to decode previews, they are fast ones, and the picture is no other. */
static void test_previews_are_no_reason_to_fail(void **state)
{
    struct err err;
    struct pictor_image pictures[2];
    const size_t room = 64 << 10; /* of fast ones */
    size_t bytes[2], weights = 0;
    int widths[2] = {0, 0};
    int fd = open(TAE "weights.safetensors", O_RDONLY);
    const struct pictor_control_file tiny = {"tiny", fd};
    for (int i = 0; i < 2; i++) {
        struct pictor_engine_options options = {
            .threads = 2, .memory_limit = i ? weights + bytes[0] + room : 0};
        struct pictor_engine *e = pictor_engine_new(&options, &err);
        struct pictor_model *m = pictor_model_open(e, TINY, &err);
        struct pictor_params p;
        pictor_params_init(&p, m);
        p.width = p.height = 128;
        p.steps = 2;
        assert_true(pictor_model_previews(m, &tiny, &err));
        weights = pictor_model_info(m)->weight_bytes;
        assert_true(pictor_check(m, &p, &bytes[0], &err));
        p.preview_every = 1;
        p.on_progress = measure_preview;
        p.ctx = &widths[i];
        assert_true(pictor_check(m, &p, &bytes[1], &err));
        assert_true((bytes[1] <= bytes[0] + room) == (i == 1));
        assert_true(pictor_generate(m, &p, &pictures[i], &err));
        pictor_model_free(m);
        pictor_engine_free(e);
    }
    assert_memory_equal(pictures[0].pixels, pictures[1].pixels, 3 * 128 * 128);
    assert_int_equal(widths[0], 128);
    assert_int_equal(widths[1], 16);
    pictor_image_free(&pictures[0]);
    pictor_image_free(&pictures[1]);
    close(fd);
}

static void check_refused(const char *root, int from, const char *drop, const char *message)
{
    char path[] = P_tmpdir "/tae_test.XXXXXX.safetensors";
    struct err err;
    struct tae_config config;
    write_half(root, from, drop, path);
    struct checkpoint *cp = open_at(path);
    assert_true(tae_is_there(cp));
    if (tae_read(cp, &config, &err) || !strstr(err.msg, message))
        fail_msg("wanted \"%s\", got \"%s\"", message, err.msg);
    checkpoint_free(cp);
    unlink(path);
}

static void test_refused(void **state)
{
    check_refused("encoder.layers.", 0, NULL, "encoder alone");
    check_refused("decoder.layers.", 1, "decoder.layers.2.conv.2.weight", "tae.decoder.2.conv.2");
    check_refused("decoder.layers.", 1, "decoder.layers.0.weight", "tae.decoder.");
    check_refused("decoder.layers.", 1, "decoder.layers.18.bias", "tae.decoder.18");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_halves),
        cmocka_unit_test(test_published_decoder),
        cmocka_unit_test(test_preview),
        cmocka_unit_test(test_previews_are_no_reason_to_fail),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

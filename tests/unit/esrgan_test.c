/* esrgan_test.c: upscalers against what spandrel computed (tests/golden/make_esrgan.py), under
 * every set of names, whole and in tiles; and files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "engine/model/esrgan.h"
#include "tests/unit/golden_model.h"

#define FOLDER "tests/golden/esrgan/"
#define SHIPPED "engine/builtin/realesr-animevideov3.safetensors"

static char model_path[] = "/tmp/pictor-esrgan-XXXXXX";

static struct device *new_device(int bf16)
{
    struct err err;
    struct device_options options = {.threads = 2, .bf16 = bf16};
    struct device *dev = device_new(&options, &err);
    assert_non_null(dev);
    return dev;
}

/* ---- weights by a formula ---- */

/* make_esrgan.py's `filled`. */
static float weight(uint32_t i, float factor)
{
    i ^= i >> 16;
    i *= 0x7FEB352Du;
    i ^= i >> 15;
    i *= 0x846CA68Bu;
    i ^= i >> 16;
    return ((float)(i >> 8) / (float)(1 << 23) - 1) * factor;
}

struct edit {
    const char *from, *to; /* a name that begins so begins otherwise; NULL `to`: it is left out */
    const char *shape;     /* or another shape */
};

/* The model's file, with an edit or NULL. */
static void write_model(const char *name, const struct edit *edit)
{
    char path[128], line[256];
    unsigned at = 0;
    snprintf(path, sizeof path, FOLDER "%s.tsv", name);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "%u\n", &at), 1);
    at <<= 24;
    struct file f = file_new("\"modelspec.title\":\"test\"");
    while (fgets(line, sizeof line, in)) {
        char tensor[128], shape[64], full[160];
        float factor;
        struct raw_tensor t = {.dtype = DTYPE_F32};
        assert_int_equal(sscanf(line, "%127s %63s %f", tensor, shape, &factor), 3);
        size_t n = 1;
        for (const char *s = shape; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
            n *= (size_t)atoi(s);
        float *data = malloc(n * sizeof *data);
        for (size_t i = 0; i < n; i++)
            data[i] = weight(at++, factor);
        t.data = data;
        t.bytes = n * sizeof *data;
        snprintf(full, sizeof full, "%s", tensor);
        bool edited = edit && strncmp(tensor, edit->from, strlen(edit->from)) == 0;
        if (edited && edit->to)
            snprintf(full, sizeof full, "%s%s", edit->to, tensor + strlen(edit->from));
        if (!edited || edit->to || edit->shape)
            file_add(&f, full, edited && edit->shape ? edit->shape : shape, -1, &t);
        free(data);
    }
    fclose(in);
    file_write(&f, model_path);
}

static struct esrgan *load(struct device *dev, const char *path)
{
    struct err err;
    struct checkpoint *cp = checkpoint_open(path, &err);
    if (!cp)
        fail_msg("%s: %s", path, err.msg);
    struct esrgan *e = esrgan_load(dev, cp, &err);
    if (!e)
        fail_msg("%s: %s", path, err.msg);
    checkpoint_free(cp);
    return e;
}

/* ---- against spandrel ---- */

/* out, owned by the caller, of in [h, w, 3]. */
static float *forward(struct device *dev, const struct esrgan *e, const float *in, int h, int w)
{
    struct arena arena;
    struct ops o = {dev, &arena};
    struct err err;
    size_t scale = (size_t)esrgan_config(e)->scale;
    float *out = malloc(scale * scale * (size_t)h * (size_t)w * 3 * sizeof *out);
    arena_plan(&arena);
    assert_true(esrgan_forward(&o, e, NULL, NULL, h, w, NULL));
    assert_true(arena_init(&arena, arena.peak, &err));
    assert_true(esrgan_forward(&o, e, NULL, in, h, w, out));
    arena_free(&arena);
    return out;
}

static void check_model(struct device *dev, const struct safetensors *golden, const char *name,
                        const char *path, double limit)
{
    char key[96];
    snprintf(key, sizeof key, "%s.in", name);
    const struct raw_tensor *in = want(golden, key);
    snprintf(key, sizeof key, "%s.out", name);
    const struct raw_tensor *expected = want(golden, key);
    int h = (int)in->shape[2], w = (int)in->shape[3];
    struct esrgan *e = load(dev, path);
    int scale = esrgan_config(e)->scale;
    assert_int_equal(expected->shape[2], h * scale);
    float *last = malloc(in->bytes), *nchw = malloc(expected->bytes), *plain = malloc(in->bytes);
    float *wanted = malloc(expected->bytes);
    memcpy(plain, in->data, in->bytes);
    memcpy(wanted, expected->data, expected->bytes);
    nchw_to_last(last, plain, 1, 3, (size_t)(h * w));
    float *got = forward(dev, e, last, h, w);
    nchw_from_last(nchw, got, 1, 3, (size_t)(h * w * scale * scale));
    double diff = 0, norm = 0;
    for (size_t i = 0; i < expected->bytes / sizeof(float); i++) {
        diff += ((double)nchw[i] - wanted[i]) * ((double)nchw[i] - wanted[i]);
        norm += (double)wanted[i] * wanted[i];
    }
    if (!(sqrt(diff / norm) <= limit))
        fail_msg("%s at %s, %s: error %.2e > %.0e", name, device_level(dev),
                 dtype_name(device_dtype(dev)), sqrt(diff / norm), limit);
    if (getenv("ESRGAN_SAY"))
        print_message("%s, %s: %.2e\n", name, dtype_name(device_dtype(dev)), sqrt(diff / norm));
    free(got), free(nchw), free(last), free(plain), free(wanted);
    esrgan_free(e);
}

static const char *const models[] = {"compact-x4",  "compact-x2",   "rrdb-old-x4",
                                     "rrdb-new-x4", "rrdb-2019-x4", "rrdb-new-x2",
                                     "rrdb-new-x1", "rrdb-old-x1",  "rrdb-old-x2"};

/* BF16 keeps eight bits of what passes between some twenty layers. */
static void check_all(int bf16, double limit, double shipped)
{
    struct device *dev = new_device(bf16);
    struct safetensors *golden = open_file(FOLDER "golden.safetensors");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        write_model(models[i], NULL);
        check_model(dev, golden, models[i], model_path, limit);
    }
    check_model(dev, golden, "shipped", SHIPPED, shipped);
    safetensors_close(golden);
    device_free(dev);
}

static void test_f32(void **state)
{
    check_all(0, 1e-5, 1e-5);
}

static void test_bf16(void **state)
{
    check_all(1, 2e-2, 5e-3);
}

/* Real weights, which are not here: make_esrgan.py says how. */
static void test_real(void **state)
{
    static const char *const names[] = {"realesr-animevideov3-x4", "realesrgan-x4plus"};
    const char *folder = getenv("ESRGAN_REAL");
    char path[512];
    if (!folder)
        skip();
    for (int bf16 = 0; bf16 <= 1; bf16++) {
        struct device *dev = new_device(bf16);
        snprintf(path, sizeof path, "%s/golden.safetensors", folder);
        struct safetensors *golden = open_file(path);
        for (int i = 0; i < 2; i++) {
            snprintf(path, sizeof path, "%s/%s.safetensors", folder, names[i]);
            check_model(dev, golden, names[i], path, bf16 ? 2e-2 : 1e-4);
        }
        safetensors_close(golden);
        device_free(dev);
    }
}

/* ---- tiles ---- */

static uint8_t *picture(int w, int h)
{
    uint8_t *p = malloc((size_t)w * (size_t)h * 3);
    for (int i = 0; i < w * h * 3; i++) {
        int x = i / 3 % w, y = i / 3 / w;
        p[i] = (uint8_t)((x * x / 7 + y * (i % 3 + 1) + (x / 9 + y / 5) % 2 * 90) % 256);
    }
    return p;
}

static uint8_t *enlarge(struct device *dev, const struct esrgan *e, int tile, const uint8_t *in,
                        int w, int h)
{
    struct arena arena;
    struct ops o = {dev, &arena};
    struct err err;
    size_t scale = (size_t)esrgan_config(e)->scale;
    uint8_t *out = malloc(scale * scale * (size_t)w * (size_t)h * 3);
    arena_plan(&arena);
    assert_true(esrgan_enlarge(&o, e, tile, NULL, NULL, w, h, NULL, NULL));
    assert_true(arena_init(&arena, arena.peak, &err));
    assert_true(esrgan_enlarge(&o, e, tile, NULL, in, w, h, out, NULL));
    arena_free(&arena);
    return out;
}

/* What a picture is in tiles it is as a whole, by `most` levels of 255 at a pixel. */
static void check_tiles(struct device *dev, const struct esrgan *e, int tile, int w, int h,
                        int most)
{
    uint8_t *in = picture(w, h);
    uint8_t *whole = enlarge(dev, e, 512, in, w, h), *tiled = enlarge(dev, e, tile, in, w, h);
    int scale = esrgan_config(e)->scale, worst = 0;
    for (int i = 0; i < w * h * 3 * scale * scale; i++)
        worst = abs(whole[i] - tiled[i]) > worst ? abs(whole[i] - tiled[i]) : worst;
    if (worst > most)
        fail_msg("%dx%d in tiles of %d: %d levels away from the whole", w, h, tile, worst);
    free(in), free(whole), free(tiled);
}

static void test_tiles(void **state)
{
    struct device *dev = new_device(0);
    struct esrgan *e = load(dev, SHIPPED);
    check_tiles(dev, e, 104, 230, 121, 0);
    check_tiles(dev, e, 104, 105, 1, 0);
    esrgan_free(e);
    write_model("rrdb-new-x2", NULL); /* takes 2x2 pixels at once */
    e = load(dev, model_path);
    check_tiles(dev, e, 128, 231, 157, 1);
    esrgan_free(e);
    device_free(dev);
}

static void test_room(void **state)
{
    struct device *dev = new_device(0);
    struct esrgan *e = load(dev, SHIPPED);
    size_t least = 0;
    int all = esrgan_tile(dev, e, 4000, 3000, SIZE_MAX, NULL);
    int some = esrgan_tile(dev, e, 4000, 3000, (size_t)300 << 20, NULL);
    assert_int_equal(all, 512);
    assert_true(some > 0 && some < all);
    assert_int_equal(esrgan_tile(dev, e, 64, 64, (size_t)1 << 20, &least), 0);
    assert_true(least > 1 << 20);
    esrgan_free(e);
    device_free(dev);
}

static bool stop_at_half(void *ctx, double share)
{
    double *last = ctx;
    assert_true(share >= *last && share <= 1);
    *last = share;
    return share < 0.5;
}

static void test_stop(void **state)
{
    struct device *dev = new_device(0);
    struct esrgan *e = load(dev, SHIPPED);
    struct arena arena;
    struct ops o = {dev, &arena};
    struct err err;
    double share = 0;
    const struct esrgan_watch watch = {stop_at_half, &share};
    uint8_t *in = picture(160, 130), *out = malloc(640 * 520 * 3);
    arena_plan(&arena);
    assert_true(esrgan_enlarge(&o, e, 104, &watch, NULL, 160, 130, NULL, NULL));
    assert_true(arena_init(&arena, arena.peak, &err));
    assert_false(esrgan_enlarge(&o, e, 104, &watch, in, 160, 130, out, NULL));
    assert_true(share >= 0.5 && share < 0.7);
    arena_free(&arena);
    free(in), free(out);
    esrgan_free(e);
    device_free(dev);
}

/* ---- files that are none ---- */

static void refuse(const char *model, struct edit edit, enum err_code code, const char *word)
{
    struct err err = {0};
    struct device *dev = new_device(0);
    write_model(model, &edit);
    struct checkpoint *cp = checkpoint_open(model_path, &err);
    assert_non_null(cp);
    struct esrgan *e = esrgan_load(dev, cp, &err);
    if (e || err.code != code || !strstr(err.msg, word))
        fail_msg("%s: wanted %s with '%s', got %s: %s", edit.from, err_name(code), word,
                 err_name(err.code), e ? "a model" : err.msg);
    checkpoint_free(cp);
    device_free(dev);
}

static void test_refused(void **state)
{
    refuse("compact-x4", (struct edit){"body.", "layer.", NULL}, ERR_UNSUPPORTED,
           "not an upscaler that pictor runs");
    refuse("compact-x4", (struct edit){"body.2.bias", NULL, NULL}, ERR_INVALID, "body.2.bias");
    refuse("compact-x4", (struct edit){"body.3.weight", "body.3.weight", "2,4"}, ERR_INVALID,
           "body.3.weight");
    refuse("compact-x4", (struct edit){"body.1.", NULL, NULL}, ERR_UNSUPPORTED, "PReLU");
    refuse("compact-x4", (struct edit){"body.0.weight", "body.0.weight", "8,27,1,1"},
           ERR_UNSUPPORTED, "3x3");
    refuse("rrdb-old-x1",
           (struct edit){"model.1.sub.0.RDB1.conv2.0.weight", "model.1.sub.0.RDB1.conv1x1.weight",
                         NULL},
           ERR_UNSUPPORTED, "ESRGAN+");
    refuse("rrdb-new-x4", (struct edit){"params_ema.conv_hr.weight", NULL, NULL}, ERR_INVALID,
           "conv_hr.weight");
    refuse("rrdb-new-x4", (struct edit){"params_ema.body.1.rdb3.conv5.weight", NULL, NULL},
           ERR_INVALID, "rdb3.conv5");
    refuse(
        "rrdb-new-x4",
        (struct edit){"params_ema.conv_first.weight", "params_ema.conv_first.weight", "24,1,3,3"},
        ERR_UNSUPPORTED, "takes 1 channels");
    refuse("rrdb-new-x4", (struct edit){"params_ema.conv_up", "params_ema.gone", NULL},
           ERR_UNSUPPORTED, "of 2 blocks and x1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),     cmocka_unit_test(test_bf16), cmocka_unit_test(test_real),
        cmocka_unit_test(test_tiles),   cmocka_unit_test(test_room), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_refused),
    };
    int fd = mkstemp(model_path);
    if (fd < 0 || close(fd) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return failed;
}

/* control_test.c: ControlNets against diffusers' (tests/golden, "control"): what a UNet says that
 * one or two of them lead, in both layouts, with weights, for some of the steps; and what is none.
 *
 * A ControlNet is put together here: its way down is the model's own, as when training begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/golden_sdxl.h"

#define CONTROL "tests/golden/control/golden.safetensors"
#define ROOT "model.diffusion_model."

enum { W = 16, H = 8, C = 4, PIXELS = 64 * W * H };

/* A ControlNet's own tensor in LDM's names. */
static bool ldm_name(const char *name, char *out, size_t size)
{
    int n, at = 0;
    if (sscanf(name, "controlnet_down_blocks.%d.%n", &n, &at) == 1 && at)
        snprintf(out, size, "control_model.zero_convs.%d.0.%s", n, name + at);
    else if (sscanf(name, "controlnet_cond_embedding.blocks.%d.%n", &n, &at) == 1 && at)
        snprintf(out, size, "control_model.input_hint_block.%d.%s", 2 * (n + 1), name + at);
    else if (starts(name, "controlnet_cond_embedding.conv_in."))
        snprintf(out, size, "control_model.input_hint_block.0.%s", name + 34);
    else if (starts(name, "controlnet_cond_embedding.conv_out."))
        snprintf(out, size, "control_model.input_hint_block.14.%s", name + 35);
    else if (starts(name, "controlnet_mid_block."))
        snprintf(out, size, "control_model.middle_block_out.0.%s", name + 21);
    else
        return false;
    return true;
}

static void add_own(struct file *f, const char *model, bool ldm, const char *drop)
{
    struct safetensors *golden = open_file(CONTROL);
    size_t n = strlen(model);
    for (size_t i = 0; i < safetensors_count(golden); i++) {
        const struct raw_tensor *t = safetensors_at(golden, i);
        char name[160];
        if (strncmp(t->name, model, n) != 0 || !starts(t->name + n, ".controlnet_") ||
            (drop && strstr(t->name, drop)))
            continue;
        if (ldm)
            assert_true(ldm_name(t->name + n + 1, name, sizeof name));
        file_add_whole(f, ldm ? name : t->name + n + 1, t);
    }
    safetensors_close(golden);
}

static int write_net(struct file *f)
{
    char path[] = P_tmpdir "/control_test.XXXXXX.safetensors";
    int fd = mkstemps(path, 12);
    assert_true(fd >= 0);
    file_write(f, path);
    unlink(path);
    return fd; /* of what was written: the same inode */
}

/* The single file's layout: "control_model.". `drop`: what is left out. */
static int ldm_net(const char *model, const char *drop)
{
    struct file f = file_new("");
    struct safetensors *st =
        open_file(strcmp(model, "sdxl") == 0 ? SDXL "weights.safetensors" : TINY);
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        char name[160];
        if (!starts(t->name, ROOT) || starts(t->name, ROOT "out"))
            continue;
        snprintf(name, sizeof name, "control_model.%s", t->name + strlen(ROOT));
        file_add_whole(&f, name, t);
    }
    safetensors_close(st);
    add_own(&f, model, true, drop);
    return write_net(&f);
}

/* diffusers' layout, of the tiny model. */
static int diffusers_net(void)
{
    char where[64], name[160], ldm[160], shape[32];
    struct file f = file_new("");
    struct safetensors *tiny = open_file(TINY);
    FILE *names = fopen(TINY_NAMES, "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s", where, name, ldm, shape) == 4)
        if (starts(where, "unet") && !starts(name, "up_blocks.") && !starts(name, "conv_out") &&
            !starts(name, "conv_norm_out"))
            file_add(&f, name, shape, -1, want(tiny, ldm));
    fclose(names);
    safetensors_close(tiny);
    add_own(&f, "sd1", false, NULL);
    return write_net(&f);
}

static struct family_model *model_of(struct device *dev, const char *name, struct checkpoint **cp,
                                     unsigned char **bytes)
{
    static const char *const none[] = {NULL};
    struct err err;
    *bytes = NULL;
    *cp = strcmp(name, "sdxl") == 0 ? single_file(false, "", none, bytes)
                                    : checkpoint_open(TINY, &err);
    const struct family *family = *cp ? family_of(*cp, &err) : NULL;
    struct family_model *m = family ? family->open(dev, *cp, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    return m;
}

static struct family_words words_of(const char *model, const char *prompt)
{
    bool sdxl = strcmp(model, "sdxl") == 0;
    struct safetensors *st =
        open_file(sdxl ? SDXL "golden.safetensors" : "tests/golden/tiny/text.safetensors");
    struct family_words words = {.tokens = TOKENS_A_CHUNK};
    char name[64];
    snprintf(name, sizeof name, sdxl ? "%s.states" : "%s.skip1", prompt);
    words.states = floats_of(want(st, name));
    snprintf(name, sizeof name, "%s.pooled", prompt);
    if (sdxl)
        words.pooled = floats_of(want(st, name));
    safetensors_close(st);
    return words;
}

/* What the network says that these controls lead. `done`: of the steps. The second prompt is what
 * is led away from. */
static void check_regions(struct fixture *f, const char *model,
                          const struct pictor_control *controls, size_t count, double done,
                          const float *const *regions, bool hidden, const char *golden)
{
    struct family_words words[2] = {words_of(model, "prompt"), words_of(model, "unicode")};
    words[1].negative = true;
    float *planes = floats_of(want(f->golden, "x")), *colours = floats_of(want(f->golden, "image"));
    float *x = malloc(2 * W * H * C * sizeof *x), *picture = malloc(6 * PIXELS * sizeof *picture);
    assert_true(x && picture);
    nchw_to_last(x, planes, 2, C, W * H);
    nchw_to_last(picture, colours, 1, 3, PIXELS);
    for (int i = 0; i < 3 * PIXELS; i++) /* the second is the negative of the first */
        picture[3 * PIXELS + i] = 1 - picture[i];
    for (int i = 0; hidden && i < 3 * PIXELS; i++) {
        int y = i / 3 / (8 * W), x0 = i / 3 % (8 * W);
        if (y >= 8 && y < 40 && x0 >= 32 && x0 < 96)
            picture[i] = -1;
    }
    const float *guides[2] = {picture, picture + 3 * PIXELS};
    f->params.controls = controls;
    f->params.control_count = count;
    struct family_picture p = {.width = W,
                               .height = H,
                               .params = &f->params,
                               .guides = count ? guides : NULL,
                               .done = &done,
                               .regions = regions};
    struct family_call *call;
    RUN(f, call = f->m->family->call_new(f->m, &o, &p, words, 2, &err); assert_non_null(call);
        f->m->family->predict(f->m, &o, call, x, 500, false, x); f->m->family->call_free(call));
    check(f, golden, x, want(f->golden, golden));
    for (int i = 0; i < 2; i++)
        words_free(&words[i]);
    free(planes);
    free(colours);
    free(x);
    free(picture);
}

static void check_says(struct fixture *f, const char *model, const struct pictor_control *controls,
                       size_t count, double done, const char *golden)
{
    check_regions(f, model, controls, count, done, NULL, false, golden);
}

/* Whose say it is, where it leads, and what it is not shown. */
static void check_ways(struct fixture *f)
{
    static const struct pictor_control one = {.weight = 1, .end = 1};
    static const struct pictor_control soft = {.weight = 1, .end = 1, .say = PICTOR_SAY_PROMPT};
    static const struct pictor_control alone = {.weight = 1, .end = 1, .say = PICTOR_SAY_CONTROL};
    float *region = floats_of(want(f->golden, "region"));
    const float *regions[] = {region};
    check_says(f, "sd1", &soft, 1, 0, "sd1.soft");
    check_says(f, "sd1", &alone, 1, 0, "sd1.alone");
    check_regions(f, "sd1", &one, 1, 0, regions, false, "sd1.region");
    check_regions(f, "sd1", &one, 1, 0, NULL, true, "sd1.hidden");
    free(region);
}

static void check_model(const char *name, const char *level, bool diffusers)
{
    static const struct pictor_control one[] = {{.weight = 1, .end = 1}};
    static const struct pictor_control weak[] = {{.weight = 0.5, .end = 1}};
    static const struct pictor_control late[] = {{.weight = 1, .start = 0.5, .end = 0.8}};
    static const struct pictor_control two[] = {{.weight = 0.5, .end = 1},
                                                {.weight = 1.5, .end = 1}};
    struct err err;
    unsigned char *bytes;
    struct checkpoint *cp;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(CONTROL),
                        .params = {.clip_skip = 1},
                        .limit = 1e-4};
    assert_non_null(f.dev);
    f.m = model_of(f.dev, name, &cp, &bytes);
    bool sd1 = strcmp(name, "sd1") == 0;
    int fd = diffusers ? diffusers_net() : ldm_net(name, NULL);
    struct pictor_control_file files[2] = {{"canny", fd}, {"negative", fd}};
    if (!f.m->family->control(f.m, files, 1, &err))
        fail_msg("%s", err.msg);
    check_says(&f, name, one, 1, 0, sd1 ? "sd1.one" : "sdxl.one");
    if (sd1) {
        check_says(&f, name, weak, 1, 0, "sd1.weak");
        check_says(&f, name, late, 1, 0.25, "sd1.none");
        check_says(&f, name, late, 1, 0.75, "sd1.one");
        check_says(&f, name, late, 1, 0.85, "sd1.none");
        check_ways(&f);
        if (!f.m->family->control(f.m, files, 2, &err))
            fail_msg("%s", err.msg);
        check_says(&f, name, two, 2, 0, "sd1.two");
        assert_true(f.m->family->control(f.m, NULL, 0, &err));
        check_says(&f, name, NULL, 0, 0, "sd1.none");
    }
    close(fd);
    f.m->family->free(f.m);
    checkpoint_free(cp);
    free(bytes);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_golden(void **state)
{
    check_model("sd1", NULL, false);
    check_model("sd1", "scalar", true);
    check_model("sdxl", NULL, false);
}

static void test_refused(void **state)
{
    struct err err;
    unsigned char *bytes;
    struct checkpoint *cp;
    struct device_options options = {.threads = 2, .bf16 = 0};
    struct device *dev = device_new(&options, &err);
    struct family_model *m = model_of(dev, "sd1", &cp, &bytes);
    const struct {
        const char *model, *drop, *message;
    } cases[] = {
        {"sdxl", NULL, "another kind of model"},
        {"sd1", "controlnet_down_blocks.5.weight", "zero_convs.5.0.weight"},
        {"sd1", "controlnet_cond_embedding.blocks.2.weight", "input_hint_block.6.weight"},
        {"sd1", "controlnet_mid_block.bias", "middle_block_out.0.bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_control_file file = {"edges", ldm_net(cases[i].model, cases[i].drop)};
        if (m->family->control(m, &file, 1, &err) || !strstr(err.msg, cases[i].message) ||
            !strstr(err.msg, "ControlNet edges"))
            fail_msg("wanted \"%s\", got \"%s\"", cases[i].message, err.msg);
        close(file.fd);
    }
    m->family->free(m);
    checkpoint_free(cp);
    device_free(dev);
}

static void paint_other(struct pictor_model *m, const struct pictor_params *p,
                        const struct pictor_image *other)
{
    struct pictor_image image;
    struct err err;
    if (!pictor_generate(m, p, &image, &err))
        fail_msg("%s", err.msg);
    assert_memory_not_equal(image.pixels, other->pixels, 96 * 64 * 3);
    pictor_image_free(&image);
}

/* A black mask is none; each other way paints something else. */
static void check_masks(struct pictor_model *m, struct pictor_params *p,
                        struct pictor_control *control, const struct pictor_image *led)
{
    uint8_t black[4] = {0}, half[2] = {0, 255};
    const struct pictor_image none = {2, 2, 1, black}, right = {2, 1, 1, half};
    struct pictor_image image;
    struct err err;
    const struct pictor_control was = *control;
    control->hidden = &none;
    assert_true(pictor_generate(m, p, &image, &err));
    assert_memory_equal(image.pixels, led->pixels, 96 * 64 * 3);
    pictor_image_free(&image);
    control->hidden = &right;
    paint_other(m, p, led);
    *control = was;
    control->region = &right;
    paint_other(m, p, led);
    for (int say = PICTOR_SAY_PROMPT; say <= PICTOR_SAY_CONTROL; say++) {
        *control = was;
        control->say = (enum pictor_say)say;
        paint_other(m, p, led);
    }
    *control = was;
    control->say = (enum pictor_say)3;
    assert_false(pictor_check(m, p, NULL, &err));
    *control = was;
}

/* Through engine/pictor.h: pictures of any size lead, each ControlNet has one, and a second pass is
 * led as well. */
static void test_pictures(void **state)
{
    enum { SIDE = 40 };
    struct err err;
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i] = i % SIDE > 20 ? 255 : 0;
    struct pictor_image image = {SIDE, SIDE, 1, pixels}, plain, led, again;
    struct pictor_engine *e = pictor_engine_new(NULL, &err);
    struct pictor_model *m = pictor_model_open(e, TINY, &err);
    assert_non_null(m);
    struct pictor_params p;
    pictor_params_init(&p, m);
    p.width = p.height = 64;
    p.steps = 3;
    p.hires_width = 96;
    p.hires_height = 64;
    assert_true(pictor_generate(m, &p, &plain, &err));
    int fd = ldm_net("sd1", NULL);
    struct pictor_control_file file = {"edges", fd};
    assert_true(pictor_model_control(m, &file, 1, &err));
    assert_false(pictor_check(m, &p, NULL, &err));
    struct pictor_control control = {
        .image = &image, .fit = PICTOR_FIT_CROP, .weight = 1, .end = 1};
    p.controls = &control;
    p.control_count = 1;
    p.negative_prompt = "two chunks BREAK of words";
    assert_true(pictor_generate(m, &p, &led, &err));
    assert_memory_not_equal(led.pixels, plain.pixels, 96 * 64 * 3);
    check_masks(m, &p, &control, &led);
    pictor_image_free(&led);
    control.weight = 0;
    p.negative_prompt = "";
    p.speed.reuse_every = 1;
    assert_true(pictor_generate(m, &p, &again, &err));
    assert_memory_equal(again.pixels, plain.pixels, 96 * 64 * 3);
    control.weight = 11;
    assert_false(pictor_check(m, &p, NULL, &err));
    assert_true(pictor_model_control(m, NULL, 0, &err));
    pictor_image_free(&plain);
    pictor_image_free(&again);
    close(fd);
    pictor_model_free(m);
    pictor_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

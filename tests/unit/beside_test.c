/* beside_test.c: networks that are shown what they paint over, against diffusers' pipelines for
 * inpainting and InstructPix2Pix (tests/golden, "beside"): what stands beside the latent, and whole
 * trajectories, from both layouts; and what such models refuse.
 *
 * The models are the tiny ones of the families with another first convolution. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/golden_sdxl.h"

#define GOLDEN "tests/golden/beside/golden.safetensors"
#define CONV_IN "model.diffusion_model.input_blocks.0.0.weight"

enum { W = 16, H = 8, C = 4, F = 8, STEPS = 10 };

/* A file's tensors whose names begin with `only`; `in` takes the place of the first convolution. */
static void add_all(struct file *f, const char *path, const char *only, const struct raw_tensor *in)
{
    struct safetensors *st = open_file(path);
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        if (starts(t->name, only))
            file_add_whole(f, t->name, strcmp(t->name, CONV_IN) == 0 ? in : t);
    }
    safetensors_close(st);
}

/* The single file of "sd1", "edit", "sd2" or "sdxl". */
static struct checkpoint *single_file_with(const char *name, const struct raw_tensor *other,
                                           unsigned char **bytes);

static struct checkpoint *single_file_of(const char *name, unsigned char **bytes)
{
    return single_file_with(name, NULL, bytes);
}

/* `other`: another first convolution, or NULL. */
static struct checkpoint *single_file_with(const char *name, const struct raw_tensor *other,
                                           unsigned char **bytes)
{
    struct err err;
    size_t size;
    char conv_in[64];
    struct safetensors *golden = open_file(GOLDEN), *tiny = open_file(TINY);
    struct file f = file_new("");
    snprintf(conv_in, sizeof conv_in, "%s.conv_in", name);
    const struct raw_tensor *in = other ? other : want(golden, conv_in),
                            *tokens = want(tiny, TOKENS);
    if (strcmp(name, "sdxl") == 0) {
        add_all(&f, SDXL "weights.safetensors", "", in);
        file_add_whole(&f, FIRST "transformer.text_model.embeddings.token_embedding.weight",
                       tokens);
        file_add_whole(&f, SECOND "model.token_embedding.weight", tokens);
    } else if (strcmp(name, "sd2") == 0) {
        add_all(&f, "tests/golden/sd2/weights.safetensors", "", in);
        file_add_whole(&f, "cond_stage_model.model.token_embedding.weight", tokens);
    } else {
        add_all(&f, TINY, "cond_stage_model.", in);
        add_all(&f, TINY, "model.", in);
    }
    add_all(&f, TINY, "first_stage_model.", in);
    *bytes = file_bytes(&f, &size);
    struct checkpoint *cp = checkpoint_open_memory(*bytes, size, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    safetensors_close(tiny);
    safetensors_close(golden);
    return cp;
}

/* Of the golden file's words for a family. `name` is "prompt" or "empty". */
static struct family_words words_of(const char *model, const char *name)
{
    static const char *const files[] = {"tiny/text", "sd2/golden", "sdxl/golden"};
    int kind = strcmp(model, "sd2") == 0 ? 1 : strcmp(model, "sdxl") == 0 ? 2 : 0;
    bool zeros = kind == 2 && strcmp(name, "empty") == 0;
    char text[96];
    snprintf(text, sizeof text, "tests/golden/%s.safetensors", files[kind]);
    struct safetensors *st = open_file(text);
    snprintf(text, sizeof text, kind ? "%s.states" : "%s.skip1", name);
    const struct raw_tensor *t = want(st, text);
    struct family_words words = {.tokens = TOKENS_A_CHUNK, .negative = strcmp(name, "empty") == 0};
    float *states = floats_of(t), *pooled = NULL;
    if (zeros)
        memset(states, 0, t->bytes);
    if (kind == 2) {
        snprintf(text, sizeof text, "%s.pooled", name);
        pooled = floats_of(want(st, text));
        if (zeros)
            memset(pooled, 0, want(st, text)->bytes);
    }
    words.states = states;
    words.pooled = pooled;
    safetensors_close(st);
    return words;
}

static void check_beside(struct fixture *f, const char *name, float *out)
{
    char golden[64];
    const struct raw_tensor *picture = want(f->golden, "picture");
    float *planes = floats_of(picture), *mask = floats_of(want(f->golden, "mask"));
    float *pixels = malloc(picture->bytes);
    assert_non_null(pixels);
    nchw_to_last(pixels, planes, 1, 3, (size_t)(W * F * H * F));
    struct family_source source = {W, H, pixels, mask, NULL, 1};
    RUN(f, f->m->family->beside(f->m, &o, &source, out));
    snprintf(golden, sizeof golden, "%s.beside", name);
    check(f, golden, out, want(f->golden, golden));
    free(planes);
    free(pixels);
    free(mask);
}

static void check_end(struct fixture *f, const char *name, const float *beside)
{
    char golden[64];
    float x[W * H * C], scratch[4 * W * H * C];
    struct safetensors *st = open_file("tests/golden/tiny/trajectories.safetensors");
    float *start = floats_of(want(st, "start_noise"));
    const struct sampler *sampler = sampler_find("Euler", NULL);
    struct family_words words[2] = {words_of(name, "prompt"), words_of(name, "empty")};
    struct schedule schedule;
    struct sampler_plan plan;
    struct noise noise;
    struct guided g;
    bool ok = false;
    f->m->family->schedule(f->m, F * W, F * H, STEPS, &schedule);
    assert_true(sampler_plan_text(&plan, sampler, SCHEDULE_UNIFORM, &schedule, STEPS, NULL));
    nchw_to_last(x, start, 1, C, W * H);
    for (int i = 0; i < W * H * C; i++)
        x[i] *= (float)plan.sigmas[0];
    noise_init(&noise, PICTOR_RNG_CPU, 0);
    struct family_words two[2] = {words[0], words[1]};
    struct spoken spoken = spoken_of(two, 1);
    RUN(f, struct guided_options options = {.ops = &o,
                                            .model = f->m,
                                            .schedule = &schedule,
                                            .picture = {W, H, &f->params, beside, NULL, NULL, NULL},
                                            .spoken = &spoken};
        guided_new(&g, &options); struct denoiser d = guided_denoiser(&g);
        struct sampler_run run = {.sampler = sampler,
                                  .plan = &plan,
                                  .pixels = W * H,
                                  .channels = C,
                                  .denoiser = d,
                                  .noise = &noise,
                                  .eta = NAN};
        ok = arena_planning(&arena) ? d.denoise(d.ctx, NULL, 1, NULL, NULL, &err)
                                    : sampler_run(&run, x, scratch, &err);
        assert_true(ok); guided_free(&g));
    snprintf(golden, sizeof golden, "%s.latents", name);
    check(f, golden, x, want(f->golden, golden));
    wording_free(&spoken.wording);
    sampler_plan_free(&plan);
    for (int i = 0; i < 2; i++)
        words_free(&words[i]);
    free(start);
    safetensors_close(st);
}

static void check_model(const struct checkpoint *cp, const char *name, const char *level)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(GOLDEN),
                        .params = {.guidance = strcmp(name, "sdxl") == 0 ? 2 : 7.5f,
                                   .image_guidance = NAN,
                                   .clip_skip = 1},
                        .limit = 1e-4};
    float beside[W * H * 5];
    const struct family *family = family_of(cp, &err);
    if (!f.dev || !family || !(f.m = family->open(f.dev, cp, &err)))
        fail_msg("%s", err.msg);
    bool edits = strcmp(name, "edit") == 0;
    assert_string_equal(f.m->facts.info.architecture, edits ? "sd1" : name);
    assert_int_equal(f.m->facts.beside, edits ? 4 : 5);
    assert_int_equal(f.m->facts.info.masked, !edits);
    assert_float_equal(f.m->facts.info.default_image_guidance, edits ? 1.5 : 0, 0);
    check_beside(&f, name, beside);
    check_end(&f, name, beside);
    family->free(f.m);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_single_files(void **state)
{
    static const char *const names[] = {"sd1", "edit", "sd2", "sdxl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *bytes;
        struct checkpoint *cp = single_file_of(names[i], &bytes);
        check_model(cp, names[i], NULL);
        if (i == 0)
            check_model(cp, names[i], "scalar");
        checkpoint_free(cp);
        free(bytes);
    }
}

static void test_folder(void **state)
{
    static const char *const folders[] = {"unet", "vae", "text_encoder"};
    static const char *const weights[] = {"diffusion_pytorch_model", "diffusion_pytorch_model",
                                          "model"};
    struct err err;
    char dir[] = P_tmpdir "/beside_test.XXXXXX", path[512], where[64], name[160], ldm[160],
         shape[32];
    assert_non_null(mkdtemp(dir));
    struct safetensors *golden = open_file(GOLDEN), *tiny = open_file(TINY);
    struct file files[3] = {file_new(""), file_new(""), file_new("")};
    FILE *names = fopen(TINY_NAMES, "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s", where, name, ldm, shape) == 4) {
        struct file *f = &files[starts(where, "unet") ? 0 : starts(where, "vae") ? 1 : 2];
        if (strcmp(ldm, CONV_IN) == 0)
            file_add_whole(f, name, want(golden, "sd1.conv_in"));
        else
            file_add(f, name, shape, -1, want(tiny, ldm));
    }
    fclose(names);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/%s/%s.safetensors", dir, folders[i], weights[i]);
        file_write(&files[i], path);
    }
    struct checkpoint *cp = checkpoint_open(dir, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    check_model(cp, "sd1", NULL);
    checkpoint_free(cp);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s/%s.safetensors", dir, folders[i], weights[i]);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    safetensors_close(golden);
    safetensors_close(tiny);
}

/* ---- LoRAs ---- */

static void says(struct fixture *f, const float *x, const float *beside, float *y)
{
    struct family_words words = words_of("sd1", "prompt");
    struct family_picture picture = {
        .width = W, .height = H, .params = &f->params, .beside = beside};
    struct family_call *call;
    RUN(f, call = f->m->family->call_new(f->m, &o, &picture, &words, 1, &err);
        assert_non_null(call); f->m->family->predict(f->m, &o, call, x, 500, false, y);
        f->m->family->call_free(call));
    words_free(&words);
}

/* A LoRA's first convolution has the latent's channels alone: those of a network that takes more
 * are changed as if the rest of it were zeros. */
static void test_lora_of_first_convolution(void **state)
{
    enum { N = 32, K = 9, TAPS = 9 };
    struct err err;
    float up[N], down[C * TAPS], sum[N * K * TAPS], x[W * H * C], beside[W * H * 5];
    float y[2][W * H * C], plain[W * H * C];
    struct safetensors *golden = open_file(GOLDEN);
    struct raw_tensor in = *want(golden, "sd1.conv_in");
    memcpy(sum, in.data, sizeof sum);
    for (int i = 0; i < N; i++)
        up[i] = (float)(i % 5 - 2) / 8;
    for (int i = 0; i < C * TAPS; i++)
        down[i] = (float)(i % 7 - 3) / 16;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < C * TAPS; j++)
            sum[i * K * TAPS + j] += up[i] * down[j];
    for (int i = 0; i < W * H * C; i++)
        x[i] = sinf((float)i);
    for (int i = 0; i < W * H * 5; i++)
        beside[i] = cosf((float)i);
    struct raw_tensor a = {
        .dtype = DTYPE_F32, .ndim = 4, .shape = {N, 1, 1, 1}, .data = up, .bytes = sizeof up};
    struct raw_tensor b = {
        .dtype = DTYPE_F32, .ndim = 4, .shape = {1, C, 3, 3}, .data = down, .bytes = sizeof down};
    char path[] = P_tmpdir "/beside_test.XXXXXX.safetensors";
    struct file file = file_new("");
    file_add_whole(&file, "lora_unet_conv_in.lora_up.weight", &a);
    file_add_whole(&file, "lora_unet_conv_in.lora_down.weight", &b);
    int fd = mkstemps(path, 12);
    assert_true(fd >= 0);
    file_write(&file, path);
    in.data = sum;
    struct device_options options = {.threads = 2, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err), .params = {.clip_skip = 1}};
    for (int i = 0; i < 2; i++) {
        unsigned char *bytes;
        struct checkpoint *cp = single_file_with("sd1", i ? &in : NULL, &bytes);
        const struct family *family = family_of(cp, &err);
        if (!f.dev || !family || !(f.m = family->open(f.dev, cp, &err)))
            fail_msg("%s", err.msg);
        struct pictor_lora lora = {"first", fd, 1, 1};
        if (i == 0)
            says(&f, x, beside, plain);
        if (i == 0 && !family->merge(f.m, &lora, 1, &err))
            fail_msg("%s", err.msg);
        says(&f, x, beside, y[i]);
        family->free(f.m);
        checkpoint_free(cp);
        free(bytes);
    }
    double apart = 0, norm = 0, change = 0;
    for (int i = 0; i < W * H * C; i++) {
        apart += ((double)y[0][i] - y[1][i]) * ((double)y[0][i] - y[1][i]);
        change += ((double)y[0][i] - plain[i]) * ((double)y[0][i] - plain[i]);
        norm += (double)y[1][i] * y[1][i];
    }
    assert_true(sqrt(apart / norm) < 1e-5);
    assert_true(sqrt(change / norm) > 1e-2);
    close(fd);
    unlink(path);
    device_free(f.dev);
    safetensors_close(golden);
}

/* ---- whole pictures ---- */

static void write_bytes(char *path, const char *name)
{
    struct safetensors *golden = open_file(GOLDEN);
    char conv_in[64];
    struct file f = file_new("");
    snprintf(conv_in, sizeof conv_in, "%s.conv_in", name);
    add_all(&f, TINY, "", want(golden, conv_in));
    int fd = mkstemps(path, 12);
    assert_true(fd >= 0);
    close(fd);
    file_write(&f, path);
    safetensors_close(golden);
}

static struct pictor_image paint(struct pictor_model *m, const struct pictor_params *p)
{
    struct err err;
    struct pictor_image image;
    size_t bytes;
    if (!pictor_check(m, p, &bytes, &err) || !pictor_generate(m, p, &image, &err))
        fail_msg("%s", err.msg);
    return image;
}

static bool same_picture(struct pictor_model *m, const struct pictor_params *a,
                         const struct pictor_params *b)
{
    struct pictor_image one = paint(m, a), other = paint(m, b);
    bool same = one.width == other.width && one.height == other.height &&
                memcmp(one.pixels, other.pixels, (size_t)one.width * (size_t)one.height * 3) == 0;
    pictor_image_free(&one);
    pictor_image_free(&other);
    return same;
}

/* Text to image, painting over with and without a mask, a second pass: everywhere the mask, what it
 * leaves and its weight count. */
static void test_inpainting_pictures(void **state)
{
    struct err err;
    char path[] = P_tmpdir "/beside_test.XXXXXX.safetensors";
    uint8_t pixels[64 * 64 * 3], masks[2][64 * 64];
    write_bytes(path, "sd1");
    struct pictor_engine *e = pictor_engine_new(NULL, &err);
    struct pictor_model *m = pictor_model_open(e, path, &err);
    if (!m)
        fail_msg("%s", err.msg);
    assert_true(pictor_model_info(m)->masked);
    for (int i = 0; i < 64 * 64; i++) {
        for (int k = 0; k < 3; k++)
            pixels[3 * i + k] = (uint8_t)(i * (k + 2) / 16);
        masks[0][i] = i % 64 < 32 ? 255 : 0;
        masks[1][i] = 255;
    }
    struct pictor_image init = {64, 64, 3, pixels}, half = {64, 64, 1, masks[0]},
                        whole = {64, 64, 1, masks[1]};
    struct pictor_params text, over, masked, light, other;
    pictor_params_init(&text, m);
    text.width = text.height = 64;
    text.steps = 3;
    over = text;
    over.init = &init;
    over.strength = 1;
    masked = over;
    masked.mask = &half;
    masked.mask_blur = 0;
    other = masked;
    other.mask = &whole;
    assert_false(same_picture(m, &over, &masked));
    assert_true(same_picture(m, &over, &other)); /* all of it is hidden either way */
    light = over;
    light.mask_weight = 0.5;
    assert_false(same_picture(m, &over, &light));
    light = masked;
    light.mask_weight = 0.5;
    assert_false(same_picture(m, &masked, &light));
    masked.mask_only_area = true;
    assert_true(same_picture(m, &masked, &masked));
    /* A second pass is shown the first one where something of it may be seen. */
    text.hires_width = 96;
    text.hires_height = 64;
    light = text;
    light.mask_weight = 0;
    assert_false(same_picture(m, &text, &light));
    pictor_model_free(m);
    pictor_engine_free(e);
    unlink(path);
}

static void test_edited_pictures(void **state)
{
    struct err err;
    char path[] = P_tmpdir "/beside_test.XXXXXX.safetensors";
    uint8_t pixels[64 * 64 * 3];
    write_bytes(path, "edit");
    struct pictor_engine *e = pictor_engine_new(NULL, &err);
    struct pictor_model *m = pictor_model_open(e, path, &err);
    if (!m)
        fail_msg("%s", err.msg);
    for (int i = 0; i < 64 * 64 * 3; i++)
        pixels[i] = (uint8_t)(i / 7);
    struct pictor_image init = {64, 64, 3, pixels};
    struct pictor_params p, own, none;
    pictor_params_init(&p, m);
    p.width = p.height = 64;
    p.steps = 3;
    assert_false(pictor_check(m, &p, NULL, &err));
    assert_string_equal(err.msg, "this model edits pictures: wanted one to begin from");
    p.init = &init;
    own = none = p;
    own.image_guidance = 1.5f;
    none.image_guidance = 1;
    assert_true(same_picture(m, &p, &own));
    assert_false(same_picture(m, &p, &none));
    p.negative_prompt = "two chunks BREAK of words"; /* which are no batch */
    assert_false(same_picture(m, &p, &own));
    p.speed.reuse_every = 2;
    assert_true(same_picture(m, &p, &p));
    p.image_guidance = 101;
    assert_false(pictor_check(m, &p, NULL, &err));
    pictor_model_free(m);
    pictor_engine_free(e);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_files),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_lora_of_first_convolution),
        cmocka_unit_test(test_inpainting_pictures),
        cmocka_unit_test(test_edited_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* flow_case.h: holding flow transformers and the pictures of whole models against golden tensors:
 * what the tests of their families have in common. */
#ifndef PICTOR_TESTS_UNIT_FLOW_CASE_H
#define PICTOR_TESTS_UNIT_FLOW_CASE_H

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model/vae.h"
#include "tests/unit/golden_model.h"

static inline struct checkpoint *flow_network(const char *role, const char *path)
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

static inline struct fixture flow_fixture(const char *golden, const char *level, int bf16)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = bf16};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(golden),
                        .limit = bf16 ? 5e-2 : 1e-4};
    if (!f.dev)
        fail_msg("%s", err.msg);
    return f;
}

static inline void flow_fixture_free(struct fixture *f)
{
    safetensors_close(f->golden);
    device_free(f->dev);
}

/* A golden [1, c, h, w] as the engine has it. */
static inline float *latent_of(const struct fixture *f, const char *name, int *h, int *w)
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

/* ---- autoencoders ---- */

/* Both ways of the autoencoder in `path`, over the golden picture `name` of 0..255, its ".latent"
 * and its ".decoded". */
static inline void flow_check_vae(struct fixture f, const char *path,
                                  const struct vae_config *numbers, const char *name)
{
    struct err error;
    int h, w, ph, pw;
    char latent_name[64], decoded_name[64];
    struct checkpoint *cp = flow_network("vae", path);
    struct vae_config config;
    if (!vae_read_flux(cp, numbers->channels, &config, &error))
        fail_msg("%s", error.msg);
    config.scale = numbers->scale;
    config.shift = numbers->shift;
    struct vae *vae = vae_load(f.dev, cp, &config, NULL, &error);
    if (!vae)
        fail_msg("%s", error.msg);
    snprintf(latent_name, sizeof latent_name, "%s.latent", name);
    snprintf(decoded_name, sizeof decoded_name, "%s.decoded", name);
    float *picture = latent_of(&f, name, &ph, &pw);
    for (int i = 0; i < 3 * ph * pw; i++)
        picture[i] = picture[i] / 127.5f - 1;
    float *golden = latent_of(&f, latent_name, &h, &w);
    float *latent = malloc(want(f.golden, latent_name)->bytes);
    float *back = malloc(want(f.golden, decoded_name)->bytes);
    assert_true(latent && back);
    assert_int_equal(vae_factor(vae), ph / h);
    assert_int_equal(vae_channels(vae), want(f.golden, latent_name)->shape[1]);
    RUN(&f, vae_encode(&o, vae, picture, h, w, latent));
    check(&f, latent_name, latent, want(f.golden, latent_name));
    RUN(&f, vae_decode(&o, vae, latent, h, w, back));
    check(&f, decoded_name, back, want(f.golden, decoded_name));
    free(picture);
    free(golden);
    free(latent);
    free(back);
    vae_free(vae);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

/* ---- files ---- */

/* The tensors whose names begin with `from`, which becomes `to`. */
static inline void flow_copy_into(struct file *f, const char *path, const char *from,
                                  const char *to)
{
    struct safetensors *st = open_file(path);
    char name[200];
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        if (strncmp(t->name, from, strlen(from)) != 0 || strstr(t->name, "position_ids"))
            continue;
        snprintf(name, sizeof name, "%s%s", to, t->name + strlen(from));
        file_add_whole(f, name, t);
    }
    safetensors_close(st);
}

/* ---- trajectories ---- */

/* What a model is asked for: guidance 0 is none, or none that is a second answer. */
struct flow_asked {
    const char *prompt;
    double guidance, told; /* told: to a network that takes its guidance as a number */
    int width, height, steps;
    const float *picture, *mask; /* of a model that is shown what it paints over, or NULL */
};

/* What it is shown of that, in the arena. */
static inline const float *flow_beside(struct ops *o, struct family_model *m,
                                       const struct pictor_params *params,
                                       const struct flow_asked *asked, int h, int w)
{
    struct family_source source = {w, h, asked->picture, asked->mask, params, 1};
    size_t n = (size_t)(h * w * m->facts.beside);
    float *out = n ? arena_alloc(o->arena, n, sizeof *out) : NULL;
    if (n)
        m->family->beside(m, o, &source, out);
    return out;
}

/* The stages of a picture but its decoding: Euler's steps from `noise`, by a family's own
 * functions; latents after every step into rows. */
static inline void flow_walk(struct ops *o, struct family_model *m, const struct flow_asked *asked,
                             const float *noise, int h, int w, float *rows)
{
    struct err err;
    const struct family *family = m->family;
    struct pictor_params params = {.guidance = asked->told, .steps = asked->steps};
    struct family_picture picture = {.width = w,
                                     .height = h,
                                     .params = &params,
                                     .beside = flow_beside(o, m, &params, asked, h, w)};
    struct family_call *calls[2] = {NULL};
    struct schedule schedule;
    bool real = !arena_planning(o->arena);
    int count = asked->guidance > 0 ? 2 : 1;
    size_t n = (size_t)(h * w * m->facts.channels);
    float *x = malloc(n * sizeof *x), *y = malloc(2 * n * sizeof *y);
    assert_true(x && y);
    memcpy(x, noise, n * sizeof *x);
    family->schedule(m, asked->width, asked->height, asked->steps, &schedule);
    for (int p = 0; p < count; p++) {
        const char *text = p ? "" : asked->prompt;
        struct family_prompt prompt = {.texts = &text, .count = 1, .negative = p};
        struct family_words said;
        if (!family->words(m, o, &params, &prompt, &said, &err) ||
            !(calls[p] = family->call_new(m, o, &picture, &said, 1, &err)))
            fail_msg("%s", err.msg);
    }
    for (int i = 0; i < asked->steps; i++) {
        double t[2];
        for (int k = 0; k < 2; k++) {
            double plain = 1 - (double)(i + k) / asked->steps;
            t[k] = schedule.shift * plain / (1 + (schedule.shift - 1) * plain);
        }
        for (int p = 0; p < count; p++)
            family->predict(m, o, calls[p], x, 1000 * t[0], false, y + (size_t)p * n);
        for (size_t k = 0; k < n && real; k++) {
            double v = count > 1 ? y[n + k] + asked->guidance * (y[k] - y[n + k]) : y[k];
            rows[(size_t)i * n + k] = x[k] = (float)(x[k] + (t[1] - t[0]) * v);
        }
    }
    for (int p = 0; p < count; p++)
        family->call_free(calls[p]);
    free(x);
    free(y);
}

static inline void flow_check_trajectory(struct fixture *f, const struct family *family,
                                         const struct checkpoint *cp,
                                         const struct flow_asked *asked, const char *golden)
{
    struct err error;
    struct family_model *m = family->open(f->dev, cp, &error);
    if (!m)
        fail_msg("%s", error.msg);
    int h, w;
    float *noise = latent_of(f, "noise", &h, &w);
    float *rows = malloc((size_t)(asked->steps * h * w * m->facts.channels) * sizeof *rows);
    assert_non_null(rows);
    RUN(f, flow_walk(&o, m, asked, noise, h, w, rows));
    check(f, golden, rows, want(f->golden, golden));
    free(noise);
    free(rows);
    family->free(m);
}

/* ---- whole models ---- */

struct flow_painter {
    struct pictor_engine *engine;
    struct pictor_model *model;
    struct safetensors *golden;
};

static inline struct flow_painter flow_painter(const struct pictor_files *files, const char *golden,
                                               const char *cpu)
{
    struct err err;
    struct pictor_engine_options options = {
        .threads = 2, .cpu = cpu, .precision = PICTOR_PRECISION_F32};
    struct flow_painter p = {pictor_engine_new(&options, &err), NULL, open_file(golden)};
    if (!p.engine || !(p.model = pictor_model_open_files(p.engine, files, &err)))
        fail_msg("%s", err.msg);
    return p;
}

static inline void flow_painter_free(struct flow_painter *p)
{
    pictor_model_free(p->model);
    pictor_engine_free(p->engine);
    safetensors_close(p->golden);
}

/* A golden picture [1, 3, h, w] of 0..255. */
static inline struct pictor_image flow_image(const struct flow_painter *p, const char *name)
{
    const struct raw_tensor *t = want(p->golden, name);
    int h = (int)t->shape[2], w = (int)t->shape[3];
    float *planes = floats_of(t);
    struct pictor_image image = {w, h, 3, malloc((size_t)(3 * w * h))};
    assert_non_null(image.pixels);
    for (int i = 0; i < 3 * w * h; i++)
        image.pixels[i] = (uint8_t)planes[i % 3 * w * h + i / 3];
    free(planes);
    return image;
}

/* Every pixel is within `limit` of a golden picture of 0..1. */
static inline void flow_check_near(const struct flow_painter *p, const struct pictor_image *image,
                                   const char *golden, int limit)
{
    float *planes = floats_of(want(p->golden, golden));
    int n = image->width * image->height, most = 0;
    for (int i = 0; i < 3 * n; i++) {
        float v = planes[i % 3 * n + i / 3] * 255;
        int away = abs((int)image->pixels[i] - (int)v);
        most = away > most ? away : most;
    }
    printf("%-28s %d\n", golden, most);
    assert_in_range(most, 0, limit);
    free(planes);
}

/* Of 8 bits a golden picture may be one away. */
static inline void flow_check_picture(const struct flow_painter *p,
                                      const struct pictor_params *params, const char *golden)
{
    struct err err;
    struct pictor_image image;
    if (!pictor_generate(p->model, params, &image, &err))
        fail_msg("%s", err.msg);
    flow_check_near(p, &image, golden, 1);
    pictor_image_free(&image);
}

/* Of a picture of which the left third was painted over: the rest is what was there. */
static inline void flow_check_part(const struct flow_painter *p, const struct pictor_params *params,
                                   const struct pictor_image *first, const char *golden)
{
    struct err err;
    struct pictor_image image;
    if (!pictor_generate(p->model, params, &image, &err))
        fail_msg("%s", err.msg);
    float *planes = floats_of(want(p->golden, golden));
    int n = image.width * image.height, most = 0;
    for (int i = 0; i < 3 * n; i++) {
        int wanted = (int)(planes[i % 3 * n + i / 3] * 255), x = i / 3 % image.width;
        int away = abs((int)image.pixels[i] - wanted);
        if (x < image.width / 3)
            most = away > most ? away : most;
        else
            assert_int_equal(image.pixels[i], first->pixels[i]);
    }
    printf("%-28s %d\n", golden, most);
    assert_in_range(most, 0, 1);
    free(planes);
    pictor_image_free(&image);
}

/* A mask that shows the left third. */
static inline struct pictor_image flow_left_third(int width, int height)
{
    struct pictor_image mask = {width, height, 1, calloc((size_t)(width * height), 1)};
    assert_non_null(mask.pixels);
    for (int i = 0; i < width * height; i++)
        mask.pixels[i] = i % width < width / 3 ? 255 : 0;
    return mask;
}

/* Pictures NAME.over and NAME.part of tests/golden/flow_over: begun from one with strength 0.75 in
 * 8 steps, and its left third painted over. */
static inline void flow_check_over(struct flow_painter *p, struct pictor_params params,
                                   const char *name)
{
    char golden[64];
    struct pictor_image first = flow_image(p, "first");
    struct pictor_image mask = flow_left_third(first.width, first.height);
    params.init = &first;
    params.steps = 8;
    params.strength = 0.75;
    snprintf(golden, sizeof golden, "%s.over.picture", name);
    flow_check_picture(p, &params, golden);
    params.mask = &mask;
    params.mask_blur = 0;
    snprintf(golden, sizeof golden, "%s.part.picture", name);
    flow_check_part(p, &params, &first, golden);
    pictor_image_free(&first);
    pictor_image_free(&mask);
}

#define FLOW_OVER "tests/golden/flow_over/"

#endif

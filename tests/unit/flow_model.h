/* flow_model.h: what the tests of flow transformers have in common: a small model of diffusers and
 * transformers in FLOW (a folder of tests/golden), whose FLOW_FILES (an initializer) are put
 * together in a folder of its own with the table of tokens that is in no file, and pictures held
 * against golden ones. */
#ifndef PICTOR_TESTS_UNIT_FLOW_MODEL_H
#define PICTOR_TESTS_UNIT_FLOW_MODEL_H

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/golden_model.h"

static inline struct checkpoint *network(const char *role, const char *path)
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

static inline struct fixture fixture(const char *level, int bf16)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = bf16};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(FLOW "golden.safetensors"),
                        .limit = bf16 ? 5e-2 : 1e-4};
    if (!f.dev)
        fail_msg("%s", err.msg);
    return f;
}

static inline void fixture_free(struct fixture *f)
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

/* ---- whole pictures ---- */

enum { VOCABULARY = 151936, WIDTH = 32 };

/* The text encoder's other file: the table of tokens. */
static inline void write_table(const char *path)
{
    size_t n = (size_t)VOCABULARY * WIDTH;
    float *table = malloc(n * sizeof *table);
    assert_non_null(table);
    for (int64_t i = 0; i < VOCABULARY; i++)
        for (int64_t k = 0; k < WIDTH; k++)
            table[i * WIDTH + k] = (float)((i * 7 + k * 13 + i * k) % 61 - 30) / 32;
    struct raw_tensor t = {
        .dtype = DTYPE_F32, .ndim = 2, .shape = {VOCABULARY, WIDTH}, .data = table, .bytes = 4 * n};
    struct file f = file_new("");
    file_add_whole(&f, "model.embed_tokens.weight", &t);
    file_write(&f, path);
    free(table);
}

static char folder[] = "/tmp/flow-test-XXXXXX";

static const char *const linked[] = FLOW_FILES;

/* Of "tests/golden/NAME/FOLDER/FILE" behind NAME. */
static inline const char *name_of(const char *path)
{
    for (int i = 0; i < 3; i++)
        path = strchr(path, '/') + 1;
    return path;
}

static inline void link_in(const char *path)
{
    char from[PATH_MAX], to[PATH_MAX];
    assert_non_null(realpath(path, from));
    snprintf(to, sizeof to, "%s/%s", folder, name_of(path));
    assert_int_equal(symlink(from, to), 0);
}

static inline int make_folder(void **state)
{
    static const char *const parts[] = {"transformer", "vae", "text_encoder", "scheduler"};
    char path[128];
    if (!mkdtemp(folder))
        return -1;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++)
        link_in(linked[i]);
    snprintf(path, sizeof path, "%s/text_encoder/model-00002-of-00002.safetensors", folder);
    write_table(path);
    return 0;
}

static inline int remove_folder(void **state)
{
    static const char *const rest[] = {"text_encoder/model-00002-of-00002.safetensors",
                                       "transformer",
                                       "vae",
                                       "text_encoder",
                                       "scheduler",
                                       ""};
    char path[128];
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, name_of(linked[i]));
        unlink(path);
    }
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, rest[i]);
        remove(path);
    }
    return 0;
}

struct painter {
    struct pictor_engine *engine;
    struct pictor_model *model;
    struct safetensors *golden;
};

static inline struct painter painter_of(const char *path, const char *cpu)
{
    struct err err;
    struct pictor_engine_options options = {
        .threads = 2, .cpu = cpu, .precision = PICTOR_PRECISION_F32};
    struct painter p = {pictor_engine_new(&options, &err), NULL,
                        open_file(FLOW "golden.safetensors")};
    if (!p.engine || !(p.model = pictor_model_open(p.engine, path, &err)))
        fail_msg("%s", err.msg);
    return p;
}

static inline void painter_free(struct painter *p)
{
    pictor_model_free(p->model);
    pictor_engine_free(p->engine);
    safetensors_close(p->golden);
}

static inline struct pictor_image image_of(const struct painter *p, const char *name)
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

static inline struct pictor_params params_of(const struct painter *p)
{
    struct pictor_params params;
    pictor_params_init(&params, p->model);
    params.prompt = "a red apple";
    params.seed = 7;
    params.rng = PICTOR_RNG_CPU;
    params.width = 96;
    params.height = 64;
    return params;
}

/* Of 8 bits a golden picture may be one away. */
static inline void check_picture(const struct painter *p, const struct pictor_params *params,
                                 const char *golden)
{
    struct err error;
    struct pictor_image image;
    if (!pictor_generate(p->model, params, &image, &error))
        fail_msg("%s", error.msg);
    float *planes = floats_of(want(p->golden, golden));
    int n = image.width * image.height, most = 0;
    for (int i = 0; i < 3 * n; i++) {
        float v = planes[i % 3 * n + i / 3] * 255;
        int away = abs((int)image.pixels[i] - (int)v);
        most = away > most ? away : most;
    }
    printf("%-28s %d\n", golden, most);
    assert_in_range(most, 0, 1);
    free(planes);
    pictor_image_free(&image);
}

static inline void check_refused(const struct painter *p, const struct pictor_params *params,
                                 const char *message)
{
    struct err error;
    if (pictor_check(p->model, params, NULL, &error) || !strstr(error.msg, message))
        fail_msg("wanted \"%s\", got \"%s\"", message, error.msg);
}

#endif

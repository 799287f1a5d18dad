/* flow_model.h: what the tests of flow transformers have in common: a small model of diffusers and
 * transformers in FLOW (a folder of tests/golden), whose FLOW_FILES (an initializer) are put
 * together in a folder of its own with the table of tokens that is in no file, and pictures held
 * against golden ones. */
#ifndef PICTOR_TESTS_UNIT_FLOW_MODEL_H
#define PICTOR_TESTS_UNIT_FLOW_MODEL_H

#include "tests/unit/flow_case.h"

static inline struct fixture fixture(const char *level, int bf16)
{
    return flow_fixture(FLOW "golden.safetensors", level, bf16);
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

static inline struct flow_painter painter_of(const char *path, const char *cpu)
{
    struct err err;
    struct pictor_files files;
    if (!pictor_files_open(path, &files, &err))
        fail_msg("%s", err.msg);
    struct flow_painter p = flow_painter(&files, FLOW "golden.safetensors", cpu);
    pictor_files_close(&files);
    return p;
}

static inline struct pictor_params params_of(const struct flow_painter *p)
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

static inline void check_refused(const struct flow_painter *p, const struct pictor_params *params,
                                 const char *message)
{
    struct err error;
    if (pictor_check(p->model, params, NULL, &error) || !strstr(error.msg, message))
        fail_msg("wanted \"%s\", got \"%s\"", message, error.msg);
}

#endif

/* lora_test.c: LoRAs of every kind and layout against what PEFT's layers and diffusers say
 * (tests/golden, "lora"); that one that is taken away leaves no bit behind; names; and files that
 * are no LoRA for the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "engine/model/clip.h"
#include "engine/model/lora.h"
#include "tests/unit/golden_sdxl.h"

#define LORA "tests/golden/lora/"
#define MODULE "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
#define ANSWER (2 * 4 * 8 * 8) /* numbers of the network's answer */

static int open_fd(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s", path);
    return fd;
}

static bool merge(struct fixture *f, const char *const *names, size_t count, double unet,
                  double text, struct err *err)
{
    struct pictor_lora loras[4] = {{0}};
    for (size_t i = 0; i < count; i++) {
        char path[128];
        snprintf(path, sizeof path, LORA "%s.safetensors", names[i]);
        loras[i] = (struct pictor_lora){names[i], open_fd(path), unet, text};
    }
    bool ok = f->m->family->merge(f->m, loras, count, err);
    for (size_t i = 0; i < count; i++)
        close(loras[i].fd);
    return ok;
}

static void merge_one(struct fixture *f, const char *name, double unet, double text)
{
    struct err err;
    if (!merge(f, &name, name ? 1 : 0, unet, text, &err))
        fail_msg("%s", err.msg);
}

/* What the network says of two prompts, y [ANSWER] channels-last. */
static void answer(struct fixture *f, const struct safetensors *sdxl, float *y)
{
    struct fixture from = {.golden = (struct safetensors *)sdxl};
    struct family_words words[2] = {golden_words(&from, "prompt", WIDE, false),
                                    golden_words(&from, "unicode", WIDE, false)};
    const struct raw_tensor *latent = want(sdxl, "8x8.latent");
    float *nchw = floats_of(latent), x[ANSWER];
    struct family_picture picture = {.width = 8, .height = 8, .params = &f->params};
    struct family_call *call;
    nchw_to_last(x, nchw, 2, 4, 64);
    RUN(f, call = f->m->family->call_new(f->m, &o, &picture, words, 2, &err); assert_non_null(call);
        f->m->family->predict(f->m, &o, call, x, 999, false, y); f->m->family->call_free(call));
    free(nchw);
    words_free(&words[0]);
    words_free(&words[1]);
}

struct model {
    struct fixture f;
    struct safetensors *sdxl;
    struct checkpoint *cp;
    unsigned char *bytes;
};

static struct model model_of(int bf16)
{
    static const char *const none[] = {NULL};
    struct err err;
    struct model m;
    struct device_options options = {.threads = 2, .bf16 = bf16};
    m.cp = single_file(false, "", none, &m.bytes);
    m.sdxl = open_file(SDXL "golden.safetensors");
    m.f = (struct fixture){.dev = device_new(&options, &err),
                           .golden = open_file(LORA "golden.safetensors"),
                           .params = {.guidance = 2, .clip_skip = 1},
                           .limit = 1e-4};
    if (!m.f.dev || !(m.f.m = family_sdxl.open(m.f.dev, m.cp, &err)))
        fail_msg("%s", err.msg);
    return m;
}

static void model_free(struct model *m)
{
    family_sdxl.free(m->f.m);
    device_free(m->f.dev);
    checkpoint_free(m->cp);
    safetensors_close(m->sdxl);
    safetensors_close(m->f.golden);
    free(m->bytes);
}

static struct family_words words_of(struct fixture *f)
{
    struct family_words words;
    RUN(f, assert_true(words_ask(f->m, &o, &f->params, PROMPT, false, &words, &err)));
    return words;
}

/* Every kind against PEFT and diffusers. */
static void test_kinds(void **state)
{
    static const char *const names[] = {"peft", "kohya", "dora", "loha", "lokr", "lokr_whole"};
    struct model m = model_of(0);
    float y[ANSWER];
    char name[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        merge_one(&m.f, names[i], 1, 1);
        answer(&m.f, m.sdxl, y);
        snprintf(name, sizeof name, "%s.unet", names[i]);
        check(&m.f, name, y, want(m.f.golden, name));
    }
    model_free(&m);
}

/* Text encoders are changed too, by a strength of their own, and remembered prompts forgotten. */
static void test_strengths(void **state)
{
    struct model m = model_of(0);
    struct fixture plain = m.f;
    float y[ANSWER];
    plain.golden = m.sdxl;
    struct family_words words = words_of(&m.f);
    check(&plain, "prompt.states", words.states, want(m.sdxl, "prompt.states"));
    merge_one(&m.f, "peft", 1, 1);
    words = words_of(&m.f);
    check(&m.f, "peft.states", words.states, want(m.f.golden, "peft.states"));
    check(&m.f, "peft.pooled", words.pooled, want(m.f.golden, "peft.pooled"));
    merge_one(&m.f, "peft", 0.5, 0);
    answer(&m.f, m.sdxl, y);
    check(&m.f, "peft.half", y, want(m.f.golden, "peft.half"));
    words = words_of(&m.f);
    check(&plain, "prompt.states", words.states, want(m.sdxl, "prompt.states"));
    merge_one(&m.f, "peft", 0, 1);
    answer(&m.f, m.sdxl, y);
    check(&plain, "8x8.t999", y, want(m.sdxl, "8x8.t999"));
    model_free(&m);
}

/* Several at once change the network more than each; what is taken away leaves no bit behind. */
static void test_exact(void **state)
{
    static const char *const both[] = {"kohya", "lokr"};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct err err;
        struct model m = model_of(bf16);
        float before[ANSWER], one[ANSWER], two[ANSWER], after[ANSWER];
        answer(&m.f, m.sdxl, before);
        merge_one(&m.f, "kohya", 1, 1);
        answer(&m.f, m.sdxl, one);
        assert_memory_not_equal(before, one, sizeof one);
        assert_true(merge(&m.f, both, 2, 1, 1, &err));
        answer(&m.f, m.sdxl, two);
        assert_memory_not_equal(one, two, sizeof two);
        merge_one(&m.f, "kohya", 1, 1);
        answer(&m.f, m.sdxl, after);
        assert_memory_equal(one, after, sizeof after);
        merge_one(&m.f, NULL, 0, 0);
        answer(&m.f, m.sdxl, after);
        assert_memory_equal(before, after, sizeof after);
        model_free(&m);
    }
}

/* ---- names ---- */

/* The file's bytes, opened and without a name. */
static int file_fd(struct file *f)
{
    char path[] = P_tmpdir "/lora_test.XXXXXX";
    int fd = mkstemp(path);
    size_t size;
    unsigned char *bytes = file_bytes(f, &size);
    assert_true(fd >= 0 && unlink(path) == 0);
    assert_int_equal(write(fd, bytes, size), size);
    free(bytes);
    return fd;
}

static void add_zeros(struct file *f, const char *name, const char *shape, size_t count)
{
    static float zeros[1 << 14];
    assert_true(count <= sizeof zeros / sizeof *zeros);
    struct raw_tensor t = {.dtype = DTYPE_F32, .data = zeros, .bytes = count * sizeof *zeros};
    file_add(f, name, shape, -1, &t);
}

/* Opens the file as a LoRA; `log` [LOG_ROOM] is what that logged. */
#define LOG_ROOM 1024
static struct lora *open_logged(struct file *f, const struct checkpoint *cp, char *log,
                                struct err *err)
{
    int ends[2], saved = dup(STDERR_FILENO), fd = file_fd(f);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    struct lora *l = lora_open(fd, "partly", cp, err);
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], log, LOG_ROOM - 1);
    log[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    close(saved);
    close(fd);
    return l;
}

/* An up and a down weight of rank 1 for a weight of this shape; false: it is no matrix. */
static bool add_module(struct file *f, const char *module, const char *down, const char *up,
                       const char *shape)
{
    size_t n, k, h = 1, w = 1;
    char name[256], text[64];
    int dims = sscanf(shape, "%zu,%zu,%zu,%zu", &n, &k, &h, &w);
    if (dims != 2 && dims != 4)
        return false;
    snprintf(name, sizeof name, "%s.%s.weight", module, down);
    snprintf(text, sizeof text, dims == 4 ? "1,%zu,%zu,%zu" : "1,%zu", k, h, w);
    add_zeros(f, name, text, k * h * w);
    snprintf(name, sizeof name, "%s.%s.weight", module, up);
    snprintf(text, sizeof text, dims == 4 ? "%zu,1,1,1" : "%zu,1", n);
    add_zeros(f, name, text, n);
    return true;
}

static void flat(char *s)
{
    for (; *s; s++)
        if (*s == '.')
            *s = '_';
}

/* Every matrix of a diffusers folder's UNet and text encoder, by the names that LoRAs give it, is
 * found in the model's single file. `thirds`: the list has a fifth column. */
static void check_names(const struct checkpoint *cp, const char *list, bool thirds, bool kohya)
{
    char where[64], name[160], ldm[160], shape[32], third[8], module[256], log[LOG_ROOM];
    struct file f = file_new("");
    struct err err;
    int count = 0;
    FILE *names = fopen(list, "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s", where, name, ldm, shape) == 4 &&
           (!thirds || fscanf(names, "%7s", third) == 1)) {
        char *end = strstr(name, ".weight");
        bool unet = starts(where, "unet");
        if (!end || (!unet && !starts(where, "text")) || strstr(name, "embeddings."))
            continue;
        *end = '\0';
        snprintf(module, sizeof module, "%s%s",
                 kohya ? (unet ? "lora_unet_" : "lora_te_") : (unet ? "unet." : "text_encoder."),
                 name);
        if (kohya)
            flat(module);
        count += add_module(&f, module, kohya ? "lora_down" : "lora_A",
                            kohya ? "lora_up" : "lora_B", shape);
    }
    fclose(names);
    assert_true(count > 50);
    struct lora *l = open_logged(&f, cp, log, &err);
    if (!l)
        fail_msg("%s", err.msg);
    assert_string_equal(log, ""); /* none was left */
    lora_free(l);
}

static void test_names(void **state)
{
    struct err err;
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    assert_non_null(cp);
    check_names(cp, TINY_NAMES, false, false);
    check_names(cp, TINY_NAMES, false, true);
    checkpoint_free(cp);
    /* OpenCLIP's queries, keys and values are thirds of one tensor; what is changed is named. */
    cp = checkpoint_open("tests/golden/sd2/weights.safetensors", &err);
    assert_non_null(cp);
    check_names(cp, "tests/golden/sd2/names.tsv", true, true);
    checkpoint_free(cp);
}

/* Layouts of other times, each of one module of the SD 1.x model; a module that the model lacks is
 * left out. */
static void test_layouts(void **state)
{
    static const char *const modules[][3] = {
        {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor", "to_q_lora.down",
         "to_q_lora.up"},
        {"mid_block.attentions.0.transformer_blocks.0.attn1.processor", "to_out_lora.down",
         "to_out_lora.up"},
        {"base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_v",
         "lora_A.default", "lora_B.default"},
        {"lora_unet_middle_block_1_transformer_blocks_0_attn1_to_k", "lora_down", "lora_up"},
        {"diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_k", "lora_A", "lora_B"},
        {"lycoris_mid_block_attentions_0_transformer_blocks_0_attn1_to_k", "lora_down", "lora_up"},
        {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj", "lora_linear_layer.down",
         "lora_linear_layer.up"},
        {"text_encoder.encoder.layers.0.self_attn.q_proj", "lora_A", "lora_B"},
        {"lora_te1_text_model_encoder_layers_0_self_attn_q_proj", "lora_down", "lora_up"}};
    char log[LOG_ROOM];
    struct err err;
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    assert_non_null(cp);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        struct file f = file_new("");
        add_module(&f, modules[i][0], modules[i][1], modules[i][2], "64,64");
        add_module(&f, "lora_te2_text_model_encoder_layers_0_mlp_fc1", "lora_down", "lora_up",
                   "64,64");
        struct lora *l = open_logged(&f, cp, log, &err);
        if (!l)
            fail_msg("%s: %s", modules[i][0], err.msg);
        assert_non_null(strstr(log, "parts=1 merged=1 first_left=lora_te2_"));
        lora_free(l);
    }
    checkpoint_free(cp);
}

/* Opens a LoRA of `count` modules for weights of 64 x 64. */
static struct lora *open_modules(const struct checkpoint *cp, const char *const *modules,
                                 size_t count, char *log, struct err *err)
{
    struct file f = file_new("");
    for (size_t i = 0; i < count; i++)
        add_module(&f, modules[i], "lora_down", "lora_up", "64,64");
    return open_logged(&f, cp, log, err);
}

/* Parts that are not merged are said: the first by its name. When they are most of them, the LoRA
 * is for another kind of model. */
static void test_left(void **state)
{
    static const char *const modules[] = {
        MODULE, "lora_te_text_model_encoder_layers_0_self_attn_q_proj", "lora_te2_text_projection",
        "lora_te2_text_model_encoder_layers_0_mlp_fc1", "lora_unet_nowhere"};
    char log[LOG_ROOM];
    struct err err;
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    assert_non_null(cp);
    lora_free(open_modules(cp, modules, 2, log, &err));
    assert_string_equal(log, "");
    lora_free(open_modules(cp, modules, 4, log, &err));
    assert_non_null(strstr(log, "level=warn event=lora_left name=partly parts=2 merged=2 "
                                "first_left=lora_te2_text_model_encoder_layers_0_mlp_fc1\n"));
    assert_null(open_modules(cp, modules, 5, log, &err));
    assert_string_equal(log, "");
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "2 of its 5 parts change a weight of this model"));
    checkpoint_free(cp);
}

/* What a text encoder's pooled state is multiplied by is not merged, and so not counted, whether
 * the model has it or not. */
static void test_text_projection(void **state)
{
    static const char *const spellings[] = {"lora_te2_text_projection",
                                            "text_encoder_2.text_projection",
                                            "lora_te2_text_model_text_projection"};
    static float zeros[64 * 64];
    struct raw_tensor t = {.dtype = DTYPE_F32, .data = zeros, .bytes = sizeof zeros};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const char *const modules[] = {"lora_te2_text_model_encoder_layers_0_mlp_fc1",
                                       spellings[i]};
        char log[LOG_ROOM], wanted[160];
        struct err err;
        size_t size;
        struct file f = file_new("");
        file_add(&f, CLIP_SECOND "text_projection.weight", "64,64", -1, &t);
        file_add(&f, CLIP_SECOND "text_model.text_projection.weight", "64,64", -1, &t);
        file_add(&f, CLIP_SECOND "text_model.encoder.layers.0.mlp.fc1.weight", "64,64", -1, &t);
        unsigned char *bytes = file_bytes(&f, &size);
        struct checkpoint *cp = checkpoint_open_memory(bytes, size, &err);
        assert_non_null(cp);
        struct lora *l = open_modules(cp, modules, 2, log, &err);
        assert_non_null(l);
        snprintf(wanted, sizeof wanted, "parts=1 merged=1 first_left=%s\n", spellings[i]);
        assert_non_null(strstr(log, wanted));
        lora_free(l);
        checkpoint_free(cp);
        free(bytes);
    }
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    static const struct {
        const char *names[3], *shapes[3];
        size_t counts[3];
        enum err_code code;
        const char *says;
    } cases[] = {
        {{MODULE ".oft_blocks"}, {"2,4,4"}, {32}, ERR_UNSUPPORTED, "this is OFT"},
        {{MODULE ".glora"}, {"4"}, {4}, ERR_UNSUPPORTED, "no part of a LoRA that is known"},
        {{"lora_unet_nowhere.lora_down.weight", "lora_unet_nowhere.lora_up.weight"},
         {"1,64", "64,1"},
         {64, 64},
         ERR_INVALID,
         "0 of its 1 parts change a weight of this model"},
        {{MODULE ".lora_down.weight"}, {"1,64"}, {64}, ERR_INVALID, "both an up and a down weight"},
        {{MODULE ".lora_down.weight", MODULE ".lora_up.weight"},
         {"1,63", "64,1"},
         {63, 64},
         ERR_INVALID,
         "wanted 1 x 64 numbers, found [1, 63]"},
        {{MODULE ".lora_down.weight", MODULE ".lora_up.weight"},
         {"2,64", "64,1"},
         {128, 64},
         ERR_INVALID,
         "wanted 64 x 2 numbers, found [64, 1]"},
        {{MODULE ".lora_down.weight", MODULE ".lora_up.weight"},
         {"0,64", "64,0"},
         {0, 0},
         ERR_INVALID,
         "wanted a rank of 1.."},
        {{MODULE ".lokr_w1", MODULE ".lokr_w2"},
         {"3,3", "8,8"},
         {9, 64},
         ERR_INVALID,
         "a size that divides 64 x 64"},
        {{MODULE ".hada_w1_a", MODULE ".hada_w1_b"},
         {"64,1", "1,64"},
         {64, 64},
         ERR_INVALID,
         "all four of hada_w1_a"},
        {{MODULE ".diff", MODULE ".dora_scale"},
         {"64,64", "63,1"},
         {4096, 63},
         ERR_INVALID,
         "DoRA's lengths: wanted 64 x 1"},
    };
    struct err err;
    struct model m = model_of(0);
    float before[ANSWER], after[ANSWER];
    answer(&m.f, m.sdxl, before);
    merge_one(&m.f, "kohya", 1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct file f = file_new("");
        for (int k = 0; k < 3 && cases[i].names[k]; k++)
            add_zeros(&f, cases[i].names[k], cases[i].shapes[k], cases[i].counts[k]);
        struct pictor_lora lora = {"bad", file_fd(&f), 1, 1};
        assert_false(m.f.m->family->merge(m.f.m, &lora, 1, &err));
        close(lora.fd);
        if (err.code != cases[i].code || !strstr(err.msg, cases[i].says) ||
            !strstr(err.msg, "LoRA bad: "))
            fail_msg("case %zu: got %s \"%s\"", i, err_name(err.code), err.msg);
    }
    /* The model has none then, not what it had before. */
    answer(&m.f, m.sdxl, after);
    assert_memory_equal(before, after, sizeof after);
    struct pictor_lora many[PICTOR_LORAS_MAX + 1] = {{0}};
    merge_one(&m.f, "kohya", 1, 1);
    assert_false(m.f.m->family->merge(m.f.m, many, PICTOR_LORAS_MAX + 1, &err));
    assert_string_equal(err.msg, "17 LoRAs: wanted at most 16");
    answer(&m.f, m.sdxl, after);
    assert_memory_equal(before, after, sizeof after);
    model_free(&m);
}

static struct raw_tensor tensor_of(const float *data, int ndim, size_t a, size_t b, size_t h,
                                   size_t w)
{
    return (struct raw_tensor){.dtype = DTYPE_F32,
                               .ndim = ndim,
                               .shape = {a, b, h, w},
                               .data = data,
                               .bytes = a * b * h * w * sizeof *data};
}

/* The model's file may hold more than the model, with sizes whose product wraps: none of that is
 * changed, whatever the LoRA claims to bring. */
static void test_targets(void **state)
{
    static const char *const targets[][2] = {{"[0,9007199254740992]", "F16"},
                                             {"[9007199254740992,0]", "F32"},
                                             {"[2097152,2048]", "I4"},
                                             {"[8,8]", "I4"},
                                             {"[0,0,4294967296,4294967296]", "F16"}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct err err;
        char header[256];
        unsigned char bytes[264] = {0};
        int n = snprintf(header, sizeof header,
                         "{\"model.diffusion_model.evil.weight\":{\"dtype\":\"%s\",\"shape\":%s,"
                         "\"data_offsets\":[0,0]}}",
                         targets[i][1], targets[i][0]);
        memcpy(bytes, (uint64_t[]){(uint64_t)n}, 8); /* little-endian, as our machines are */
        memcpy(bytes + 8, header, (size_t)n);
        struct checkpoint *cp = checkpoint_open_memory(bytes, 8 + (size_t)n, &err);
        if (!cp)
            fail_msg("%s", err.msg);
        struct file f = file_new("");
        add_zeros(&f, "lora_unet_evil.lora_up.weight", "0,2048", 0);
        add_zeros(&f, "lora_unet_evil.lora_down.weight", "2048,0", 0);
        struct raw_tensor mid = {
            .dtype = DTYPE_F32, .data = calloc(2048 * 2048, 4), .bytes = 2048 * 2048 * 4};
        file_add(&f, "lora_unet_evil.lora_mid.weight", "2048,2048", -1, &mid);
        free((void *)mid.data);
        int fd = file_fd(&f);
        assert_null(lora_open(fd, "evil", cp, &err));
        if (!strstr(err.msg, "of its 1 parts"))
            fail_msg("case %zu: %s", i, err.msg);
        close(fd);
        checkpoint_free(cp);
    }
}

/* The same of a change by itself. */
static void test_sizes(void **state)
{
    static const struct lora_shape shapes[] = {
        {0, 4, 1}, {4, 0, 1}, {4, 4, 0}, {4, (size_t)1 << 53, 1}, {(size_t)1 << 62, 4, 1}};
    float numbers[16] = {0};
    struct raw_tensor diff = tensor_of(numbers, 2, 4, 4, 1, 1);
    const struct raw_tensor *parts[LORA_PARTS] = {[LORA_DIFF] = &diff};
    struct err err;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        assert_null(lora_delta_new(parts, &shapes[i], &err));
        assert_non_null(strstr(err.msg, "wanted 1..1048576 of each"));
    }
}

/* ---- kinds that PEFT does not have, from their definition ---- */

/* Numbers that differ. */
static float *numbers(float *at, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (float)((i * 7919 + seed * 104729) % 31) / 16 - 1;
    return at;
}

/* LoCon with a tensor in the middle: up (mid (down x)). */
static void test_middle(void **state)
{
    enum { N = 3, K = 5, R = 6, Q = 4, T = 9 }; /* a rank that is no multiple of four */
    float up[N * R], mid[R * Q * T], down[Q * K], w[N * K * T], got[N * K * T], alpha = 3;
    struct raw_tensor tensors[] = {tensor_of(numbers(up, N * R, 1), 4, N, R, 1, 1),
                                   tensor_of(numbers(down, Q * K, 2), 4, Q, K, 1, 1),
                                   tensor_of(numbers(mid, R * Q * T, 3), 4, R, Q, 3, 3),
                                   tensor_of(&alpha, 0, 1, 1, 1, 1)};
    const struct raw_tensor *parts[LORA_PARTS] = {[LORA_UP] = &tensors[0],
                                                  [LORA_DOWN] = &tensors[1],
                                                  [LORA_MID] = &tensors[2],
                                                  [LORA_ALPHA] = &tensors[3]};
    struct lora_shape shape = {N, K, T};
    struct device_options options = {.threads = 2};
    struct err err;
    struct device *dev = device_new(&options, &err);
    struct lora_delta *d = lora_delta_new(parts, &shape, &err);
    if (!d)
        fail_msg("%s", err.msg);
    memcpy(got, numbers(w, N * K * T, 4), sizeof got);
    assert_true(lora_delta_add(d, dev, 0.5, got, 0, N, &err));
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++)
            for (int t = 0; t < T; t++) {
                double sum = 0;
                for (int r = 0; r < R; r++)
                    for (int q = 0; q < Q; q++)
                        sum += (double)up[n * R + r] * mid[(r * Q + q) * T + t] * down[q * K + k];
                int at = (n * K + k) * T + t;
                assert_true(fabs(got[at] - (w[at] + 0.5 * alpha / R * sum)) < 1e-5);
            }
    lora_delta_free(d);
    device_free(dev);
}

/* DoRA of the first files: lengths are of columns. */
static void test_dora_columns(void **state)
{
    enum { N = 4, K = 3 };
    float diff[N * K], w[N * K], got[N * K], dora[K];
    struct raw_tensor tensors[] = {tensor_of(numbers(diff, N * K, 5), 2, N, K, 1, 1),
                                   tensor_of(numbers(dora, K, 6), 2, 1, K, 1, 1)};
    const struct raw_tensor *parts[LORA_PARTS] = {
        [LORA_DIFF] = &tensors[0], [LORA_DORA] = &tensors[1]};
    struct lora_shape shape = {N, K, 1};
    struct device_options options = {.threads = 1};
    struct err err;
    struct device *dev = device_new(&options, &err);
    struct lora_delta *d = lora_delta_new(parts, &shape, &err);
    if (!d)
        fail_msg("%s", err.msg);
    memcpy(got, numbers(w, N * K, 7), sizeof got);
    assert_true(lora_delta_add(d, dev, 0.25, got, 0, N, &err));
    for (int k = 0; k < K; k++) {
        double squares = 0;
        for (int n = 0; n < N; n++)
            squares += pow((double)w[n * K + k] + diff[n * K + k], 2);
        for (int n = 0; n < N; n++) {
            int at = n * K + k;
            double whole = dora[k] / sqrt(squares) * ((double)w[at] + diff[at]);
            assert_true(fabs(got[at] - (w[at] + 0.25 * (whole - w[at]))) < 1e-5);
        }
    }
    lora_delta_free(d);
    device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),   cmocka_unit_test(test_strengths),
        cmocka_unit_test(test_exact),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_targets), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_left),    cmocka_unit_test(test_text_projection),
        cmocka_unit_test(test_middle),  cmocka_unit_test(test_dora_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

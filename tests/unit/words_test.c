/* words_test.c: textual inversions against diffusers' own loader and transformers' text encoders
 * (tests/golden, "words"): layouts of files, names in prompts, weights, and files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/text/chunk.h"
#include "tests/unit/golden_sdxl.h"

#define DIR "tests/golden/words/"
#define SAID "a photo of wordone, red and WordTwo on mars"

static struct fixture fixture_of(const struct checkpoint *cp, const char *level)
{
    struct err err;
    struct fixture f = {.golden = open_file(DIR "golden.safetensors"), .limit = 1e-4};
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    f.dev = device_new(&options, &err);
    const struct family *family = family_of(cp, &err);
    f.m = f.dev && family ? family->open(f.dev, cp, &err) : NULL;
    if (!f.m)
        fail_msg("%s", err.msg);
    pictor_params_init(&f.params, NULL);
    return f;
}

static void fixture_free(struct fixture *f)
{
    f->m->family->free(f->m);
    device_free(f->dev);
    safetensors_close(f->golden);
}

/* Names and files, which end with a NULL. */
static bool embed(struct fixture *f, const char *const (*list)[2], struct err *err)
{
    struct pictor_embedding open_files[PICTOR_EMBEDDINGS_MAX] = {{0}};
    size_t count = 0;
    for (; list[count][0]; count++) {
        char path[128];
        snprintf(path, sizeof path, DIR "%s", list[count][1]);
        open_files[count] = (struct pictor_embedding){list[count][0], open(path, O_RDONLY)};
        assert_true(open_files[count].fd >= 0);
    }
    bool done = f->m->family->embed(f->m, open_files, count, err);
    for (size_t i = 0; i < count; i++)
        close(open_files[i].fd);
    return done;
}

static void must_embed(struct fixture *f, const char *const (*list)[2])
{
    struct err err;
    if (!embed(f, list, &err))
        fail_msg("%s", err.msg);
}

static struct family_words say(struct fixture *f, const char *text)
{
    struct family_words words = {0};
    bool ok = true;
    RUN(f, ok = ok && words_ask(f->m, &o, &f->params, text, false, &words, &err));
    assert_true(ok);
    return words;
}

static void check_states(struct fixture *f, const char *golden, const char *text)
{
    struct family_words words = say(f, text);
    assert_int_equal(words.tokens, TOKENS_A_CHUNK);
    check(f, golden, words.states, want(f->golden, golden));
}

static struct checkpoint *tiny(void)
{
    struct err err;
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    return cp;
}

static const char *const both[][2] = {
    {"WORDone", "wordone.pt"}, {"people/wordtwo", "wordtwo.bin"}, {NULL, NULL}};
static const char *const no_names[][2] = {{NULL, NULL}};

static void test_sd1(void **state)
{
    struct checkpoint *cp = tiny();
    for (int scalar = 0; scalar < 2; scalar++) {
        struct fixture f = fixture_of(cp, scalar ? "scalar" : NULL);
        must_embed(&f, both);
        check_states(&f, "sd1.skip1", SAID);
        f.params.clip_skip = 2;
        check_states(&f, "sd1.skip2", SAID);
        f.params.clip_skip = 1;
        check_states(&f, "sd1.weighted", "a photo of (wordone:1.3), red and wordtwo on mars");
        /* As ComfyUI has it, and by the whole name. */
        check_states(&f, "sd1.skip1",
                     "a photo of embedding:wordone.pt, red and embedding:people/wordtwo on mars");
        check_states(&f, "sd1.skip1",
                     "a photo of embedding:wordone, red and people/wordtwo on mars");
        fixture_free(&f);
    }
    checkpoint_free(cp);
}

static void test_layouts(void **state)
{
    static const char *const params[][2] = {
        {"wordone", "params.safetensors"}, {"wordtwo", "wordtwo.bin"}, {NULL, NULL}};
    struct checkpoint *cp = tiny();
    struct fixture f = fixture_of(cp, NULL);
    must_embed(&f, params);
    check_states(&f, "sd1.skip1", SAID);
    fixture_free(&f);
    checkpoint_free(cp);
}

static void test_sdxl(void **state)
{
    static const char *const dual[][2] = {{"dualword", "dual.safetensors"}, {NULL, NULL}};
    static const char *const none[] = {NULL};
    unsigned char *bytes;
    struct checkpoint *cp = single_file(false, "", none, &bytes);
    struct fixture f = fixture_of(cp, NULL);
    assert_int_equal(f.m->facts.info.text_widths[0], NARROW);
    assert_int_equal(f.m->facts.info.text_widths[1], NARROW);
    must_embed(&f, dual);
    check_states(&f, "sdxl.states", "a photo of dualword, red and cat on mars");
    struct family_words words = say(&f, "a photo of dualword, red and cat on mars");
    check(&f, "sdxl.pooled", words.pooled, want(f.golden, "sdxl.pooled"));
    fixture_free(&f);
    checkpoint_free(cp);
    free(bytes);
}

static void test_sd2(void **state)
{
    struct err err;
    size_t size;
    struct safetensors *from = open_file(TINY);
    struct safetensors *own = open_file("tests/golden/sd2/weights.safetensors");
    struct file file = file_new("");
    for (size_t i = 0; i < safetensors_count(own); i++)
        file_add_whole(&file, safetensors_at(own, i)->name, safetensors_at(own, i));
    for (size_t i = 0; i < safetensors_count(from); i++)
        if (strncmp(safetensors_at(from, i)->name, "first_stage_model.", 18) == 0)
            file_add_whole(&file, safetensors_at(from, i)->name, safetensors_at(from, i));
    file_add_whole(&file, "cond_stage_model.model.token_embedding.weight", want(from, TOKENS));
    unsigned char *bytes = file_bytes(&file, &size);
    struct checkpoint *cp = checkpoint_open_memory(bytes, size, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    struct fixture f = fixture_of(cp, NULL);
    assert_string_equal(f.m->facts.info.architecture, "sd2");
    must_embed(&f, both);
    check_states(&f, "sd2.states", SAID);
    check_states(&f, "sd2.weighted", "a photo of (wordone:1.3), red and wordtwo on mars");
    fixture_free(&f);
    checkpoint_free(cp);
    free(bytes);
    safetensors_close(own);
    safetensors_close(from);
}

/* Nothing is left of names that are none any more, nor of one for another model. */
static void test_without(void **state)
{
    static const char *const other[][2] = {
        {"wordone", "other.safetensors"}, {"wordtwo", "dual.safetensors"}, {NULL, NULL}};
    struct checkpoint *cp = tiny();
    struct fixture f = fixture_of(cp, NULL);
    size_t bytes = TOKENS_A_CHUNK * NARROW * sizeof(float);
    float *plain = malloc(bytes);
    assert_non_null(plain);
    memcpy(plain, say(&f, SAID).states, bytes);
    must_embed(&f, both);
    assert_memory_not_equal(plain, say(&f, SAID).states, bytes);
    f.params.syntax = PICTOR_SYNTAX_PLAIN;
    assert_memory_equal(plain, say(&f, SAID).states, bytes);
    f.params.syntax = PICTOR_SYNTAX_WEBUI;
    must_embed(&f, no_names);
    assert_memory_equal(plain, say(&f, SAID).states, bytes);
    must_embed(&f, other);
    assert_memory_equal(plain, say(&f, SAID).states, bytes);
    free(plain);
    fixture_free(&f);
    checkpoint_free(cp);
}

static void test_errors(void **state)
{
    static const struct {
        const char *file, *says;
    } cases[] = {
        {"nan.safetensors", "embedding bad: number 0 of its vectors is none"},
        {"long.safetensors",
         "embedding bad: wanted 1..75 vectors of 1..8192 numbers, found 76 of 64"},
        {"uneven.safetensors", "embedding bad: wanted as many vectors for both text encoders"},
        {"../lora/kohya.safetensors", "embedding bad: wanted string_to_param, emb_params"},
        {"index.txt", "embedding bad: "},
    };
    struct checkpoint *cp = tiny();
    struct fixture f = fixture_of(cp, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *list[][2] = {{"bad", cases[i].file}, {NULL, NULL}};
        struct err err;
        must_embed(&f, both);
        assert_false(embed(&f, (const char *const(*)[2])list, &err));
        if (!strstr(err.msg, cases[i].says))
            fail_msg("%s", err.msg);
    }
    must_embed(&f, both);
    check_states(&f, "sd1.skip1", SAID);
    fixture_free(&f);
    checkpoint_free(cp);
}

static void test_descriptions(void **state)
{
    static const struct {
        const char *file;
        struct pictor_embedding_info info;
    } cases[] = {{"wordone.pt", {3, {64, 0}, 500, "0123456789", "tiny"}},
                 {"dual.safetensors", {2, {64, 64}, -1, "", ""}},
                 {"params.safetensors", {3, {64, 0}, -1, "", ""}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_file_info info;
        struct err err;
        char path[128];
        snprintf(path, sizeof path, DIR "%s", cases[i].file);
        if (!pictor_file_probe(path, &info, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(info.kind, PICTOR_KIND_EMBEDDING);
        assert_int_equal(info.embedding.vectors, cases[i].info.vectors);
        assert_memory_equal(info.embedding.widths, cases[i].info.widths,
                            sizeof info.embedding.widths);
        assert_int_equal(info.embedding.step, cases[i].info.step);
        assert_string_equal(info.embedding.checkpoint, cases[i].info.checkpoint);
        assert_string_equal(info.embedding.checkpoint_name, cases[i].info.checkpoint_name);
    }
    struct pictor_file_info info;
    struct err err;
    assert_false(pictor_file_probe(DIR "long.safetensors", &info, &err));
    assert_int_equal(info.kind, PICTOR_KIND_EMBEDDING);
    assert_false(info.readable);
    /* Of a width that no published model has, only a folder of embeddings tells. */
    assert_false(pictor_file_probe(DIR "wordtwo.bin", &info, &err));
    assert_int_equal(info.embedding.vectors, 1);
}

/* ---- names in prompts ---- */

static void test_names(void **state)
{
    static const struct {
        const char *prompt;
        bool used[4];
    } cases[] = {
        {"a bad hand", {true, false, false, false}},
        {"bad-hands-5", {false, true, false, false}}, /* the longest */
        {"BAD-HANDS-5, bad", {true, true, false, false}},
        {"badly", {false, false, false, false}},
        {"[cat:bad:0.5] ((easy negative))", {true, false, true, false}},
        {"(embedding:style/ink:1.2)", {false, false, false, true}},
        {"an ink drawing AND bad :0.3", {true, false, false, true}},
        {"", {false, false, false, false}},
    };
    struct pictor_params params;
    pictor_params_init(&params, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_word words[] = {{"bad", 2, false},
                                      {"bad-hands-5", 8, false},
                                      {"Easy Negative", 1, false},
                                      {"style/ink", 4, false}};
        struct err err;
        params.prompt = cases[i].prompt;
        if (!pictor_prompt_words(&params, false, words, 4, &err))
            fail_msg("%s", err.msg);
        for (int k = 0; k < 4; k++)
            if (words[k].used != cases[i].used[k])
                fail_msg("%s: %s", cases[i].prompt, words[k].name);
    }
}

/* What a prompt takes is counted with the words' vectors. */
static void test_length(void **state)
{
    struct pictor_params params;
    struct pictor_word word = {"wordone", 75, false};
    struct err err;
    char prompt[(CHUNK_LIMIT + 1) * 8 + 1] = "";
    pictor_params_init(&params, NULL);
    for (int i = 0; i <= CHUNK_LIMIT; i++)
        strcat(prompt, "wordone ");
    params.negative_prompt = prompt;
    assert_true(pictor_prompt_check(&params, true, &err));
    assert_false(pictor_prompt_words(&params, true, &word, 1, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    prompt[CHUNK_LIMIT * 8] = '\0';
    assert_true(pictor_prompt_words(&params, true, &word, 1, &err));
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sd1),    cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_sdxl), cmocka_unit_test(test_sd2),   cmocka_unit_test(test_without),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

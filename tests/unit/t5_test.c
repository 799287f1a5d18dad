/* t5_test.c: T5's tokenizer against SentencePiece, its encoder against transformers (tests/golden,
 * "t5"); also the texts in the file that $T5_TOKENS names, if it does, with the vocabulary that
 * $T5_SPIECE names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cJSON.h>

#include "engine/model/t5.h"
#include "engine/text/spiece.h"
#include "tests/unit/golden_model.h"

#define T5 "tests/golden/t5/"

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    data[*size] = '\0';
    fclose(f);
    return data;
}

/* From a block of exactly as many bytes, so that a sanitizer sees reads past the end. */
static char *exact(const char *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    return copy;
}

static void check_text(const struct unigram *u, const char *text, const cJSON *want)
{
    struct tokenizer_ids ids = {0};
    struct err err;
    size_t len = strlen(text);
    int i = 0;
    char *copy = exact(text, len);
    if (!unigram_encode(u, copy, len, &ids, &err))
        fail_msg("%s: %s", text, err.msg);
    for (const cJSON *id = want->child; id; id = id->next, i++)
        if ((size_t)i >= ids.count || ids.at[i] != id->valueint)
            fail_msg("\"%s\": token %d is %d, wanted %d", text, i,
                     (size_t)i < ids.count ? ids.at[i] : -1, id->valueint);
    if ((size_t)i != ids.count)
        fail_msg("\"%s\": %zu tokens, wanted %d", text, ids.count, i);
    tokenizer_ids_free(&ids);
    free(copy);
}

static void check_texts(const struct unigram *u, const char *path)
{
    size_t size;
    char *json = read_file(path, &size);
    cJSON *cases = cJSON_Parse(json);
    assert_true(cJSON_GetArraySize(cases) > 300);
    for (const cJSON *c = cases->child; c; c = c->next)
        check_text(u, cJSON_GetObjectItem(c, "text")->valuestring, cJSON_GetObjectItem(c, "ids"));
    cJSON_Delete(cases);
    free(json);
}

static void test_tokens(void **state)
{
    struct err err;
    struct unigram_source source;
    size_t size;
    const char *texts = getenv("T5_TOKENS"), *other = texts ? getenv("T5_SPIECE") : NULL;
    char *data = read_file(other ? other : T5 "spiece.model", &size);
    if (!spiece_read(data, size, &source, &err))
        fail_msg("%s", err.msg);
    struct unigram *u = unigram_new(&source, &err);
    if (!u)
        fail_msg("%s", err.msg);
    assert_int_equal(unigram_find(u, "</s>"), 1);
    assert_int_equal(unigram_find(u, "<pad>"), 0);
    assert_int_equal(unigram_find(u, "no such piece"), -1);
    if (!other)
        check_texts(u, T5 "tokens.json");
    if (texts)
        check_texts(u, texts);
    unigram_free(u);
    free((void *)source.pieces);
    free(data);
}

/* Cut short or with a byte changed it is refused, or used without harm. */
static void test_hostile_tokens(void **state)
{
    struct err err;
    size_t size;
    char *data = read_file(T5 "spiece.model", &size);
    uint32_t random = 1;
    for (int i = 0; i < 3000; i++) {
        struct unigram_source source;
        random = random * 1664525u + 1013904223u;
        size_t n = i % 3 ? size : random % size;
        char *copy = exact(data, n);
        for (int k = 0; k < 3 && n; k++) {
            random = random * 1664525u + 1013904223u;
            copy[(i % 2 ? random % n : random % (n < 9000 ? n : 9000))] = (char)(random >> 24);
        }
        if (spiece_read(copy, n, &source, &err)) {
            struct unigram *u = unigram_new(&source, &err);
            struct tokenizer_ids ids = {0};
            if (u)
                assert_true(unigram_encode(u, "Ａｌｉｃｅ was \xff ﬁne é", 22, &ids, &err));
            tokenizer_ids_free(&ids);
            unigram_free(u);
            free((void *)source.pieces);
        }
        free(copy);
    }
    struct unigram_source source;
    assert_false(spiece_read("", 0, &source, &err));
    assert_non_null(strstr(err.msg, "found 0"));
    assert_false(spiece_read("\x0a\x7f", 2, &source, &err));
    assert_non_null(strstr(err.msg, "cut short"));
    free(data);
}

/* A trie that goes in circles, and forms that are longer than any character's. */
static void test_hostile_forms(void **state)
{
    enum { LONG = 1 << 16 };
    const struct unigram_piece pieces[] = {{"<unk>", 5, 0, UNIGRAM_UNKNOWN},
                                           {"b", 1, -1, UNIGRAM_NORMAL}};
    /* The child of either unit by 'a' is unit 1, whose byte that is. */
    static const unsigned char circle[] = {8, 0, 0, 0, 0, 0x80, 1, 0, 'a', 0x84, 1, 0, 0};
    struct unigram_source source = {.pieces = pieces, .count = 2};
    struct tokenizer_ids ids = {0};
    struct err err;
    char *text = malloc(LONG);
    unsigned char *forms = calloc(1, LONG);
    assert_true(text && forms);
    memset(text, 'a', LONG);
    source.forms = circle;
    source.forms_size = sizeof circle;
    struct unigram *u = unigram_new(&source, &err);
    if (!u)
        fail_msg("%s", err.msg);
    assert_true(unigram_encode(u, text, LONG, &ids, &err));
    assert_int_equal(ids.count, 1);
    unigram_free(u);
    forms[0] = 4;
    memset(forms + 8, 'x', LONG - 9);
    source.forms = forms;
    source.forms_size = LONG;
    assert_null(unigram_new(&source, &err));
    assert_non_null(strstr(err.msg, "at most 64 bytes"));
    const struct unigram_piece long_pieces[] = {pieces[0], {text, 257, -1, UNIGRAM_NORMAL}};
    source = (struct unigram_source){.pieces = long_pieces, .count = 2};
    assert_null(unigram_new(&source, &err));
    assert_non_null(strstr(err.msg, "piece 1: wanted 1..256 bytes"));
    tokenizer_ids_free(&ids);
    free(text);
    free(forms);
}

static void check_states(const char *cpu, const char *file, const char *role, const char *golden,
                         const char *ids_of)
{
    struct err error;
    struct device_options options = {.threads = 2, .cpu = cpu, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &error),
                        .golden = open_file(T5 "states.safetensors"),
                        .limit = 1e-4};
    assert_non_null(f.dev);
    struct pictor_files files = {.count = 0};
    struct t5_config config;
    char name[64];
    if (!pictor_files_add(&files, role, file, &error))
        fail_msg("%s", error.msg);
    struct checkpoint *cp = checkpoint_open_files(&files, &error);
    pictor_files_close(&files);
    if (!cp || !t5_read(cp, &config, &error))
        fail_msg("%s", error.msg);
    assert_int_equal(config.layers, 3);
    assert_int_equal(config.heads, 6);
    struct t5 *t5 = t5_load(f.dev, cp, &config, NULL, &error);
    if (!t5)
        fail_msg("%s", error.msg);
    snprintf(name, sizeof name, "%s.ids", ids_of);
    const struct raw_tensor *t = want(f.golden, name);
    int n = (int)t->shape[0], ids[512];
    float *values = floats_of(t), *out = malloc((size_t)n * (size_t)config.width * sizeof *out);
    for (int i = 0; i < n; i++)
        ids[i] = (int)values[i];
    RUN(&f, t5_encode(&o, t5, ids, n, out));
    check(&f, golden, out, want(f.golden, golden));
    free(values);
    free(out);
    t5_free(t5);
    checkpoint_free(cp);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_states(void **state)
{
    static const char *const cases[] = {"short", "one", "padded", "long"};
    for (int i = 0; i < 4; i++) {
        check_states("scalar", T5 "model.safetensors", "text_encoder_2", cases[i], cases[i]);
        check_states(NULL, T5 "model.safetensors", "text_encoder_3", cases[i], cases[i]);
    }
    check_states(NULL, T5 "model.gguf", "text_encoder_2", "blocks", "short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_hostile_tokens),
        cmocka_unit_test(test_hostile_forms),
        cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

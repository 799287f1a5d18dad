/* qwen_tokenizer_test.c: token ids against those of PyPI's `tokenizers` (tests/golden, "qwen3"), of
 * the texts there and of those in the file that $QWEN_TOKENS names, if it does. */
#include "engine/text/qwen_tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cJSON.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/qwen3/tokens.json"

static struct qwen_tokenizer *tokenizer;

static int setup(void **state)
{
    tokenizer = qwen_tokenizer_new(NULL);
    return tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    qwen_tokenizer_free(tokenizer);
    return 0;
}

static cJSON *read_cases(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, size, f), size);
    text[size] = '\0';
    fclose(f);
    cJSON *cases = cJSON_Parse(text);
    free(text);
    assert_non_null(cases);
    return cases;
}

static void check(const char *text, const char *what, const struct tokenizer_ids *got,
                  const cJSON *want)
{
    size_t i = 0;
    const cJSON *id;
    cJSON_ArrayForEach(id, want) {
        if (i >= got->count || got->at[i] != id->valueint)
            break;
        i++;
    }
    if (id || i < got->count)
        fail_msg("%s of \"%s\": token %zu of %d is %d, wanted %d", what, text, i,
                 cJSON_GetArraySize(want), i < got->count ? got->at[i] : -1,
                 id ? id->valueint : -1);
}

/* From a block of exactly as many bytes, so that a sanitizer sees reads past the end. */
static char *exact(const char *text, size_t *len)
{
    *len = strlen(text);
    char *copy = malloc(*len ? *len : 1);
    assert_non_null(copy);
    memcpy(copy, text, *len);
    return copy;
}

static void check_text(const char *text, const cJSON *want, bool special)
{
    struct tokenizer_ids ids = {0};
    struct err err;
    size_t len;
    char *copy = exact(text, &len);
    if (!qwen_tokenizer_encode(tokenizer, copy, len, special, &ids, &err))
        fail_msg("%s: %s", text, err.msg);
    check(text, special ? "special" : "ids", &ids, want);
    tokenizer_ids_free(&ids);
    free(copy);
}

static void check_chat(const char *prompt, const cJSON *want, enum qwen_tokenizer_chat chat)
{
    struct tokenizer_ids ids = {0};
    struct err err;
    size_t len;
    char *copy = exact(prompt, &len);
    if (!qwen_tokenizer_prompt(tokenizer, chat, copy, len, &ids, &err))
        fail_msg("%s: %s", prompt, err.msg);
    check(prompt, "chat", &ids, want);
    tokenizer_ids_free(&ids);
    free(copy);
}

static void check_cases(const char *path)
{
    cJSON *cases = read_cases(path);
    const cJSON *c;
    cJSON_ArrayForEach(c, cases) {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(c, "text"));
        const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItem(c, "prompt"));
        const cJSON *ids = cJSON_GetObjectItem(c, "ids");
        const cJSON *special = cJSON_GetObjectItem(c, "special");
        if (prompt) {
            check_chat(prompt, cJSON_GetObjectItem(c, "chat"), QWEN_TOKENIZER_CHAT);
            check_chat(prompt, cJSON_GetObjectItem(c, "thoughtless"), QWEN_TOKENIZER_THOUGHTLESS);
            continue;
        }
        assert_non_null(text);
        check_text(text, ids, false);
        if (!cJSON_IsNull(special)) /* it is not said what names stand for */
            check_text(text, special ? special : ids, true);
    }
    assert_true(cJSON_GetArraySize(cases) > 300);
    cJSON_Delete(cases);
}

static void golden(void **state)
{
    check_cases(GOLDEN);
    if (getenv("QWEN_TOKENS"))
        check_cases(getenv("QWEN_TOKENS"));
}

static void refused(void **state)
{
    struct tokenizer_ids ids = {0};
    struct err err;
    assert_true(qwen_tokenizer_encode(tokenizer, "cat", 3, false, &ids, &err));
    size_t before = ids.count;
    assert_false(qwen_tokenizer_encode(tokenizer, "a \xff", 3, true, &ids, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "byte 2"));
    assert_false(qwen_tokenizer_prompt(tokenizer, QWEN_TOKENIZER_CHAT, "\xc3", 1, &ids, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(ids.count, before);
    tokenizer_ids_free(&ids);
}

/* A megabyte without a place to cut is no trouble. */
static void long_word(void **state)
{
    size_t len = 1 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i * i / 7 % 26);
    struct tokenizer_ids ids = {0};
    struct err err;
    clock_t began = clock();
    assert_true(qwen_tokenizer_encode(tokenizer, text, len, true, &ids, &err));
    assert_true(ids.count > 0 && ids.count < len);
    assert_true((double)(clock() - began) / CLOCKS_PER_SEC < 20);
    tokenizer_ids_free(&ids);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(refused),
        cmocka_unit_test(long_word),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* tokenizer_test.c: token ids against those of the reference tokenizer (tests/golden/README.md). */
#include "engine/text/tokenizer.h"

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

#define GOLDEN "tests/golden/tiny/tokens.json"

static struct tokenizer *tokenizer;

static int setup(void **state)
{
    tokenizer = tokenizer_new(NULL);
    return tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    tokenizer_free(tokenizer);
    return 0;
}

/* From a block of exactly `len` bytes, so that a sanitizer sees reads past the end. */
static struct tokenizer_ids encode(const char *text, size_t len)
{
    struct tokenizer_ids ids = {0};
    struct err err;
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    if (!tokenizer_encode(tokenizer, copy, len, &ids, &err))
        fail_msg("%s: %s", text, err.msg);
    free(copy);
    return ids;
}

static void check(const char *text, size_t len, const int *want, size_t count)
{
    struct tokenizer_ids ids = encode(text, len);
    bool same = ids.count == count;
    for (size_t i = 0; same && i < count; i++)
        same = ids.at[i] == want[i];
    for (size_t i = 0; !same && i < ids.count; i++)
        print_error("%d ", ids.at[i]);
    if (!same)
        fail_msg("are the ids of \"%s\"; wanted %zu, the first %d", text, count,
                 count ? want[0] : -1);
    tokenizer_ids_free(&ids);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

/* Prompts that the reference repairs first, in ways that unicode.c says are not done: what the
 * tokenizer makes of the text as it stands is wanted then ("fast"). */
static bool is_repaired(const char *text)
{
    static const char *const repaired[] = {"tom &amp; jerry", "&amp;amp; double",
                                           "sch\xc3\x83\xc2\xb6n"};
    for (size_t i = 0; i < sizeof repaired / sizeof *repaired; i++)
        if (strncmp(text, repaired[i], strlen(repaired[i])) == 0)
            return true;
    return false;
}

static void golden(void **state)
{
    char *text = read_file(GOLDEN);
    cJSON *cases = cJSON_Parse(text);
    free(text);
    assert_true(cJSON_GetArraySize(cases) > 50);
    const cJSON *c;
    cJSON_ArrayForEach(c, cases) {
        const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItem(c, "text"));
        assert_non_null(prompt);
        if (strncmp(prompt, "control\x01", 8) == 0 || *prompt == '\x1b')
            continue; /* a NUL, which cJSON cuts off (see control_characters); terminal escapes */
        const cJSON *ids = cJSON_GetObjectItem(c, is_repaired(prompt) ? "fast" : "ids"), *id;
        int want[512];
        size_t count = 0;
        cJSON_ArrayForEach(id, ids) {
            assert_true(count < sizeof want / sizeof *want);
            want[count++] = id->valueint;
        }
        check(prompt, strlen(prompt), want, count);
    }
    cJSON_Delete(cases);
}

#define CHECK(text, ...)                                                                           \
    check(text, sizeof(text) - 1, (const int[]){__VA_ARGS__},                                      \
          sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void control_characters(void **state)
{
    CHECK("control\001char\177 and \0 nul", 9963, 16017, 537, 1156, 331);
    CHECK("\0\0cat\0", 2368);
    check("\0\x01\xef\xbb\xbf", 5, NULL, 0);
}

static void special_tokens(void **state)
{
    CHECK("a<|endoftext|><|startoftext|>b", 320, TOKENIZER_END, TOKENIZER_START, 321);
    CHECK("!<|endoftext|>!", 256, TOKENIZER_END, 256);
    CHECK(",", TOKENIZER_COMMA);
}

static void appends(void **state)
{
    struct tokenizer_ids ids = {0};
    assert_true(tokenizer_encode(tokenizer, "a cat", 5, &ids, NULL));
    assert_true(tokenizer_encode(tokenizer, "", 0, &ids, NULL));
    assert_true(tokenizer_encode(tokenizer, "dog", 3, &ids, NULL));
    static const int want[] = {320, 2368, 1929};
    assert_int_equal(ids.count, 3);
    assert_memory_equal(ids.at, want, sizeof want);
    tokenizer_ids_free(&ids);
    assert_null(ids.at);
}

static void invalid_utf8(void **state)
{
    static const char *const bad[] = {
        "\xff", "cat \xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tokenizer_ids ids = {0};
        struct err err = {0};
        if (tokenizer_encode(tokenizer, bad[i], strlen(bad[i]), &ids, &err))
            fail_msg("case %zu accepted", i);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.msg, "is not UTF-8"));
        assert_int_equal(ids.count, 0);
        tokenizer_ids_free(&ids);
    }
}

/* The seven hundred thousand bytes of one word would take minutes if merging were quadratic. */
static void long_words(void **state)
{
    size_t len = 700000;
    char *text = malloc(len);
    assert_non_null(text);
    uint32_t random = 1;
    for (size_t i = 0; i < len; i++) {
        random = random * 1664525 + 1013904223;
        text[i] = (char)('a' + (random >> 24) % 26);
    }
    clock_t start = clock();
    struct tokenizer_ids ids = encode(text, len);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_true(ids.count > len / 32 && ids.count < len); /* no token is longer than 32 bytes */
    tokenizer_ids_free(&ids);
    free(text);
    if (seconds > 10)
        fail_msg("took %.1f s", seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),         cmocka_unit_test(control_characters),
        cmocka_unit_test(special_tokens), cmocka_unit_test(appends),
        cmocka_unit_test(invalid_utf8),   cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* chunk_test.c: tokens into chunks of 75: filling, BREAK, and where a full chunk is cut. */
#include "engine/text/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CAT = 2368, DOG = 1929, END = TOKENIZER_END, COMMA = TOKENIZER_COMMA };

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

/* "cat cat cat , cat": a letter each, c a cat, d a dog, ',' a comma, B a BREAK. */
static struct chunk_list chunks(const char *letters)
{
    char *prompt = calloc(strlen(letters) + 1, 8);
    assert_non_null(prompt);
    char *end = prompt;
    for (; *letters; letters++)
        end = stpcpy(end, *letters == 'c'   ? "cat "
                          : *letters == 'd' ? "dog "
                          : *letters == 'B' ? " BREAK "
                                            : ", ");
    struct chunk_list list;
    struct err err;
    if (!chunk_prompt(tokenizer, prompt, TOKENIZER_END, NULL, &list, &err))
        fail_msg("%s", err.msg);
    free(prompt);
    return list;
}

/* `count` letters c, then those of `rest`. */
static struct chunk_list after(int count, const char *rest)
{
    char letters[CHUNK_LIMIT * 75 + 100];
    memset(letters, 'c', (size_t)count);
    strcpy(letters + count, rest);
    return chunks(letters);
}

/* Chunk `i` is start, `count` of the prompt's tokens, the last of them `last`, and ends. */
static void check(const struct chunk_list *list, size_t i, int count, int last)
{
    assert_true(i < list->count);
    const struct chunk *c = &list->at[i];
    assert_int_equal(c->ids[0], TOKENIZER_START);
    for (int k = 1; k <= count; k++)
        assert_int_not_equal(c->ids[k], END);
    if (count)
        assert_int_equal(c->ids[count], last);
    for (int k = count + 1; k < CHUNK_LENGTH; k++)
        assert_int_equal(c->ids[k], END);
    for (int k = 0; k < CHUNK_LENGTH; k++)
        assert_true(c->weights[k] == 1);
}

static void filling(void **state)
{
    struct chunk_list list = chunks("");
    assert_int_equal(list.count, 1);
    assert_int_equal(list.tokens, 0);
    assert_false(list.weighted);
    check(&list, 0, 0, 0);
    chunk_list_free(&list);
    assert_null(list.at);

    list = chunks("ccd");
    assert_int_equal(list.count, 1);
    assert_int_equal(list.tokens, 3);
    check(&list, 0, 3, DOG);
    chunk_list_free(&list);

    list = after(74, "d");
    assert_int_equal(list.count, 1);
    check(&list, 0, 75, DOG);
    chunk_list_free(&list);

    list = after(75, "d");
    assert_int_equal(list.count, 2);
    assert_int_equal(list.tokens, 76);
    check(&list, 0, 75, CAT);
    check(&list, 1, 1, DOG);
    chunk_list_free(&list);
}

static void breaks(void **state)
{
    struct chunk_list list = chunks("cBd");
    assert_int_equal(list.count, 2);
    assert_int_equal(list.tokens, 76);
    check(&list, 0, 1, CAT);
    check(&list, 1, 1, DOG);
    chunk_list_free(&list);

    list = chunks("Bc"); /* an empty chunk first */
    assert_int_equal(list.count, 2);
    check(&list, 0, 0, 0);
    check(&list, 1, 1, CAT);
    chunk_list_free(&list);

    list = chunks("cB"); /* none last */
    assert_int_equal(list.count, 1);
    check(&list, 0, 1, CAT);
    chunk_list_free(&list);

    list = chunks("cBBd");
    assert_int_equal(list.count, 3);
    check(&list, 1, 0, 0);
    chunk_list_free(&list);
}

/* A comma at place p leaves p + 1 tokens in the first chunk, if it is within 20 of its end. */
static void commas(void **state)
{
    static const struct {
        int before; /* tokens before the comma, so its place */
        int behind; /* tokens behind it */
        int first;  /* tokens in the first chunk */
    } cases[] = {
        {74, 1, 75},  {73, 1, 75},  {73, 2, 74},  {60, 15, 61}, {60, 14, 75},
        {55, 20, 56}, {55, 19, 75}, {54, 21, 75}, {54, 40, 75}, {0, 80, 75},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rest[100] = ",";
        memset(rest + 1, 'd', (size_t)cases[i].behind);
        struct chunk_list list = after(cases[i].before, rest);
        int total = cases[i].before + 1 + cases[i].behind, first = cases[i].first;
        assert_int_equal(list.count, total > 75 ? 2 : 1);
        check(&list, 0, first, first == cases[i].before + 1 ? COMMA : DOG);
        if (total > 75)
            check(&list, 1, total - first, DOG);
        chunk_list_free(&list);
    }

    /* A comma that would be the first of the next chunk stays there. */
    struct chunk_list list = after(70, ",cccc,d");
    check(&list, 0, 75, CAT);
    check(&list, 1, 2, DOG);
    assert_int_equal(list.at[1].ids[1], COMMA);
    chunk_list_free(&list);

    /* The next chunk does not know the comma of the one before. */
    char rest[200] = ",";
    memset(rest + 1, 'd', 85);
    list = after(70, rest);
    assert_int_equal(list.count, 3);
    check(&list, 0, 71, COMMA);
    check(&list, 1, 75, DOG);
    check(&list, 2, 10, DOG);
    chunk_list_free(&list);
}

static void weights(void **state)
{
    struct chunk_list list;
    assert_true(chunk_prompt(tokenizer, "a (cat:1.5), [dog] BREAK (dog:1)", TOKENIZER_END, NULL,
                             &list, NULL));
    static const float want[] = {1, 1, 1.5f, 1, (float)(1 / 1.1), 1};
    assert_int_equal(list.count, 2);
    assert_true(list.weighted);
    for (int i = 0; i < 6; i++)
        assert_true(list.at[0].weights[i] == want[i]);
    check(&list, 1, 1, DOG);
    chunk_list_free(&list);
    assert_true(chunk_prompt(tokenizer, "(cat:1) dog", TOKENIZER_END, NULL, &list, NULL));
    assert_false(list.weighted);
    chunk_list_free(&list);

    /* A weight moves with its token behind a comma. */
    char prompt[1000] = "";
    for (int i = 0; i < 70; i++)
        strcat(prompt, "cat ");
    strcat(prompt, ", dog dog (dog dog:2) dog dog");
    assert_true(chunk_prompt(tokenizer, prompt, TOKENIZER_END, NULL, &list, NULL));
    assert_int_equal(list.at[0].ids[71], COMMA);
    static const float moved[] = {1, 1, 1, 2, 2, 1, 1, 1};
    for (int i = 0; i < 8; i++)
        assert_true(list.at[1].weights[i] == moved[i]);
    for (int i = 72; i < CHUNK_LENGTH; i++)
        assert_true(list.at[0].weights[i] == 1);
    chunk_list_free(&list);
}

/* A word of ten vectors stays whole: what has no room for it is filled up. */
static void words(void **state)
{
    const char *names[] = {"cat dog", "cat"};
    const int vectors[] = {10, 2};
    struct vocabulary *v = vocabulary_new(tokenizer, names, vectors, 2, NULL);
    struct chunk_style style = {.backtrack = CHUNK_BACKTRACK, .vocabulary = v};
    struct chunk_list list;
    char prompt[1000] = "";
    assert_non_null(v);
    for (int i = 0; i < 66; i++)
        strcat(prompt, "dog ");
    strcat(prompt, "(Cat Dog:1.5) dog");
    assert_true(chunk_prompt(tokenizer, prompt, TOKENIZER_END, &style, &list, NULL));
    assert_int_equal(list.count, 2);
    check(&list, 0, 66, DOG);
    assert_int_equal(list.tokens, 75 + 11);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(list.at[1].ids[1 + i], TOKENIZER_VOCAB + i);
        assert_true(list.at[1].weights[1 + i] == 1.5f);
    }
    assert_int_equal(list.at[1].ids[11], DOG);
    assert_int_equal(vocabulary_word(v, list.at[1].ids[10]), 0);
    chunk_list_free(&list);

    /* One that fits to the last place; the next begins a chunk, behind a comma that is near. */
    strcpy(prompt + 4 * 65, "cat dog, cat");
    assert_true(chunk_prompt(tokenizer, prompt, TOKENIZER_END, &style, &list, NULL));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.at[0].ids[75], TOKENIZER_VOCAB + 9);
    assert_int_equal(list.at[1].ids[1], COMMA);
    assert_int_equal(list.at[1].ids[2], TOKENIZER_VOCAB + 10);
    assert_int_equal(list.at[1].ids[3], TOKENIZER_VOCAB + 11);
    assert_int_equal(list.at[1].ids[4], END);
    assert_int_equal(vocabulary_word(v, list.at[1].ids[3]), 1);
    chunk_list_free(&list);
    vocabulary_free(v);
}

static void limits(void **state)
{
    struct chunk_list list = after(CHUNK_LIMIT * 75, "");
    assert_int_equal(list.count, CHUNK_LIMIT);
    check(&list, CHUNK_LIMIT - 1, 75, CAT);
    chunk_list_free(&list);

    struct err err = {0};
    char *prompt = calloc(CHUNK_LIMIT * 75 + 2, 8);
    assert_non_null(prompt);
    for (int i = 0; i <= CHUNK_LIMIT * 75; i++)
        strcpy(prompt + 4 * i, "cat ");
    assert_false(chunk_prompt(tokenizer, prompt, TOKENIZER_END, NULL, &list, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "wanted at most 16200 tokens in 216 chunks"));
    assert_null(list.at);

    *prompt = '\0';
    for (int i = 0; i < CHUNK_LIMIT; i++)
        strcat(prompt, "cat BREAK ");
    assert_true(chunk_prompt(tokenizer, prompt, TOKENIZER_END, NULL, &list,
                             &err)); /* the last BREAK opens nothing */
    assert_int_equal(list.count, CHUNK_LIMIT);
    chunk_list_free(&list);
    strcat(prompt, "BREAK cat");
    assert_false(chunk_prompt(tokenizer, prompt, TOKENIZER_END, NULL, &list, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(prompt);

    assert_false(chunk_prompt(tokenizer, "cat \xff", TOKENIZER_END, NULL, &list, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(list.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filling), cmocka_unit_test(breaks), cmocka_unit_test(commas),
        cmocka_unit_test(weights), cmocka_unit_test(words),  cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* prompt_test.c: the attention syntax of SD WebUI, as a table of prompts and their parts. */
#include "engine/text/prompt.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct want {
    const char *text; /* "BREAK" of weight -1 is a break */
    double weight;
};

static const struct {
    const char *prompt;
    struct want parts[8]; /* ends with a NULL text */
} cases[] = {
    {"a cat", {{"a cat", 1}}},
    {"(a:1.5)", {{"a", 1.5}}},
    {"((a))", {{"a", 1.21}}},
    {"[a]", {{"a", 0.9090909}}},
    {"[[a]]", {{"a", 0.8264463}}},
    {"(a:0)", {{"a", 0}}},
    {"(a:-1)", {{"a", -1}}},
    {"(a:+1.25)", {{"a", 1.25}}},
    {"(a: 1.3 )", {{"a", 1.3}}},
    {"(a:\343\200\2001.3\302\240)", {{"a", 1.3}}}, /* white space is Unicode's */
    {"(a:.5)", {{"a", .5}}},
    {"(a:2.)", {{"a", 2}}},
    {"(a:0001.20000000000000000000)", {{"a", 1.2}}},
    {"(a:1.3", {{"a:1.3", 1.1}}},
    {"a:1.3", {{"a:1.3", 1}}},
    {"a:1.3)", {{"a:1.3)", 1}}},
    {"\\(a\\)", {{"(a)", 1}}},
    {"\\[a\\]\\\\", {{"[a]\\", 1}}},
    {"(a\\):1.3)", {{"a)", 1.3}}},
    {"(a (b:1.2))", {{"a ", 1.1}, {"b", 1.32}}},
    {"(a:b:1.5)", {{"a:b", 1.5}}},
    {"((a:1.5):2)", {{"a", 3}}},
    {"[a:1.5]", {{"a:1.5", 0.9090909}}},
    {"(x)(y:1.1)", {{"xy", 1.1}}},
    {"a, (b]", {{"a, ", 1}, {"b]", 1.1}}},
    {"a) b] c", {{"a) b] c", 1}}},
    {"(a [b) c]", {{"a ", 1.1}, {"b", 1}, {" c", 0.9090909}}}, /* brackets need not nest */
    {"()", {{"", 1}}},
    {"[]", {{"", 1}}},
    {"(:1.5)", {{"", 1}}},
    {"", {{"", 1}}},
    {"a\\", {{"a", 1}}},
    {"a\\b", {{"ab", 1}}},
    {"a BREAK b", {{"a", 1}, {"BREAK", -1}, {"b", 1}}},
    {"a\n BREAK\xe3\x80\x80 b", {{"a", 1}, {"BREAK", -1}, {"b", 1}}},
    {"BREAK", {{"", 1}, {"BREAK", -1}, {"", 1}}},
    {"BREAK BREAK", {{"", 1}, {"BREAK", -1}, {"", 1}, {"BREAK", -1}, {"", 1}}},
    {"(a, b:1.2) c BREAK d", {{"a, b", 1.2}, {" c", 1}, {"BREAK", -1}, {"d", 1}}},
    {"(BREAK:1.2)", {{"", 1.2}, {"BREAK", -1.2}, {"", 1.2}}},
    {"abcBREAKdef", {{"abcBREAKdef", 1}}},
    {"_BREAK", {{"_BREAK", 1}}},
    {"BREAK2", {{"BREAK2", 1}}},
    {"\303\251BREAK", {{"\303\251BREAK", 1}}},
    {"a,BREAK-b", {{"a,", 1}, {"BREAK", -1}, {"-b", 1}}},
    {"break", {{"break", 1}}},
    {"(a:1.2.3)", {{"a:1.2.3", 1.1}}},
    {"(a:.)", {{"a:.", 1.1}}},
    {"(a:+)", {{"a:+", 1.1}}},
    {"(a:1e3)", {{"a:1e3", 1.1}}},
    {"(a:nan)", {{"a:nan", 1.1}}},
    {"(a:0x10)", {{"a:0x10", 1.1}}},
    {"<lora:foo:0.8> a", {{"<lora:foo:0.8> a", 1}}},
    {"\xff(\xfe)", {{"\xff", 1}, {"\xfe", 1.1}}}, /* bytes that are no text stay what they are */
};

static void table(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prompt got;
        struct err err;
        if (!prompt_parse(cases[i].prompt, &got, &err))
            fail_msg("%s: %s", cases[i].prompt, err.msg);
        size_t k = 0;
        for (; k < got.count && cases[i].parts[k].text; k++) {
            const struct want *want = &cases[i].parts[k];
            const struct prompt_part *part = &got.parts[k];
            bool is_break = strcmp(want->text, "BREAK") == 0 && want->weight == -1;
            if (part->len != strlen(want->text) || memcmp(part->text, want->text, part->len) != 0 ||
                fabs(part->weight - want->weight) > 1e-7 || part->is_break != is_break)
                fail_msg("%s: part %zu: got \"%.*s\" %g%s, wanted \"%s\" %g", cases[i].prompt, k,
                         (int)part->len, part->text, part->weight, part->is_break ? " break" : "",
                         want->text, want->weight);
        }
        if (k != got.count || cases[i].parts[k].text)
            fail_msg("%s: got %zu parts", cases[i].prompt, got.count);
        prompt_free(&got);
        assert_null(got.parts);
    }
}

static char *repeat(const char *text, size_t times)
{
    size_t len = strlen(text);
    char *all = malloc(len * times + 1);
    assert_non_null(all);
    for (size_t i = 0; i < times; i++)
        memcpy(all + i * len, text, len);
    all[len * times] = '\0';
    return all;
}

static void assert_refused(const char *text, size_t times, enum err_code code, const char *message)
{
    char *prompt = repeat(text, times);
    struct prompt got;
    struct err err = {0};
    if (prompt_parse(prompt, &got, &err) || err.code != code || !strstr(err.msg, message))
        fail_msg("%zu times %s: got \"%s\", wanted \"%s\"", times, text, err.msg, message);
    assert_null(got.parts);
    free(prompt);
}

static void limits(void **state)
{
    assert_refused("(", PROMPT_DEPTH + 1, ERR_INVALID, "nested deeper than 64");
    assert_refused("[", PROMPT_DEPTH + 1, ERR_INVALID, "nested deeper than 64");
    assert_refused("[(", 50000, ERR_INVALID, "nested deeper than 64");
    assert_refused("a", PROMPT_BYTES + 1, ERR_TOO_LARGE, "wanted at most 131072 bytes");
    assert_refused("(((((((a:999999):999999):999999):999999):999999):999999):999999)", 1,
                   ERR_INVALID, "is too large");
    char *digits = repeat("9", 400), prompt[500];
    strcat(strcat(strcpy(prompt, "(a:"), digits), ")");
    assert_refused(prompt, 1, ERR_INVALID, "is too large");
    free(digits);
}

/* As much of everything as is allowed, in no time. */
static void bounded(void **state)
{
    static const char *const texts[] = {"(a)", "a\\(", "[a:",     "(b:1.1)",  "a BREAK ",
                                        ")",   "\\",   "(a) [b]", "   BREAK", "::::"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t opens =
            strcmp(texts[i], "[a:") == 0 ? PROMPT_DEPTH : PROMPT_BYTES / strlen(texts[i]);
        char *prompt = repeat(texts[i], opens);
        struct prompt got;
        struct err err;
        if (!prompt_parse(prompt, &got, &err))
            fail_msg("%s: %s", texts[i], err.msg);
        assert_true(got.count >= 1);
        prompt_free(&got);
        free(prompt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(limits),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

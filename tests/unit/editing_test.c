/* editing_test.c: prompts that change while a picture is painted, as a table of prompts and the
 * texts that they become, and prompts of several prompts. The tables' values were computed by the
 * grammar that SD WebUI publishes. */
#include "engine/text/editing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/conjunction.h"
#include "engine/pictor.h"
#include "engine/text/prompt.h"

struct want {
    int until;
    const char *text;
};

static const struct {
    const char *prompt;
    struct editing_pass pass;
    struct want entries[12]; /* ends with a NULL text */
} cases[] = {
    {"a [cat:dog:0.5] b", {20, 0, 0}, {{10, "a cat b"}, {20, "a dog b"}}},
    {"[cat:dog:10]", {20, 0, 0}, {{10, "cat"}, {20, "dog"}}},
    {"[cat:dog:1]", {20, 0, 0}, {{1, "cat"}, {20, "dog"}}},
    {"[cat:dog:1.0]", {20, 0, 0}, {{20, "cat"}}},
    {"[cat:dog:.25]", {20, 0, 0}, {{5, "cat"}, {20, "dog"}}},
    {"[cat::5] x", {20, 0, 0}, {{5, "cat x"}, {20, " x"}}},
    {"[cat:5]", {20, 0, 0}, {{5, ""}, {20, "cat"}}},
    {"[cat|dog|bird]",
     {6, 0, 0},
     {{1, "cat"}, {2, "dog"}, {3, "bird"}, {4, "cat"}, {5, "dog"}, {6, "bird"}}},
    {"[fe|]male", {4, 0, 0}, {{1, "female"}, {2, "male"}, {3, "female"}, {4, "male"}}},
    {"[|||x]", {4, 0, 0}, {{1, ""}, {2, ""}, {3, ""}, {4, "x"}}},
    {"[a|b:0.5]", {20, 0, 0}, {{20, "[a|b:0.5]"}}},
    {"[[a:b:0.25]:c:0.5]", {20, 0, 0}, {{5, "a"}, {10, "b"}, {20, "c"}}},
    {"(a [b:c:0.5]:1.3)", {20, 0, 0}, {{10, "(a b:1.3)"}, {20, "(a c:1.3)"}}},
    {"[a:(b:1.2):0.5]", {20, 0, 0}, {{10, "a"}, {20, "(b:1.2)"}}},
    {"<lora:x:0.5>, [a:b:0.5]", {20, 0, 0}, {{10, "<lora:x:0.5>, a"}, {20, "<lora:x:0.5>, b"}}},
    {"[a:b:-5]", {20, 0, 0}, {{20, "b"}}},
    {"[a:b:0]", {20, 0, 0}, {{20, "b"}}},
    {"[a:b:+3]", {20, 0, 0}, {{3, "a"}, {20, "b"}}},
    {"[a:b:100]", {20, 0, 0}, {{20, "a"}}},
    {"[a:b:0.999]", {20, 0, 0}, {{19, "a"}, {20, "b"}}},
    {"a [b:c:1e1] d", {20, 0, 0}, {{10, "a b d"}, {20, "a c d"}}},
    {"[a:b:1e400]", {20, 0, 0}, {{20, "a"}}},
    {"[a : b : 0.5 ]", {20, 0, 0}, {{10, "a "}, {20, " b "}}},
    {"\\[a:b:0.5\\]", {20, 0, 0}, {{20, "\\[a:b:0.5\\]"}}},
    {"[a:b]", {20, 0, 0}, {{20, "[a:b]"}}},
    {"[a]", {20, 0, 0}, {{20, "[a]"}}},
    {"a:b", {20, 0, 0}, {{20, "a:b"}}},
    {"[cat:dog:1.5]", {10, 20, 0}, {{5, "cat"}, {10, "dog"}}},
    {"[cat:dog:0.5]", {10, 20, 0}, {{10, "dog"}}},
    {"[cat:dog:25]", {10, 20, 0}, {{5, "cat"}, {10, "dog"}}},
    {"[cat:dog:1.0]", {20, 0, 1}, {{1, "cat"}, {20, "dog"}}},
    {"[cat:dog:0.5]", {20, 0, 1}, {{10, "cat"}, {20, "dog"}}},

    /* Brackets that have no partner, or hold what is no syntax, leave the others alone. */
    {"[a [b:c:0.5]", {20, 0, 0}, {{10, "[a b"}, {20, "[a c"}}},
    {"[a:b] [c:d:0.5]", {20, 0, 0}, {{10, "[a:b] c"}, {20, "[a:b] d"}}},
    {"([a:b] [c:d:0.5])", {20, 0, 0}, {{10, "([a:b] c)"}, {20, "([a:b] d)"}}},
    {"a) [b:c:0.5] ]", {20, 0, 0}, {{10, "a) b ]"}, {20, "a) c ]"}}},
    {"([a) [b:c:0.5]]", {20, 0, 0}, {{10, "([a) b]"}, {20, "([a) c]"}}},
    {"[(a:b:c:0.5]", {20, 0, 0}, {{20, "[(a:b:c:0.5]"}}},
    {"[a:[b:c]:0.5]", {20, 0, 0}, {{20, "[a:[b:c]:0.5]"}}},
    {"[a:b:c:0.5]", {20, 0, 0}, {{20, "[a:b:c:0.5]"}}},
    /* But a bar that has none makes all of it text. */
    {"a | b [c:d:0.5]", {20, 0, 0}, {{20, "a | b [c:d:0.5]"}}},
    {"(a|b) [c:d:0.5]", {20, 0, 0}, {{20, "(a|b) [c:d:0.5]"}}},
    {"[c:d:0.5] [a|b", {20, 0, 0}, {{20, "[c:d:0.5] [a|b"}}},
    {"[c:d:0.5] \\", {20, 0, 0}, {{20, "[c:d:0.5] \\"}}},
    {"a \\| b [c:d:0.5]", {20, 0, 0}, {{10, "a \\| b c"}, {20, "a \\| b d"}}},
    {"[a|[b:c:2]]", {3, 0, 0}, {{1, "a"}, {2, "b"}, {3, "a"}}},
    {"[[a|b]|(c:1.2)]", {4, 0, 0}, {{1, "a"}, {2, "(c:1.2)"}, {3, "a"}, {4, "(c:1.2)"}}},
    {"[:b:2]", {3, 0, 0}, {{2, ""}, {3, "b"}}},
    {"[a:nan] [a:0x5]", {3, 0, 0}, {{3, "[a:nan] [a:0x5]"}}},
    {"", {3, 0, 0}, {{3, ""}}},
    {"\xff[\xfe:\xfd:2]", {3, 0, 0}, {{2, "\xff\xfe"}, {3, "\xff\xfd"}}},
};

static void table(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct editing got;
        struct err err;
        if (!editing_parse(cases[i].prompt, &cases[i].pass, &got, &err))
            fail_msg("%s: %s", cases[i].prompt, err.msg);
        size_t k = 0;
        for (; k < got.count && cases[i].entries[k].text; k++) {
            const struct want *want = &cases[i].entries[k];
            const char *text = got.texts[got.entries[k].text];
            if (got.entries[k].until != want->until || strcmp(text, want->text) != 0)
                fail_msg("%s: entry %zu: got %d \"%s\", wanted %d \"%s\"", cases[i].prompt, k,
                         got.entries[k].until, text, want->until, want->text);
        }
        if (k != got.count || cases[i].entries[k].text)
            fail_msg("%s: got %zu entries", cases[i].prompt, got.count);
        editing_free(&got);
        assert_null(got.entries);
    }
}

/* Which text each call takes: the first two calls take the first. */
static void calls(void **state)
{
    static const struct {
        const char *prompt, *letters;
    } texts[] = {
        {"[a|b]", "aababa"}, {"[a:b:3]", "aaaabb"}, {"[a:b:0]", "bbbbbb"}, {"a", "aaaaaa"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct editing got;
        struct err err;
        struct editing_pass pass = {.calls = 5};
        assert_true(editing_parse(texts[i].prompt, &pass, &got, &err));
        for (int call = 0; texts[i].letters[call]; call++)
            assert_int_equal(got.texts[editing_text_at(&got, call)][0], texts[i].letters[call]);
        assert_true(got.text_count <= 2);
        editing_free(&got);
    }
}

/* ---- several prompts ---- */

static const struct {
    const char *prompt;
    struct {
        const char *text;
        double weight;
    } parts[4];
} joined[] = {
    {"a cat :1.2 AND a dog :0.5", {{"a cat", 1.2}, {" a dog", 0.5}}},
    {"a:1.5", {{"a", 1.5}}},
    {"a AND", {{"a", 1}, {"", 1}}},
    {"AND a", {{"", 1}, {" a", 1}}},
    {"a AND b:-1", {{"a", 1}, {" b", -1}}},
    {"x : .5 AND y", {{"x", .5}, {" y", 1}}},
    {"(a:1.2) AND b :3", {{"(a:1.2)", 1}, {" b", 3}}},
    {"band AND x:2", {{"band", 1}, {" x", 2}}},
    {"a and b", {{"a and b", 1}}},
    {"ANDANTE _AND AND2 \303\251AND AND\303\251",
     {{"ANDANTE _AND AND2 \303\251AND AND\303\251", 1}}},
    {"a,AND-b", {{"a,", 1}, {"-b", 1}}},
    {"a:1.2.3", {{"a:1.2.3", 1}}},
    {"a:+2. \n", {{"a", 2}}},
    {"a:1:2", {{"a:1", 2}}},
    {"a:", {{"a:", 1}}},
    {"\343\200\200a\343\200\200:\343\200\2002", {{"\343\200\200a", 2}}},
    {"", {{"", 1}}},
    {"AND AND AND", {{"", 1}, {"", 1}, {"", 1}, {"", 1}}},
};

static void conjunctions(void **state)
{
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        struct conjunction got;
        struct err err;
        if (!conjunction_parse(joined[i].prompt, &got, &err))
            fail_msg("%s: %s", joined[i].prompt, err.msg);
        int k = 0;
        for (; k < got.count && k < 4 && joined[i].parts[k].text; k++)
            if (strcmp(got.at[k].text, joined[i].parts[k].text) != 0 ||
                fabs(got.at[k].weight - joined[i].parts[k].weight) > 1e-12)
                fail_msg("%s: got \"%s\" %g", joined[i].prompt, got.at[k].text, got.at[k].weight);
        if (k != got.count || (k < 4 && joined[i].parts[k].text))
            fail_msg("%s: got %d parts", joined[i].prompt, got.count);
        conjunction_free(&got);
    }
}

/* ---- limits ---- */

static char *repeat(const char *before, const char *text, size_t times, const char *after)
{
    size_t len = strlen(text), head = strlen(before);
    char *all = malloc(head + len * times + strlen(after) + 1);
    assert_non_null(all);
    strcpy(all, before);
    for (size_t i = 0; i < times; i++)
        memcpy(all + head + i * len, text, len);
    strcpy(all + head + len * times, after);
    return all;
}

static void refuses(const char *before, const char *text, size_t times, const char *after,
                    const char *message)
{
    char *prompt = repeat(before, text, times, after);
    struct editing got;
    struct err err = {0};
    struct editing_pass pass = {.calls = 2000};
    if (editing_parse(prompt, &pass, &got, &err) || !strstr(err.msg, message))
        fail_msg("%s...: got \"%s\", wanted \"%s\"", text, err.msg, message);
    assert_null(got.entries);
    free(prompt);
}

static void limits(void **state)
{
    refuses("", "(", 129, "", "nested deeper than 128");
    refuses("", "[(", 50000, "", "nested deeper than 128");
    refuses("", "a", PROMPT_BYTES + 1, "", "wanted at most 131072 bytes");
    /* Sixty-five different texts of 16 KiB. */
    refuses("[a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|0|1|2|3|4|5|6|7|8|9"
            "|A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P|Q|R|S|T|U|V|W|X|Y|Z|_|-|+]",
            "word", 4096, "", "in all the texts that it becomes");
    char *prompt = repeat("a", " AND a", CONJUNCTION_MAX, "");
    struct conjunction parts;
    struct err err = {0};
    assert_false(conjunction_parse(prompt, &parts, &err));
    assert_non_null(strstr(err.msg, "at most 16 prompts joined by AND"));
    free(prompt);
}

/* As much of everything as is allowed, in no time. */
static void bounded(void **state)
{
    static const struct {
        const char *before, *text, *after;
    } texts[] = {{"[", "|", "]"},        {"[", "a|", "]"},    {"", "[a:b:1]", ""},
                 {"", "[a|b]", ""},      {"", "[a:", ""},     {"", "\\[", ""},
                 {"", "[a:b:9999]", ""}, {"[", "(a)", ":1]"}, {"", ":", ""}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t times =
            strcmp(texts[i].text, "[a:") == 0 ? 128 : (PROMPT_BYTES - 4) / strlen(texts[i].text);
        char *prompt = repeat(texts[i].before, texts[i].text, times, texts[i].after);
        struct editing got;
        struct err err;
        struct editing_pass pass = {.calls = 2000};
        if (!editing_parse(prompt, &pass, &got, &err))
            fail_msg("%s: %s", texts[i].text, err.msg);
        assert_true(got.count >= 1 && got.text_count <= got.count);
        editing_free(&got);
        free(prompt);
    }
}

/* Whether a prompt says the same with the language of edits as without. */
static void simple(void **state)
{
    static const char *const same[] = {"", "a cat", "a (cat:1.2) [in] a hat", "a house \n", "(a"};
    static const char *const other[] = {"a house, aspect ratio 1:1", "ratio [16:9]", "[a:b:0.5]",
                                        "[a|b]", "a AND b", "a:2"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!pictor_prompt_is_simple(same[i]))
            fail_msg("'%s' is simple", same[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (pictor_prompt_is_simple(other[i]))
            fail_msg("'%s' is not simple", other[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple),
        cmocka_unit_test(table),  cmocka_unit_test(calls),   cmocka_unit_test(conjunctions),
        cmocka_unit_test(limits), cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

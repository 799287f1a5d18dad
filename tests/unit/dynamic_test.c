/* dynamic_test.c: prompts that choose, against every text that PyPI's dynamicprompts makes of a
 * template (tests/golden/dynamic), and what it does not do. */
#include "server/job/dynamic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER "tests/golden/dynamic/"
#define TRIES 4000
#define CASES_MOST 64

static struct wildcards *wildcards_at(const char *folder)
{
    struct err err;
    struct wildcards *w = wildcards_new(folder, &err);
    assert_non_null(w);
    return w;
}

/* What a template becomes; itself where it is text. Owned. */
static char *resolve(struct wildcards *w, const char *text, uint64_t seed)
{
    struct err err;
    char *out;
    if (!dynamic_resolve(text, seed, w, &out, &err))
        fail_msg("%s: %s", text, err.msg);
    return out ? out : strdup(text);
}

/* One line of the file: a template, and all that it may become. */
static void check_case(struct wildcards *w, char *line)
{
    char *texts[CASES_MOST], *template = strsep(&line, "\t");
    bool seen[CASES_MOST] = {false};
    size_t count = 0, left;
    while (line && count < CASES_MOST)
        texts[count++] = strsep(&line, "\t");
    left = count;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        size_t k = 0;
        char *got = resolve(w, template, seed), *again = resolve(w, template, seed);
        assert_string_equal(got, again);
        while (k < count && strcmp(texts[k], got) != 0)
            k++;
        if (k == count)
            fail_msg("%s: \"%s\"", template, got);
        left -= !seen[k];
        seen[k] = true;
        free(got);
        free(again);
    }
    for (size_t k = 0; k < count; k++)
        if (!seen[k])
            fail_msg("%s: never \"%s\"", template, texts[k]);
    assert_int_equal(left, 0);
}

static void test_cases(void **state)
{
    struct wildcards *w = wildcards_at(FOLDER "wildcards");
    FILE *in = fopen(FOLDER "cases.tsv", "r");
    char *line = NULL;
    size_t room = 0, cases = 0;
    ssize_t n;
    assert_non_null(in);
    while ((n = getline(&line, &room, in)) > 0) {
        line[n - 1] = '\0';
        check_case(w, line);
        cases++;
    }
    assert_true(cases >= 25);
    free(line);
    fclose(in);
    wildcards_free(w);
}

/* What seeds mean stays: these were written down once. */
static void test_seeds(void **state)
{
    static const struct {
        uint64_t seed;
        const char *text;
    } cases[] = {{0, "bd e,f"}, {1, "cb g,f"}, {2, "cd f,g"}, {UINT64_MAX, "db g,f"}};
    struct wildcards *w = wildcards_at("/nonexistent");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = resolve(w, "{a|b|c|d}{a|b|c|d} {2$$e|f|g}", cases[i].seed);
        assert_string_equal(got, cases[i].text);
        free(got);
    }
    wildcards_free(w);
}

static void test_weights(void **state)
{
    struct wildcards *w = wildcards_at("/nonexistent");
    int reds = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        char *got = resolve(w, "{3::red|blue|0::green}", seed);
        assert_string_not_equal(got, "green");
        reds += strcmp(got, "red") == 0;
        free(got);
    }
    /* Binomial: a standard deviation is sqrt(4000 * 3/4 * 1/4) = 27. */
    assert_true(abs(reds - TRIES * 3 / 4) < 5 * 27);
    wildcards_free(w);
}

/* Prompts of today are what they were. */
static void test_text(void **state)
{
    static const char *const texts[] = {
        "",
        "a red circle",
        "[cat|dog]",
        "[cat:dog:0.5]",
        "(a:1.2) \\(b\\) \\\\",
        "{{masterpiece}}, {best}",
        "{\"subject\": \"a cat\", \"size\": [1, 2]}",
        "{prompt}",
        "{",
        "}",
        "a { b",
        "a } b | c",
        "<lora:a:1>",
        "a|b",
        "$5 ${",
        "${}",
        "${1}",
        "$$",
        "{2$a}",
        "__name__",
        "a__b__c",
        "[a {b] c}",
        "x\\",
        "{[a|b]}",
        "a AND b :1.2",
        "{a\\|b}x",
    };
    struct wildcards *w = wildcards_at("/nonexistent");
    for (size_t i = 0; i < sizeof texts / sizeof *texts - 1; i++) {
        struct err err;
        char *out;
        if (!dynamic_resolve(texts[i], 7, w, &out, &err))
            fail_msg("%s: %s", texts[i], err.msg);
        if (out)
            fail_msg("%s: became %s", texts[i], out);
    }
    wildcards_free(w);
}

static void test_escapes(void **state)
{
    static const struct {
        const char *text, *becomes;
    } cases[] = {
        {"\\{a|b\\}", "{a|b}"},
        {"{a\\|b|a\\|b}", "a|b"},
        {"{\\(a\\)|\\(a\\)}", "\\(a\\)"},
        {"{[a|b]|[a|b]} c", "[a|b] c"},
        {"[{a|a}|b]", "[a|b]"},
        {"\\__color__ {x|x}", "__color__ x"},
        {"{\"a\": \"{x|x}\"}", "{\"a\": \"x\"}"},
        {"{a|a} }", "a }"},
        {"$ {a|a} ${a|a}", "$ a $a"},
        {"{__style/ink__}", "ink"},
        {"__ink__", "ink"}, /* by what is behind its last slash */
        {"__st*/i*__", "ink"},
        {"<lora:a__b__c:1> {x|x}", "<lora:a__b__c:1> x"}, /* no file has that name */
        {"<lora:__ink__:1>", "<lora:ink:1>"},
        {"__**ink__", "ink"},
        {"__a b c__d", NULL}, /* there is no such file */
    };
    struct wildcards *w = wildcards_at(FOLDER "wildcards");
    for (size_t i = 0; i < sizeof cases / sizeof *cases && cases[i].becomes; i++) {
        char *got = resolve(w, cases[i].text, i);
        assert_string_equal(got, cases[i].becomes);
        free(got);
    }
    wildcards_free(w);
}

/* What came out stays what it is when it is read again. */
static void test_settled(void **state)
{
    static const struct {
        const char *text, *becomes;
    } cases[] = {
        {"{a|b}", "\\{a|b\\}"},
        {"x {a|b} {c} \\( __color__", "x \\{a|b\\} \\{c\\} \\( \\__color__"},
        {"\\{a\\} {a|b}", "\\{a\\} \\{a|b\\}"},
        {"__gone__", "\\__gone__"},
        {"<lora:a__b__c:1> {a|b}", "<lora:a__b__c:1> \\{a|b\\}"},
        {"{masterpiece} [a|b] \\(", "{masterpiece} [a|b] \\("},
    };
    struct wildcards *w = wildcards_at(FOLDER "wildcards");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        char *text = strdup(cases[i].text), *again;
        assert_true(dynamic_settle(&text, w, &err));
        assert_string_equal(text, cases[i].becomes);
        assert_true(dynamic_settle(&text, w, &err));
        assert_true(dynamic_resolve(text, 3, w, &again, &err));
        if (again) { /* the backslashes alone are gone then */
            assert_true(dynamic_settle(&again, w, &err));
            assert_string_equal(again, cases[i].becomes);
        }
        free(again);
        free(text);
    }
    wildcards_free(w);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void check_error(struct wildcards *w, const char *text, enum err_code code, const char *says)
{
    struct err err;
    char *out;
    if (dynamic_resolve(text, 3, w, &out, &err))
        fail_msg("%.80s: no error", text);
    if (err.code != code || !strstr(err.msg, says))
        fail_msg("%.80s: %s", text, err.msg);
    assert_null(out);
}

static void test_errors(void **state)
{
    char dir[] = P_tmpdir "/dynamic_test.XXXXXX", path[256];
    assert_non_null(mkdtemp(dir));
    write_text(dir, "a.txt", "x __b__\n");
    write_text(dir, "b.txt", "__a__\n");
    write_text(dir, "self.txt", "__self__\n");
    write_text(dir, "empty.txt", "# nothing\n\n");
    write_text(dir, "bomb.txt", "__p__ __p__ __p__ __p__ __p__ __p__ __p__ __p__ __p__ __p__\n");
    write_text(dir, "p.txt", "__q__ __q__ __q__ __q__ __q__ __q__ __q__ __q__ __q__ __q__\n");
    write_text(dir, "q.txt", "__r__ __r__ __r__ __r__ __r__ __r__ __r__ __r__ __r__ __r__\n");
    write_text(dir, "r.txt", "{x|y} {x|y} {x|y} {x|y} {x|y} {x|y} {x|y} {x|y} {x|y} {x|y}\n");
    write_text(dir, "bad.txt", "\xff\xfe\n");
    snprintf(path, sizeof path, "%s/folder.txt", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    struct wildcards *w = wildcards_at(dir);
    check_error(w, "a __gone__ cat", ERR_NOT_FOUND, "wildcard __gone__: there is no such file");
    check_error(w, "__../a__", ERR_NOT_FOUND, "there is no such file");
    check_error(w, "__/etc/passwd__", ERR_NOT_FOUND, "there is no such file");
    check_error(w, "__self__", ERR_INVALID, "wildcard __self__ names itself");
    check_error(w, "__a__", ERR_INVALID, "names itself");
    check_error(w, "__empty__", ERR_INVALID, "there is no entry in the file");
    check_error(w, "__bomb__", ERR_TOO_LARGE, "more than 10000 choices");
    check_error(w, "__*a*b*c*d*e__", ERR_INVALID, "at most 4 stars");
    check_error(w, "${x}", ERR_INVALID, "there is no variable ${x}");
    check_error(w, "${x=${x}}${x}", ERR_INVALID, "nest deeper than 32 levels");
    check_error(w,
                "${x=aaaaaaaaaa}${y=${x}${x}${x}${x}${x}${x}${x}${x}${x}${x}}"
                "${z=${y}${y}${y}${y}${y}${y}${y}${y}${y}${y}}${w=${z}${z}${z}${z}${z}${z}${z}}"
                "${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}${w}",
                ERR_TOO_LARGE, "more than 10000 choices");
    char *long_text = malloc(300000);
    assert_non_null(long_text);
    strcpy(long_text, "${x=!");
    memset(long_text + 5, 'a', 20000);
    strcpy(long_text + 20005, "}${x}${x}${x}${x}${x}${x}${x}");
    check_error(w, long_text, ERR_TOO_LARGE, "longer than 131072 bytes");
    memset(long_text, '{', 100000);
    long_text[100000] = '\0';
    free(resolve(w, long_text, 1));
    for (int i = 0; i < 50; i++)
        memcpy(long_text + 3 * i, "{a|", 3);
    memset(long_text + 150, '}', 50);
    long_text[200] = '\0';
    bool deep = false;
    for (uint64_t seed = 0; seed < 200; seed++) { /* it may end before that */
        struct err err;
        char *out;
        deep |= !dynamic_resolve(long_text, seed, w, &out, &err);
        free(deep ? NULL : out);
    }
    free(long_text);
    char *got = resolve(w, "__bad__", 1); /* made fit for JSON */
    assert_null(strchr(got, '\xff'));
    free(got);
    wildcards_free(w);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_weights), cmocka_unit_test(test_text),
        cmocka_unit_test(test_escapes), cmocka_unit_test(test_settled),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

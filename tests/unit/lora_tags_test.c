/* lora_tags_test.c: what tags in prompts say, as a table; the cases are the SD WebUI's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/job/lora_tags.h"

static void test_tags(void **state)
{
    static const struct {
        const char *prompt, *left, *says; /* says: "name text unet;" for each */
    } cases[] = {
        {"", "", ""},
        {"a cat", "a cat", ""},
        {"a <lora:foo:0.8> b", "a  b", "foo 0.8 0.8;"},
        {"<lora:foo>", "", "foo 1 1;"},
        {"<lora:foo:1:0.5>", "", "foo 1 0.5;"},
        {"<lora:foo:te=0.5:unet=1>", "", "foo 0.5 1;"},
        {"<lora:foo:te=0.5>", "", "foo 0.5 0.5;"},
        {"<lora:foo:unet=0.5>", "", "foo 1 0.5;"},
        {"<lora:a b-c.v1:1.0>", "", "a b-c.v1 1 1;"},
        {"<lora:a:-1><lyco:b:2>x", "x", "a -1 -1;b 2 2;"},
        {"<lora:a:1:1:128>", "", "a 1 1;"},
        {"<lora:a:1:dyn=4:lbw=XYZ>", "", "a 1 1;"},
        {"<hypernet:h:1><unknown:x>", "", ""},
        {"<lora::1>", "", ""},
        {"a < b: c>", "a < b: c>", ""},
        {"<lora:>", "<lora:>", ""},
        {"<:x>", "<:x>", ""},
        {"<lora:a:1", "<lora:a:1", ""},
        {"<<lora:a>>", "<>", "a 1 1;"},
        {"<lora:a\xc3\xa4:1>", "", "a\xc3\xa4 1 1;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        struct lora_tags tags;
        char says[512] = "";
        char *left = lora_tags_take(cases[i].prompt, &tags, &err);
        if (!left)
            fail_msg("%s: %s", cases[i].prompt, err.msg);
        for (size_t k = 0; k < tags.count; k++)
            sprintf(says + strlen(says), "%s %g %g;", tags.at[k].name, tags.at[k].text,
                    tags.at[k].unet);
        assert_string_equal(left, cases[i].left);
        assert_string_equal(says, cases[i].says);
        free(left);
    }
}

static void test_refused(void **state)
{
    static const char *const strengths[] = {"x",   "",     "1x",  "nan", "inf",
                                            "101", "-101", "te=", "1:y"};
    char prompt[1024] = "";
    struct lora_tags tags;
    struct err err;
    for (size_t i = 0; i < sizeof strengths / sizeof *strengths; i++) {
        snprintf(prompt, sizeof prompt, "<lora:a:%s>", strengths[i]);
        assert_null(lora_tags_take(prompt, &tags, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.msg, "wanted a strength of -100..100"));
    }
    prompt[0] = '\0';
    for (int i = 0; i <= PICTOR_LORAS_MAX; i++)
        strcat(prompt, "<lora:a>");
    assert_null(lora_tags_take(prompt, &tags, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void test_linear(void **state)
{
    size_t size = 1 << 20;
    char *text = malloc(size + 1);
    struct lora_tags tags;
    struct err err;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = "<a:"[i % 3];
    text[size] = '\0';
    clock_t start = clock();
    free(lora_tags_take(text, &tags, &err));
    free(text);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tags), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

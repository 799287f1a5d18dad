/* json_number_test.c: whole numbers of 64 bits and doubles survive JSON both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "server/base/json_number.h"
#include "server/base/json_text.h"

static cJSON *parse(const char *text)
{
    /* In memory of exactly this size, for the sanitizers. */
    size_t size = strlen(text);
    char *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, text, size);
    cJSON *json = json_text_parse(exact, size, 8, NULL);
    free(exact);
    return json;
}

static void text_survives(void **state)
{
    static const char *const texts[] = {
        "18446744073709551615",
        "-18446744073709551615",
        "9007199254740993",
        "6004799503160661",
        "[4503599627370497,4503599627370499]",
        "{\"a\":9223372036854775807,\"b\":[1,\"9223372036854775808 \\\" 12345678901234567\","
        "9223372036854775808],\"1234567890123456789\":9007199254740993,\"c\":true}",
        "[123456789012345678901234567890]",
        "[0.1,1.5,-3,0,999999999999999,1e+300]",
        "{\"e\":\"\\\\\",\"n\":12345678901234567}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON *json = parse(texts[i]);
        assert_non_null(json);
        for (int turn = 0; turn < 2; turn++) { /* printing leaves the tree as it was */
            char *text = json_text_print(json);
            assert_string_equal(text, texts[i]);
            free(text);
        }
        cJSON *copy = cJSON_Duplicate(json, true);
        char *text = json_text_print(copy);
        assert_string_equal(text, texts[i]);
        free(text);
        cJSON_Delete(copy);
        cJSON_Delete(json);
    }
}

static void doubles_survive(void **state)
{
    uint64_t random = 88172645463325252;
    for (int i = 0; i < 20000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;    /* xorshift */
        double value = i % 2 ? (double)random * 0x1p-64 : (double)(random >> 11); /* < 2^53 */
        cJSON *json = cJSON_CreateArray();
        cJSON_AddItemToArray(json, cJSON_CreateNumber(value));
        char *text = json_text_print(json);
        cJSON *back = parse(text);
        assert_true(cJSON_GetArrayItem(back, 0)->valuedouble == value);
        assert_true(i % 2 || (!strchr(text, 'e') && !strchr(text, '.')));
        free(text);
        cJSON_Delete(back);
        cJSON_Delete(json);
    }
}

static void wholes_are_read(void **state)
{
    static const struct {
        const char *text;
        bool whole;
        uint64_t magnitude;
        bool negative;
    } cases[] = {
        {"18446744073709551615", true, UINT64_MAX, false},
        {"\"18446744073709551615\"", true, UINT64_MAX, false},
        {"-18446744073709551615", true, UINT64_MAX, true},
        {"9007199254740993", true, 9007199254740993, false},
        {"7.0", true, 7, false},
        {"-0", true, 0, false},
        {"\"-0\"", true, 0, false},
        {"1e3", true, 1000, false},
        {"18446744073709551616", false, 0, false},
        {"\"18446744073709551616\"", false, 0, false},
        {"1e300", false, 0, false},
        {"1.5", false, 0, false},
        {"\"1.5\"", false, 0, false},
        {"\"\"", false, 0, false},
        {"\"-\"", false, 0, false},
        {"\"+1\"", false, 0, false},
        {"\" 1\"", false, 0, false},
        {"\"1x\"", false, 0, false},
        {"true", false, 0, false},
        {"null", false, 0, false},
        {"[1]", false, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_whole got;
        cJSON *json = parse(cases[i].text);
        if (json_number_whole(json, &got) != cases[i].whole)
            fail_msg("%s", cases[i].text);
        if (cases[i].whole) {
            assert_true(got.magnitude == cases[i].magnitude);
            assert_int_equal(got.negative, cases[i].negative);
        }
        cJSON_Delete(json);
    }
}

static void items_print_their_digits(void **state)
{
    static const uint64_t values[] = {0, 7, 9007199254740991, 9007199254740993, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct json_whole back;
        cJSON *item = json_number_item(values[i]);
        char *text = json_text_print(item);
        assert_true(json_number_parse(text, &back) && back.magnitude == values[i]);
        assert_true(json_number_whole(item, &back) && back.magnitude == values[i]);
        free(text);
        cJSON_Delete(item);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_survives),
        cmocka_unit_test(doubles_survive),
        cmocka_unit_test(wholes_are_read),
        cmocka_unit_test(items_print_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

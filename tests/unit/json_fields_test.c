/* json_fields_test.c: a JSON object into a struct, and what is said when it does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "server/base/json_fields.h"

struct out {
    const char *text, *word;
    int n;
    struct json_whole seed;
    double scale;
    bool flag;
    cJSON *raw;
};

static const char *const words[] = {"low", "high", NULL};

static const struct json_field fields[] = {
    {"text", JSON_FIELD_STRING, offsetof(struct out, text), .required = true, .least = 1,
     .most = 4},
    {"word", JSON_FIELD_STRING, offsetof(struct out, word), .words = words, .text = "low"},
    {"n", JSON_FIELD_INT, offsetof(struct out, n), .least = 1, .most = 10, .number = 3},
    {"seed", JSON_FIELD_WHOLE, offsetof(struct out, seed), .number = -1},
    {"scale", JSON_FIELD_DOUBLE, offsetof(struct out, scale), .number = NAN},
    {"flag", JSON_FIELD_BOOL, offsetof(struct out, flag), .number = 1},
    {"raw", JSON_FIELD_RAW, .offset = offsetof(struct out, raw)},
};
#define COUNT (sizeof fields / sizeof *fields)

static enum json_fault parse(const char *text, unsigned flags, struct out *out,
                             struct json_problem *problem, cJSON **json)
{
    *json = cJSON_Parse(text);
    assert_non_null(*json);
    bool ok = json_fields_parse(fields, COUNT, *json, flags, out, problem);
    assert_int_equal(ok, problem->fault == JSON_FAULT_NONE);
    return problem->fault;
}

static void test_values(void **state)
{
    struct out out;
    struct json_problem problem;
    cJSON *json;
    assert_int_equal(parse("{\"text\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\",\"word\":\"high\","
                           "\"n\":10,\"seed\":9007199254740991,\"scale\":-2.5,\"flag\":false,"
                           "\"raw\":[1],\"other\":1}",
                           0, &out, &problem, &json),
                     JSON_FAULT_NONE);
    assert_string_equal(out.text, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
    assert_string_equal(out.word, "high");
    assert_int_equal(out.n, 10);
    assert_true(out.seed.magnitude == UINT64_C(9007199254740991) && !out.seed.negative);
    assert_true(out.scale == -2.5);
    assert_false(out.flag);
    assert_int_equal(cJSON_GetArraySize(out.raw), 1);
    cJSON_Delete(json);
}

static void test_defaults(void **state)
{
    struct out out;
    struct json_problem problem;
    cJSON *json;
    /* null is absent, also when a value came before; of two the last counts. */
    const char *text =
        "{\"text\":\"a\",\"word\":null,\"n\":7,\"n\":null,\"seed\":null,\"scale\":null,"
        "\"flag\":null,\"raw\":null,\"text\":\"b\"}";
    assert_int_equal(parse(text, 0, &out, &problem, &json), JSON_FAULT_NONE);
    assert_string_equal(out.text, "b");
    assert_string_equal(out.word, "low");
    assert_int_equal(out.n, 3);
    assert_true(out.seed.magnitude == 1 && out.seed.negative);
    assert_true(isnan(out.scale));
    assert_true(out.flag);
    assert_null(out.raw);
    cJSON_Delete(json);
}

static const struct {
    const char *text;
    unsigned flags;
    enum json_fault fault;
    const char *name, *says;
} bad[] = {
    {"[]", 0, JSON_FAULT_NOT_OBJECT, "", "an array"},
    {"null", 0, JSON_FAULT_NOT_OBJECT, "", "null"},
    {"\"x\"", 0, JSON_FAULT_NOT_OBJECT, "", "a string"},
    {"{}", 0, JSON_FAULT_MISSING, "text", "'text'"},
    {"{\"text\":null}", 0, JSON_FAULT_MISSING, "text", "'text'"},
    {"{\"Text\":\"a\"}", 0, JSON_FAULT_MISSING, "text", "'text'"},
    {"{\"text\":5}", 0, JSON_FAULT_TYPE, "text", "expected a string, but got an integer"},
    {"{\"text\":[\"a\"]}", 0, JSON_FAULT_TYPE, "text", "an array"},
    {"{\"text\":\"\"}", 0, JSON_FAULT_TOO_SHORT, "text", "empty string"},
    {"{\"text\":\"abcde\"}", 0, JSON_FAULT_TOO_LONG, "text",
     "length 4, but got a string with length 5"},
    {"{\"word\":\"mid\"}", 0, JSON_FAULT_WORD, "word",
     "'mid'. Supported values are: 'low', and 'high'."},
    {"{\"n\":0}", 0, JSON_FAULT_TOO_SMALL, "n", "Expected a value >= 1, but got 0"},
    {"{\"n\":11}", 0, JSON_FAULT_TOO_LARGE, "n", "Expected a value <= 10, but got 11"},
    {"{\"n\":1e99}", 0, JSON_FAULT_TOO_LARGE, "n", "1e+99"},
    {"{\"n\":1e999}", 0, JSON_FAULT_TYPE, "n", "an integer"},
    {"{\"n\":1.5}", 0, JSON_FAULT_TYPE, "n", "a decimal number"},
    {"{\"n\":\"2\"}", 0, JSON_FAULT_TYPE, "n", "a string"},
    {"{\"n\":true}", 0, JSON_FAULT_TYPE, "n", "a boolean"},
    {"{\"seed\":1e300}", 0, JSON_FAULT_TOO_LARGE, "seed", "18446744073709551615"},
    {"{\"scale\":\"1\"}", 0, JSON_FAULT_TYPE, "scale", "a number"},
    {"{\"scale\":1e999}", 0, JSON_FAULT_TYPE, "scale", "a number"},
    {"{\"flag\":\"yes\"}", 0, JSON_FAULT_TYPE, "flag", "a boolean"},
    {"{\"flag\":1}", 0, JSON_FAULT_TYPE, "flag", "a boolean"},
    {"{\"text\":\"a\",\"other\":1}", JSON_FIELDS_STRICT, JSON_FAULT_UNKNOWN, "other", "'other'"},
    {"{\"n\":\"10abc\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "n", "an integer"},
    {"{\"n\":\"\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "n", "an integer"},
    {"{\"n\":\"2.0\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "n", "an integer"},
    {"{\"n\":\"0x5\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "n", "an integer"},
    {"{\"n\":\"99999999999999999999\"}", JSON_FIELDS_COERCE, JSON_FAULT_TOO_LARGE, "n", "<= 10"},
    {"{\"scale\":\"nan\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "scale", "a number"},
    {"{\"scale\":\"1e999\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "scale", "a number"},
    {"{\"flag\":\"maybe\"}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "flag", "a boolean"},
    {"{\"flag\":2}", JSON_FIELDS_COERCE, JSON_FAULT_TYPE, "flag", "a boolean"},
};

static void test_faults(void **state)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct out out;
        struct json_problem problem;
        cJSON *json;
        if (parse(bad[i].text, bad[i].flags, &out, &problem, &json) != bad[i].fault)
            fail_msg("%s: fault %d, not %d: %s", bad[i].text, problem.fault, bad[i].fault,
                     problem.message);
        assert_string_equal(problem.name, bad[i].name);
        if (!strstr(problem.message, bad[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, problem.message, bad[i].says);
        cJSON_Delete(json);
    }
}

static void test_coerce(void **state)
{
    struct out out;
    struct json_problem problem;
    cJSON *json;
    const char *text =
        "{\"text\":5,\"n\":\" 7 \",\"seed\":\"-12\",\"scale\":\"1.5e1\",\"flag\":\"Off\"}";
    assert_int_equal(parse(text, JSON_FIELDS_COERCE, &out, &problem, &json), JSON_FAULT_NONE);
    assert_string_equal(out.text, "5");
    assert_int_equal(out.n, 7);
    assert_true(out.seed.magnitude == 12 && out.seed.negative);
    assert_true(out.scale == 15);
    assert_false(out.flag);
    cJSON_Delete(json);

    text = "{\"text\":true,\"n\":7.9,\"scale\":3,\"flag\":1}";
    assert_int_equal(parse(text, JSON_FIELDS_COERCE, &out, &problem, &json), JSON_FAULT_NONE);
    assert_string_equal(out.text, "True");
    assert_int_equal(out.n, 7);
    assert_true(out.scale == 3);
    assert_true(out.flag);
    cJSON_Delete(json);
}

static void test_schema(void **state)
{
    cJSON *schema = json_fields_schema(fields, COUNT);
    char *text = cJSON_PrintUnformatted(schema);
    assert_string_equal(
        text, "{\"type\":\"object\",\"properties\":{"
              "\"text\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":4},"
              "\"word\":{\"type\":\"string\",\"default\":\"low\",\"enum\":[\"low\",\"high\"]},"
              "\"n\":{\"type\":\"integer\",\"default\":3,\"minimum\":1,\"maximum\":10},"
              "\"seed\":{\"type\":\"integer\",\"default\":-1},"
              "\"scale\":{\"type\":\"number\"},"
              "\"flag\":{\"type\":\"boolean\",\"default\":true},"
              "\"raw\":{}},\"required\":[\"text\"]}");
    cJSON_free(text);
    cJSON_Delete(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_coerce),
        cmocka_unit_test(test_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

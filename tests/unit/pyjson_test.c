/* pyjson: the same characters that Python prints. The expected texts were printed by Python. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/base/pyjson.h"

static void test_floats(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {7, "7.0"},
        {7.5, "7.5"},
        {0, "0.0"},
        {-0.0, "-0.0"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {1.5e16, "1.5e+16"},
        {123456789.125, "123456789.125"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1.25e-7, "1.25e-07"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.675, "2.675"},
        {100, "100.0"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buf[PYJSON_FLOAT_SIZE];
        assert_string_equal(pyjson_float(buf, cases[i].value), cases[i].text);
    }
}

static void check_string(const char *text, bool ascii, const char *wanted)
{
    struct pyjson out = {0};
    pyjson_string(&out, text, ascii);
    assert_string_equal(out.text, wanted);
    free(out.text);
}

static void test_strings(void **state)
{
    check_string("", true, "\"\"");
    check_string("a\"b\\c/", true, "\"a\\\"b\\\\c/\"");
    check_string("\n\r\t\b\f\x01\x1f\x7f", true, "\"\\n\\r\\t\\b\\f\\u0001\\u001f\\u007f\"");
    check_string("\x7f", false, "\"\x7f\"");
    check_string("\xe7\x8c\xab", true, "\"\\u732b\"");
    check_string("\xe7\x8c\xab", false, "\"\xe7\x8c\xab\"");
    check_string("\xf0\x9f\x90\xb1", true, "\"\\ud83d\\udc31\"");
    check_string("\xff\xc0\x80\xed\xa0\x80z", true,
                 "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdz\"");
    check_string("\xe7\x8c", false, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_dump(void **state)
{
    cJSON *json = cJSON_Parse("{\"a\":[1,2.5,true,null,\"\xc3\xa9\"],\"b\":{},\"c\":[],\"d\":-7}");
    cJSON_AddItemToObject(json, "e", pyjson_float_item(7));
    cJSON_AddItemToObject(json, "f", pyjson_float_item(NAN));
    cJSON_AddItemToObject(json, "g", json_number_item(UINT64_MAX));
    struct pyjson out = {0};
    pyjson_dump(&out, json);
    assert_string_equal(out.text,
                        "{\"a\": [1, 2.5, true, null, \"\\u00e9\"], \"b\": {}, \"c\": [], "
                        "\"d\": -7, \"e\": 7.0, \"f\": null, \"g\": 18446744073709551615}");
    free(out.text);
    char *compact = json_text_print(json);
    assert_string_equal(compact, "{\"a\":[1,2.5,true,null,\"\xc3\xa9\"],\"b\":{},\"c\":[],\"d\":-7,"
                                 "\"e\":7.0,\"f\":null,\"g\":18446744073709551615}");
    cJSON_free(compact);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

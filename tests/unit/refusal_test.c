/* refusal_test.c: what an upstream said, through the store's text and back. */
#include "server/job/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

static struct refusal read(int status, int retry_after, const char *error)
{
    struct refusal r, back;
    cJSON *json = cJSON_Parse(error);
    refusal_set(&r, status, retry_after, json);
    cJSON_Delete(json);
    char *text = refusal_to_text(&r);
    assert_non_null(text);
    refusal_from_text(&back, text);
    free(text);
    assert_memory_equal(&r, &back, sizeof r);
    return r;
}

static void survives_the_store(void **state)
{
    struct refusal r = read(400, -1,
                            "{\"message\":\"m\",\"type\":\"t\",\"code\":\"c\",\"param\":\"p\","
                            "\"moderation_details\":{\"categories\":[\"a\"]}}");
    assert_string_equal(r.type, "t");
    assert_string_equal(r.code, "c");
    assert_string_equal(r.param, "p");
    assert_string_equal(r.moderation, "{\"categories\":[\"a\"]}");
    r = read(429, 7, "{\"code\":5,\"param\":null,\"type\":[],\"moderation_details\":\"x\"}");
    assert_int_equal(r.retry_after, 7);
    assert_string_equal(r.code, "");
    assert_string_equal(r.moderation, "");
    read(500, 0, "\"text\"");
    read(503, -1, "null");
}

static void what_is_too_long_is_left_out(void **state)
{
    char error[2000];
    char name[600];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    snprintf(error, sizeof error, "{\"code\":\"%s\",\"moderation_details\":{\"a\":\"%s\"}}", name,
             name);
    struct refusal r = read(400, -1, error);
    assert_string_equal(r.code, "");
    assert_string_equal(r.moderation, "");
}

static void damaged_text_is_no_refusal(void **state)
{
    static const char *const texts[] = {"",
                                        "x",
                                        "{}",
                                        "[]",
                                        "{\"status\":\"400\"}",
                                        "{\"status\":1e99}",
                                        "{\"status\":-5}",
                                        "{\"status\":99}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct refusal r;
        refusal_from_text(&r, texts[i]);
        assert_int_equal(r.status, 0);
        assert_null(refusal_to_json(&r));
        assert_null(refusal_to_text(&r));
    }
}

static void statuses(void **state)
{
    static const int same[] = {400, 409, 413, 415, 422, 429, 451, 503};
    static const int ours[] = {301, 401, 402, 403, 404, 405, 408, 500, 501, 502, 504};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_int_equal(refusal_status(&(struct refusal){.status = same[i]}), same[i]);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        assert_int_equal(refusal_status(&(struct refusal){.status = ours[i]}), 502);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_the_store),
        cmocka_unit_test(what_is_too_long_is_left_out),
        cmocka_unit_test(damaged_text_is_no_refusal),
        cmocka_unit_test(statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* err_test.c: what an error tells to whom. */
#include "engine/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/log.h"

static void places_stand_apart(void **state)
{
    struct err err, copy;
    char text[ERR_TEXT_SIZE];
    memset(&err, 'x', sizeof err);
    assert_false(err_set(&err, ERR_INVALID, "wanted %d", 3));
    assert_string_equal(err_text(&err, text), "wanted 3");
    assert_false(err_at(&err, "/srv/m", ERR_IO, "no %s", "room"));
    assert_string_equal(err.msg, "no room");
    assert_string_equal(err_text(&err, text), "/srv/m: no room");
    assert_false(err_prefix(&err, "model %s", "m"));
    assert_string_equal(err.msg, "model m: no room");
    assert_string_equal(err.where, "/srv/m");
    assert_false(err_about(&err, "/srv"));
    assert_string_equal(err.where, "/srv/m"); /* who knew first knew best */
    assert_false(err_copy(&copy, &err));
    assert_memory_equal(&copy, &err, sizeof err);
    assert_false(err_set(&err, ERR_INTERNAL, "other"));
    assert_string_equal(err.where, "");
    assert_false(err_about(&err, "/srv"));
    assert_string_equal(err_text(&err, text), "/srv: other");
}

static void nobody_asks_why(void **state)
{
    struct err err = {.code = ERR_BUSY};
    assert_false(err_at(NULL, "/srv", ERR_IO, "x"));
    assert_false(err_about(NULL, "/srv"));
    assert_false(err_copy(NULL, &err));
    assert_false(err_copy(&err, NULL));
    assert_int_equal(err.code, ERR_BUSY);
}

static void long_ones_are_cut(void **state)
{
    struct err err;
    char huge[2000], text[ERR_TEXT_SIZE];
    memset(huge, 'a', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    err_at(&err, huge, ERR_IO, "%s", huge);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_int_equal(strlen(err.where), sizeof err.where - 1);
    assert_int_equal(strlen(err_text(&err, text)), sizeof err.msg + sizeof err.where);
}

/* What log_err writes on stderr, without the time. */
static void logged(const struct err *err, const char *want)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char line[2048];
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    log_err(LOG_WARN, "broken", err, "job=%d", 7);
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_non_null(strstr(line, want));
    close(ends[0]);
    close(ends[1]);
    close(saved);
}

static void the_log_has_the_place(void **state)
{
    struct err err;
    err_at(&err, "/srv/a model", ERR_IO, "it said \"no\"");
    logged(&err,
           "event=broken code=io where=\"/srv/a model\" reason=\"it said \\\"no\\\"\" job=7\n");
    err_set(&err, ERR_BUSY, "full");
    logged(&err, "event=broken code=busy reason=full job=7\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_stand_apart),
        cmocka_unit_test(nobody_asks_why),
        cmocka_unit_test(long_ones_are_cut),
        cmocka_unit_test(the_log_has_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

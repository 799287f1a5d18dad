/* sidecars_test.c: what lies beside a file is remembered for a while, and read again where it is
 * another. */
#include "server/job/sidecars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/sidecars_XXXXXX";
static char model[100];

static void write_file(const char *ending, const char *text)
{
    char path[120];
    snprintf(path, sizeof path, "%s/m%s", folder, ending);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_file(const char *ending)
{
    char path[120];
    snprintf(path, sizeof path, "%s/m%s", folder, ending);
    unlink(path);
}

static void wait_until_it_looks_again(void)
{
    usleep(2100000);
}

static void test_what_changes(void **state)
{
    struct err err;
    struct sidecar s;
    (void)state;
    struct sidecars *all = sidecars_new(&err);
    assert_non_null(all);
    assert_false(sidecars_get(all, model, &s));
    assert_string_equal(s.trigger, "");

    write_file(".json", "{\"activation text\": \"one\", \"preferred weight\": 0.5}");
    assert_false(sidecars_get(all, model, &s)); /* it has just looked */
    wait_until_it_looks_again();
    assert_true(sidecars_get(all, model, &s));
    assert_string_equal(s.trigger, "one");
    assert_true(s.weight == 0.5 && !*s.preview);

    write_file(".json", "{\"activation text\": \"two\", \"description\": \"d\"}");
    write_file(".preview.png", "png");
    assert_true(sidecars_get(all, model, &s));
    assert_string_equal(s.trigger, "one");
    wait_until_it_looks_again();
    for (int i = 0; i < 2; i++) {
        assert_true(sidecars_get(all, model, &s));
        assert_string_equal(s.trigger, "two");
        assert_string_equal(s.description, "d");
        assert_true(s.weight == 0);
        assert_non_null(strstr(s.preview, "m.preview.png"));
    }
    wait_until_it_looks_again(); /* nothing is another */
    assert_true(sidecars_get(all, model, &s));
    assert_string_equal(s.trigger, "two");

    remove_file(".json");
    remove_file(".preview.png");
    wait_until_it_looks_again();
    assert_false(sidecars_get(all, model, &s));
    assert_true(!*s.trigger && !*s.description && !*s.preview);
    sidecars_free(all);
    sidecars_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_changes)};
    if (!mkdtemp(folder))
        return 1;
    snprintf(model, sizeof model, "%s/m.safetensors", folder);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failures;
}

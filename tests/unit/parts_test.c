/* parts_test.c: whatever a model wants beside it can be fetched. */
#include "server/job/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/pull/pull_catalogue.h"

/* Every part that an error names says a pull, which there is, and which gets the name that the part
 * is looked for by. */
static void fetched(void **state)
{
    const char *pull, *name;
    size_t n = 0;
    for (; (pull = parts_pull(n)); n++) {
        if (!pull_catalogue_find(pull))
            fail_msg("no `pictor pull %s`", pull);
        bool called = false;
        for (size_t i = 0; !called && (name = parts_name(n, i)); i++)
            called = strcmp(name, pull) == 0;
        if (!called)
            fail_msg("no part is looked for by the name %s", pull);
    }
    assert_true(n > 10);
    assert_non_null(pull_catalogue_find(PARTS_LARGE_PULL));
    assert_non_null(pull_catalogue_find("spiece")); /* which the engine names */
}

/* And so can what comes with a network. */
static void complete(void **state)
{
    const struct pull_catalogue_entry *e;
    for (size_t i = 0; (e = pull_catalogue_at(i)); i++)
        for (int k = 0; e->needs[k]; k++)
            if (!pull_catalogue_find(e->needs[k]))
                fail_msg("%s wants %s, which there is not", e->name, e->needs[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetched),
        cmocka_unit_test(complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

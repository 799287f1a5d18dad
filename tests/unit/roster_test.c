/* roster_test.c: what is remembered of workers has an end. */
#include "tests/unit/server_fixture.h"

#include "server/queue/roster.h"

static void lists_of_many_names_have_an_end(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct roster_worker w = {0}, *list;
    struct roster *r = roster_new(f->store, "here", &err);
    size_t count, bytes = 0, kept = 0;
    char word[100];
    assert_ok(r, err);
    for (int i = 0; i < 1000; i++) {
        snprintf(word, sizeof word, "%064d", i);
        assert_true(roster_add(&w.files, word));
        assert_true(roster_add(&w.models, word));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(w.id, sizeof w.id, "worker:key:%d", i);
        roster_tell(r, &w);
        roster_tell(r, &w); /* in place of itself */
    }
    roster_worker_free(&w);
    assert_ok(roster_list(r, &list, &count, &err), err);
    assert_int_equal(count, 1000);
    for (size_t i = 0; i < count; i++) {
        bytes += list[i].files ? strlen(list[i].files) + strlen(list[i].models) : 0;
        kept += list[i].files != NULL;
    }
    assert_in_range(bytes, 60 << 20, 64 << 20);
    assert_in_range(kept, 400, 999);
    roster_list_free(list, count);
    roster_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_of_many_names_have_an_end, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

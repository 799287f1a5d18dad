/* held_test.c: the models that a worker holds, of one picture: which are one, and what is not taken
 * from under the picture. */
#include "server/worker/worker_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int opened, closed;

static void changed(void *ctx, const char *name, const struct pictor_model_info *info)
{
    (void)ctx;
    (void)name;
    opened += info != NULL;
    closed += info == NULL;
}

/* The built-in model by a name, in a version. */
static struct worker_model_ref ref_of(const char *name, int64_t version)
{
    static const struct pictor_files none = {.count = 0};
    return (struct worker_model_ref){
        .name = name, .vae = "", .size = 1, .mtime_ms = version, .files = &none};
}

static void test_one_name_in_two_versions(void **state)
{
    struct err err;
    struct pictor_engine *engine = pictor_engine_new(NULL, &err);
    struct worker_models *m = worker_models_new(engine, (size_t)1 << 30, 0, changed, NULL, &err);
    assert_non_null(m);
    const struct worker_model_ref first = ref_of("a", 1), second = ref_of("a", 2);
    struct pictor_model *own = worker_models_get(m, &first, &err);
    assert_non_null(own);
    assert_ptr_equal(worker_models_get_beside(m, &first, &err), own);
    /* Its file was replaced meanwhile: the picture keeps what it has, and is told. */
    assert_null(worker_models_get_beside(m, &second, &err));
    assert_non_null(strstr(err.msg, "was changed"));
    assert_int_equal(closed, 0);
    assert_int_equal(pictor_model_info(own)->native_width > 0, 1);
    /* The next picture has the new one, also beside another. */
    const struct worker_model_ref other = ref_of("b", 1);
    assert_non_null(worker_models_get(m, &other, &err));
    assert_non_null(worker_models_get_beside(m, &second, &err));
    assert_int_equal(opened, 3);
    assert_int_equal(closed, 1);
    worker_models_close_all(m);
    assert_int_equal(closed, 3);
    pictor_engine_free(engine);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_name_in_two_versions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

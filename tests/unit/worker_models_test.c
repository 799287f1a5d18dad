/* worker_models_test.c: which models stay open beside each other for one picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/worker/worker_models.h"

static int open_count;

static void changed(void *ctx, const char *name, const struct pictor_model_info *info)
{
    open_count += info ? 1 : -1;
}

/* A model's file that changes between two roles of a picture closes nothing under the first. */
static void test_a_file_that_changes(void **state)
{
    struct err err;
    struct pictor_files files;
    struct pictor_engine_options options = {.threads = 1};
    assert_true(pictor_files_open("tests/golden/tiny/tiny-ldm.safetensors", &files, &err));
    struct pictor_engine *e = pictor_engine_new(&options, &err);
    struct worker_models *m = worker_models_new(e, 1 << 30, 0, changed, NULL, &err);
    struct worker_model_ref ref = {
        .name = "tiny", .size = 1, .mtime_ms = 1, .vae = "", .files = &files};
    struct pictor_model *own = worker_models_get(m, &ref, &err);
    assert_non_null(own);
    assert_ptr_equal(worker_models_get_beside(m, &ref, &err), own);
    ref.mtime_ms = 2;
    assert_null(worker_models_get_beside(m, &ref, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.msg, "tiny was changed while"));
    assert_int_equal(open_count, 1);
    assert_string_equal(pictor_model_info(own)->architecture, "sd1");
    assert_non_null(worker_models_get(m, &ref, &err)); /* of the next picture it is the new one */
    assert_int_equal(open_count, 1);
    worker_models_close_all(m);
    assert_int_equal(open_count, 0);
    free(m);
    pictor_engine_free(e);
    pictor_files_close(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_that_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

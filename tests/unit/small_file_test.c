/* small_file_test.c: what lies where a small file should and is none, at small_file_read and at
 * those that read with it. A reader that waits is ended by the alarm. */
#include "server/base/small_file.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/job/extra_paths.h"
#include "server/job/facts.h"
#include "server/job/sidecar.h"
#include "server/job/styles.h"

#define MOST 5000
#define WAIT_S 20

static char folder[] = "/tmp/small_file_XXXXXX";

static const char *at(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, size_t size)
{
    FILE *f = fopen(at(name), "w");
    assert_non_null(f);
    for (size_t i = 0; i < size; i++)
        fputc('a' + (int)(i % 26), f);
    fclose(f);
}

/* Makes what is no small file, under the name. */
static void make_pipe(const char *name)
{
    assert_int_equal(mkfifo(at(name), 0600), 0);
}
static void make_folder(const char *name)
{
    assert_int_equal(mkdir(at(name), 0700), 0);
}
static void make_circle(const char *name)
{
    assert_int_equal(symlink(name, at(name)), 0);
}
static void make_device(const char *name)
{
    assert_int_equal(symlink("/dev/zero", at(name)), 0);
}
static void make_huge(const char *name)
{
    write_file(name, 1);
    assert_int_equal(truncate(at(name), (off_t)1 << 40), 0);
}
static void make_nothing(const char *name)
{
    (void)name;
}

static const struct {
    void (*make)(const char *name);
    enum err_code code;
    const char *says;
} bad[] = {
    {make_pipe, ERR_INVALID, "this is a pipe"},
    {make_folder, ERR_INVALID, "this is a folder"},
    {make_device, ERR_INVALID, "this is a device"},
    {make_circle, ERR_IO, "symbolic links"},
    {make_huge, ERR_TOO_LARGE, "at most 5000 bytes"},
    {make_nothing, ERR_NOT_FOUND, "No such file"},
};
#define BAD (sizeof bad / sizeof *bad)

static void clear(const char *name)
{
    if (unlink(at(name)) != 0)
        rmdir(at(name));
}

static void test_what_is_no_small_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < BAD; i++) {
        struct err err = {0};
        bad[i].make("x");
        assert_null(small_file_read(at("x"), MOST, NULL, &err));
        assert_int_equal(err.code, bad[i].code);
        assert_non_null(strstr(err.msg, bad[i].says));
        assert_null(strstr(err.msg, folder));
        err.code = ERR_NONE;
        assert_null(small_file_open(at("x"), MOST, &err));
        assert_int_equal(err.code, bad[i].code);
        clear("x");
    }
}

static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, MOST - 1, MOST, MOST + 1};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct err err = {0};
        size_t size = 7;
        write_file("x", sizes[i]);
        char *text = small_file_read(at("x"), MOST, &size, &err);
        if (sizes[i] > MOST) {
            assert_null(text);
            assert_int_equal(err.code, ERR_TOO_LARGE);
        } else {
            assert_non_null(text);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(text[size], '\0');
            for (size_t c = 0; c < size; c++)
                assert_int_equal(text[c], 'a' + (int)(c % 26));
        }
        free(text);
    }
    assert_int_equal(symlink("x", at("link")), 0);
    struct err err = {0};
    char *text = small_file_read(at("link"), MOST + 1, NULL, &err);
    assert_non_null(text);
    free(text);
    clear("link");
    clear("x");
}

/* A file of /proc says that it has no bytes, and has some. */
static void test_size_that_is_not_said(void **state)
{
    struct err err = {0};
    (void)state;
    char *text = small_file_read("/proc/self/status", 1 << 20, NULL, &err);
    assert_non_null(strstr(text, "VmRSS"));
    free(text);
    assert_null(small_file_read("/proc/self/status", 10, NULL, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

static bool each(void *ctx, const char *name, const char *path)
{
    (void)ctx;
    (void)name;
    (void)path;
    return true;
}

static void test_those_that_read_with_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < BAD; i++) {
        struct err err = {0};
        struct styles styles;
        struct sidecar sidecar;
        bool none = bad[i].make == make_nothing;
        bad[i].make("x.json");
        bad[i].make("x.civitai.info");
        assert_int_equal(styles_read(at("x.json"), &styles, &err), none);
        if (!none)
            assert_int_equal(err.code, ERR_UNAVAILABLE);
        assert_false(extra_paths_read(at("x.json"), each, NULL, &err));
        assert_false(sidecar_read(at("x.safetensors"), &sidecar));
        struct facts_store *facts = facts_new(at("x.json"), &err);
        assert_non_null(facts);
        facts_free(facts);
        clear("x.json");
        clear("x.civitai.info");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_small_file),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_size_that_is_not_said),
        cmocka_unit_test(test_those_that_read_with_it),
    };
    alarm(WAIT_S);
    if (!mkdtemp(folder))
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failures;
}

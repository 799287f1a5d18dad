/* loras_test.c: which file a tag opens while the LoRAs' folder changes. */
#include "server/job/loras.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/settings.h"

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* The size of what the prompt's one tag opens; 0: nothing. */
static uint64_t opened(struct files *f, const char *prompt)
{
    struct loras l;
    struct err err = {0};
    if (!loras_open(f, prompt, &l, &err))
        fail_msg("%s", err.msg);
    uint64_t size = l.count ? l.at[0].size : 0;
    loras_close(&l);
    return size;
}

static void known_names_cost_no_scan_and_others_are_found(void **state)
{
    struct err err = {0};
    char path[PATH_MAX], root[] = "/tmp/loras_test.XXXXXX";
    assert_non_null(mkdtemp(root));
    assert_int_equal(chdir(root), 0);
    struct settings *settings = settings_new(&err);
    assert_true(settings_set(settings, "loras", "loras", "", &err));
    struct folders *folders = folders_new(settings, &err);
    struct files *f = files_new(folders, FOLDERS_LORA, NULL, &err);
    assert_non_null(f);
    assert_int_equal(opened(f, "a cat"), 0);
    mkdir("loras", 0755);
    mkdir("loras/b", 0755);
    mkdir("loras/z", 0755);
    put("loras/z/style.safetensors", "12345");
    assert_int_equal(opened(f, "<lora:style:1>"), 5);

    /* A scan would find this one first. */
    put("loras/b/style.safetensors", "123");
    assert_int_equal(opened(f, "<lora:style:1>"), 5);
    assert_true(files_refresh(f, &err));
    assert_int_equal(opened(f, "<lora:style:1>"), 3);
    assert_int_equal(opened(f, "<lora:z/style:1>"), 5);

    /* What is known is the name; the file is as it is now. */
    put("loras/b/style.safetensors", "1234567");
    assert_int_equal(opened(f, "<lora:style:1>"), 7);

    /* Nobody asks for a refresh, and it is found within a second or so. */
    put("loras/new.safetensors", "1");
    for (int i = 0; i < 6000 && !files_find(f, "new", path, &err); i++)
        usleep(10 * 1000);
    assert_int_equal(opened(f, "<lora:new:1>"), 1);
    assert_int_equal(rename("loras/new.safetensors", "loras/z/new.safetensors"), 0);
    assert_int_equal(opened(f, "<lora:new:1>"), 1); /* one that is gone is looked for at once */

    /* A folder that cannot be read is no empty folder. */
    struct loras none;
    assert_int_equal(rename("loras", "away"), 0);
    assert_int_equal(symlink("loras", "loras"), 0);
    assert_false(loras_open(f, "<lora:style:1>", &none, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(unlink("loras"), 0);
    assert_int_equal(rename("away", "loras"), 0);

    assert_int_equal(unlink("loras/z/new.safetensors"), 0);
    assert_false(files_find(f, "new", path, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(opened(f, "<lora:new:1>"), 0);

    files_free(f);
    folders_free(folders);
    settings_free(settings);
    unlink("loras/b/style.safetensors");
    unlink("loras/z/style.safetensors");
    rmdir("loras/b");
    rmdir("loras/z");
    rmdir("loras");
    rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_cost_no_scan_and_others_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* registry_test.c: what a models folder, upstreams and aliases become; names are never paths. */
#include "server/job/registry.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/sha256.h"
#include "engine/builtin/builtin.h"
#include "server/base/settings.h"
#include "server/job/files.h"

static char root[64];
static struct settings *settings;

static void put(const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    struct err err;
    strcpy(root, "/tmp/registry_test.XXXXXX");
    assert_non_null(mkdtemp(root));
    settings = settings_new(&err);
    assert_true(settings_set(settings, "data", root, "data", &err));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    settings->upstreams = NULL;
    settings->upstream_count = 0;
    settings->aliases = NULL;
    settings->alias_count = 0;
    settings_free(settings);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct registry *start(void)
{
    struct err err = {0};
    struct registry *reg = registry_new(settings, NULL, &err);
    if (!reg)
        fail_msg("%s", err.msg);
    return reg;
}

static void expect(struct registry *reg, const char *name, const char *want)
{
    struct registry_model m;
    struct err err = {0};
    bool found = registry_resolve(reg, name, &m, &err);
    if (want) {
        if (!found && err.code != ERR_INVALID) /* most files here are no models */
            fail_msg("%s: %s", name, err.msg);
        assert_string_equal(m.name, want);
    } else {
        assert_false(found);
        assert_int_equal(err.code, ERR_NOT_FOUND);
    }
}

static const char *path_of(struct registry *reg, const struct registry_model *m)
{
    static char path[PATH_MAX];
    registry_path(reg, m, path);
    return path;
}

static void empty_folder_has_the_builtin(void **state)
{
    struct registry *reg = start();
    struct registry_model *list, m;
    size_t count;
    struct err err;
    assert_true(registry_list(reg, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(path_of(reg, &list[0]), "builtin");
    assert_true(list[0].is_default);
    free(list);
    expect(reg, NULL, REGISTRY_BUILTIN);
    expect(reg, "", REGISTRY_BUILTIN);
    assert_true(registry_resolve(reg, NULL, &m, &err));
    assert_true(m.is_default);
    assert_string_equal(m.architecture, "sd1"); /* known before any worker has loaded it */
    assert_true(m.native_width >= 64 && m.default_steps > 0 && m.size > 1000000);
    unsigned char digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    size_t size;
    const void *data = builtin_model(&size);
    assert_true(sha256_bytes(data, size, digest, &err));
    sha256_hex(digest, hex);
    assert_string_equal(m.sha256, hex);
    registry_free(reg);
}

static void files_and_folders(void **state)
{
    put("b.safetensors", "1234567");
    put("A.SafeTensors", "x");
    put("sub/c.safetensors", "x");
    put("d/unet/x.safetensors", "12345");
    put("d/vae/y.safetensors", "123");
    put("d/text_encoder/y.safetensors", "12");
    put("d/text_encoder_2/y.safetensors", "1234567890");
    put("d/scheduler/scheduler_config.json", "{}");
    put("d/z.safetensors", "not a model: inside of one");
    put("e.safetensors.part", "x");
    put(".hidden.safetensors", "x");
    put("readme.txt", "x");
    put(".safetensors", "x");
    put("bad\nname.safetensors", "x");
    put("bad\xffname.safetensors", "x");
    put("pictor-mini.safetensors", "must not replace the built-in one");
    put("1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/deep.safetensors", "x");
    put("1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h/deeper.safetensors", "x"); /* 17: the log says it */
    struct registry *reg = start();
    struct registry_model *list;
    size_t count;
    struct err err;
    static const char *const want[] = {
        REGISTRY_BUILTIN, "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/deep", "A", "b", "d", "sub/c"};
    assert_true(registry_list(reg, &list, &count, &err));
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(list[i].name, want[i]);
    assert_int_equal(list[3].size, 7);
    assert_true(list[3].mtime_ms > 0);
    assert_int_equal(list[4].size, 5 + 3 + 2 + 10 + 2); /* a change in any of them is seen */
    assert_string_equal(list[2].ending, ".SafeTensors");
    assert_string_equal(list[4].ending, "");
    for (size_t i = 1; i < count; i++)
        assert_int_equal(access(path_of(reg, &list[i]), R_OK), 0);
    assert_string_equal(path_of(reg, &list[0]), "builtin");
    free(list);
    expect(reg, "sub/c", "sub/c");
    registry_free(reg);
}

static void link_to(const char *target, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
}

static void expect_list(struct registry *reg, const char *const *want, size_t count)
{
    struct registry_model *list;
    size_t n;
    struct err err;
    assert_true(registry_list(reg, &list, &n, &err));
    for (size_t i = 0; i < n && i < count; i++)
        assert_string_equal(list[i].name, want[i]);
    assert_int_equal(n, count);
    free(list);
}

static void a_file_is_listed_once_however_many_links_lead_to_it(void **state)
{
    char outside[128], path[4096], other[4096];
    put("one.safetensors", "1");
    put("a/two.safetensors", "22");
    put("d/unet/x.safetensors", "333");
    snprintf(outside, sizeof outside, "%s/outside", root);
    assert_int_equal(mkdir(outside, 0755), 0);
    snprintf(path, sizeof path, "%s/three.safetensors", outside);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    link_to(".", "all");          /* itself */
    link_to("..", "a/up");        /* above */
    link_to("a", "0");            /* before what it leads to, in order of name */
    link_to("d", "0d");           /* a model that is a folder */
    link_to("one.safetensors", "0ne.safetensors");
    link_to("../outside", "more"); /* elsewhere, by two ways */
    link_to("../../outside", "a/more");
    link_to("nowhere", "gone");
    link_to("loop", "loop");
    snprintf(path, sizeof path, "%s/back", outside);
    snprintf(other, sizeof other, "%s/models", root);
    assert_int_equal(symlink(other, path), 0);
    snprintf(path, sizeof path, "%s/models/one.safetensors", root);
    snprintf(other, sizeof other, "%s/models/z.safetensors", root);
    assert_int_equal(link(path, other), 0);
    struct registry *reg = start();
    static const char *const want[] = {REGISTRY_BUILTIN, "a/more/three", "a/two", "d", "one"};
    expect_list(reg, want, 5);
    expect(reg, "0ne", "one"); /* a name that somebody gave it is understood */
    expect(reg, "z", "one");
    expect(reg, "0d", "d");
    expect(reg, "0/two", NULL);
    expect(reg, "all/one", NULL);
    registry_free(reg);
}

/* Sixty thousand files and a thousand folders: quadratic work over them takes minutes. */
static void a_large_folder_is_no_trouble(void **state)
{
    struct registry_model *list;
    char name[64];
    size_t count;
    struct err err;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%03d/0.safetensors", i);
        put(name, "x");
        char folder[128], to[256];
        snprintf(folder, sizeof folder, "%s/models/%03d", root, i);
        for (int j = 1; j < 60; j++) {
            snprintf(to, sizeof to, "%s/%d.safetensors", folder, j);
            int fd = open(to, O_CREAT | O_WRONLY, 0644);
            assert_true(fd >= 0);
            close(fd);
        }
    }
    struct registry *reg = start();
    assert_true(registry_list(reg, &list, &count, &err));
    assert_int_equal(count, 60001);
    free(list);
    assert_true(registry_refresh(reg, &err));
    expect(reg, "999/59", "999/59");
    expect(reg, "999/60", NULL);
    registry_free(reg);
}

static void names_are_not_paths(void **state)
{
    static const char *const bad[] = {
        "../models/b", "./b", "b.safetensors", "/etc/passwd", "sub/../b", "b/",
        "sub",         "B",   "b\n",           " b",          "*",        "builtin"};
    put("b.safetensors", "1234567");
    put("sub/c.safetensors", "x");
    struct registry *reg = start();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(reg, bad[i], NULL);
    char *huge = malloc(100001);
    memset(huge, 'a', 100000);
    huge[100000] = '\0';
    expect(reg, huge, NULL);
    free(huge);
    registry_free(reg);
}

static void unknown_names_rescan_at_most_once_a_second(void **state)
{
    struct registry *reg = start();
    put("late.safetensors", "x");
    expect(reg, "late", NULL); /* the first scan is younger than a second */
    usleep(1100 * 1000);
    expect(reg, "late", "late");
    put("later.safetensors", "x");
    expect(reg, "later", NULL);
    struct err err;
    assert_true(registry_refresh(reg, &err));
    expect(reg, "later", "later");
    registry_free(reg);
}

static void a_folder_that_is_away_is_not_asked_all_the_time(void **state)
{
    struct registry_model m;
    struct err err;
    char there[128], away[128];
    snprintf(there, sizeof there, "%s/models", root);
    snprintf(away, sizeof away, "%s/away", root);
    struct registry *reg = start();
    put("late.safetensors", "x");
    assert_int_equal(rename(there, away), 0);
    usleep(1100 * 1000);
    assert_false(registry_resolve(reg, "late", &m, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_int_equal(rename(away, there), 0);
    assert_false(registry_resolve(reg, "late", &m, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE); /* nobody knows: "not found" would fail its jobs */
    expect(reg, REGISTRY_BUILTIN, REGISTRY_BUILTIN);
    usleep(1100 * 1000);
    expect(reg, "late", "late");
    registry_free(reg);
}

static void upstreams_and_aliases(void **state)
{
    static struct settings_upstream_model models[] = {{"paint", "remote-paint"}, {"b", "b2"}};
    static struct settings_upstream upstream = {
        .name = "cloud", .models = models, .model_count = 2};
    static struct settings_alias aliases[] = {
        {"gpt-image-1", "paint"}, {"b", "paint"}, {"chain", "gpt-image-1"}, {"gone", "nothing"}};
    struct registry_model m;
    struct err err;
    const char **names;
    size_t count;
    put("b.safetensors", "the operator's word wins");
    settings->upstreams = &upstream;
    settings->upstream_count = 1;
    settings->aliases = aliases;
    settings->alias_count = 4;
    struct registry *reg = start();
    assert_true(registry_resolve(reg, "gpt-image-1", &m, &err));
    assert_string_equal(m.name, "paint");
    assert_int_equal(m.kind, REGISTRY_UPSTREAM);
    assert_string_equal(m.upstream, "cloud");
    assert_string_equal(m.remote, "remote-paint");
    assert_true(registry_resolve(reg, "b", &m, &err)); /* a name comes before an alias */
    assert_string_equal(m.remote, "b2");
    expect(reg, "chain", NULL);
    expect(reg, "gone", NULL);
    assert_true(registry_names(reg, REGISTRY_UPSTREAM, &names, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "paint");
    assert_null(names[2]);
    free(names);
    assert_true(registry_names(reg, REGISTRY_LOCAL, &names, &count, &err));
    assert_int_equal(count, 1);
    free(names);
    registry_free(reg);
}

static void star_takes_every_unknown_name(void **state)
{
    static struct settings_alias aliases[] = {{"*", REGISTRY_BUILTIN}};
    settings->aliases = aliases;
    settings->alias_count = 1;
    put("b.safetensors", "x");
    struct registry *reg = start();
    expect(reg, "dall-e-3", REGISTRY_BUILTIN);
    expect(reg, "b", "b");
    registry_free(reg);
}

static void default_model(void **state)
{
    struct registry_model *list;
    size_t count;
    struct err err;
    put("b.safetensors", "x");
    settings_set(settings, "default_model", "b", "", &err);
    struct registry *reg = start();
    expect(reg, NULL, "b");
    assert_true(registry_list(reg, &list, &count, &err));
    assert_string_equal(list[0].name, "b");
    assert_true(list[0].is_default);
    assert_false(list[1].is_default);
    free(list);
    registry_free(reg);

    settings_set(settings, "default_model", "missing", "", &err);
    reg = start();
    expect(reg, NULL, NULL);
    registry_free(reg);
}

#define TINY "tests/golden/tiny/tiny-ldm.safetensors"

/* A real model, small, whose header says also `more`: pairs of its metadata, a comma at the end. */
static void put_model(const char *name, const char *more)
{
    static unsigned char file[16 << 20];
    char path[4096];
    FILE *f = fopen(TINY, "rb");
    assert_non_null(f);
    size_t size = fread(file, 1, sizeof file, f);
    fclose(f);
    assert_in_range(size, 1000, sizeof file - 1);
    put(name, ""); /* makes its folders */
    snprintf(path, sizeof path, "%s/models/%s", root, name);
    size_t header = file[0] | (size_t)file[1] << 8 | (size_t)file[2] << 16;
    char *at = strstr((char *)file + 8, "\"__metadata__\": {");
    if (!at)
        at = strstr((char *)file + 8, "\"__metadata__\":{");
    assert_non_null(at);
    at = strchr(at, '{') + 1;
    size_t length = header + strlen(more);
    f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 8; i++)
        fputc((int)(length >> 8 * i & 255), f);
    fwrite(file + 8, 1, (size_t)(at - (char *)file - 8), f);
    fputs(more, f);
    fwrite(at, 1, size - (size_t)(at - (char *)file), f);
    assert_int_equal(fclose(f), 0);
}

static void header_is_known_before_anything_is_opened(void **state)
{
    struct registry_model *list, m;
    size_t count;
    struct err err;
    put_model("b.safetensors",
              "\"modelspec.resolution\":\"448x320\",\"pictor.guidance\":\"2.5\","
              "\"pictor.steps\":\"9\",");
    put("page.safetensors", "<html><body>Sign in</body></html>");
    put("half/unet/x.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    for (int restart = 0; restart < 2; restart++) {
        struct registry *reg = start();
        assert_true(registry_resolve(reg, "b", &m, &err));
        assert_int_equal(m.native_width, 448);
        assert_int_equal(m.native_height, 320);
        assert_true(m.default_guidance == 2.5);
        assert_int_equal(m.default_steps, 9);
        assert_string_equal(m.architecture, "sd1");
        assert_false(m.loaded);
        assert_false(registry_resolve(reg, "page", &m, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.msg, "page: this is a web page"));
        assert_non_null(strstr(err.where, "/models/page.safetensors"));
        assert_false(registry_resolve(reg, "half", &m, &err));
        assert_int_equal(err.code, ERR_INVALID); /* it has no other part, too */
        registry_await(reg, INT_MAX);
        assert_true(registry_list(reg, &list, &count, &err));
        assert_int_equal(count, 4);
        assert_int_equal(list[1].native_width, 448);
        assert_non_null(strstr(list[3].problem, "a web page"));
        free(list);
        registry_free(reg);
    }
}

static void header_is_read_again_when_the_file_is_another(void **state)
{
    struct registry_model m;
    struct err err;
    char a[128], b[128];
    put_model("b.safetensors", "\"pictor.steps\":\"11\",");
    struct registry *reg = start();
    assert_true(registry_resolve(reg, "b", &m, &err));
    assert_int_equal(m.default_steps, 11);
    registry_set_loaded(reg, "b", true);
    registry_set_loaded(reg, "unknown", true);
    assert_true(registry_refresh(reg, &err));
    assert_true(registry_resolve(reg, "b", &m, &err));
    assert_true(m.loaded);
    assert_int_equal(m.default_steps, 11);
    registry_set_loaded(reg, "b", false);
    assert_true(registry_resolve(reg, "b", &m, &err));
    assert_false(m.loaded);
    registry_set_loaded(reg, "b", true);
    registry_set_unloaded(reg);
    assert_true(registry_resolve(reg, "b", &m, &err));
    assert_false(m.loaded);

    /* As many bytes, and as old. */
    put_model("c.safetensors", "\"pictor.steps\":\"12\",");
    snprintf(a, sizeof a, "%s/models/c.safetensors", root);
    snprintf(b, sizeof b, "%s/models/b.safetensors", root);
    struct stat st;
    assert_int_equal(stat(b, &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, a, times, 0), 0);
    assert_int_equal(rename(a, b), 0);
    assert_true(registry_refresh(reg, &err));
    assert_true(registry_resolve(reg, "b", &m, &err));
    assert_int_equal(m.default_steps, 12);
    registry_free(reg);
}

/* Nobody asks for a refresh: a copy that was seen half done is a model once it is whole. */
static void what_could_not_be_painted_with_is_looked_at_again(void **state)
{
    struct registry_model m;
    struct err err;
    char path[128];
    put_model("b.safetensors", "");
    snprintf(path, sizeof path, "%s/models/b.safetensors", root);
    assert_int_equal(truncate(path, 100000), 0);
    struct registry *reg = start();
    assert_false(registry_resolve(reg, "b", &m, &err));
    assert_int_equal(err.code, ERR_INVALID);
    put_model("b.safetensors", "");
    for (int i = 0; i < 6000 && !registry_resolve(reg, "b", &m, &err); i++)
        usleep(10 * 1000);
    assert_int_equal(m.fault, ERR_NONE);
    assert_string_equal(m.architecture, "sd1");
    registry_free(reg);
}

static atomic_int recalls;
static atomic_bool held;

/* Asked for on the way to a header: who reads one stays here for a while. */
static char *recall_slowly(void *ctx, const char *name)
{
    if (strncmp(name, "sha256:", strlen("sha256:")) != 0)
        return NULL;
    recalls++;
    while (held)
        usleep(1000);
    return NULL;
}

static void *resolve_b(void *arg)
{
    struct registry_model m;
    return registry_resolve(arg, "b", &m, NULL) ? "" : NULL;
}

/* A header may have 16 MB: as many requests as there are read it once. */
static void one_reads_a_header_and_the_others_wait(void **state)
{
    const struct registry_hashes hashes = {.recall = recall_slowly};
    pthread_t threads[4];
    struct err err = {0};
    void *found;
    put_model("b.safetensors", "");
    recalls = 0;
    held = true;
    struct registry *reg = registry_new(settings, &hashes, &err);
    assert_non_null(reg);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_b, reg), 0);
    for (int i = 0; i < 500 && recalls < 2; i++)
        usleep(1000);
    int readers = recalls;
    held = false;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &found);
        assert_non_null(found);
    }
    assert_in_range(readers, 0, 1); /* none: all of them were late */
    registry_free(reg);
}

static void hash_comes_after_the_first_use(void **state)
{
    struct registry_model *list, m;
    unsigned char digest[SHA256_SIZE];
    char hex[SHA256_HEX_SIZE], path[128];
    size_t count;
    struct err err;
    put_model("b.safetensors", "");
    struct registry *reg = start();
    registry_await(reg, INT_MAX);
    assert_true(registry_list(reg, &list, &count, &err)); /* a list is no use */
    assert_string_equal(list[1].sha256, "");
    free(list);
    assert_true(registry_resolve(reg, "b", &m, &err));
    for (int i = 0; i < 6000 && !m.sha256[0]; i++) {
        usleep(10 * 1000);
        assert_true(registry_resolve(reg, "b", &m, &err));
    }
    snprintf(path, sizeof path, "%s/models/b.safetensors", root);
    assert_true(sha256_file(path, NULL, digest, &err));
    sha256_hex(digest, hex);
    assert_string_equal(m.sha256, hex);
    put_model("b.safetensors", "\"x\":\"y\",");
    assert_true(registry_refresh(reg, &err));
    assert_true(registry_list(reg, &list, &count, &err));
    assert_string_equal(list[1].sha256, "");
    free(list);
    registry_free(reg);
}

/* A LoRA among models is no broken model; and what is known of files outlives the process. */
static void a_lora_among_models_is_listed_as_one(void **state)
{
    static const char lora[] = "{\"lora_unet_x.lora_up.weight\":{\"dtype\":\"F16\",\"shape\":"
                               "[1],\"data_offsets\":[0,2]}}  ";
    struct registry_model m, *list;
    struct registry_table table;
    struct err err = {0};
    size_t count;
    uint64_t size = sizeof lora - 1;
    char path[PATH_MAX], facts[PATH_MAX];
    put_model("b.safetensors", "\"pictor.steps\":\"11\",");
    put("sub/style.safetensors", "");
    snprintf(path, sizeof path, "%s/models/sub/style.safetensors", root);
    FILE *f = fopen(path, "wb");
    fwrite(&size, 8, 1, f);
    fwrite(lora, 1, size, f);
    fwrite("..", 1, 2, f);
    fclose(f);
    for (int turn = 0; turn < 2; turn++) { /* the second one reads no header */
        struct registry *reg = start();
        assert_true(registry_await(reg, 10000));
        assert_true(registry_list(reg, &list, &count, &err));
        assert_int_equal(count, 2); /* and the built-in one */
        assert_string_equal(list[1].name, "b");
        assert_int_equal(list[1].default_steps, 11);
        free(list);
        assert_false(registry_resolve(reg, "sub/style", &m, &err));
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        struct files *loras = registry_files(reg, FOLDERS_LORA);
        assert_true(files_list(loras, &table, &err));
        assert_int_equal(table.count, 1);
        assert_string_equal(table.entries[0].model.name, "sub/style");
        assert_true(table.entries[0].was_read);
        assert_int_equal(table.entries[0].model.fault, ERR_NONE);
        registry_scan_free(&table);
        assert_true(files_find(loras, "style", path, &err));
        registry_free(reg);
        snprintf(facts, sizeof facts, "%s/model-facts", root);
        assert_int_equal(access(facts, R_OK), 0);
    }
    /* What is broken there is not believed, and no trouble. */
    f = fopen(facts, "a");
    fputs("x\ty\n\t\t\t\n/a\t1\t2\t3\t99\n", f);
    fclose(f);
    struct registry *reg = start();
    assert_true(registry_resolve(reg, "b", &m, &err));
    registry_free(reg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_folder_has_the_builtin, setup, teardown),
        cmocka_unit_test_setup_teardown(files_and_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_listed_once_however_many_links_lead_to_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_large_folder_is_no_trouble, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_not_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_names_rescan_at_most_once_a_second, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_is_away_is_not_asked_all_the_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(upstreams_and_aliases, setup, teardown),
        cmocka_unit_test_setup_teardown(star_takes_every_unknown_name, setup, teardown),
        cmocka_unit_test_setup_teardown(default_model, setup, teardown),
        cmocka_unit_test_setup_teardown(what_could_not_be_painted_with_is_looked_at_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_reads_a_header_and_the_others_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lora_among_models_is_listed_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(hash_comes_after_the_first_use, setup, teardown),
        cmocka_unit_test_setup_teardown(header_is_known_before_anything_is_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(header_is_read_again_when_the_file_is_another, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* upstream_request_test.c: jobs as requests of OpenAI's API, and addresses in its answers. */
#include "server/paint/upstream_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "server/job/job.h"
#include "server/worker/codec.h"
#include "server/worker/worker.h"

static struct codec *codec;

static struct job_params job(void)
{
    struct job_params p;
    job_params_init(&p);
    p.prompt = "a \"red\" circle";
    p.negative_prompt = "blue";
    p.width = 512;
    p.height = 768;
    p.steps = 30;
    p.guidance = 7.5;
    p.sampler = "Euler a";
    p.scheduler = "karras";
    p.seed = UINT64_MAX - 15; /* must not lose digits */
    return p;
}

static void expect_json(const char *model, bool extensions, int index, int count, const char *want)
{
    struct upstream_request r;
    struct job_params p = job();
    struct err err;
    struct upstream_pictures none = {0};
    assert_true(upstream_request_make(&r, codec, &p, index, count, model, extensions, 0, &none,
                                      &err));
    assert_string_equal(r.path, "/images/generations");
    assert_int_equal(r.part_count, 0);
    assert_string_equal(r.json, want);
    upstream_request_free(&r);
    upstream_request_free(&r); /* twice is fine */
}

static void generations(void **state)
{
    expect_json("x", false, 0, 2,
                "{\"model\":\"x\",\"prompt\":\"a \\\"red\\\" circle\",\"n\":2,"
                "\"size\":\"512x768\",\"response_format\":\"b64_json\"}");
    expect_json("gpt-image-2", false, 0, 1,
                "{\"model\":\"gpt-image-2\",\"prompt\":\"a \\\"red\\\" circle\",\"n\":1,"
                "\"size\":\"512x768\"}");
    expect_json("x", true, 3, 1,
                "{\"model\":\"x\",\"prompt\":\"a \\\"red\\\" circle\",\"n\":1,"
                "\"size\":\"512x768\",\"response_format\":\"b64_json\","
                "\"negative_prompt\":\"blue\",\"seed\":18446744073709551603,\"steps\":30,"
                "\"guidance_scale\":7.5,\"sampler\":\"Euler a\",\"scheduler\":\"karras\"}");
}

static struct image_file png(int width, int height, int channels, int value)
{
    struct pictor_image image;
    struct image_file file;
    struct err err;
    assert_true(image_new(&image, width, height, channels, &err));
    memset(image.pixels, value, (size_t)width * (size_t)height * (size_t)channels);
    assert_true(image_encode_png(&image, NULL, &file, &err));
    pictor_image_free(&image);
    return file;
}

static const struct fetch_part *part(const struct upstream_request *r, const char *name)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (strcmp(r->parts[i].name, name) == 0)
            return &r->parts[i];
    fail_msg("no part %s", name);
    return NULL;
}

static void expect_text(const struct upstream_request *r, const char *name, const char *want)
{
    const struct fetch_part *p = part(r, name);
    assert_null(p->file_name);
    assert_int_equal(p->size, strlen(want));
    assert_memory_equal(p->data, want, p->size);
}

/* White in a job's mask is transparent in OpenAI's. */
static void expect_alpha(int white, bool invert, int want)
{
    struct upstream_request r;
    struct job_params p = job();
    struct pictor_image sent;
    struct err err = {0};
    struct image_file init = png(40, 24, 3, 100), mask = png(10, 10, 3, white);
    p.has_init = p.has_mask = true;
    p.mask_invert = invert;
    p.strength = 0.5;
    struct upstream_pictures given = {.init = init.data,
                                      .mask = mask.data,
                                      .init_size = init.size,
                                      .mask_size = mask.size};
    if (!upstream_request_make(&r, codec, &p, 0, 1, "x", true, 0, &given, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(r.path, "/images/edits");
    assert_null(r.json);
    expect_text(&r, "n", "1");
    expect_text(&r, "size", "512x768");
    expect_text(&r, "seed", "18446744073709551600");
    expect_text(&r, "guidance_scale", "7.5");
    expect_text(&r, "strength", "0.5");
    const struct fetch_part *m = part(&r, "mask");
    assert_string_equal(m->type, "image/png");
    assert_true(image_decode(m->data, m->size, 100000, &sent, &err));
    assert_int_equal(sent.width, 40);
    assert_int_equal(sent.height, 24);
    assert_int_equal(sent.channels, 4);
    assert_int_equal(sent.pixels[3], want);
    pictor_image_free(&sent);
    assert_true(part(&r, "image")->size > 0);
    upstream_request_free(&r);
    image_file_free(&init);
    image_file_free(&mask);
}

static void edits(void **state)
{
    expect_alpha(255, false, 0);
    expect_alpha(0, false, 255);
    expect_alpha(255, true, 255);
    expect_alpha(0, true, 0);
}

static void damaged_inputs(void **state)
{
    struct upstream_request r;
    struct job_params p = job();
    struct err err = {0};
    struct image_file init = png(16, 16, 3, 1);
    struct upstream_pictures half = {.init = init.data, .init_size = init.size / 2};
    struct upstream_pictures bad = {
        .init = init.data, .mask = (void *)"mask", .init_size = init.size, .mask_size = 4};
    assert_false(upstream_request_make(&r, codec, &p, 0, 1, "x", false, 0, &half, &err));
    assert_false(upstream_request_make(&r, codec, &p, 0, 1, "x", false, 0, &bad, &err));
    assert_null(r.image.data);
    image_file_free(&init);
}

static void leaks(void **state)
{
    assert_true(upstream_request_leaks("wrong key sk-abcdefgh1234", "sk-abcdefgh1234"));
    assert_true(upstream_request_leaks("key ...efgh1234 is wrong", "sk-abcdefgh1234"));
    assert_false(upstream_request_leaks("key sk-a...1234 is wrong", "sk-abcdefgh1234"));
    assert_false(upstream_request_leaks("anything", ""));
    assert_false(upstream_request_leaks("anything", "short"));
    assert_false(upstream_request_leaks(NULL, "sk-abcdefgh1234"));
    assert_false(upstream_request_leaks("", "sk-abcdefgh1234"));
}

static void addresses(void **state)
{
    static const char base[] = "https://api.example.com/v1";
    static const struct {
        const char *url, *want;
    } cases[] = {
        {"https://api.example.com/x.png?a=b", "https://api.example.com/x.png?a=b"},
        {"https://API.example.com:443/x", ""},
        {"/files/x", "https://api.example.com/files/x"},
        {"files/x", "https://api.example.com/files/x"},
        {"http://api.example.com/x", NULL},
        {"https://api.example.com:8443/x", NULL},
        {"https://example.com/x", NULL},
        {"https://api.example.com.evil.org/x", NULL},
        {"https://api.example.com@evil.org/x", NULL},
        {"https://user:pass@api.example.com/x", NULL},
        {"//evil.org/x", NULL},
        {"file:///etc/passwd", NULL},
        {"ftp://api.example.com/x", NULL},
        {"https://", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        char *url = fetch_url_within(base, cases[i].url, &err);
        if (!cases[i].want != !url)
            fail_msg("%s: got %s", cases[i].url, url ? url : "nothing");
        if (url && *cases[i].want)
            assert_string_equal(url, cases[i].want);
        if (!url)
            assert_int_equal(err.code, ERR_UPSTREAM);
        free(url);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return worker_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generations),    cmocka_unit_test(edits),
        cmocka_unit_test(damaged_inputs), cmocka_unit_test(leaks),
        cmocka_unit_test(addresses),
    };
    struct err err;
    codec = codec_new(true, 1 << 20, 1, &err);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    codec_free(codec);
    return failed;
}

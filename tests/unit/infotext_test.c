/* infotext: what is written is what SD WebUI writes; what is read is what it reads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/job/infotext_job.h"

#define HASH "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"

static struct job_params a_cat(void)
{
    return (struct job_params){
        .prompt = "a cat",
        .negative_prompt = "",
        .width = 64,
        .height = 64,
        .steps = 4,
        .guidance = 7,
        .sampler = "Euler",
        .scheduler = "automatic",
        .eta = NAN,
        .seed = 1,
        .clip_skip = 1,
        .count = 1,
        .noise_scale = 1,
        .fill = PICTOR_FILL_ORIGINAL,
        .reuse_every = 1,
        .image_guidance = 1,
        .mask_weight = NAN,
        .mask_blur_y = NAN,
        .noise_multiplier = 1,
        .comma_backtrack = 20,
    };
}

static const struct infotext_picture picture = {
    .seed = 1,
    .subseed = 6,
    .model_name = "v1-5-pruned-emaonly",
    .model_hash = HASH,
};

static void expect_text(const struct job_params *p, const char *wanted)
{
    char *text = infotext_write(p, &picture);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

#define TAIL ", Model hash: 6ce0161689, Model: v1-5-pruned-emaonly"
#define VERSION ", Version: pictor-" PICTOR_VERSION

static void test_writes_plain(void **state)
{
    struct job_params p = a_cat();
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL VERSION);
    p.negative_prompt = "x\ny";
    p.guidance = 7.5;
    p.sampler = "DPM++ 2M";
    expect_text(&p, "a cat\nNegative prompt: x\ny\nSteps: 4, Sampler: DPM++ 2M, "
                    "Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 64x64" TAIL VERSION);
    p = a_cat();
    p.prompt = "";
    p.scheduler = "karras";
    expect_text(&p, "Steps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 7.0, Seed: 1, "
                    "Size: 64x64" TAIL VERSION);
}

static void test_writes_extras(void **state)
{
    struct job_params p = a_cat();
    p.subseed_strength = 0.3;
    p.clip_skip = 2;
    p.rng = PICTOR_RNG_CPU;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Variation seed: 6, "
                    "Variation seed strength: 0.3, Clip skip: 2, RNG: CPU" VERSION);
    p = a_cat();
    p.mask_weight = 1;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Conditional mask weight: 1.0" VERSION);
    p = a_cat();
    p.has_init = true;
    p.strength = 1;
    p.image_guidance = 1.5;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Image CFG scale: 1.5, Seed: 1, Size: 64x64" TAIL
                    ", Denoising strength: 1.0" VERSION);
    p = a_cat();
    p.guidance_low = 2;
    p.guidance_high = 5.42;
    p.reuse_every = 3;
    p.token_merging = 0.5;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Token merging ratio: 0.5, NGMS: 2.0, "
                    "NGMS all steps: True, Guidance maximum sigma: 5.42, Feature reuse: 3" VERSION);
    p = a_cat();
    p.guidance_low = 2;
    p.guidance_alternate = true;
    p.guidance_high = p.token_merging = NAN; /* of a job that an upstream painted */
    p.reuse_every = JOB_UNSET;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", NGMS: 2.0" VERSION);
    p = a_cat();
    p.hires_width = 128;
    p.hires_height = 128;
    p.hires_steps = 3;
    p.hires_strength = 0.7;
    p.hires_upscaler = "Latent";
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Denoising strength: 0.7, Hires upscale: 2.0, "
                    "Hires steps: 3, Hires upscaler: Latent" VERSION);
    p.hires_height = 96;
    p.hires_steps = 0;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Denoising strength: 0.7, "
                    "Hires resize: 128x96, Hires upscaler: Latent" VERSION);
    p = a_cat();
    p.has_init = p.has_mask = p.mask_invert = p.mask_only_area = true;
    p.strength = 0.75;
    p.mask_blur = 4;
    p.mask_padding = 8;
    p.fill = PICTOR_FILL_NOISE;
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Denoising strength: 0.75, "
                    "Mask mode: Inpaint not masked, Mask blur: 4, Inpaint area: Only masked, "
                    "Masked area padding: 8, Masked content: latent noise" VERSION);
    p = a_cat();
    p.eta = 0;
    p.sampler = "Euler a";
    expect_text(&p, "a cat\nSteps: 4, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, "
                    "Seed: 1, Size: 64x64" TAIL ", Eta: 0.0" VERSION);
}

/* The model's name is the one value that comes from outside. */
static void test_quotes(void **state)
{
    static const char *const cases[][2] = {
        {"abc", ", Model: abc, "},
        {"a,b", ", Model: \"a,b\", "},
        {"a:b", ", Model: \"a:b\", "},
        {"say \"hi\", ok", ", Model: \"say \\\"hi\\\", ok\", "},
        {"l1\nl2", ", Model: \"l1\\nl2\", "},
        {"\xc3\xa9,\xc3\xbc", ", Model: \"\xc3\xa9,\xc3\xbc\", "},
        {"7.0", ", Model: 7.0, "},
    };
    struct job_params p = a_cat();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct infotext_picture named = {.seed = 1, .model_name = cases[i][0]};
        char *text = infotext_write(&p, &named);
        assert_non_null(strstr(text, cases[i][1]));
        struct infotext back;
        assert_true(infotext_read(&back, text));
        assert_string_equal(infotext_get(&back, "Model"), cases[i][0]);
        assert_null(infotext_get(&back, "Model hash"));
        infotext_free(&back);
        free(text);
    }
}

struct reading {
    const char *text, *prompt, *negative;
    size_t count;
    struct infotext_pair pairs[8];
};

static void test_reads(void **state)
{
    static const struct reading cases[] = {
        {"p\nSteps: 20, Size: 512x512", "p\nSteps: 20, Size: 512x512", "", 0, {{0}}},
        {"p\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: \"foo: abc, bar: def\", "
         "Hires prompt: \"x, \\\"y\\\"\\nz\", Version: v1",
         "p",
         "",
         6,
         {{"Steps", "20"},
          {"Sampler", "Euler"},
          {"Seed", "1"},
          {"Lora hashes", "foo: abc, bar: def"},
          {"Hires prompt", "x, \"y\"\nz"},
          {"Version", "v1"}}},
        {"p\nSteps: 1, Seed: 1, Empty: , X: 1", "p", "", 2, {{"Steps", "1"}, {"Seed", "1"}}},
        {"Negative prompt: only neg\nSteps: 1, Sampler: a, Seed: 2",
         "",
         "only neg",
         3,
         {{"Steps", "1"}, {"Sampler", "a"}, {"Seed", "2"}}},
        {"Steps: 1, Sampler: a, Seed: 2",
         "",
         "",
         3,
         {{"Steps", "1"}, {"Sampler", "a"}, {"Seed", "2"}}},
        {"  a  \n\nb\n Negative prompt:  c \nSteps: 1, Sampler: a, Seed: 2",
         "a\n\nb",
         "c",
         3,
         {{"Steps", "1"}, {"Sampler", "a"}, {"Seed", "2"}}},
        {"a\nb\nNegative prompt: c\nd\nSteps: 1, Sampler: a, Seed: 2",
         "a\nb",
         "c\nd",
         3,
         {{"Steps", "1"}, {"Sampler", "a"}, {"Seed", "2"}}},
        {"p\nSteps: 1, Sampler: a, Size: 512x768",
         "p",
         "",
         4,
         {{"Steps", "1"}, {"Sampler", "a"}, {"Size-1", "512"}, {"Size-2", "768"}}},
        {"p\nSteps: 1, Seed: 2, Steps: 3, Sampler: a",
         "p",
         "",
         3,
         {{"Steps", "3"}, {"Seed", "2"}, {"Sampler", "a"}}},
        {"p\nSteps: 1, Model: \"never closed, Seed: 2, Sampler: a",
         "p",
         "",
         4,
         {{"Steps", "1"}, {"Model", "\"never closed"}, {"Seed", "2"}, {"Sampler", "a"}}},
        {"p\nSteps: 1, Model: \"\xc3\xa9,\xc3\xbc\", Seed: 2",
         "p",
         "",
         3,
         {{"Steps", "1"}, {"Model", "\xc3\xa9,\xc3\xbc"}, {"Seed", "2"}}},
        {"p\r\nSteps: 1, Seed: 2, Sampler: a\r\n",
         "p",
         "",
         3,
         {{"Steps", "1"}, {"Seed", "2"}, {"Sampler", "a"}}},
        {"", "", "", 0, {{0}}},
        {" \n ", "", "", 0, {{0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct infotext t;
        assert_true(infotext_read(&t, cases[i].text));
        assert_string_equal(t.prompt, cases[i].prompt);
        assert_string_equal(t.negative_prompt, cases[i].negative);
        assert_int_equal(t.count, cases[i].count);
        for (size_t k = 0; k < t.count; k++) {
            assert_string_equal(t.pairs[k].key, cases[i].pairs[k].key);
            assert_string_equal(t.pairs[k].value, cases[i].pairs[k].value);
        }
        infotext_free(&t);
    }
}

static const char *text_of(const cJSON *json, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
}

static void test_json_has_defaults(void **state)
{
    struct infotext t;
    assert_true(infotext_read(&t, ""));
    cJSON *json = infotext_to_json(&t);
    assert_string_equal(text_of(json, "Prompt"), "");
    assert_string_equal(text_of(json, "Clip skip"), "1");
    assert_string_equal(text_of(json, "RNG"), "GPU");
    assert_string_equal(text_of(json, "Schedule type"), "Automatic");
    assert_null(cJSON_GetObjectItem(json, "Emphasis"));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(json, "Refiner switch by sampling steps")));
    assert_int_equal(cJSON_GetObjectItem(json, "Masked area padding")->valueint, 32);
    cJSON_Delete(json);
    infotext_free(&t);

    assert_true(infotext_read(&t, "a (b)\nSteps: 1, Size: 512x768, First pass size: 256x384, "
                                  "RNG: CPU, Prompt: no"));
    json = infotext_to_json(&t);
    assert_string_equal(text_of(json, "Prompt"), "a (b)");
    assert_string_equal(text_of(json, "RNG"), "CPU");
    assert_string_equal(text_of(json, "Emphasis"), "Original");
    assert_string_equal(text_of(json, "Size-1"), "256");
    assert_string_equal(text_of(json, "Size-2"), "384");
    assert_string_equal(text_of(json, "Hires resize-1"), "512");
    assert_string_equal(text_of(json, "Hires resize-2"), "768");
    cJSON_Delete(json);
    infotext_free(&t);
}

/* A megabyte of what is worst for a backtracking matcher takes no noticeable time. */
static void test_hostile_is_linear(void **state)
{
    static const char *const patterns[] = {
        "aa",   " ",         "aa:\"x", "aa:\"\\\",",         "a:",   "aa: ,", "aa:1,",
        "\\\"", "aa:\"x\"y", "\n",     "Negative prompt:\n", "\xff",
    };
    size_t size = 1 << 20;
    char *text = malloc(size + 1);
    assert_non_null(text);
    clock_t start = clock();
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        size_t n = strlen(patterns[i]);
        for (size_t k = 0; k < size; k++)
            text[k] = patterns[i][k % n];
        text[size] = '\0';
        struct infotext t;
        assert_true(infotext_read(&t, text));
        assert_true(t.count <= INFOTEXT_PAIRS_MAX);
        infotext_free(&t);
    }
    free(text);
    /* Linear takes 0.1 s in all even with sanitizers; quadratic takes minutes. */
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
}

static void test_many_pairs_are_bounded(void **state)
{
    size_t size = 100000;
    char *text = malloc(size * 12 + 1), *end = text;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        end += sprintf(end, "k%zu: 1,", i);
    struct infotext t;
    assert_true(infotext_read(&t, text));
    assert_int_equal(t.count, INFOTEXT_PAIRS_MAX);
    infotext_free(&t);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_plain),
        cmocka_unit_test(test_writes_extras),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_json_has_defaults),
        cmocka_unit_test(test_hostile_is_linear),
        cmocka_unit_test(test_many_pairs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* job_test.c: a request survives JSON, and its check says what is wrong with which field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <math.h>

#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/job.h"

#define SEED_MOST UINT64_MAX

/* A request in which no field has its default. */
static void fill(struct job_params *p)
{
    job_params_init(p);
    p->model = strdup("m");
    p->prompt = strdup("a \"cat\"\n\xf0\x9f\x90\xb1");
    p->negative_prompt = strdup("dog");
    p->width = 512;
    p->height = 384;
    p->steps = 33;
    p->guidance = 7.25;
    p->sampler = strdup("Euler a");
    p->scheduler = strdup("karras");
    p->eta = 0.1;
    p->seed = SEED_MOST - 5;
    p->subseed = 12;
    p->subseed_strength = 1.0 / 3;
    p->rng = PICTOR_RNG_CPU;
    p->clip_skip = 2;
    p->count = 5;
    p->has_init = p->has_mask = true;
    p->strength = 0.6;
    p->fit = PICTOR_FIT_PAD;
    p->fill = PICTOR_FILL_NOTHING;
    p->mask_blur = 1.5;
    p->mask_invert = p->mask_only_area = true;
    p->mask_padding = 48;
    p->hires_width = 1024;
    p->hires_height = 768;
    p->hires_steps = 9;
    p->hires_strength = 0.4;
    p->hires_upscaler = strdup("Lanczos");
    p->hires_model = strdup("other");
    p->refiner = strdup("refiner");
    p->refiner_at = 0.7;
    p->refiner_by_steps = true;
    p->refiner_pass = PICTOR_REFINE_BOTH;
    p->guidance_low = 0.5;
    p->guidance_high = 5.42;
    p->image_guidance = 1.25;
    p->mask_weight = 0.5;
    p->guidance_alternate = true;
    p->reuse_every = 3;
    p->token_merging = 0.75;
    p->format = IMAGE_WEBP;
    p->quality = 77;
    p->preview_every = 4;
    p->dialect = strdup("sdapi");
    p->tag = strdup("task(1)");
    p->any_format = true;
    p->relay = strdup("{\"quality\":\"high\"}");
}

static void json_keeps_every_field(void **state)
{
    struct job_params p, q;
    struct err err;
    fill(&p);
    cJSON *json = job_params_to_json(&p);
    char *text = json_text_print(json);
    cJSON_Delete(json);
    json = json_text_parse(text, strlen(text), 4, &err);
    assert_true(job_params_from_json(&q, json, &err));
    cJSON *again = job_params_to_json(&q);
    assert_true(cJSON_Compare(json, again, true));
    /* One member a field: a field that was forgotten in the table is missed here. */
    assert_int_equal(cJSON_GetArraySize(json), 90);
    assert_string_equal(q.prompt, p.prompt);
    assert_true(q.seed == p.seed && q.subseed == 12);
    assert_true(q.subseed_strength == 1.0 / 3 && q.guidance == 7.25 && q.eta == 0.1);
    assert_int_equal(q.fit, PICTOR_FIT_PAD);
    assert_int_equal(q.fill, PICTOR_FILL_NOTHING);
    assert_true(q.has_init && q.has_mask && q.mask_invert && q.mask_only_area);
    assert_int_equal(q.hires_height, 768);
    assert_string_equal(q.hires_model, "other");
    assert_string_equal(q.refiner, "refiner");
    assert_true(q.refiner_at == 0.7 && q.refiner_by_steps);
    assert_int_equal(q.refiner_pass, PICTOR_REFINE_BOTH);
    assert_true(q.guidance_high == 5.42 && q.token_merging == 0.75);
    assert_true(q.image_guidance == 1.25 && q.mask_weight == 0.5);
    assert_string_equal(q.tag, "task(1)");
    cJSON_Delete(json);
    cJSON_Delete(again);
    free(text);
    job_params_free(&p);
    job_params_free(&q);
}

static void absent_fields_have_defaults(void **state)
{
    struct job_params p;
    struct err err;
    cJSON *json = cJSON_Parse("{\"prompt\": \"x\", \"steps\": null, \"later\": [1]}");
    assert_true(job_params_from_json(&p, json, &err));
    assert_int_equal(p.steps, JOB_UNSET);
    assert_true(p.guidance == 7);
    assert_int_equal(p.count, 1);
    assert_true(isnan(p.eta) && isnan(p.guidance_low) && isnan(p.token_merging));
    assert_int_equal(p.reuse_every, JOB_UNSET);
    assert_null(p.model);
    cJSON_Delete(json);
    json = job_params_to_json(&p);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "steps")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "eta")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "model")));
    cJSON_Delete(json);
    job_params_free(&p);
}

static void wrong_types_are_refused(void **state)
{
    static const char *const wrong[] = {
        "[]",
        "7",
        "{\"prompt\": 7}",
        "{\"width\": \"7\"}",
        "{\"width\": 7.5}",
        "{\"width\": 1e12}",
        "{\"seed\": -1}",
        "{\"seed\": 18446744073709551616}",
        "{\"seed\": \"7x\"}",
        "{\"fit\": \"x\"}",
        "{\"fit\": 1}",
        "{\"format\": \"gif\"}",
        "{\"has_init\": 1}",
        "{\"guidance\": 1e999}",
        "{\"guidance\": true}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct job_params p;
        struct err err;
        cJSON *json = json_text_parse(wrong[i], strlen(wrong[i]), 4, &err);
        assert_non_null(json);
        if (job_params_from_json(&p, json, &err))
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(err.code, ERR_INVALID);
        cJSON_Delete(json);
    }
    struct job_params p;
    assert_false(job_params_from_json(&p, NULL, NULL));
}

static void the_check_fills_in_and_canonicalises(void **state)
{
    struct err err;
    struct settings *s = settings_new(&err);
    struct job_params p;
    job_params_init(&p);
    p.model = strdup("m");
    p.prompt = strdup("");
    p.width = p.height = 64;
    const char *param = "unset";
    assert_true(job_params_check(&p, s, &param, &err));
    assert_null(param);
    assert_string_equal(p.negative_prompt, "");
    assert_string_equal(p.sampler, "Euler a");
    assert_string_equal(p.scheduler, "automatic");
    assert_int_equal(p.rng, PICTOR_RNG_NV);
    assert_int_equal(p.format, IMAGE_PNG);
    assert_string_equal(p.hires_upscaler, "Latent");
    free(p.sampler);
    p.sampler = strdup("DPM++ 2M Karras");
    assert_true(job_params_check(&p, s, NULL, &err));
    assert_string_equal(p.sampler, "DPM++ 2M");
    assert_string_equal(p.scheduler, "automatic"); /* which for this one is karras */
    free(p.sampler);
    p.sampler = strdup("Euler a Karras");
    assert_true(job_params_check(&p, s, NULL, &err));
    assert_string_equal(p.sampler, "Euler a");
    assert_string_equal(p.scheduler, "karras");
    free(p.sampler);
    p.sampler = strdup("k_euler_a");
    assert_true(job_params_check(&p, s, NULL, &err));
    assert_string_equal(p.sampler, "Euler a");
    assert_string_equal(p.scheduler, "karras"); /* as given */
    job_params_free(&p);
    fill(&p);
    assert_true(job_params_check(&p, s, NULL, &err));
    job_params_free(&p);
    settings_free(s);
}

/* Spoils one field of a good request; the check must name it. */
#define REFUSED(spoil, field, error)                                                               \
    do {                                                                                           \
        struct job_params p;                                                                       \
        const char *param = NULL;                                                                  \
        fill(&p);                                                                                  \
        spoil;                                                                                     \
        if (job_params_check(&p, s, &param, &err))                                                 \
            fail_msg("%s was taken", #spoil);                                                      \
        assert_non_null(param);                                                                    \
        assert_string_equal(param, field);                                                         \
        assert_int_equal(err.code, error);                                                         \
        job_params_free(&p);                                                                       \
    } while (0)

static void set(char **text, const char *value)
{
    free(*text);
    *text = value ? strdup(value) : NULL;
}

static void the_check_names_the_field(void **state)
{
    struct err err;
    struct settings *s = settings_new(&err);
    s->max_prompt_bytes = 20;
    REFUSED(set(&p.model, ""), "model", ERR_INVALID);
    REFUSED(set(&p.model, NULL), "model", ERR_INVALID);
    REFUSED(set(&p.prompt, NULL), "prompt", ERR_INVALID);
    REFUSED(set(&p.prompt, "123456789012345678901"), "prompt", ERR_TOO_LARGE);
    REFUSED(set(&p.negative_prompt, "123456789012345678901"), "negative_prompt", ERR_TOO_LARGE);
    REFUSED(p.width = 0, "width", ERR_INVALID);
    REFUSED(p.width = 56, "width", ERR_INVALID);
    REFUSED(p.width = 68, "width", ERR_INVALID);
    REFUSED(p.height = 4104, "height", ERR_INVALID);
    REFUSED(p.height = -512, "height", ERR_INVALID);
    REFUSED(p.width = p.height = 4096, "width", ERR_TOO_LARGE);
    REFUSED(p.steps = 0, "steps", ERR_INVALID);
    REFUSED(p.steps = 151, "steps", ERR_INVALID);
    REFUSED(p.guidance = NAN, "guidance", ERR_INVALID);
    REFUSED(p.guidance = -1, "guidance", ERR_INVALID);
    REFUSED(set(&p.sampler, "Eulr"), "sampler", ERR_INVALID);
    REFUSED(set(&p.scheduler, "karas"), "scheduler", ERR_INVALID);
    REFUSED(p.eta = 1.5, "eta", ERR_INVALID);
    REFUSED(p.eta = INFINITY, "eta", ERR_INVALID);
    REFUSED(p.seed = SEED_MOST - 3, "seed", ERR_INVALID); /* of 5 pictures, one is over */
    REFUSED(p.subseed = SEED_MOST, "subseed", ERR_INVALID);
    REFUSED(p.subseed_strength = 1.1, "subseed_strength", ERR_INVALID);
    REFUSED(p.rng = 2, "rng", ERR_INVALID);
    REFUSED(p.clip_skip = 0, "clip_skip", ERR_INVALID);
    REFUSED(p.count = 0, "count", ERR_INVALID);
    REFUSED(p.count = 17, "count", ERR_INVALID);
    REFUSED(p.has_init = false, "mask", ERR_INVALID);
    REFUSED(p.strength = 1.01, "strength", ERR_INVALID);
    REFUSED(p.fit = 4, "fit", ERR_INVALID);
    REFUSED(p.fill = -1, "fill", ERR_INVALID);
    REFUSED(p.mask_blur = 65, "mask_blur", ERR_INVALID);
    REFUSED(p.mask_padding = -1, "mask_padding", ERR_INVALID);
    REFUSED(p.hires_width = 0, "hires_width", ERR_INVALID);
    REFUSED(p.hires_height = 4100, "hires_height", ERR_INVALID);
    REFUSED(p.hires_steps = 151, "hires_steps", ERR_INVALID);
    REFUSED(p.hires_strength = -0.1, "hires_strength", ERR_INVALID);
    REFUSED(p.format = IMAGE_NONE, "format", ERR_INVALID);
    REFUSED(p.quality = 101, "quality", ERR_INVALID);
    REFUSED(p.preview_every = -1, "preview_every", ERR_INVALID);
    settings_free(s);
}

static void states_have_names(void **state)
{
    enum job_state back;
    for (int i = JOB_QUEUED; i <= JOB_CANCELLED; i++) {
        assert_true(job_state_of(job_state_name((enum job_state)i), &back));
        assert_int_equal(back, i);
    }
    assert_false(job_state_of("lost", &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_keeps_every_field),
        cmocka_unit_test(absent_fields_have_defaults),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(the_check_fills_in_and_canonicalises),
        cmocka_unit_test(the_check_names_the_field),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* sdapi_request, sdapi_job, sdapi_reply: what SD WebUI's clients send becomes a job, and the answer
 * has the members they know, in the order and spelling they know. */
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
#include "server/api/sdapi/sdapi_job.h"
#include "server/job/comments.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/sdapi/sdapi_request.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"

static struct settings *settings;

static int setup(void **state)
{
    struct err err;
    settings = settings_new(&err);
    return settings ? 0 : -1;
}

static int teardown(void **state)
{
    settings_free(settings);
    return 0;
}

/* ---- coercion ---- */

static void parse(enum sdapi_request_kind kind, const char *text, cJSON **body,
                  struct sdapi_request *r)
{
    cJSON *detail;
    *body = json_text_parse(text, strlen(text), 32, NULL);
    assert_non_null(*body);
    if (!sdapi_request_parse(kind, *body, r, &detail)) {
        char *why = cJSON_PrintUnformatted(detail);
        fail_msg("%s: %s", text, why);
    }
}

static void test_coercion(void **state)
{
    cJSON *body;
    struct sdapi_request r;
    parse(SDAPI_TXT2IMG,
          "{\"steps\":\"20\",\"seed\":\"123\",\"hr_scale\":\"1.0\",\"restore_faces\":1,"
          "\"width\":512.0,\"height\":20.7,\"prompt\":5,\"negative_prompt\":true,"
          "\"enable_hr\":\"Yes\",\"send_images\":\"off\",\"tiling\":\"f\",\"cfg_scale\":7,"
          "\"unknown\":{\"a\":[]},\"save_images\":0,\"subseed\":null}",
          &body, &r);
    assert_int_equal(r.steps, 20);
    assert_int_equal(r.seed.magnitude, 123);
    assert_true(r.hr_scale == 1);
    assert_true(sdapi_request_flag(r.restore_faces));
    assert_non_null(r.tiling);
    assert_false(sdapi_request_flag(r.tiling));
    assert_int_equal(r.width, 512);
    assert_int_equal(r.height, 20);
    assert_string_equal(r.prompt, "5");
    assert_string_equal(r.negative_prompt, "True");
    assert_true(r.enable_hr);
    assert_false(r.send_images);
    assert_true(r.subseed.magnitude == 1 && r.subseed.negative);
    cJSON_Delete(body);
}

/* null is the default in every field, one at a time and all at once. */
static void test_null_is_default(void **state)
{
    for (int kind = SDAPI_TXT2IMG; kind <= SDAPI_IMG2IMG; kind++) {
        cJSON *body, *nothing = cJSON_CreateObject(), *nulls = cJSON_CreateObject(), *detail;
        struct sdapi_request r;
        assert_true(sdapi_request_parse((enum sdapi_request_kind)kind, nothing, &r, &detail));
        cJSON *wanted = sdapi_request_echo(&r);
        const cJSON *item;
        cJSON_ArrayForEach(item, wanted) {
            body = cJSON_CreateObject();
            cJSON_AddNullToObject(body, item->string);
            cJSON_AddNullToObject(nulls, item->string);
            assert_true(sdapi_request_parse((enum sdapi_request_kind)kind, body, &r, &detail));
            cJSON *echo = sdapi_request_echo(&r);
            assert_true(cJSON_Compare(echo, wanted, true));
            cJSON_Delete(echo);
            cJSON_Delete(body);
        }
        assert_true(sdapi_request_parse((enum sdapi_request_kind)kind, nulls, &r, &detail));
        cJSON *echo = sdapi_request_echo(&r);
        assert_true(cJSON_Compare(echo, wanted, true));
        cJSON_Delete(echo);
        cJSON_Delete(wanted);
        cJSON_Delete(nulls);
        cJSON_Delete(nothing);
    }
}

static void test_type_errors(void **state)
{
    static const struct {
        const char *body, *name, *msg, *type;
    } cases[] = {
        {"{\"steps\":\"abc\"}", "steps", "value is not a valid integer", "type_error.integer"},
        {"{\"steps\":\"20.0\"}", "steps", "value is not a valid integer", "type_error.integer"},
        {"{\"seed\":[]}", "seed", "value is not a valid integer", "type_error.integer"},
        {"{\"cfg_scale\":\"x\"}", "cfg_scale", "value is not a valid float", "type_error.float"},
        {"{\"cfg_scale\":1e400}", "cfg_scale", "value is not a valid float", "type_error.float"},
        {"{\"enable_hr\":\"maybe\"}", "enable_hr", "value could not be parsed to a boolean",
         "type_error.bool"},
        {"{\"tiling\":\"maybe\"}", "tiling", "value could not be parsed to a boolean",
         "type_error.bool"},
        {"{\"tiling\":{}}", "tiling", "value could not be parsed to a boolean", "type_error.bool"},
        {"{\"prompt\":[\"a\"]}", "prompt", "str type expected", "type_error.str"},
        {"{\"styles\":\"a\"}", "styles", "value is not a valid list", "type_error.list"},
        {"{\"styles\":[{}]}", "styles", "str type expected", "type_error.str"},
        {"{\"override_settings\":[1]}", "override_settings", "value is not a valid dict",
         "type_error.dict"},
        {"{\"alwayson_scripts\":3}", "alwayson_scripts", "value is not a valid dict",
         "type_error.dict"},
        {"[1]", NULL, "value is not a valid dict", "type_error.dict"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *body = cJSON_Parse(cases[i].body), *detail = NULL;
        struct sdapi_request r;
        assert_non_null(body);
        assert_false(sdapi_request_parse(SDAPI_TXT2IMG, body, &r, &detail));
        const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(detail, "detail"), 0);
        const cJSON *loc = cJSON_GetObjectItem(item, "loc");
        assert_string_equal(cJSON_GetArrayItem(loc, 0)->valuestring, "body");
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(loc, 1));
        if (cases[i].name)
            assert_string_equal(name, cases[i].name);
        else
            assert_null(name);
        assert_string_equal(cJSON_GetObjectItem(item, "msg")->valuestring, cases[i].msg);
        assert_string_equal(cJSON_GetObjectItem(item, "type")->valuestring, cases[i].type);
        cJSON_Delete(detail);
        cJSON_Delete(body);
    }
}

/* ---- the echo ---- */

static void test_echo_order(void **state)
{
    static const char txt2img[] =
        "{\"prompt\":\"\",\"negative_prompt\":\"\",\"styles\":null,\"seed\":-1,\"subseed\":-1,"
        "\"subseed_strength\":0.0,\"seed_resize_from_h\":-1,\"seed_resize_from_w\":-1,"
        "\"sampler_name\":null,\"scheduler\":null,\"batch_size\":1,\"n_iter\":1,\"steps\":50,"
        "\"cfg_scale\":7.0,\"width\":512,\"height\":512,\"restore_faces\":null,\"tiling\":null,"
        "\"do_not_save_samples\":false,\"do_not_save_grid\":false,\"eta\":null,"
        "\"denoising_strength\":null,\"s_min_uncond\":null,\"s_churn\":null,\"s_tmax\":null,"
        "\"s_tmin\":null,\"s_noise\":null,\"override_settings\":null,"
        "\"override_settings_restore_afterwards\":true,\"refiner_checkpoint\":null,"
        "\"refiner_switch_at\":null,\"disable_extra_networks\":false,\"firstpass_image\":null,"
        "\"comments\":null,\"enable_hr\":false,\"firstphase_width\":0,\"firstphase_height\":0,"
        "\"hr_scale\":2.0,\"hr_upscaler\":null,\"hr_second_pass_steps\":0,\"hr_resize_x\":0,"
        "\"hr_resize_y\":0,\"hr_checkpoint_name\":null,\"hr_sampler_name\":null,"
        "\"hr_scheduler\":null,\"hr_prompt\":\"\",\"hr_negative_prompt\":\"\","
        "\"force_task_id\":null,\"sampler_index\":\"Euler\",\"script_name\":null,"
        "\"script_args\":[],\"send_images\":true,\"save_images\":false,\"alwayson_scripts\":{},"
        "\"infotext\":null}";
    static const char img2img[] =
        "{\"prompt\":\"\",\"negative_prompt\":\"\",\"styles\":null,\"seed\":-1,\"subseed\":-1,"
        "\"subseed_strength\":0.0,\"seed_resize_from_h\":-1,\"seed_resize_from_w\":-1,"
        "\"sampler_name\":null,\"scheduler\":null,\"batch_size\":1,\"n_iter\":1,\"steps\":50,"
        "\"cfg_scale\":7.0,\"width\":512,\"height\":512,\"restore_faces\":null,\"tiling\":null,"
        "\"do_not_save_samples\":false,\"do_not_save_grid\":false,\"eta\":null,"
        "\"denoising_strength\":0.75,\"s_min_uncond\":null,\"s_churn\":null,\"s_tmax\":null,"
        "\"s_tmin\":null,\"s_noise\":null,\"override_settings\":null,"
        "\"override_settings_restore_afterwards\":true,\"refiner_checkpoint\":null,"
        "\"refiner_switch_at\":null,\"disable_extra_networks\":false,\"firstpass_image\":null,"
        "\"comments\":null,\"init_images\":null,\"resize_mode\":0,\"image_cfg_scale\":null,"
        "\"mask\":null,\"mask_blur_x\":4,\"mask_blur_y\":4,\"mask_blur\":null,\"mask_round\":true,"
        "\"inpainting_fill\":0,\"inpaint_full_res\":true,\"inpaint_full_res_padding\":0,"
        "\"inpainting_mask_invert\":0,\"initial_noise_multiplier\":null,\"latent_mask\":null,"
        "\"force_task_id\":null,\"sampler_index\":\"Euler\",\"include_init_images\":false,"
        "\"script_name\":null,\"script_args\":[],\"send_images\":true,\"save_images\":false,"
        "\"alwayson_scripts\":{},\"infotext\":null}";
    const char *const wanted[] = {txt2img, img2img};
    for (int kind = SDAPI_TXT2IMG; kind <= SDAPI_IMG2IMG; kind++) {
        cJSON *body;
        struct sdapi_request r;
        parse((enum sdapi_request_kind)kind, "{}", &body, &r);
        cJSON *echo = sdapi_request_echo(&r);
        char *text = cJSON_PrintUnformatted(echo);
        assert_string_equal(text, wanted[kind]);
        cJSON_free(text);
        cJSON_Delete(echo);
        cJSON_Delete(body);
    }
}

static void test_echo_hides_pictures(void **state)
{
    for (int include = 0; include < 2; include++) {
        char text[128];
        snprintf(text, sizeof text,
                 "{\"init_images\":[\"AAAA\"],\"mask\":\"BBBB\",\"include_init_images\":%d}",
                 include);
        cJSON *body;
        struct sdapi_request r;
        parse(SDAPI_IMG2IMG, text, &body, &r);
        cJSON *echo = sdapi_request_echo(&r);
        assert_int_equal(cJSON_IsNull(cJSON_GetObjectItem(echo, "init_images")), !include);
        assert_int_equal(cJSON_IsNull(cJSON_GetObjectItem(echo, "mask")), !include);
        cJSON_Delete(echo);
        cJSON_Delete(body);
    }
}

static void test_infotext_fills_gaps(void **state)
{
    cJSON *body;
    struct sdapi_request r;
    parse(SDAPI_TXT2IMG,
          "{\"infotext\":\"a dog\\nNegative prompt: cat\\nSteps: 3, Sampler: Euler a, "
          "CFG scale: 5, Seed: 7, Size: 64x128, Clip skip: 2, Denoising strength: 0.5, "
          "Hires resize: 128x256\","
          "\"seed\":9}",
          &body, &r);
    assert_string_equal(r.prompt, "a dog");
    assert_string_equal(r.negative_prompt, "cat");
    assert_int_equal(r.steps, 3);
    assert_string_equal(r.sampler_name, "Euler a");
    assert_true(r.cfg_scale == 5);
    assert_int_equal(r.seed.magnitude, 9);
    assert_int_equal(r.width, 64);
    assert_int_equal(r.height, 128);
    assert_true(r.enable_hr);
    assert_int_equal(r.hr_resize_x, 128);
    assert_int_equal(r.hr_resize_y, 256);
    assert_string_equal(
        cJSON_GetStringValue(cJSON_GetObjectItem(r.override_settings, "CLIP_stop_at_last_layers")),
        "2");
    cJSON_Delete(body);
}

/* ---- the job ---- */

static cJSON *some_options(void)
{
    return cJSON_Parse("{\"samples_format\":\"jpg\",\"jpeg_quality\":80,\"randn_source\":\"GPU\","
                       "\"CLIP_stop_at_last_layers\":1,\"eta_ancestral\":1,\"eta_ddim\":0,"
                       "\"enable_prompt_comments\":true,\"live_previews_enable\":true,"
                       "\"show_progress_every_n_steps\":10}");
}

/* status 0: a job was made. */
static int make(enum sdapi_request_kind kind, const char *text, struct job_params *p,
                struct sdapi_fault *fault)
{
    cJSON *body, *options = some_options();
    struct sdapi_request r;
    parse(kind, text, &body, &r);
    *fault = (struct sdapi_fault){0};
    bool ok = sdapi_job_make(&r, options, "pictor-mini", settings, p, fault);
    cJSON_Delete(options);
    cJSON_Delete(body);
    return ok ? 0 : fault->status;
}

static void test_job_of_defaults(void **state)
{
    struct job_params p;
    struct sdapi_fault fault;
    assert_int_equal(make(SDAPI_TXT2IMG, "{}", &p, &fault), 0);
    assert_string_equal(p.model, "pictor-mini");
    assert_string_equal(p.prompt, "");
    assert_string_equal(p.sampler, "Euler");
    assert_string_equal(p.scheduler, "automatic");
    assert_int_equal(p.rng, PICTOR_RNG_NV);
    assert_int_equal(p.format, IMAGE_JPEG);
    assert_string_equal(p.dialect, "sdapi");
    assert_null(p.tag);
    assert_int_equal(p.width, 512);
    assert_int_equal(p.steps, 50);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.quality, 80);
    assert_int_equal(p.preview_every, 10);
    assert_int_equal(p.hires_width, 0);
    assert_true(p.guidance == 7);
    assert_true(isnan(p.eta));
    assert_true(p.seed <= 4294967293u);
    job_params_free(&p);
}

static void test_job_of_fields(void **state)
{
    struct job_params p;
    struct sdapi_fault fault;
    assert_int_equal(
        make(SDAPI_TXT2IMG,
             "{\"prompt\":\"a <lora:x:0.5>b # c\",\"negative_prompt\":\"<lora:x:1>\",\"seed\":10,"
             "\"subseed\":5,\"subseed_strength\":0.3,\"batch_size\":2,\"n_iter\":3,\"width\":70,"
             "\"height\":66,\"sampler_name\":\"DDIM\",\"eta\":1,\"clip_skip\":2,\"steps\":4,"
             "\"force_task_id\":\"task(x)\",\"override_settings\":null}",
             &p, &fault),
        0);
    assert_string_equal(p.prompt, "a <lora:x:0.5>b \n"); /* workers take tags out */
    assert_string_equal(p.negative_prompt, "<lora:x:1>");
    assert_int_equal(p.seed, 10);
    assert_int_equal(p.subseed, 5);
    assert_true(p.subseed_strength == 0.3);
    assert_int_equal(p.count, 6);
    assert_int_equal(p.width, 64);
    assert_int_equal(p.height, 64);
    assert_string_equal(p.sampler, "DDIM");
    assert_true(p.eta == 1);
    assert_int_equal(p.clip_skip, 2);
    assert_string_equal(p.tag, "task(x)");
    job_params_free(&p);
}

static void test_sampler_names(void **state)
{
    static const struct {
        const char *body, *sampler, *scheduler; /* NULL: 400 */
    } cases[] = {
        {"{\"sampler_index\":\"DDIM\"}", "DDIM", "automatic"},
        {"{\"sampler_name\":\"Euler a\",\"sampler_index\":\"DDIM\"}", "Euler a", "automatic"},
        {"{\"sampler_name\":\"\",\"sampler_index\":\"DDIM\"}", "DDIM", "automatic"},
        {"{\"sampler_name\":\"euler A\"}", "Euler a", "automatic"},
        {"{\"sampler_name\":\"k_euler_a\"}", "Euler a", "automatic"},
        {"{\"sampler_name\":\"DPM++ 2M Karras\"}", "DPM++ 2M", "automatic"}, /* its own */
        {"{\"sampler_name\":\"DPM++ 2M Karras\",\"scheduler\":\"Uniform\"}", "DPM++ 2M",
         "automatic"},
        {"{\"sampler_name\":\"Euler Karras\"}", "Euler", "karras"},
        {"{\"sampler_name\":\"Euler a Karras\",\"scheduler\":\"Uniform\"}", "Euler a", "karras"},
        {"{\"sampler_name\":\"DPM++ 2M\",\"scheduler\":\"Karras\"}", "DPM++ 2M", "karras"},
        {"{\"sampler_name\":\"DPM++ 2M\",\"scheduler\":\"Automatic\"}", "DPM++ 2M", "automatic"},
        {"{\"sampler_name\":\"DPM++ 2M\",\"scheduler\":\"\"}", "DPM++ 2M", "automatic"},
        {"{\"sampler_name\":\"xyz\"}", "DPM++ 2M", "automatic"}, /* as the WebUI does since 1.10 */
        {"{\"sampler_name\":\"Euler xyz\"}", "DPM++ 2M", "automatic"},
        {"{\"scheduler\":\"xyz\"}", "Euler", "automatic"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_params p;
        struct sdapi_fault fault;
        int status = make(SDAPI_TXT2IMG, cases[i].body, &p, &fault);
        assert_int_equal(status, 0);
        assert_string_equal(p.sampler, cases[i].sampler);
        assert_string_equal(p.scheduler, cases[i].scheduler);
        job_params_free(&p);
    }
}

/* What is said of the second pass is its own where it is not the first one's. */
static void test_hires_own(void **state)
{
    struct job_params p;
    struct sdapi_fault fault;
    assert_int_equal(make(SDAPI_TXT2IMG,
                          "{\"enable_hr\":true,\"sampler_name\":\"Euler\",\"prompt\":\"a\","
                          "\"hr_sampler_name\":\"DPM++ 2M Karras\",\"hr_prompt\":\"b\","
                          "\"hr_scheduler\":\"Exponential\",\"hr_negative_prompt\":\"c\"}",
                          &p, &fault),
                     0);
    assert_string_equal(p.hires_sampler, "DPM++ 2M");
    assert_null(p.hires_scheduler); /* its own, which the sampler's name says, is automatic */
    assert_string_equal(p.hires_prompt, "b");
    assert_string_equal(p.hires_negative_prompt, "c");
    job_params_free(&p);
    assert_int_equal(make(SDAPI_TXT2IMG,
                          "{\"enable_hr\":true,\"sampler_name\":\"Euler\",\"prompt\":\"a\","
                          "\"hr_sampler_name\":\"Euler\",\"hr_prompt\":\"a\","
                          "\"hr_scheduler\":\"Karras\",\"hr_negative_prompt\":\"\"}",
                          &p, &fault),
                     0);
    assert_null(p.hires_sampler);
    assert_string_equal(p.hires_scheduler, "karras");
    assert_null(p.hires_prompt);
    assert_null(p.hires_negative_prompt);
    job_params_free(&p);
}

static void test_hires(void **state)
{
    static const struct {
        const char *fields;
        int width, height, hires_width, hires_height;
    } cases[] = {
        {"", 64, 64, 128, 128},
        {"\"hr_scale\":1.5,", 64, 64, 96, 96},
        {"\"hr_scale\":\"1.3\",", 64, 64, 80, 80},
        {"\"hr_resize_x\":128,\"hr_resize_y\":96,", 64, 64, 128, 96},
        {"\"hr_resize_x\":256,", 64, 64, 256, 256},
        {"\"hr_resize_y\":256,\"width\":128,", 128, 64, 512, 256},
        {"\"firstphase_width\":96,\"firstphase_height\":64,\"width\":192,\"height\":128,", 96, 64,
         192, 128},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{%s\"enable_hr\":true%s,\"hr_upscaler\":\"%s\"}",
                 cases[i].fields, strstr(cases[i].fields, "\"width\"") ? "" : ",\"width\":64",
                 i % 2 ? "None" : "Latent");
        if (!strstr(text, "\"height\""))
            snprintf(text + strlen(text) - 1, 20, ",\"height\":64}");
        struct job_params p;
        struct sdapi_fault fault;
        assert_int_equal(make(SDAPI_TXT2IMG, text, &p, &fault), 0);
        assert_int_equal(p.width, cases[i].width);
        assert_int_equal(p.height, cases[i].height);
        assert_int_equal(p.hires_width, cases[i].hires_width);
        assert_int_equal(p.hires_height, cases[i].hires_height);
        assert_string_equal(p.hires_upscaler, i % 2 ? "Lanczos" : "Latent");
        assert_true(p.hires_strength == 0.7);
        job_params_free(&p);
    }
}

static void test_painting_over(void **state)
{
    struct job_params p;
    struct sdapi_fault fault;
    assert_int_equal(make(SDAPI_IMG2IMG,
                          "{\"init_images\":[\"A\"],\"mask\":\"B\",\"mask_blur\":7,"
                          "\"inpainting_fill\":2,\"inpaint_full_res\":0,"
                          "\"inpainting_mask_invert\":true,\"inpaint_full_res_padding\":9,"
                          "\"resize_mode\":2,\"denoising_strength\":0.4}",
                          &p, &fault),
                     0);
    assert_true(p.has_init && p.has_mask && p.mask_invert && !p.mask_only_area);
    assert_int_equal(p.fit, PICTOR_FIT_PAD);
    assert_int_equal(p.fill, PICTOR_FILL_NOISE);
    assert_int_equal(p.mask_padding, 9);
    assert_true(p.mask_blur == 7);
    assert_true(p.strength == 0.4);
    job_params_free(&p);
    assert_int_equal(make(SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask\":\"B\"}", &p, &fault),
                     0);
    assert_true(p.mask_blur == 4 && p.mask_only_area && p.strength == 0.75);
    assert_int_equal(p.fill, PICTOR_FILL_BLUR);
    job_params_free(&p);
    assert_int_equal(
        make(SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask_round\":false}", &p, &fault), 0);
    assert_false(p.has_mask);
    job_params_free(&p);
}

/* What is not done and would change the picture is said, not ignored. */
static void test_refusals(void **state)
{
    static const struct {
        enum sdapi_request_kind kind;
        const char *body;
        int status;
        const char *param; /* or NULL */
    } cases[] = {
        {SDAPI_TXT2IMG, "{\"tiling\":true}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"tiling\":false}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"refiner_checkpoint\":\"x\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"refiner_checkpoint\":\"x\",\"refiner_switch_at\":1.1}", 422,
         "refiner_switch_at"},
        {SDAPI_TXT2IMG, "{\"refiner_checkpoint\":\"\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"refiner_checkpoint\":\"None\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"script_name\":\"x/y\"}", 422, NULL},
        {SDAPI_TXT2IMG, "{\"script_name\":\"\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":{\"reactor\":{\"args\":[{}]}}}", 422, NULL},
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":{\"ADetailer\":{\"args\":[false,{}]}}}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":{\"x\":{\"args\":[]}}}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":{\"x\":{}}}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":{\"Seed\":{\"args\":[1]}}}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"s_churn\":1}", 0, NULL}, /* the WebUI's settings win over them */
        {SDAPI_TXT2IMG, "{\"s_noise\":0,\"s_churn\":0,\"s_tmax\":0,\"s_tmin\":0}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"s_noise\":0.9}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"override_settings\":[],\"comments\":[]}", 0, NULL}, /* PHP */
        {SDAPI_TXT2IMG, "{\"alwayson_scripts\":[]}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"prompt\":\"a [b:c:0.5]\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"negative_prompt\":\"[b|c]\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"prompt\":\"a AND b\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"negative_prompt\":\"a AND b\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"prompt\":\"a # [b|c] AND\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"s_min_uncond\":2}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"s_min_uncond\":2000}", 422, "s_min_uncond"},
        {SDAPI_TXT2IMG, "{\"seed_resize_from_h\":64,\"seed_resize_from_w\":64}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"seed_resize_from_h\":64,\"seed_resize_from_w\":99999}", 422,
         "seed_resize_from_w"},
        {SDAPI_TXT2IMG, "{\"seed_resize_from_h\":64}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_upscaler\":\"\"}", 500, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":false,\"hr_upscaler\":\"\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_sampler_name\":\"x\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_checkpoint_name\":\"x\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_sampler_name\":\"Use same sampler\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_prompt\":\"x\"}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_scale\":1e300}", 422, "hr_scale"},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"hr_resize_x\":-8,\"hr_resize_y\":8}", 422,
         "hr_resize_x"},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"width\":-2147483647,\"hr_scale\":64}", 422,
         "hr_resize_x"},
        {SDAPI_TXT2IMG, "{\"enable_hr\":true,\"denoising_strength\":2}", 422, "denoising_strength"},
        {SDAPI_TXT2IMG, "{\"batch_size\":0}", 422, "batch_size"},
        {SDAPI_TXT2IMG, "{\"batch_size\":-1,\"n_iter\":-1}", 422, "batch_size"},
        {SDAPI_TXT2IMG, "{\"n_iter\":0}", 422, "n_iter"},
        {SDAPI_TXT2IMG, "{\"batch_size\":1000000,\"n_iter\":1000000}", 422, "batch_size"},
        {SDAPI_TXT2IMG, "{\"steps\":0}", 422, "steps"},
        {SDAPI_TXT2IMG, "{\"steps\":100000}", 422, "steps"},
        {SDAPI_TXT2IMG, "{\"width\":7}", 422, "width"},
        {SDAPI_TXT2IMG, "{\"height\":100000}", 422, "height"},
        {SDAPI_TXT2IMG, "{\"cfg_scale\":-1}", 422, "cfg_scale"},
        {SDAPI_TXT2IMG, "{\"seed\":-5}", 0, NULL},
        {SDAPI_TXT2IMG, "{\"seed\":18446744073709551615,\"batch_size\":2}", 422, "seed"},
        {SDAPI_IMG2IMG, "{}", 404, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[]}", 422, "init_images"},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\",\"B\"]}", 500, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\",\"B\"],\"batch_size\":3}", 0, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"resize_mode\":3}", 0, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"resize_mode\":4}", 422, "resize_mode"},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"denoising_strength\":-1}", 422,
         "denoising_strength"},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"initial_noise_multiplier\":1.1}", 0, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"initial_noise_multiplier\":1.6}", 422,
         "initial_noise_multiplier"},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask\":\"B\",\"mask_round\":false}", 0, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask\":\"B\",\"mask_blur_x\":2}", 0, NULL},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask\":\"B\",\"mask_blur_y\":65}", 422,
         "mask_blur_y"},
        {SDAPI_IMG2IMG, "{\"init_images\":[\"A\"],\"mask\":\"B\",\"inpainting_fill\":4}", 422,
         "inpainting_fill"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_params p;
        struct sdapi_fault fault;
        int status = make(cases[i].kind, cases[i].body, &p, &fault);
        if (status != cases[i].status ||
            strcmp(fault.param ? fault.param : "", cases[i].param ? cases[i].param : "") != 0)
            fail_msg("%s: %d %s %s", cases[i].body, status, fault.param ? fault.param : "-",
                     fault.message);
        job_params_free(&p);
    }
}

/* Scripts that would do nothing are let through, whatever their clients call them. */
static void test_scripts(void **state)
{
    static const struct {
        const char *script;
        bool off;
    } cases[] = {
        {"{}", true},
        {"[]", true},
        {"null", true},
        {"{\"args\":[]}", true},
        {"{\"args\":{}}", true},
        {"{\"args\":null}", true},
        {"{\"args\":[false,{}]}", true},
        {"{\"args\":[false,false,{\"ad_model\":\"None\"}]}", true},
        {"{\"args\":[true,false,{\"ad_model\":\"None\"},{\"ad_model\":\"\"}]}", true},
        {"{\"args\":[{\"ad_model\":\"None\"}]}", true},
        {"{\"args\":[true,{\"ad_model\":\"face.pt\",\"ad_tab_enable\":false}]}", true},
        {"{\"args\":[true,{\"ad_model\":\"face.pt\"}]}", false},
        {"{\"args\":[{\"ad_model\":\"None\"},{\"ad_model\":\"face.pt\"}]}", false},
        {"{\"args\":[{\"enabled\":false,\"module\":\"canny\",\"model\":\"x\"}]}", true},
        {"{\"args\":[{\"enabled\":false},{\"enabled\":0},{\"enabled\":\"False\"}]}", true},
        {"{\"args\":[{\"enabled\":false},null]}", true},
        {"{\"args\":{\"0\":{\"enabled\":false}}}", true},
        {"{\"args\":[{\"enabled\":false},{\"enabled\":true}]}", false},
        {"{\"args\":[{\"enabled\":false},\"x\"]}", false},
        {"{\"args\":[{\"module\":\"none\",\"model\":\"None\"}]}", false},
        {"{\"args\":[{}]}", false},
        {"{\"args\":[true]}", false},
        {"{\"args\":[1,false]}", false},
        {"{\"args\":[\"x\"]}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_params p;
        struct sdapi_fault fault;
        char body[256];
        snprintf(body, sizeof body, "{\"alwayson_scripts\":{\"reactor\":%s}}", cases[i].script);
        if (make(SDAPI_TXT2IMG, body, &p, &fault) != (cases[i].off ? 0 : 422))
            fail_msg("%s: %s", body, fault.message);
        job_params_free(&p);
    }
}

/* ---- prompts ---- */

static void test_strips(void **state)
{
    static const char *const comments[][2] = {
        {"a # b", "a \n"}, {"# c\na", "\na"}, {"a\n#b\nc", "a\nc"}, {"a#b\nc", "a\nc"},
        {"", ""},          {"a\nb", "a\nb"},  {"#", "\n"},
    };
    for (size_t i = 0; i < sizeof comments / sizeof *comments; i++) {
        char *text = comments_strip(comments[i][0]);
        assert_string_equal(text, comments[i][1]);
        free(text);
    }
}

static void test_strips_are_linear(void **state)
{
    size_t size = 1 << 20;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, '#', size);
    text[size] = '\0';
    clock_t start = clock();
    free(comments_strip(text));
    free(text);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5);
}

/* ---- info ---- */

static void test_info(void **state)
{
    struct job_image images[2] = {
        {.index = 0,
         .seed = 10,
         .subseed = 5,
         .infotext = "a c\xc3\xa4t\nSteps: 4, Sampler: Euler, Schedule type: Automatic, "
                     "CFG scale: 7.0, Seed: 10, Size: 64x64, Version: pictor-0"},
        {.index = 1, .seed = 11, .subseed = 6, .infotext = "x"},
    };
    struct job job = {.images = images,
                      .image_count = 2,
                      .created_ms = 1700000000000,
                      .started_ms = 1700000001000};
    job.params = (struct job_params){
        .mask_weight = NAN,
        .prompt = "a c\xc3\xa4t",
        .negative_prompt = "",
        .width = 64,
        .height = 64,
        .steps = 4,
        .guidance = 7,
        .sampler = "Euler",
        .seed = 10,
        .subseed = 5,
        .clip_skip = 1,
        .count = 2,
        .strength = 0.75,
    };
    struct sdapi_reply_model model = {
        .name = "mini",
        .sha256 = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"};
    setenv("TZ", "UTC", 1);
    tzset();
    char *info = sdapi_reply_info(&job, 2, NULL, "", &model, NULL);
    assert_string_equal(
        info,
        "{\"prompt\": \"a c\\u00e4t\", \"all_prompts\": [\"a c\\u00e4t\", \"a c\\u00e4t\"], "
        "\"negative_prompt\": \"\", \"all_negative_prompts\": [\"\", \"\"], \"seed\": 10, "
        "\"all_seeds\": [10, 11], \"subseed\": 5, \"all_subseeds\": [5, 6], "
        "\"subseed_strength\": 0.0, \"width\": 64, \"height\": 64, \"sampler_name\": \"Euler\", "
        "\"cfg_scale\": 7.0, \"steps\": 4, \"batch_size\": 2, \"restore_faces\": false, "
        "\"face_restoration_model\": null, \"sd_model_name\": \"mini\", "
        "\"sd_model_hash\": \"6ce0161689\", \"sd_vae_name\": null, \"sd_vae_hash\": null, "
        "\"seed_resize_from_w\": -1, \"seed_resize_from_h\": -1, \"denoising_strength\": null, "
        "\"extra_generation_params\": {\"Schedule type\": \"Automatic\"}, "
        "\"index_of_first_image\": 0, \"infotexts\": [\"a c\\u00e4t\\nSteps: 4, Sampler: Euler, "
        "Schedule type: Automatic, CFG scale: 7.0, Seed: 10, Size: 64x64, Version: pictor-0\", "
        "\"x\"], \"styles\": [], \"job_timestamp\": \"20231114221321\", \"clip_skip\": 1, "
        "\"is_using_inpainting_conditioning\": false, \"version\": \"pictor-" PICTOR_VERSION "\"}");
    free(info);

    job.params.subseed_strength = 0.3;
    info = sdapi_reply_info(&job, 2, NULL, NULL, &model, NULL);
    assert_non_null(strstr(info, "\"all_seeds\": [10, 10], \"subseed\": 5, "
                                 "\"all_subseeds\": [5, 6], \"subseed_strength\": 0.3"));
    free(info);
}

/* ---- checkpoints ---- */

static void test_checkpoint_names(void **state)
{
    static struct registry_model known = {
        .name = "Anime/v2",
        .ending = ".safetensors",
        .sha256 = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"};
    struct sdapi_model m;
    sdapi_models_of(&known, &m);
    assert_string_equal(m.title, "Anime/v2.safetensors [6ce0161689]");
    assert_string_equal(m.flat, "Anime_v2");
    static const char *const yes[] = {
        "Anime/v2.safetensors [6ce0161689]",
        "Anime/v2.safetensors",
        "Anime/v2 [6ce0161689]",
        "Anime/v2",
        "anime/V2",
        "Anime_v2",
        "6ce0161689",
        "6CE0161689B3853ACAA03779EC93EAFE75A02F4CED659BEE03F50797806FA2FA",
        "Anime/v2.safetensors [0000000000]", /* the file was replaced since */
    };
    static const char *const no[] = {"",
                                     "Anime",
                                     "Anime/v2.ckpt",
                                     "v2",
                                     "6ce016168",
                                     "[6ce0161689]",
                                     "Anime/v2.safetensors [6ce]"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(sdapi_models_match(&m, yes[i], false));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(sdapi_models_match(&m, no[i], false));
    assert_true(sdapi_models_match(&m, "v2", true));
    assert_true(sdapi_models_match(&m, "v2.safetensors", true));

    static struct registry_model builtin = {.name = "pictor-mini"};
    sdapi_models_of(&builtin, &m);
    assert_string_equal(m.title, "pictor-mini");
    assert_false(sdapi_models_match(&m, "", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coercion),
        cmocka_unit_test(test_null_is_default),
        cmocka_unit_test(test_type_errors),
        cmocka_unit_test(test_echo_order),
        cmocka_unit_test(test_echo_hides_pictures),
        cmocka_unit_test(test_infotext_fills_gaps),
        cmocka_unit_test(test_job_of_defaults),
        cmocka_unit_test(test_job_of_fields),
        cmocka_unit_test(test_sampler_names),
        cmocka_unit_test(test_hires),
        cmocka_unit_test(test_hires_own),
        cmocka_unit_test(test_painting_over),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_strips),
        cmocka_unit_test(test_strips_are_linear),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_checkpoint_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

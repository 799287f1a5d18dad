/* pipeline_test.c: whole pictures through engine/pictor.h on the tiny random model: what must be
 * equal is equal, what must differ differs, and what is wrong is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pictor.h"
#include "tests/unit/painted.h"

#define MODEL "tests/golden/tiny/tiny-ldm.safetensors"

static struct pictor_engine *engine_of(int threads, size_t limit)
{
    struct err err;
    struct pictor_engine_options options = {.threads = threads, .memory_limit = limit};
    struct pictor_engine *e = pictor_engine_new(&options, &err);
    if (!e)
        fail_msg("%s", err.msg);
    return e;
}

static struct pictor_model *model_of(struct pictor_engine *e)
{
    struct err err;
    struct pictor_model *m = pictor_model_open(e, MODEL, &err);
    if (!m)
        fail_msg("%s", err.msg);
    return m;
}

static struct pictor_params params_of(struct pictor_model *m)
{
    struct pictor_params p;
    pictor_params_init(&p, m);
    p.prompt = "a red circle";
    p.width = 96;
    p.height = 64;
    p.steps = 4;
    p.seed = 5;
    return p;
}

static bool same(const struct pictor_image *a, const struct pictor_image *b)
{
    return a->width == b->width && a->height == b->height && a->channels == b->channels &&
           memcmp(a->pixels, b->pixels,
                  (size_t)a->width * (size_t)a->height * (size_t)a->channels) == 0;
}

static void test_repeatable(void **state)
{
    struct pictor_image first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        struct pictor_engine *e = engine_of(threads, 0);
        struct pictor_model *m = model_of(e);
        struct pictor_params p = params_of(m);
        struct pictor_image a = paint(m, &p), b = paint(m, &p);
        assert_int_equal(a.width, 96);
        assert_int_equal(a.height, 64);
        assert_int_equal(a.channels, 3);
        assert_true(same(&a, &b));
        if (threads == 1)
            first = a;
        else
            assert_true(same(&a, &first));
        p.seed++;
        struct pictor_image other = paint(m, &p);
        assert_false(same(&other, &first));
        if (threads > 1)
            pictor_image_free(&a);
        pictor_image_free(&b);
        pictor_image_free(&other);
        pictor_model_free(m);
        pictor_engine_free(e);
    }
    pictor_image_free(&first);
}

/* Each of these must change the picture: a parameter that does nothing is not wired up. */
static void test_every_parameter_matters(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params base = params_of(m);
    struct pictor_image plain = paint(m, &base);
    for (int i = 0; i < 13; i++) {
        struct pictor_params p = base;
        switch (i) {
        case 0:
            p.prompt = "a blue square";
            break;
        case 1:
            p.negative_prompt = "blurry";
            break;
        case 2:
            p.guidance = 1;
            break;
        case 3:
            p.steps = 5;
            break;
        case 4:
            p.sampler = "DPM++ 2M";
            break;
        case 5:
            p.scheduler = "karras";
            break;
        case 6:
            p.rng = PICTOR_RNG_CPU;
            break;
        case 7:
            p.clip_skip = 2;
            break;
        case 8:
            p.eta = 0;
            break;
        case 9:
            p.subseed = 9;
            p.subseed_strength = 0.3;
            break;
        case 10:
            p.prompt = "a (red:1.6) circle";
            break;
        case 11:
            p.prompt = "a red BREAK circle";
            break;
        case 12:
            p.sampler = "DDIM";
            break;
        }
        struct pictor_image other = paint(m, &p);
        if (same(&plain, &other))
            fail_msg("change %d does not change the picture", i);
        pictor_image_free(&other);
    }
    pictor_image_free(&plain);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static void test_painting_over(void **state)
{
    enum { W = 96, H = 64 };
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    uint8_t pixels[W * H * 3], white_left[W * H];
    for (int i = 0; i < W * H * 3; i++)
        pixels[i] = (uint8_t)(i / 3 % W * 2 + i % 3 * 20);
    for (int i = 0; i < W * H; i++)
        white_left[i] = i % W < W / 2 ? 255 : 0;
    struct pictor_image init = {W, H, 3, pixels}, mask = {W, H, 1, white_left};
    p.init = &init;
    p.strength = 0.5;
    struct pictor_image over = paint(m, &p);
    assert_int_equal(over.width, W);
    p.mask = &mask;
    p.mask_blur = 0;
    struct pictor_image masked = paint(m, &p);
    size_t changed = 0;
    for (int i = 0; i < W * H * 3; i++) {
        if (i / 3 % W >= W / 2)
            assert_int_equal(masked.pixels[i], pixels[i]); /* kept to the bit */
        else
            changed += masked.pixels[i] != pixels[i];
    }
    assert_true(changed > W * H / 2);
    for (int fill = PICTOR_FILL_BLUR; fill <= PICTOR_FILL_NOTHING; fill++) {
        p.fill = (enum pictor_fill)fill;
        p.mask_only_area = fill % 2;
        struct pictor_image other = paint(m, &p);
        assert_int_equal(other.width, W);
        pictor_image_free(&other);
    }
    p = params_of(m);
    p.init = &init;
    p.strength = 0;
    struct pictor_image kept = paint(m, &p);
    double diff = 0, diff_over = 0;
    for (int i = 0; i < W * H * 3; i++) {
        diff += abs(kept.pixels[i] - pixels[i]);
        diff_over += abs(over.pixels[i] - pixels[i]);
    }
    assert_true(diff < diff_over); /* less strength, less change */
    pictor_image_free(&over);
    pictor_image_free(&masked);
    pictor_image_free(&kept);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static void test_hires(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    p.hires_width = 144;
    p.hires_height = 96;
    struct pictor_image latent = paint(m, &p);
    assert_int_equal(latent.width, 144);
    assert_int_equal(latent.height, 96);
    p.hires_upscaler = "Lanczos";
    struct pictor_image lanczos = paint(m, &p);
    assert_false(same(&latent, &lanczos));
    pictor_image_free(&latent);
    pictor_image_free(&lanczos);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static bool touch_preview(void *ctx, const struct pictor_progress *p)
{
    struct pictor_image *largest = ctx;
    if (p->preview && p->preview->width > largest->width)
        *largest = *p->preview;
    return true;
}

static bool interrupt(void *ctx, const struct pictor_progress *p)
{
    if (p->step == 1)
        pictor_engine_interrupt(ctx);
    return true;
}

/* The second pass may be the smaller one; what is shared by both has to hold the first. */
/* What is said of the second pass alone changes it alone, and repeating the first says nothing. */
static void test_hires_own(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    p.hires_width = 144;
    p.hires_height = 96;
    p.negative_prompt = "blue";
    struct pictor_image plain = paint(m, &p);
    struct pictor_params first = p;
    first.hires_prompt = p.prompt;
    first.hires_negative_prompt = p.negative_prompt;
    first.hires_sampler = p.sampler;
    first.hires_scheduler = p.scheduler;
    struct pictor_image again = paint(m, &first);
    assert_true(same(&plain, &again));
    pictor_image_free(&again);
    for (int i = 0; i < 4; i++) {
        struct pictor_params own = p;
        own.hires_prompt = i == 0 ? "a green tree" : NULL;
        own.hires_negative_prompt = i == 1 ? "a green tree" : NULL;
        own.hires_sampler = i == 2 ? "DPM++ 2M SDE" : NULL;
        own.hires_scheduler = i == 3 ? "karras" : NULL;
        struct pictor_image image = paint(m, &own);
        assert_false(same(&plain, &image));
        assert_int_equal(image.width, 144);
        pictor_image_free(&image);
    }
    struct err err;
    p.hires_sampler = "nope";
    assert_false(pictor_check(m, &p, NULL, &err));
    assert_non_null(strstr(err.msg, "hires_sampler 'nope'"));
    pictor_image_free(&plain);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static void test_hires_smaller(void **state)
{
    struct err err;
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    struct pictor_image largest = {0};
    size_t plain, both;
    p.width = p.height = 512;
    p.steps = 1;
    p.preview_every = 1;
    p.on_progress = touch_preview;
    p.ctx = &largest;
    assert_true(pictor_check(m, &p, &plain, &err));
    p.hires_width = p.hires_height = 64;
    assert_true(pictor_check(m, &p, &both, &err));
    assert_true(both >= plain);
    struct pictor_image image = paint(m, &p);
    assert_int_equal(largest.width, 64);
    assert_int_equal(image.width, 64);
    pictor_image_free(&image);

    /* Interrupted in the first pass, the picture is that pass's, which is the larger. */
    p.on_progress = interrupt;
    p.ctx = e;
    image = paint(m, &p);
    assert_int_equal(image.width, 512);
    pictor_image_free(&image);
    pictor_model_free(m);
    pictor_engine_free(e);
}

struct watch {
    struct pictor_engine *engine;
    int calls, previews, cancel_at, interrupt_at, last;
    double left;
    bool refuse, cancel_first;
};

static bool on_progress(void *ctx, const struct pictor_progress *p)
{
    struct watch *w = ctx;
    assert_int_equal(p->step, w->calls);
    assert_true(p->steps > 0);
    if (p->step == 0)
        assert_true(p->seconds_left < 0);
    else
        assert_true(p->seconds_left >= 0 && (p->step == 1 || p->seconds_left <= w->left));
    w->left = p->seconds_left;
    w->calls++;
    w->last = p->step;
    if (p->preview) {
        w->previews++;
        assert_int_equal(p->preview->width, 12);
        assert_int_equal(p->preview->height, 8);
    }
    if (w->cancel_at ? p->step == w->cancel_at : w->cancel_first)
        pictor_engine_cancel(w->engine);
    if (w->interrupt_at && p->step == w->interrupt_at)
        pictor_engine_interrupt(w->engine);
    return !w->refuse;
}

static void test_progress_and_cancel(void **state)
{
    struct err err;
    struct pictor_image image;
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    struct watch w = {.engine = e};
    p.on_progress = on_progress;
    p.ctx = &w;
    p.steps = 6;
    p.preview_every = 2;
    image = paint(m, &p);
    assert_int_equal(w.calls, 7); /* {0, 6} and six steps */
    assert_int_equal(w.previews, 3);
    pictor_image_free(&image);

    w = (struct watch){.engine = e, .cancel_at = 2};
    assert_false(pictor_generate(m, &p, &image, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(w.last, 2); /* within the step */
    assert_null(image.pixels);

    w = (struct watch){.engine = e, .cancel_first = true};
    assert_false(pictor_generate(m, &p, &image, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(w.last, 0); /* no step is begun */

    w = (struct watch){.engine = e, .interrupt_at = 3};
    image = paint(m, &p);
    assert_int_equal(w.last, 3);
    assert_int_equal(image.width, 96);
    pictor_image_free(&image);

    w = (struct watch){.engine = e, .refuse = true};
    assert_false(pictor_generate(m, &p, &image, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* The built-in model composes small and paints details over: that is part of the steps. */
static void test_steps_are_those_asked_for(void **state)
{
    struct err err;
    struct pictor_image image;
    struct pictor_params p;
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = pictor_model_open(e, "builtin", &err);
    struct watch w = {.engine = e};
    if (!m)
        fail_msg("%s", err.msg);
    pictor_params_init(&p, m);
    p.prompt = "a red cube";
    p.on_progress = on_progress;
    p.ctx = &w;
    p.steps = 6;
    image = paint(m, &p);
    assert_int_equal(w.calls, 7);
    assert_int_equal(w.last, 6);
    pictor_image_free(&image);

    w = (struct watch){.engine = e, .cancel_at = 5};
    assert_false(pictor_generate(m, &p, &image, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.msg, "cancelled after step 5 of 6");
    pictor_model_free(m);
    pictor_engine_free(e);
}

static void test_refusals(void **state)
{
    struct err err;
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e);
    static const struct {
        const char *name;
    } cases[] = {{"width"},        {"height"},        {"steps"},       {"sampler"},
                 {"scheduler"},    {"guidance"},      {"strength"},    {"clip_skip"},
                 {"mask"},         {"hires_width"},   {"eta"},         {"width"},
                 {"guidance_low"}, {"guidance_high"}, {"reuse_every"}, {"token_merging"}};
    struct pictor_image grey = {0};
    for (int i = 0; i < 16; i++) {
        struct pictor_params p = params_of(m);
        switch (i) {
        case 0:
            p.width = 60;
            break;
        case 1:
            p.height = 1 << 20;
            break;
        case 2:
            p.steps = 0;
            break;
        case 3:
            p.sampler = "nope";
            break;
        case 4:
            p.scheduler = "nope";
            break;
        case 5:
            p.guidance = NAN;
            break;
        case 6:
            p.strength = 1.5;
            break;
        case 7:
            p.clip_skip = 3;
            break;
        case 8:
            p.mask = &grey;
            break;
        case 9:
            p.hires_width = 7;
            break;
        case 10:
            p.eta = -1;
            break;
        case 11:
            p.width = 100;
            break;
        case 12:
            p.speed.guidance_low = -1;
            break;
        case 13:
            p.speed.guidance_high = NAN;
            break;
        case 14:
            p.speed.reuse_every = 21;
            break;
        case 15:
            p.speed.token_merging = 1;
            break;
        }
        size_t bytes;
        err = (struct err){0};
        if (pictor_check(m, &p, &bytes, &err))
            fail_msg("case %d was accepted", i);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.msg, cases[i].name))
            fail_msg("case %d: '%s' does not name %s", i, err.msg, cases[i].name);
    }
    pictor_model_free(m);
    assert_null(pictor_model_open(e, "tests/golden/tiny/text.safetensors", &err));
    assert_null(pictor_model_open(e, "tests/golden/README.md", &err));
    assert_null(pictor_model_open(e, "no/such/file.safetensors", &err));
    pictor_engine_free(e);
}

/* A picture at `speed`, held against `plain`. */
static bool changes(struct pictor_model *m, struct pictor_params p, struct pictor_speed speed,
                    const struct pictor_image *plain)
{
    p.speed = speed;
    struct pictor_image image = paint(m, &p), again = paint(m, &p);
    assert_true(same(&image, &again));
    bool differs = !same(&image, plain);
    pictor_image_free(&image);
    pictor_image_free(&again);
    return differs;
}

/* Shortcuts that leave nothing out change nothing, all others do; also where prompt and negative
 * prompt are calls of their own, and where sides are odd on the way down. */
static void test_speed(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    char words[400] = "";
    for (int i = 0; i < 80; i++)
        strcat(words, "a b ");
    for (int i = 0; i < 3; i++) {
        struct pictor_params p = params_of(m), unguided, one_step;
        p.negative_prompt = i == 1 ? words : "blurry";
        p.width = i == 2 ? 72 : 96;
        unguided = one_step = p;
        unguided.guidance = 1;
        one_step.steps = 1;
        struct pictor_image plain = paint(m, &p), alone = paint(m, &unguided),
                            one = paint(m, &one_step);
        assert_false(changes(m, p, (struct pictor_speed){.reuse_every = 1}, &plain));
        assert_false(changes(m, p, (struct pictor_speed){.guidance_low = .01}, &plain));
        assert_false(changes(m, p, (struct pictor_speed){.guidance_high = 20}, &plain));
        assert_false(changes(m, p, (struct pictor_speed){.guidance_low = 1000}, &alone));
        assert_false(changes(m, p, (struct pictor_speed){.guidance_high = .01}, &alone));
        assert_false(changes(m, one_step, (struct pictor_speed){.reuse_every = 2}, &one));

        struct pictor_speed alternate = {.guidance_low = 1000, .guidance_alternate = true};
        assert_true(changes(m, p, alternate, &plain));
        assert_true(changes(m, p, alternate, &alone));
        assert_false(changes(m, one_step, alternate, &one)); /* the first call has guidance */
        assert_true(changes(m, p, (struct pictor_speed){.guidance_low = 3}, &plain));
        assert_true(changes(m, p, (struct pictor_speed){.guidance_high = 3}, &plain));
        assert_true(changes(m, p, (struct pictor_speed){.reuse_every = 2}, &plain));
        assert_true(changes(m, p, (struct pictor_speed){.token_merging = .5}, &plain));

        /* What is known of the prompt's half alone does not serve both. */
        p.speed = (struct pictor_speed){.guidance_high = 3, .reuse_every = 20};
        assert_true(changes(m, p, (struct pictor_speed){.reuse_every = 20}, &plain));
        struct pictor_image image = paint(m, &p);
        pictor_image_free(&image);
        pictor_image_free(&plain);
        pictor_image_free(&alone);
        pictor_image_free(&one);
    }
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* Prompts that change do, in both passes; those that only look like it do not. Memory was planned
 * for every text, whatever it is as long as. */
static void test_prompts_change(void **state)
{
    static const struct {
        const char *prompt, *same; /* NULL: as none of the others */
        enum pictor_syntax syntax;
    } cases[] = {
        {"a [red:red:2] circle", "a red circle", PICTOR_SYNTAX_WEBUI},
        {"a [red|red] circle", "a red circle", PICTOR_SYNTAX_WEBUI},
        {"a [red:blue:4] circle", "a red circle", PICTOR_SYNTAX_WEBUI},
        {"a [blue:red:0] circle", "a red circle", PICTOR_SYNTAX_WEBUI},
        {"a red circle:1", "a red circle", PICTOR_SYNTAX_WEBUI},
        {"a \\[red\\] circle AND", "a \\[red\\] circle and", PICTOR_SYNTAX_WEIGHTS},
        {"a [red] circle", "a \\[red\\] circle", PICTOR_SYNTAX_PLAIN},
        {"a [red:blue:2] circle", NULL, PICTOR_SYNTAX_WEBUI},
        {"a [red|blue] circle", NULL, PICTOR_SYNTAX_WEBUI},
        {"a [red:blue:2] circle", NULL, PICTOR_SYNTAX_WEIGHTS},
        {"a red circle AND a blue square :0.5", NULL, PICTOR_SYNTAX_WEBUI},
        {"a red circle AND a blue square :0.5", NULL, PICTOR_SYNTAX_WEIGHTS},
        {"a red circle:0.5", NULL, PICTOR_SYNTAX_WEBUI},
        {"a red circle [BREAK a|a BREAK b BREAK c]", NULL, PICTOR_SYNTAX_WEBUI},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_image images[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct pictor_params p = params_of(m), other = p;
        p.prompt = cases[i].prompt;
        p.syntax = cases[i].syntax;
        other.prompt = cases[i].same;
        images[i] = paint(m, &p);
        if (cases[i].same) {
            struct pictor_image image = paint(m, &other);
            if (!same(&images[i], &image))
                fail_msg("%s is not %s", cases[i].prompt, cases[i].same);
            pictor_image_free(&image);
            continue;
        }
        for (int k = 0; k < i; k++)
            if (same(&images[i], &images[k]))
                fail_msg("%s is %s", cases[i].prompt, cases[k].prompt);
        p.speed.reuse_every = 2; /* every change is a whole call */
        p.speed.guidance_high = 5;
        struct pictor_image quick = paint(m, &p), again = paint(m, &p);
        assert_true(same(&quick, &again));
        pictor_image_free(&quick);
        pictor_image_free(&again);
    }
    for (int i = 0; i < COUNT; i++)
        pictor_image_free(&images[i]);

    struct pictor_params p = params_of(m), second = p;
    second.hires_width = p.hires_width = 128;
    second.hires_height = p.hires_height = 96;
    p.prompt = "a red circle";
    second.prompt = "a [red:blue:1.5] circle";
    struct pictor_image plain = paint(m, &p), changed = paint(m, &second);
    assert_false(same(&plain, &changed));
    second.prompt = "a [red:blue:8] circle";
    struct pictor_image unchanged = paint(m, &second);
    assert_true(same(&plain, &unchanged));
    pictor_image_free(&plain);
    pictor_image_free(&changed);
    pictor_image_free(&unchanged);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static void test_memory_is_planned(void **state)
{
    struct err err;
    size_t small, large;
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    assert_true(pictor_check(m, &p, &small, &err));
    p.width = p.height = 1024;
    assert_true(pictor_check(m, &p, &large, &err));
    assert_true(large > 8 * small);
    size_t weights = pictor_model_info(m)->weight_bytes;
    pictor_model_free(m);
    pictor_engine_free(e);

    e = engine_of(1, weights + large / 2);
    m = model_of(e);
    assert_false(pictor_check(m, &p, NULL, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "MiB"));
    p.width = 96;
    p.height = 64;
    struct pictor_image image = paint(m, &p);
    pictor_image_free(&image);
    pictor_model_free(m);
    pictor_engine_free(e);

    e = engine_of(1, weights / 2);
    assert_null(pictor_model_open(e, MODEL, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    pictor_engine_free(e);
}

static size_t address_space(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool note_size(void *ctx, const struct pictor_progress *p)
{
    size_t *most = ctx, now = address_space();
    *most = now > *most ? now : *most;
    return true;
}

/* What is planned is what is taken: floats are not counted a second time, nor forgotten. */
static void test_memory_is_counted_once(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their heaps keep what was freed */
#endif
    struct err err;
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    uint8_t *grey = calloc(1024 * 1024, 3);
    assert_non_null(grey);
    struct pictor_image init = {1024, 1024, 3, grey};
    size_t bytes, most = 0;
    p.width = p.height = 768;
    p.steps = 1;
    p.guidance = 1;
    p.speed.token_merging = 0.9;
    p.init = &init;
    p.sampler = "DPM++ SDE"; /* the one that needs most floats */
    p.on_progress = note_size;
    p.ctx = &most;
    assert_true(pictor_check(m, &p, &bytes, &err));
    size_t before = address_space();
    struct pictor_image image = paint(m, &p);
    size_t taken = most - before, tolerance = 4 << 20; /* the heap's own; floats have 7 */
    if (taken > bytes + tolerance || taken < bytes / 2)
        fail_msg("planned %zu bytes, took %zu", bytes, taken);
    pictor_image_free(&image);
    free(grey);
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* Each part within its limit, all of them more than is kept while they are painted with. */
static void test_prompts_of_many_parts(void **state)
{
    struct err err;
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e);
    char prompt[4000] = "";
    struct pictor_params p = params_of(m);
    p.prompt = prompt;
    p.steps = 4;
    size_t bytes;
    for (int part = 0; part < 4; part++) {
        strcat(prompt, (const char *[]){"[a|b|c|d]", " AND [e|f|g|h]", " AND [i|j|k|l]",
                                        " AND [m|n|o|p]"}[part]);
        for (int i = 0; i < 31; i++)
            strcat(prompt, " BREAK x");
        assert_int_equal(pictor_check(m, &p, &bytes, &err), part < 3);
    }
    assert_non_null(strstr(err.msg, "432 chunks"));
    assert_false(pictor_prompt_check(&p, false, &err));
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* A model of three files paints what the one file does. */
static void test_parts(void **state)
{
    struct err err;
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *whole = model_of(e);
    struct pictor_params p = params_of(whole);
    struct pictor_image a = paint(whole, &p);
    struct pictor_files files = {.count = 0};
    assert_true(pictor_files_add(&files, "text_encoder", MODEL, &err));
    assert_true(pictor_files_add(&files, "unet", MODEL, &err));
    assert_true(pictor_files_add(&files, "vae", MODEL, &err));
    struct pictor_model *m = pictor_model_open_files(e, &files, &err);
    if (!m)
        fail_msg("%s", err.msg);
    struct pictor_image b = paint(m, &p);
    assert_true(same(&a, &b));
    pictor_image_free(&a);
    pictor_image_free(&b);
    pictor_model_free(m);
    pictor_model_free(whole);

    assert_false(pictor_files_add(&files, "brain", MODEL, &err));
    assert_non_null(strstr(err.msg, "brain"));
    assert_false(pictor_files_add(&files, "vae", MODEL ".gone", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(files.count, 3);
    pictor_files_close(&files);
    pictor_engine_free(e);
}

/* Arenas are mappings, which no leak checker counts. */
static void test_memory_goes_back(void **state)
{
    struct err err;
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e);
    struct pictor_params p = params_of(m);
    size_t before = 0, needed;
    p.width = p.height = 512;
    p.steps = 1;
    assert_true(pictor_check(m, &p, &needed, &err));
    for (int i = 0; i < 4; i++) {
        struct pictor_image image = paint(m, &p);
        pictor_image_free(&image);
        if (i == 0)
            before = address_space();
    }
    size_t after = address_space();
    if (after > before + needed / 2)
        fail_msg("three pictures of %zu bytes each left %zu behind", needed, after - before);
    pictor_model_free(m);
    pictor_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_every_parameter_matters),
        cmocka_unit_test(test_painting_over),
        cmocka_unit_test(test_hires),
        cmocka_unit_test(test_hires_own),
        cmocka_unit_test(test_hires_smaller),
        cmocka_unit_test(test_progress_and_cancel),
        cmocka_unit_test(test_steps_are_those_asked_for),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory_is_planned),
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_prompts_change),
        cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_memory_is_counted_once),
        cmocka_unit_test(test_prompts_of_many_parts),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

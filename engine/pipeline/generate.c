/* generate.c: from parameters to a picture.
 *
 * The stages in order: words to conditioning, a picture to paint over to a latent, sampling,
 * (hires) a larger latent and sampling again, latent to pixels. Each stage starts with an empty
 * arena, so the memory a picture needs is the largest stage's, which pictor_check finds by running
 * all of them dry. Latents between stages are plain floats, channels-last, in memory of their own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "engine/io/image.h"
#include "engine/pipeline/canvas.h"
#include "engine/pipeline/guided.h"
#include "engine/pipeline/model.h"
#include "engine/pipeline/preview.h"
#include "engine/sample/blend.h"
#include "engine/sample/noise.h"
#include "engine/sample/sampler.h"

#define CHANNELS GUIDED_CHANNELS
#define MIN_SIDE 64
#define MAX_SIDE 8192 /* far beyond what the models do; memory is the real limit */
#define MAX_STEPS 1000
#define MAX_SIGMA 1000 /* of guidance_low and _high; a model's own begin at 15 */
#define MAX_REUSE 20
#define MAX_MERGING 0.9 /* the SD WebUI's */

void pictor_params_init(struct pictor_params *p, const struct pictor_model *model)
{
    static const struct pictor_model_info plain = {
        .native_width = 512, .native_height = 512, .default_guidance = 7, .default_steps = 20};
    const struct pictor_model_info *info = model ? &model->info : &plain;
    *p = (struct pictor_params){
        .prompt = "",
        .negative_prompt = "",
        .width = info->native_width,
        .height = info->native_height,
        .steps = info->default_steps,
        .guidance = info->default_guidance,
        .sampler = "Euler a",
        .scheduler = "automatic",
        .eta = NAN,
        .clip_skip = 1,
        .strength = 0.75,
        .fill = PICTOR_FILL_ORIGINAL,
        .mask_blur = 4,
        .mask_padding = 32,
        .hires_strength = 0.7,
        .hires_upscaler = "Latent",
    };
}

/* One picture on its way. */
struct job {
    struct pictor_model *m;
    const struct pictor_params *asked, *p; /* p: asked, or `fitted` to what the model can compose */
    struct pictor_params fitted;
    const struct sampler *sampler;
    enum schedule_kind scheduler;
    struct ops ops; /* its arena: `plan`, or the engine's */
    struct arena plan;
    int tokens[2];           /* of the prompt and the negative */
    const float *states[2];  /* conditioning of both */
    int width, height;       /* of the latent being worked on */
    float *latent;           /* [pixels, 4] */
    int done, total;         /* steps, over both passes */
    double began, last_step; /* seconds */
    struct pictor_image preview;
    bool interrupted;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool in_range(const char *name, double value, double low, double high, struct err *err)
{
    if (value >= low && value <= high)
        return true;
    return err_set(err, ERR_INVALID, "%s must be %g..%g, got %g", name, low, high, value);
}

static bool check_side(const char *name, int value, struct err *err)
{
    if (!in_range(name, value, MIN_SIDE, MAX_SIDE, err))
        return false;
    if (value % VAE_FACTOR)
        return err_set(err, ERR_INVALID, "%s must be a multiple of %d, got %d", name, VAE_FACTOR,
                       value);
    return true;
}

static bool check(struct job *j, struct err *err)
{
    const struct pictor_params *p = j->p;
    const struct pictor_scheduler_info *named = NULL, *chosen;
    if (!(j->sampler = sampler_find(p->sampler, &named)))
        return err_set(err, ERR_INVALID, "sampler '%.64s' is not known", p->sampler);
    if (!(chosen = pictor_scheduler_find(p->scheduler)))
        return err_set(err, ERR_INVALID, "scheduler '%.64s' is not known", p->scheduler);
    j->scheduler = schedule_kind_of(chosen);
    if (j->scheduler == SCHEDULE_AUTOMATIC && named)
        j->scheduler = schedule_kind_of(named);
    if (!check_side("width", p->width, err) || !check_side("height", p->height, err) ||
        !in_range("steps", p->steps, 1, MAX_STEPS, err) ||
        !in_range("guidance", p->guidance, 0, 100, err) ||
        !in_range("strength", p->strength, 0, 1, err) ||
        !in_range("subseed_strength", p->subseed_strength, 0, 1, err) ||
        !in_range("clip_skip", p->clip_skip, 1, j->m->arch.text.layers, err) ||
        !in_range("mask_blur", p->mask_blur, 0, 64, err) ||
        !in_range("mask_padding", p->mask_padding, 0, MAX_SIDE, err) ||
        !in_range("guidance_low", p->speed.guidance_low, 0, MAX_SIGMA, err) ||
        !in_range("guidance_high", p->speed.guidance_high, 0, MAX_SIGMA, err) ||
        !in_range("reuse_every", p->speed.reuse_every, 0, MAX_REUSE, err) ||
        !in_range("token_merging", p->speed.token_merging, 0, MAX_MERGING, err))
        return false;
    if (!isnan(p->eta) && !in_range("eta", p->eta, 0, 1, err))
        return false;
    if (p->mask && !p->init)
        return err_set(err, ERR_INVALID, "mask needs init: a picture to paint over");
    if (p->hires_width || p->hires_height) {
        if (p->init)
            return err_set(err, ERR_INVALID, "hires is for text to image: init was given too");
        if (!check_side("hires_width", p->hires_width, err) ||
            !check_side("hires_height", p->hires_height, err) ||
            !in_range("hires_steps", p->hires_steps, 0, MAX_STEPS, err) ||
            !in_range("hires_strength", p->hires_strength, 0, 1, err))
            return false;
        if (strcasecmp(p->hires_upscaler, "Latent") && strcasecmp(p->hires_upscaler, "Lanczos"))
            return err_set(err, ERR_INVALID,
                           "hires_upscaler must be Latent or Lanczos, got '%.64s'",
                           p->hires_upscaler);
    }
    struct conditioning *c = j->m->conditioning;
    return conditioning_tokens(c, p->prompt, &j->tokens[0], err) &&
           conditioning_tokens(c, p->negative_prompt, &j->tokens[1], err);
}

static struct guided_options guidance_of(struct job *j)
{
    return (struct guided_options){
        .ops = &j->ops,
        .unet = j->m->unet,
        .schedule = &j->m->schedule,
        .width = j->width,
        .height = j->height,
        .guidance = j->p->guidance,
        .state_width = j->m->arch.text.width,
        .tokens = {j->tokens[0], j->tokens[1]},
        .states = {j->states[0], j->states[1]},
        .speed = j->p->speed,
    };
}

static bool report(struct job *j, const float *x0)
{
    const struct pictor_params *p = j->p;
    if (!p->on_progress)
        return true;
    struct pictor_progress progress = {.step = j->done, .steps = j->total};
    double t = now();
    progress.elapsed = t - j->began;
    progress.step_seconds = j->done ? t - j->last_step : 0;
    j->last_step = t;
    if (x0 && p->preview_every && (j->done % p->preview_every == 0 || j->done == j->total)) {
        preview_paint(j->m, x0, j->width, j->height, &j->preview);
        progress.preview = &j->preview;
    }
    return p->on_progress(p->ctx, &progress);
}

static enum sampler_verdict on_step(void *ctx, int step, const float *x0)
{
    struct job *j = ctx;
    j->done++;
    if (!report(j, x0) || atomic_load(&j->m->engine->cancel))
        return SAMPLER_CANCEL;
    if (atomic_load(&j->m->engine->interrupt)) {
        j->interrupted = true;
        return SAMPLER_FINISH;
    }
    return SAMPLER_CONTINUE;
}

/* Makes the arena ready for a stage that was planned to need `bytes`; between stages is also where
 * a picture that is not sampling can be cancelled. */
static bool stage(struct job *j, size_t bytes, struct err *err)
{
    if (atomic_load(&j->m->engine->cancel))
        return err_set(err, ERR_CANCELLED, "cancelled");
    j->ops.arena = &j->m->engine->arena;
    return arena_renew(j->ops.arena, bytes, err);
}

/* ---- what each stage takes, by running it dry ---- */

static struct arena *dry(struct job *j)
{
    arena_plan(&j->plan);
    return j->ops.arena = &j->plan;
}

static size_t plan_text(struct job *j)
{
    struct arena *a = dry(j);
    clip_encode(&j->ops, j->m->clip, NULL, CHUNK_LENGTH, j->p->clip_skip, NULL);
    return a->peak;
}

static bool plan_sampling(struct job *j, size_t *bytes, struct err *err)
{
    struct arena *a = dry(j);
    struct guided_options o = guidance_of(j);
    struct guided g;
    bool ok = guided_new(&g, &o, err);
    if (ok) {
        struct denoiser d = guided_denoiser(&g);
        ok = d.denoise(d.ctx, NULL, 1, NULL, err);
    }
    *bytes = a->peak;
    guided_free(&g);
    return ok;
}

static size_t plan_decode(struct job *j)
{
    struct arena *a = dry(j);
    vae_decode(&j->ops, j->m->vae, NULL, j->height, j->width, NULL);
    return a->peak;
}

static size_t plan_encode(struct job *j, int h, int w)
{
    struct arena *a = dry(j);
    vae_encode(&j->ops, j->m->vae, NULL, h, w, NULL);
    return a->peak;
}

static int near_side(double pixels)
{
    int side = VAE_FACTOR * (int)lround(pixels / VAE_FACTOR);
    return side < MIN_SIDE ? MIN_SIDE : side;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Latent pixels of the larger pass: the second need not be the one. */
static size_t most_pixels(const struct pictor_params *p)
{
    size_t first = (size_t)(p->width / VAE_FACTOR) * (size_t)(p->height / VAE_FACTOR);
    return larger(first,
                  (size_t)(p->hires_width / VAE_FACTOR) * (size_t)(p->hires_height / VAE_FACTOR));
}

/* What the picture measures in the end. */
static int last_width(const struct pictor_params *p)
{
    return p->hires_width ? p->hires_width : p->width;
}

static int last_height(const struct pictor_params *p)
{
    return p->hires_width ? p->hires_height : p->height;
}

/* `side` x `side` pixels in the shape that the picture has in the end. */
static void shape(const struct pictor_params *p, double side, int *width, int *height)
{
    double w = last_width(p), h = last_height(p), scale = side / sqrt(w * h);
    *width = near_side(w * scale);
    *height = near_side(h * scale);
}

/* A model that cannot compose large pictures repeats its subject on them. From twice the pixels
 * that it can compose on, pictures are composed so, in the shape asked for; then enlarged and
 * painted over for details, up to the model's native size; and enlarged to what was asked for in
 * the end: a second pass that was asked for says no more than the size. Painting over a picture
 * that leaves its composition begins with the details. */
static void fit_model(struct job *j)
{
    const struct pictor_model_info *info = &j->m->info;
    const struct pictor_params *p = j->asked;
    struct pictor_params *f = &j->fitted;
    double asked = (double)last_width(p) * last_height(p), detail = info->detail_strength;
    double native = (double)info->native_width * info->native_height;
    if (!info->compose_side || asked < 2.0 * info->compose_side * info->compose_side)
        return;
    *f = *p;
    j->p = f;
    f->hires_width = f->hires_height = 0;
    double side = sqrt(fmin(asked, native));
    if (p->init && p->strength <= detail) {
        shape(p, side, &f->width, &f->height);
        return;
    }
    shape(p, info->compose_side, &f->width, &f->height);
    if (detail > 0) {
        shape(p, side, &f->hires_width, &f->hires_height);
        f->hires_steps = (int)fmax(1, round(detail * p->steps)); /* as long as those before */
        f->hires_strength = detail;
        f->hires_upscaler = "Lanczos";
    }
}

/* Bytes at the widest moment: the largest stage, and the floats that live between stages. */
static bool plan(struct job *j, size_t *bytes, struct err *err)
{
    size_t asked = (size_t)last_width(j->asked) * (size_t)last_height(j->asked);
    fit_model(j);
    const struct pictor_params *p = j->p;
    bool hires = p->hires_width > 0;
    size_t most = plan_text(j), one;
    for (int pass = 0; pass <= hires; pass++) {
        j->width = (pass ? p->hires_width : p->width) / VAE_FACTOR;
        j->height = (pass ? p->hires_height : p->height) / VAE_FACTOR;
        if (!plan_sampling(j, &one, err))
            return false;
        most = larger(most, larger(one, plan_decode(j)));
        if (p->init || pass)
            most = larger(most, plan_encode(j, j->height, j->width));
    }
    if (p->preview_every)
        most = larger(most, plan_encode(j, PREVIEW_SIDE / VAE_FACTOR, PREVIEW_SIDE / VAE_FACTOR));
    size_t pixels = most_pixels(p);
    size_t picture = larger(pixels * VAE_FACTOR * VAE_FACTOR, asked) * 3 * (sizeof(float) + 2);
    *bytes = most + picture + pixels * CHANNELS * sizeof(float) * (size_t)(4 + j->sampler->buffers);
    size_t limit = j->m->engine->memory_limit, weights = j->m->info.weight_bytes;
    if (limit && *bytes > limit - (weights < limit ? weights : limit))
        return err_set(
            err, ERR_TOO_LARGE,
            "this picture needs %zu MiB beside the model's %zu MiB; the limit is %zu MiB",
            *bytes >> 20, weights >> 20, limit >> 20);
    return true;
}

bool pictor_check(struct pictor_model *model, const struct pictor_params *params, size_t *bytes,
                  struct err *err)
{
    struct job j = {.m = model, .asked = params, .p = params};
    j.ops.dev = model->engine->dev;
    size_t ignored;
    return check(&j, err) && plan(&j, bytes ? bytes : &ignored, err);
}

/* ---- the stages ---- */

static bool encode_text(struct job *j, struct err *err)
{
    const char *prompts[2] = {j->p->prompt, j->p->negative_prompt};
    if (!stage(j, plan_text(j), err))
        return false;
    for (int i = 0; i < 2; i++)
        if (!conditioning_encode(j->m->conditioning, &j->ops, prompts[i], j->p->clip_skip,
                                 &j->states[i], err))
            return false;
    return true;
}

/* The seed's first draw, channels-last, mixed with the subseed's; `noise` is left after it. */
static bool first_noise(struct job *j, struct noise *noise, float *out, struct err *err)
{
    const struct pictor_params *p = j->p;
    size_t pixels = (size_t)j->width * (size_t)j->height, n = pixels * CHANNELS;
    float *draw = malloc(2 * n * sizeof *draw);
    if (!draw)
        return err_set(err, ERR_TOO_LARGE, "no memory for noise");
    noise_init(noise, p->rng, p->seed);
    noise_draw(noise, draw, n);
    if (p->subseed_strength > 0) {
        struct noise other;
        noise_init(&other, p->rng, p->subseed);
        noise_draw(&other, draw + n, n);
        noise_slerp(draw, draw, draw + n, p->subseed_strength, CHANNELS, j->height, j->width);
    }
    noise_channels_last(out, draw, CHANNELS, pixels);
    free(draw);
    return true;
}

/* Samples j->latent: from nothing, or from what is in it, painted over where `mask` is 1 (NULL:
 * everywhere) and filled there as `fill` says. */
static bool sample(struct job *j, const struct sampler_plan *plan, bool from_latent,
                   const float *mask, enum pictor_fill fill, struct err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height, n = pixels * CHANNELS, bytes;
    struct guided_options options = guidance_of(j);
    struct guided g = {0};
    struct noise noise;
    bool ok = false;
    float *memory = malloc(n * (3 + (size_t)j->sampler->buffers) * sizeof *memory);
    float *x = memory, *init = x + n, *blend_scratch = init + n, *scratch = blend_scratch + n;
    if (!memory)
        return err_set(err, ERR_TOO_LARGE, "no memory for latents");
    if (!plan_sampling(j, &bytes, err) || !stage(j, bytes, err) || !first_noise(j, &noise, x, err))
        goto done;
    if (from_latent) {
        memcpy(init, j->latent, n * sizeof *init);
        if (mask && (fill == PICTOR_FILL_NOISE || fill == PICTOR_FILL_NOTHING))
            for (size_t i = 0; i < n; i++) {
                float m = mask[i / CHANNELS];
                init[i] = init[i] * (1 - m) + (fill == PICTOR_FILL_NOISE ? m * x[i] : 0);
            }
    }
    if (!guided_new(&g, &options, err))
        goto done;
    struct denoiser denoiser = guided_denoiser(&g);
    struct blend blend = {denoiser,     init, mask, pixels, CHANNELS, j->sampler->timesteps,
                          blend_scratch};
    struct sampler_run run = {
        .sampler = j->sampler,
        .plan = plan,
        .pixels = pixels,
        .channels = CHANNELS,
        .denoiser = mask ? blend_denoiser(&blend) : denoiser,
        .noise = &noise,
        .eta = j->p->eta,
        .on_step = on_step,
        .ctx = j,
    };
    sampler_start(plan, x, from_latent ? init : NULL, x, n);
    if (!sampler_run(&run, x, scratch, err))
        goto done;
    if (mask)
        blend_apply(&blend, x);
    memcpy(j->latent, x, n * sizeof *x);
    ok = true;
done:
    guided_free(&g);
    free(memory);
    return ok;
}

static bool encode_picture(struct job *j, const struct pictor_image *image, struct err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height, area = pixels * VAE_FACTOR * VAE_FACTOR;
    float *floats = malloc((3 * area + CHANNELS * pixels) * sizeof *floats);
    if (!floats)
        return err_set(err, ERR_TOO_LARGE, "no memory for a picture of %zu pixels", area);
    float *latent = floats + 3 * area;
    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < 3; c++)
            floats[c * area + i] = (float)image->pixels[3 * i + c] / 127.5f - 1;
    bool ok = stage(j, plan_encode(j, j->height, j->width), err);
    if (ok) {
        vae_encode(&j->ops, j->m->vae, floats, j->height, j->width, latent);
        noise_channels_last(j->latent, latent, CHANNELS, pixels);
    }
    free(floats);
    return ok;
}

/* 0..255 by cutting off, as the SD WebUI does. */
static uint8_t to_byte(float v)
{
    v = (v + 1) * 127.5f;
    return (uint8_t)(v > 0 ? v < 255 ? v : 255 : 0); /* NaN is 0 */
}

static bool decode_picture(struct job *j, struct pictor_image *out, struct err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height, area = pixels * VAE_FACTOR * VAE_FACTOR;
    float *floats = malloc((3 * area + CHANNELS * pixels) * sizeof *floats);
    float *latent = floats + 3 * area;
    if (!floats)
        return err_set(err, ERR_TOO_LARGE, "no memory for a picture of %zu pixels", area);
    bool ok = stage(j, plan_decode(j), err) &&
              image_new(out, j->width * VAE_FACTOR, j->height * VAE_FACTOR, 3, err);
    if (ok) {
        for (size_t i = 0; i < pixels; i++)
            for (size_t c = 0; c < CHANNELS; c++)
                latent[c * pixels + i] = j->latent[i * CHANNELS + c];
        vae_decode(&j->ops, j->m->vae, latent, j->height, j->width, floats);
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++)
                out->pixels[3 * i + c] = to_byte(floats[c * area + i]);
    }
    free(floats);
    return ok;
}

/* Bilinear, half-pixel centres, no antialiasing: what "Latent" means in the SD WebUI. */
static bool enlarge_latent(struct job *j, int w, int h, struct err *err)
{
    float *big = malloc((size_t)w * (size_t)h * CHANNELS * sizeof *big);
    if (!big)
        return err_set(err, ERR_TOO_LARGE, "no memory for a latent of %dx%d", w, h);
    for (int y = 0; y < h; y++) {
        float fy = fmaxf(((float)y + 0.5f) * (float)j->height / (float)h - 0.5f, 0);
        int y0 = (int)fy, y1 = y0 + 1 < j->height ? y0 + 1 : y0;
        float dy = fy - (float)y0;
        for (int x = 0; x < w; x++) {
            float fx = fmaxf(((float)x + 0.5f) * (float)j->width / (float)w - 0.5f, 0);
            int x0 = (int)fx, x1 = x0 + 1 < j->width ? x0 + 1 : x0;
            float dx = fx - (float)x0;
            for (int c = 0; c < CHANNELS; c++) {
                const float *l = j->latent + c;
                size_t r0 = (size_t)y0 * (size_t)j->width, r1 = (size_t)y1 * (size_t)j->width;
                float top = l[(r0 + (size_t)x0) * CHANNELS] * (1 - dx) +
                            l[(r0 + (size_t)x1) * CHANNELS] * dx;
                float low = l[(r1 + (size_t)x0) * CHANNELS] * (1 - dx) +
                            l[(r1 + (size_t)x1) * CHANNELS] * dx;
                big[((size_t)y * (size_t)w + (size_t)x) * CHANNELS + (size_t)c] =
                    top * (1 - dy) + low * dy;
            }
        }
    }
    free(j->latent);
    j->latent = big;
    j->width = w;
    j->height = h;
    return true;
}

/* By way of pixels. */
static bool enlarge_picture(struct job *j, int w, int h, struct err *err)
{
    struct pictor_image small = {0}, large = {0};
    bool ok = decode_picture(j, &small, err) &&
              image_resize(&small, w * VAE_FACTOR, h * VAE_FACTOR, IMAGE_LANCZOS, &large, err);
    if (ok) {
        float *latent = malloc((size_t)w * (size_t)h * CHANNELS * sizeof *latent);
        ok = latent || err_set(err, ERR_TOO_LARGE, "no memory for a latent of %dx%d", w, h);
        if (latent) {
            free(j->latent);
            j->latent = latent;
            j->width = w;
            j->height = h;
            ok = encode_picture(j, &large, err);
        }
    }
    pictor_image_free(&small);
    pictor_image_free(&large);
    return ok;
}

/* In place. On failure the picture is freed. */
static bool resize(struct pictor_image *image, int width, int height, struct err *err)
{
    if (image->width == width && image->height == height)
        return true;
    struct pictor_image old = *image;
    *image = (struct pictor_image){0};
    bool ok = image_resize(&old, width, height, IMAGE_LANCZOS, image, err);
    pictor_image_free(&old);
    return ok;
}

/* The canvas' mask at the latent's size, which is not larger: 1 where any of it is. `out` is
 * replaced. */
static bool mask_for(struct job *j, const struct canvas *canvas, float **out, struct err *err)
{
    int w = j->asked->width / VAE_FACTOR, h = j->asked->height / VAE_FACTOR;
    if (!canvas->mask)
        return true;
    float *mask = calloc((size_t)j->width * (size_t)j->height, sizeof *mask);
    if (!mask)
        return err_set(err, ERR_TOO_LARGE, "no memory for a mask");
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            if (canvas->mask[y * w + x] > 0)
                mask[y * j->height / h * j->width + x * j->width / w] = 1;
    free(*out);
    *out = mask;
    return true;
}

static bool paint(struct job *j, struct pictor_image *out, struct err *err)
{
    const struct pictor_params *p = j->p;
    const struct schedule *schedule = &j->m->schedule;
    struct sampler_plan first = {0}, second = {0};
    struct canvas canvas = {0};
    struct pictor_image painted = {0};
    float *mask = NULL; /* at the size that is worked on */
    bool hires = p->hires_width > 0, ok = false;
    j->width = p->width / VAE_FACTOR;
    j->height = p->height / VAE_FACTOR;
    j->latent = malloc((size_t)j->width * (size_t)j->height * CHANNELS * sizeof *j->latent);
    j->preview.pixels = malloc(most_pixels(p) * 3);
    if (!j->latent || !j->preview.pixels) {
        err_set(err, ERR_TOO_LARGE, "no memory for a latent of %dx%d", j->width, j->height);
        goto done;
    }
    if (p->init ? !sampler_plan_image(&first, j->sampler, j->scheduler, schedule, p->steps,
                                      p->strength, err)
                : !sampler_plan_text(&first, j->sampler, j->scheduler, schedule, p->steps, err))
        goto done;
    if (hires &&
        !sampler_plan_hires(&second, j->sampler, j->scheduler, schedule,
                            p->hires_steps ? p->hires_steps : p->steps, p->hires_strength, err))
        goto done;
    j->total = first.steps + second.steps;
    if (!encode_text(j, err))
        goto done;
    if (p->preview_every) {
        int n = PREVIEW_SIDE / VAE_FACTOR;
        if (!stage(j, plan_encode(j, n, n), err))
            goto done;
        preview_fit(j->m, &j->ops);
    }
    if (!report(j, NULL)) {
        err_set(err, ERR_CANCELLED, "cancelled");
        goto done;
    }
    if (p->init && (!canvas_prepare(j->asked, &canvas, err) ||
                    !resize(&canvas.image, p->width, p->height, err) ||
                    !encode_picture(j, &canvas.image, err) || !mask_for(j, &canvas, &mask, err)))
        goto done;
    if (!sample(j, &first, p->init != NULL, mask, canvas.fill, err))
        goto done;
    if (hires && !j->interrupted) {
        int w = p->hires_width / VAE_FACTOR, h = p->hires_height / VAE_FACTOR;
        bool latent = strcasecmp(p->hires_upscaler, "Latent") == 0;
        if (!(latent ? enlarge_latent(j, w, h, err) : enlarge_picture(j, w, h, err)) ||
            !mask_for(j, &canvas, &mask, err) ||
            (second.steps && !sample(j, &second, true, mask, PICTOR_FILL_ORIGINAL, err)))
            goto done;
    }
    if (!decode_picture(j, &painted, err) ||
        (p != j->asked && !resize(&painted, last_width(j->asked), last_height(j->asked), err)))
        goto done;
    if (p->init) {
        ok = canvas_finish(&canvas, &painted, out, err);
    } else {
        *out = painted;
        painted = (struct pictor_image){0};
        ok = true;
    }
done:
    free(mask);
    pictor_image_free(&painted);
    canvas_free(&canvas);
    sampler_plan_free(&first);
    sampler_plan_free(&second);
    arena_rest(&j->m->engine->arena);
    pictor_image_free(&j->preview);
    free(j->latent);
    return ok;
}

bool pictor_generate(struct pictor_model *model, const struct pictor_params *params,
                     struct pictor_image *out, struct err *err)
{
    struct job j = {.m = model, .asked = params, .p = params};
    j.ops.dev = model->engine->dev;
    size_t bytes;
    *out = (struct pictor_image){0};
    if (!check(&j, err) || !plan(&j, &bytes, err))
        return false;
    atomic_store(&model->engine->cancel, false);
    atomic_store(&model->engine->interrupt, false);
    j.began = j.last_step = now();
    /* Room for the largest stage at once, so that the others leave it warm pages. */
    return arena_renew(&model->engine->arena, bytes, err) && paint(&j, out, err);
}

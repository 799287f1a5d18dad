/* family_pixels.c: unconditional diffusion over pixels: folders of diffusers' UNet2DModel, as
 * people train them in courses. No words, no autoencoder: the latent is the picture, of 1 or 3
 * channels, and every guess at it is clipped to what pictures may be.
 *
 * Such networks are made for one size, often a small one. Pictures are painted at it and enlarged
 * to what was asked for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/model/pixel_unet.h"

#define LEAST_SIDE 64 /* that may be asked for */
#define MULTIPLE 8    /* of what may be asked for */
#define USUAL_SIDE 64 /* where the configuration says none */
#define MOST_SIDE 4096

struct pixels_config {
    struct pixel_unet_config unet;
    int side, scale; /* of the network; a picture's pixels a side of one of the network's */
    float clip;      /* guesses are within +-clip; 0: wherever they are */
    struct schedule schedule;
};

struct pixels {
    struct family_model base;
    struct pixels_config config;
    struct weights weights;
    struct pixel_unet *unet;
};

/* A prompt that says nothing. */
struct family_call {
    int height, width;
};

static const struct pixels *pixels_of(const struct family_model *m)
{
    return (const struct pixels *)m;
}

static bool recognises(const struct checkpoint *cp)
{
    /* No other family's folder is opened with its configuration: see pictor_files_open. */
    return checkpoint_is_configured(cp);
}

/* ---- opening ---- */

/* How much of the signal's power is left at time t of 0..1, by the cosine schedule (Nichol &
 * Dhariwal 2021, eq. 17). */
static double cosine(double t)
{
    double c = cos((t + 0.008) / 1.008 * acos(-1) / 2);
    return c * c;
}

/* The levels it was trained at; what a scheduler's file does not say is as diffusers has it. */
static bool read_schedule(const struct checkpoint *cp, struct schedule *out, struct err *err)
{
    float left[SCHEDULE_LEVELS];
    const char *kind = checkpoint_scheduler(cp, "beta_schedule");
    const char *prediction = checkpoint_scheduler(cp, "prediction_type");
    double start = checkpoint_scheduler_number(cp, "beta_start", 1e-4);
    double end = checkpoint_scheduler_number(cp, "beta_end", 0.02), product = 1;
    bool linear = !kind || strcmp(kind, "linear") == 0;
    bool scaled = kind && strcmp(kind, "scaled_linear") == 0;
    bool cosines = kind && strcmp(kind, "squaredcos_cap_v2") == 0;
    if (!linear && !scaled && !cosines)
        return err_set(err, ERR_UNSUPPORTED,
                       "scheduler: beta_schedule '%.40s': wanted linear, scaled_linear or "
                       "squaredcos_cap_v2",
                       kind);
    if (checkpoint_scheduler_number(cp, "num_train_timesteps", SCHEDULE_LEVELS) != SCHEDULE_LEVELS)
        return err_set(err, ERR_UNSUPPORTED, "scheduler: num_train_timesteps: wanted %d",
                       SCHEDULE_LEVELS);
    if (!(start > 0 && start <= end && end < 1))
        return err_set(err, ERR_INVALID,
                       "scheduler: betas from %g to %g: wanted them rising in 0..1", start, end);
    if (checkpoint_scheduler_is(cp, "thresholding") || checkpoint_scheduler(cp, "trained_betas"))
        return err_set(err, ERR_UNSUPPORTED, "scheduler: wanted no thresholding, no trained_betas");
    if (prediction && strcmp(prediction, "epsilon") != 0 && strcmp(prediction, "v_prediction") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "scheduler: prediction_type '%.40s': wanted epsilon or v_prediction",
                       prediction);
    for (int i = 0; i < SCHEDULE_LEVELS; i++) {
        double u = i / (SCHEDULE_LEVELS - 1.0), root = sqrt(start) + (sqrt(end) - sqrt(start)) * u;
        double beta = scaled ? root * root : start + (end - start) * u;
        if (cosines)
            beta = fmin(0.999, 1 - cosine((i + 1.0) / SCHEDULE_LEVELS) /
                                       cosine((double)i / SCHEDULE_LEVELS));
        product *= 1 - beta;
        left[i] = (float)product;
    }
    schedule_init_levels(out, left);
    if (prediction && strcmp(prediction, "v_prediction") == 0)
        out->prediction = SCHEDULE_V;
    return true;
}

static bool read_config(const struct checkpoint *cp, struct pixels_config *c, struct err *err)
{
    if (!pixel_unet_read(cp, &c->unet, err) || !read_schedule(cp, &c->schedule, err))
        return false;
    double side = checkpoint_config_number(cp, "sample_size", USUAL_SIDE);
    double clip = checkpoint_scheduler_number(cp, "clip_sample_range", 1);
    if (isnan(side))
        side = USUAL_SIDE;
    if (!(side >= 1 && side <= MOST_SIDE) || side != floor(side))
        return err_set(err, ERR_UNSUPPORTED, "config.json: sample_size is %g: wanted 1..%d", side,
                       MOST_SIDE);
    if (!(clip > 0 && clip <= 1000))
        return err_set(err, ERR_INVALID, "scheduler: clip_sample_range is %g", clip);
    c->side = (int)side;
    c->clip = checkpoint_scheduler_denies(cp, "clip_sample") ? 0 : (float)clip;
    for (c->scale = 1; c->side * c->scale < LEAST_SIDE || c->side * c->scale % MULTIPLE;)
        c->scale++;
    return true;
}

static bool read_both(const struct checkpoint *cp, struct pixels_config *c,
                      struct family_facts *facts, struct err *err)
{
    if (!read_config(cp, c, err))
        return false;
    *facts = (struct family_facts){.channels = c->unet.channels,
                                   .factor = 1,
                                   .multiple = MULTIPLE,
                                   .clip_skips = 12, /* which say nothing */
                                   .clip = c->clip};
    family_describe(cp, &family_pixels, c->side * c->scale, 1, 100, facts);
    snprintf(facts->info.default_sampler, sizeof facts->info.default_sampler, "Euler a");
    snprintf(facts->info.default_scheduler, sizeof facts->info.default_scheduler, "simple");
    return true;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct pixels_config c;
    return read_both(cp, &c, facts, err);
}

static void free_model(struct family_model *m)
{
    struct pixels *p = (struct pixels *)m;
    if (!p)
        return;
    pixel_unet_free(p->unet);
    weights_free(&p->weights);
    free(p);
}

static struct family_model *open_model(struct device *dev, const struct checkpoint *cp,
                                       struct err *err)
{
    struct pixels *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    p->base.family = &family_pixels;
    if (read_both(cp, &p->config, &p->base.facts, err) &&
        (p->unet = pixel_unet_load(dev, cp, &p->config.unet, &p->weights, err))) {
        p->base.facts.info.weight_bytes = p->weights.bytes;
        return &p->base;
    }
    free_model(&p->base);
    return NULL;
}

static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    *out = pixels_of(m)->config.schedule;
}

static int shrunk(int side, int scale)
{
    return side < scale ? 1 : (side + scale / 2) / scale;
}

static bool fit(const struct family_model *m, const struct pictor_params *asked,
                struct family_fitted *fitted)
{
    int scale = pixels_of(m)->config.scale;
    struct pictor_params *p = &fitted->params;
    if (scale == 1)
        return false;
    *fitted = (struct family_fitted){.params = *asked};
    p->width = shrunk(asked->width, scale);
    p->height = shrunk(asked->height, scale);
    if (asked->hires_width) {
        p->hires_width = shrunk(asked->hires_width, scale);
        p->hires_height = shrunk(asked->hires_height, scale);
    }
    return true;
}

/* ---- painting ---- */

static bool words(struct family_model *m, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    for (size_t i = 0; i < prompt->count; i++)
        out[i] = (struct family_words){.tokens = 1, .negative = prompt->negative};
    return true;
}

static struct family_call *call_new(const struct family_model *m, struct ops *o,
                                    const struct family_picture *picture,
                                    const struct family_words *said, int b, struct err *err)
{
    struct family_call *call = malloc(sizeof *call);
    if (!call)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    else
        *call = (struct family_call){picture->height, picture->width};
    return call;
}

static struct family_call *call_first(const struct family_call *call, struct err *err)
{
    struct family_call *first = malloc(sizeof *first);
    if (!first)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    else
        *first = *call;
    return first;
}

static void call_free(struct family_call *call)
{
    free(call);
}

static void predict(const struct family_model *m, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y)
{
    pixel_unet_forward(o, pixels_of(m)->unet, x, call->height, call->width, t, y);
}

/* One channel is grey. */
static void decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture)
{
    size_t channels = (size_t)m->facts.channels;
    for (size_t i = 0; i < 3 * (size_t)h * (size_t)w && !arena_planning(o->arena); i++)
        picture[i] = latent[i / 3 * channels + i % 3 % channels];
}

/* Grey as ITU-R BT.601 has it. */
static void encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent)
{
    size_t pixels = (size_t)h * (size_t)w;
    bool grey = m->facts.channels == 1;
    for (size_t i = 0; i < pixels && !arena_planning(o->arena); i++) {
        const float *p = picture + 3 * i;
        if (grey)
            latent[i] = 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
        else
            memcpy(latent + 3 * i, p, 3 * sizeof *p);
    }
}

const struct family family_pixels = {
    .name = "pixels",
    .latent = "pixels",
    .recognises = recognises,
    .read = read_facts,
    .open = open_model,
    .free = free_model,
    .schedule = schedule,
    .fit = fit,
    .words = words,
    .call_new = call_new,
    .call_first = call_first,
    .call_free = call_free,
    .predict = predict,
    .decode = decode,
    .encode = encode,
};

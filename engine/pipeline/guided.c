/* guided.c: see guided.h. */
#include "engine/pipeline/guided.h"

#include <math.h>
#include <string.h>

bool guided_new(struct guided *g, const struct guided_options *o, struct err *err)
{
    struct arena *a = o->ops->arena;
    *g = (struct guided){.o = *o};
    bool both = o->guidance != 1, together = both && o->tokens[0] == o->tokens[1];
    size_t n = 2 * GUIDED_CHANNELS * (size_t)o->width * (size_t)o->height;
    g->count = both && !together ? 2 : 1;
    g->x = arena_alloc(a, n, sizeof *g->x);
    g->eps = arena_alloc(a, n, sizeof *g->eps);
    if (together) {
        size_t size = (size_t)o->tokens[0] * (size_t)o->state_width;
        float *states = arena_alloc(a, 2 * size, sizeof *states);
        for (size_t i = 0; i < 2 && !arena_planning(a); i++)
            memcpy(states + i * size, o->states[i], size * sizeof *states);
        g->halves[0].prompt = unet_prompt_new(o->ops, o->unet, 2, o->tokens[0], states);
    } else {
        for (int i = 0; i < g->count; i++)
            g->halves[i].prompt = unet_prompt_new(o->ops, o->unet, 1, o->tokens[i], o->states[i]);
    }
    for (int i = 0; i < g->count; i++) {
        if (!g->halves[i].prompt)
            return err_set(err, ERR_INTERNAL, "no memory for a prompt");
        if (o->speed.reuse_every > 1)
            g->halves[i].deep = unet_deep(o->ops, o->unet, together ? 2 : 1, o->height, o->width);
    }
    g->alone = (struct guided_half){unet_prompt_first(g->halves[0].prompt, 1), g->halves[0].deep};
    g->alone.deep.b = 1;
    return g->alone.prompt || err_set(err, ERR_INTERNAL, "no memory for a prompt");
}

void guided_free(struct guided *g)
{
    for (int i = 0; i < g->count; i++)
        unet_prompt_free(g->halves[i].prompt);
    unet_prompt_free(g->alone.prompt);
    *g = (struct guided){0};
}

/* Whether the negative prompt counts in this call. */
static bool is_guided(const struct guided *g, double sigma)
{
    const struct pictor_speed *s = &g->o.speed;
    if (g->o.guidance == 1 || (s->guidance_high > 0 && sigma > s->guidance_high))
        return false;
    return sigma >= s->guidance_low || (s->guidance_alternate && g->calls % 2 == 0);
}

/* g->eps of g->x, of the prompt's half alone unless `both`. */
static void predict(struct guided *g, bool both, double sigma)
{
    const struct guided_options *o = &g->o;
    size_t half = GUIDED_CHANNELS * (size_t)o->width * (size_t)o->height;
    float t = (float)schedule_t_of_sigma(o->schedule, sigma);
    int wanted = both ? 2 : 1;
    bool keep = o->speed.reuse_every > 1;
    bool reuse = keep && g->calls % o->speed.reuse_every != 0 && g->deep >= wanted;
    for (int i = 0; i < (both ? g->count : 1); i++) {
        struct guided_half *h = both ? &g->halves[i] : &g->alone;
        struct unet_shortcuts shortcuts = {o->speed.token_merging, keep ? &h->deep : NULL, reuse};
        unet_forward(o->ops, o->unet, h->prompt, g->x + (size_t)i * half, o->height, o->width, t,
                     &shortcuts, g->eps + (size_t)i * half);
    }
    if (!reuse)
        g->deep = wanted;
    g->calls++;
}

/* eps = uncond + guidance (cond - uncond) (Ho & Salimans 2022, eq. 6, as it is commonly written);
 * x0 = x - sigma eps. */
static bool denoise(void *ctx, const float *x, double sigma, float *x0, struct err *err)
{
    struct guided *g = ctx;
    const struct guided_options *o = &g->o;
    size_t pixels = (size_t)o->width * (size_t)o->height, half = GUIDED_CHANNELS * pixels;
    float scale = (float)(1 / sqrt(sigma * sigma + 1));
    if (arena_planning(o->ops->arena)) {
        predict(g, o->guidance != 1, sigma);
        return true;
    }
    bool both = is_guided(g, sigma);
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < GUIDED_CHANNELS; c++)
            g->x[c * pixels + i] = x[i * GUIDED_CHANNELS + c] * scale;
    if (both)
        memcpy(g->x + half, g->x, half * sizeof *g->x);
    predict(g, both, sigma);
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < GUIDED_CHANNELS; c++) {
            float e = g->eps[c * pixels + i];
            if (both) {
                float u = g->eps[half + c * pixels + i];
                e = u + o->guidance * (e - u);
            }
            x0[i * GUIDED_CHANNELS + c] = x[i * GUIDED_CHANNELS + c] - (float)sigma * e;
        }
    return true;
}

struct denoiser guided_denoiser(struct guided *g)
{
    return (struct denoiser){denoise, g};
}

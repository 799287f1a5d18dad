/* guided.c: see guided.h. */
#include "engine/pipeline/guided.h"

#include <math.h>
#include <string.h>

bool guided_new(struct guided *g, const struct guided_options *o, struct err *err)
{
    struct arena *a = o->ops->arena;
    *g = (struct guided){.o = *o, .both = o->guidance != 1};
    bool together = g->both && o->tokens[0] == o->tokens[1];
    size_t n = 2 * GUIDED_CHANNELS * (size_t)o->width * (size_t)o->height;
    g->count = g->both && !together ? 2 : 1;
    g->x = arena_alloc(a, n, sizeof *g->x);
    g->eps = arena_alloc(a, n, sizeof *g->eps);
    if (together) {
        size_t size = (size_t)o->tokens[0] * (size_t)o->state_width;
        float *states = arena_alloc(a, 2 * size, sizeof *states);
        for (size_t i = 0; i < 2 && !arena_planning(a); i++)
            memcpy(states + i * size, o->states[i], size * sizeof *states);
        g->prompts[0] = unet_prompt_new(o->ops, o->unet, 2, o->tokens[0], states);
    } else {
        for (int i = 0; i < g->count; i++)
            g->prompts[i] = unet_prompt_new(o->ops, o->unet, 1, o->tokens[i], o->states[i]);
    }
    for (int i = 0; i < g->count; i++)
        if (!g->prompts[i])
            return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    return true;
}

void guided_free(struct guided *g)
{
    for (int i = 0; i < g->count; i++)
        unet_prompt_free(g->prompts[i]);
    *g = (struct guided){0};
}

/* eps = uncond + guidance (cond - uncond) (Ho & Salimans 2022, eq. 6, as it is commonly written);
 * x0 = x - sigma eps. */
static bool denoise(void *ctx, const float *x, double sigma, float *x0, struct err *err)
{
    struct guided *g = ctx;
    const struct guided_options *o = &g->o;
    size_t pixels = (size_t)o->width * (size_t)o->height, half = GUIDED_CHANNELS * pixels;
    float t = (float)schedule_t_of_sigma(o->schedule, sigma);
    float scale = (float)(1 / sqrt(sigma * sigma + 1));
    bool planning = arena_planning(o->ops->arena);
    if (!planning) {
        for (size_t i = 0; i < pixels; i++)
            for (size_t c = 0; c < GUIDED_CHANNELS; c++)
                g->x[c * pixels + i] = x[i * GUIDED_CHANNELS + c] * scale;
        memcpy(g->x + half, g->x, half * sizeof *g->x);
    }
    for (int i = 0; i < g->count; i++)
        unet_forward(o->ops, o->unet, g->prompts[i], g->x + (size_t)i * half, o->height, o->width,
                     t, g->eps + (size_t)i * half);
    if (planning)
        return true;
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < GUIDED_CHANNELS; c++) {
            float e = g->eps[c * pixels + i];
            if (g->both) {
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

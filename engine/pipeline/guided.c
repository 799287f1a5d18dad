#include "engine/pipeline/guided.h"

#include <math.h>
#include <string.h>

/* Elements of one latent. */
static size_t elements(const struct guided_options *o)
{
    return (size_t)o->picture.width * (size_t)o->picture.height * (size_t)o->model->facts.channels;
}

static float image_guidance(const struct guided_options *o)
{
    float own = o->model->facts.info.default_image_guidance;
    float asked = o->picture.params->image_guidance;
    return own > 0 ? isnan(asked) ? own : asked : 1;
}

bool guided_new(struct guided *g, const struct guided_options *o, struct err *err)
{
    const struct family *family = o->model->family;
    struct arena *a = o->ops->arena;
    *g = (struct guided){.o = *o};
    g->guidance = o->model->facts.guided ? o->picture.params->guidance : 1;
    g->image_guidance = image_guidance(o);
    bool edits = g->image_guidance != 1, both = g->guidance != 1 || edits;
    bool together = both && o->words[0].tokens == o->words[1].tokens;
    g->x = arena_alloc(a, 2 * elements(o), sizeof *g->x);
    g->out = arena_alloc(a, (edits ? 3 : 2) * elements(o), sizeof *g->out);
    for (; g->count < (both && !together ? 2 : 1); g->count++)
        if (!(g->calls[g->count] = family->call_new(o->model, o->ops, &o->picture,
                                                    &o->words[g->count], together ? 2 : 1, err)))
            return false;
    if (edits) {
        struct family_picture without = o->picture;
        without.beside = NULL;
        if (!(g->blank = family->call_new(o->model, o->ops, &without, &o->words[1], 1, err)))
            return false;
    }
    return (g->alone = family->call_first(g->calls[0], err)) != NULL;
}

void guided_free(struct guided *g)
{
    if (!g->o.model)
        return;
    void (*call_free)(struct family_call *) = g->o.model->family->call_free;
    call_free(g->alone);
    call_free(g->blank);
    for (int i = 0; i < g->count; i++)
        call_free(g->calls[i]);
    *g = (struct guided){0};
}

/* Whether the negative prompt counts in this call. */
static bool is_guided(const struct guided *g, double sigma)
{
    const struct pictor_speed *s = &g->o.picture.params->speed;
    if (g->blank) /* as in the SD WebUI, where no call of such a model is spared */
        return true;
    if (g->guidance == 1 || (s->guidance_high > 0 && sigma > s->guidance_high))
        return false;
    return sigma >= s->guidance_low || (s->guidance_alternate && g->made % 2 == 0);
}

/* g->out of g->x, of the prompt's half alone unless `both`. */
static void predict(struct guided *g, bool both, double t)
{
    const struct guided_options *o = &g->o;
    int wanted = both ? g->blank ? 3 : 2 : 1, every = o->picture.params->speed.reuse_every;
    bool reuse = every > 1 && g->made % every != 0 && g->deep >= wanted;
    for (int i = 0; i < (both ? g->count : 1); i++) {
        size_t at = (size_t)i * elements(o);
        o->model->family->predict(o->model, o->ops, both ? g->calls[i] : g->alone, g->x + at, t,
                                  reuse, g->out + at);
    }
    if (both && g->blank)
        o->model->family->predict(o->model, o->ops, g->blank, g->x, t, reuse,
                                  g->out + 2 * elements(o));
    if (!reuse)
        g->deep = wanted;
    g->made++;
}

/* out = uncond + guidance (cond - uncond) (Ho & Salimans 2022, eq. 6, as it is commonly written),
 * or blank + image_guidance (uncond - blank) + guidance (cond - uncond), which is turned into a
 * clean latent as the schedule says. */
static bool denoise(void *ctx, const float *x, double sigma, float *x0, struct err *err)
{
    struct guided *g = ctx;
    const struct guided_options *o = &g->o;
    struct schedule_scales scales = schedule_scales(o->schedule, sigma);
    if (arena_planning(o->ops->arena)) {
        predict(g, g->guidance != 1 || g->blank, scales.t);
        return true;
    }
    size_t n = elements(o);
    float in = (float)scales.in, skip = (float)scales.skip, out = (float)scales.out;
    float clip = o->model->facts.clip;
    bool both = is_guided(g, sigma);
    for (size_t i = 0; i < n; i++)
        g->x[i] = x[i] * in;
    if (both)
        memcpy(g->x + n, g->x, n * sizeof *g->x);
    predict(g, both, scales.t);
    for (size_t i = 0; i < n; i++) {
        float y = g->out[i];
        if (both && g->blank)
            y = g->out[2 * n + i] + g->guidance * (y - g->out[n + i]) +
                g->image_guidance * (g->out[n + i] - g->out[2 * n + i]);
        else if (both)
            y = g->out[n + i] + g->guidance * (y - g->out[n + i]);
        x0[i] = skip * x[i] + out * y;
        if (clip > 0)
            x0[i] = fminf(fmaxf(x0[i], -clip), clip);
    }
    return true;
}

struct denoiser guided_denoiser(struct guided *g)
{
    return (struct denoiser){denoise, g};
}

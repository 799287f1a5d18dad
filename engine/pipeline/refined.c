#include "engine/pipeline/refined.h"

#include <math.h>

/* Of the trained noise levels the one that is nearest in sigma, which need not be the nearest in
 * time: so the SD WebUI counts. */
static int nearest_time(const struct schedule *s, double sigma)
{
    int best = 0;
    for (int t = 1; t < SCHEDULE_LEVELS; t++)
        if (fabs((double)s->sigmas[t] - sigma) < fabs((double)s->sigmas[best] - sigma))
            best = t;
    return best;
}

/* In float32, where the SD WebUI compares. */
static bool is_due(const struct refined *r, double sigma)
{
    const struct guided *g = r->first;
    int last = SCHEDULE_LEVELS - 1;
    float share = r->by_steps
                      ? (float)g->made / (float)g->o.calls
                      : (float)(last - nearest_time(g->o.schedule, sigma)) / SCHEDULE_LEVELS;
    return share >= (float)r->at;
}

static bool take_over(struct refined *r, struct err *err)
{
    if (r->before && !r->before(r->ctx, err))
        return false;
    guided_hand_over(r->first, r->second);
    r->switched = true;
    return true;
}

static bool denoise(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err)
{
    struct refined *r = ctx;
    struct denoiser first = guided_denoiser(r->first), second = guided_denoiser(r->second);
    bool dry = arena_planning(r->first->o.ops->arena);
    if (dry && !first.denoise(first.ctx, x, sigma, x0, uncond, err))
        return false;
    if (!r->switched && (dry || is_due(r, sigma)) && !take_over(r, err))
        return false;
    struct denoiser d = r->switched ? second : first;
    return d.denoise(d.ctx, x, sigma, x0, uncond, err);
}

struct denoiser refined_denoiser(struct refined *r)
{
    return (struct denoiser){denoise, r};
}

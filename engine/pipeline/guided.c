#include "engine/pipeline/guided.h"

#include <assert.h>
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

void guided_new(struct guided *g, const struct guided_options *o)
{
    const struct family_facts *facts = &o->model->facts;
    const struct wording *w = &o->spoken->wording;
    double share = o->sampler && o->sampler->guidance_share ? o->sampler->guidance_share : 1;
    bool uncond = o->sampler && o->sampler->uncond;
    double sum = 0;
    *g = (struct guided){.o = *o, .prompts = w->count};
    for (int i = 0; i < w->count; i++) {
        g->weights[i] =
            (facts->guided ? (double)o->picture.params->guidance * share : 1) * w->parts[i].weight;
        sum += g->weights[i];
    }
    g->image_guidance = image_guidance(o);
    g->edits = g->image_guidance != 1;
    g->alone = !g->edits && (!facts->guided || (sum == 1 && !uncond));
    g->x = arena_alloc(o->ops->arena, 2 * elements(o), sizeof *g->x);
    g->out =
        arena_alloc(o->ops->arena, (size_t)(w->count + 1 + g->edits) * elements(o), sizeof *g->out);
}

/* ---- the calls ---- */

static void free_calls(struct guided *g)
{
    void (*call_free)(struct family_call *) = g->o.model->family->call_free;
    call_free(g->single);
    call_free(g->blank);
    for (int i = 0; i < g->count; i++)
        call_free(g->calls[i]);
    g->single = g->blank = NULL;
    g->count = 0;
    g->deep = 0;
}

void guided_free(struct guided *g)
{
    if (!g->o.model)
        return;
    free_calls(g);
    *g = (struct guided){0};
}

void guided_hand_over(struct guided *from, struct guided *to)
{
    if (from->count > 0) {
        free_calls(from);
        arena_reset(from->o.ops->arena, from->below);
    }
    to->made = from->made;
}

static const struct family_words *words_of(const struct guided *g, int part)
{
    return &g->o.spoken->words[part][g->texts[part]];
}

/* The negative prompt's, of a network that is not shown what it paints over. */
static bool make_blank(struct guided *g, struct err *err)
{
    const struct guided_options *o = &g->o;
    struct family_picture without = o->picture;
    without.beside = NULL;
    g->blank =
        o->model->family->call_new(o->model, o->ops, &without, words_of(g, g->prompts), 1, err);
    return g->blank;
}

static bool add_call(struct guided *g, const struct family_words *words, int b, struct err *err)
{
    const struct guided_options *o = &g->o;
    struct family_call *call =
        o->model->family->call_new(o->model, o->ops, &o->picture, words, b, err);
    if (call)
        g->calls[g->count++] = call;
    return call;
}

static bool make_calls(struct guided *g, struct err *err)
{
    const struct family_words *prompt = words_of(g, 0), *negative = words_of(g, g->prompts);
    if (g->prompts == 1 && !g->alone && prompt->tokens == negative->tokens) {
        struct family_words both[2] = {*prompt, *negative};
        return add_call(g, both, 2, err) &&
               (g->single = g->o.model->family->call_first(g->calls[0], err));
    }
    for (int i = 0; i < g->prompts + !g->alone; i++)
        if (!add_call(g, words_of(g, i), 1, err))
            return false;
    return true;
}

/* Calls of what the prompts say now: those there are, unless something has changed. They lie above
 * whatever lay in the arena when they were made first, and change in place. */
static bool renew_calls(struct guided *g, struct err *err)
{
    struct arena *a = g->o.ops->arena;
    bool same = g->count > 0;
    for (int i = 0; i <= g->prompts; i++) {
        size_t text = spoken_text_at(g->o.spoken, i, g->made);
        same = same && text == g->texts[i];
        g->texts[i] = text;
    }
    if (same)
        return true;
    if (g->count > 0) {
        assert(arena_mark(a) == g->above);
        free_calls(g);
        arena_reset(a, g->below);
    }
    g->below = arena_mark(a);
    bool ok = make_calls(g, err) && (!g->edits || make_blank(g, err));
    g->above = arena_mark(a);
    return ok;
}

/* ---- the answers ---- */

/* Whether the negative prompt counts in this call. */
static bool is_guided(const struct guided *g, double sigma)
{
    const struct pictor_speed *s = &g->o.picture.params->speed;
    if (g->edits) /* as in the SD WebUI, where no call of such a model is spared */
        return true;
    double skip = g->o.picture.params->sampling.guidance_skip;
    if (skip > 0 && g->made <= skip * g->o.calls)
        return false;
    if (g->alone || (s->guidance_high > 0 && sigma > s->guidance_high))
        return false;
    return sigma >= s->guidance_low || (s->guidance_alternate && g->made % 2 == 0);
}

/* g->out of g->x: of the prompts, and behind them of the negative one if `both`. */
static void predict(struct guided *g, bool both, double t)
{
    const struct guided_options *o = &g->o;
    int wanted = g->prompts + both, every = o->picture.params->speed.reuse_every;
    bool reuse = every > 1 && g->made % every != 0 && g->deep >= wanted;
    for (int i = 0; i < (g->single ? 1 : wanted); i++) {
        struct family_call *call = g->single && !both ? g->single : g->calls[i];
        o->model->family->predict(o->model, o->ops, call, g->x, t, reuse,
                                  g->out + (size_t)i * elements(o));
    }
    if (g->blank)
        o->model->family->predict(o->model, o->ops, g->blank, g->x, t, reuse,
                                  g->out + (size_t)(g->prompts + 1) * elements(o));
    if (!reuse)
        g->deep = wanted;
    g->made++;
}

static double spread(const float *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - sum / (double)n) * (x[i] - sum / (double)n);
    return sqrt(squares);
}

void guided_rescale(float *guided, const float *cond, size_t n, double share)
{
    double own = spread(guided, n);
    float f = (float)(own > 0 ? share * spread(cond, n) / own + 1 - share : 1);
    for (size_t i = 0; i < n; i++)
        guided[i] *= f;
}

/* base + sum of weight (prompt - base), where the base is what the negative prompt says (Ho &
 * Salimans 2022, eq. 6, as it is commonly written; Liu et al. 2022, eq. 11), and of calls without
 * guidance what the first prompt says, as the SD WebUI has it; of a model that edits it is blank +
 * image_guidance (negative - blank) + sum of weight (prompt - negative). */
static float guide(const struct guided *g, bool both, size_t n, size_t i)
{
    const float *base = both ? g->out + (size_t)g->prompts * n : g->out;
    const float *blank = g->edits ? base + n : NULL;
    float y = g->edits ? blank[i] : base[i];
    for (int k = !both; k < g->prompts; k++)
        y += (float)g->weights[k] * (g->out[(size_t)k * n + i] - base[i]);
    if (g->edits)
        y += g->image_guidance * (base[i] - blank[i]);
    return y;
}

/* What the network says, guided, is turned into a clean latent as the schedule says. */
static bool denoise(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err)
{
    struct guided *g = ctx;
    const struct guided_options *o = &g->o;
    struct schedule_scales scales = schedule_scales(o->schedule, sigma);
    if (!renew_calls(g, err))
        return false;
    if (arena_planning(o->ops->arena)) {
        predict(g, !g->alone, scales.t);
        return true;
    }
    size_t n = elements(o);
    float in = (float)scales.in, skip = (float)scales.skip, out = (float)scales.out;
    float clip = o->model->facts.clip;
    bool both = is_guided(g, sigma);
    for (size_t i = 0; i < n; i++)
        g->x[i] = x[i] * in;
    if (both && g->single)
        memcpy(g->x + n, g->x, n * sizeof *g->x);
    predict(g, both, scales.t);
    if (device_stopped(o->ops->dev))
        return err_set(err, ERR_CANCELLED, "cancelled");
    double rescale = both ? o->picture.params->sampling.guidance_rescale : 0;
    for (size_t i = 0; i < n; i++)
        g->x[i] = guide(g, both, n, i);
    if (rescale > 0)
        guided_rescale(g->x, g->out, n, rescale);
    const float *base = both ? g->out + (size_t)g->prompts * n : g->out;
    for (size_t i = 0; i < n; i++) {
        float y = g->x[i];
        x0[i] = skip * x[i] + out * y;
        if (clip > 0)
            x0[i] = fminf(fmaxf(x0[i], -clip), clip);
        if (uncond)
            uncond[i] = skip * x[i] + out * base[i];
    }
    return true;
}

struct denoiser guided_denoiser(struct guided *g)
{
    return (struct denoiser){denoise, g};
}

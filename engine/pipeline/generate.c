/* generate.c: from parameters to a picture.
 *
 * The stages in order: words to what the model makes of them, a picture to paint over to a latent,
 * sampling, (hires) a larger latent and sampling again, latent to pixels. They run twice: over a
 * planning arena, which finds what the picture takes, and for real over an arena of that size.
 * Latents lie at the arena's bottom; what a stage needs lies above them and goes with it. Pictures
 * of 8 bits come from libraries and are counted where they are made. */
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pipeline/beside.h"
#include "engine/pipeline/canvas.h"
#include "engine/pipeline/colours.h"
#include "engine/pipeline/enlarger.h"
#include "engine/pipeline/guided.h"
#include "engine/pipeline/guides.h"
#include "engine/pipeline/latent.h"
#include "engine/pipeline/model.h"
#include "engine/pipeline/numbers.h"
#include "engine/pipeline/others.h"
#include "engine/pipeline/pace.h"
#include "engine/pipeline/params.h"
#include "engine/pipeline/passes.h"
#include "engine/pipeline/preview.h"
#include "engine/pipeline/references.h"
#include "engine/pipeline/refined.h"
#include "engine/pipeline/upscaler.h"
#include "engine/sample/blend.h"
#include "engine/sample/noise.h"
#include "engine/sample/sampler.h"

#define SILENCE 1.0 /* seconds without a word while a picture is enlarged */

/* One picture on its way. */
struct painting {
    struct pictor_model *own, *m; /* m: who is at work: `own`, or another of the params' models */
    const struct pictor_params *asked, *p; /* p: what is painted: asked, or `fitted` */
    struct family_fitted fitted;
    struct params_choice choice[2]; /* of the passes */
    struct ops ops;
    struct enlarger_held held; /* 8-bit pictures */
    struct spoken spoken[2];   /* of both passes, */
    struct spoken refined[2];  /* and what the refiner makes of the same words */
    int done, total;           /* steps, over both passes */
    int steps, reported;       /* no more than asked for; how many of them were reported */
    double began, last_step;   /* seconds */
    struct pace pace;
    struct pictor_image preview;
    struct latent_wide wide; /* where the first pass is a square in the middle of the second */
    bool interrupted;
    bool turns; /* its models rest while another one is at work */
    bool plain; /* no preview is decoded: there was no room */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_dry(const struct painting *j)
{
    return arena_planning(j->ops.arena);
}

static struct pictor_model *painter_of(const struct painting *j, int pass)
{
    return others_painter(j->own, j->asked, pass);
}

/* NULL: nobody refines this pass. */
static struct pictor_model *refiner_of(const struct painting *j, int pass)
{
    return others_refiner(j->own, j->asked, j->p, pass);
}

static const struct family_facts *facts_of(const struct painting *j)
{
    return &j->m->family->facts;
}

/* Counts a picture in memory that is not the arena's. */
static void hold(struct painting *j, size_t bytes)
{
    enlarger_hold(&j->held, bytes);
}

static void drop(struct painting *j, size_t bytes)
{
    enlarger_drop(&j->held, bytes);
}

/* Between stages is where a picture that is not sampling can be cancelled. */
static bool go_on(const struct painting *j, struct err *err)
{
    return is_dry(j) || !atomic_load(&j->m->engine->cancel) ||
           err_set(err, ERR_CANCELLED, "cancelled");
}

/* Before the model does anything. */
static bool wake(struct painting *j, struct pictor_model *m, struct err *err)
{
    return is_dry(j) || others_wake(j->own, j->asked, j->turns, m, err);
}

/* ---- progress ---- */

static int steps_done(const struct painting *j)
{
    return j->total ? j->done * j->steps / j->total : 0;
}

static bool widens(const struct painting *j)
{
    return j->p != j->asked && j->fitted.widen;
}

/* `x0`, of width x height latent pixels, may be NULL: nothing to see yet. */
static bool report(struct painting *j, const float *x0, int width, int height)
{
    const struct pictor_params *p = j->p;
    if (is_dry(j) || !p->on_progress)
        return true;
    int step = steps_done(j);
    if (x0 && step == j->reported)
        return true;
    j->reported = step;
    struct pictor_progress progress = {.step = step, .steps = j->steps};
    double t = now();
    progress.elapsed = t - j->began;
    progress.step_seconds = j->done ? t - j->last_step : 0;
    j->last_step = t;
    progress.seconds_left = pace_left(&j->pace, j->done, t);
    if (x0 && p->preview_every && (step % p->preview_every == 0 || step == j->steps)) {
        if (widens(j) && width == height) {
            latent_widen(x0, &j->wide);
            x0 = j->wide.all.at, width = j->wide.all.width, height = j->wide.all.height;
        }
        if (j->m->tiny && !j->plain)
            preview_decode(j->m->family, &j->ops, x0, width, height, &j->preview);
        else
            preview_paint(&j->m->preview, facts_of(j)->channels, x0, width, height, &j->preview);
        progress.preview = &j->preview;
    }
    return p->on_progress(p->ctx, &progress);
}

struct steps {
    struct painting *j;
    struct pictor_model *refiner;
    int width, height; /* of the latent */
    int before;        /* steps of the passes before this one */
    int steps;         /* of this one */
    double done;       /* the share of them that are behind */
};

static enum sampler_verdict on_step(void *ctx, int step, const float *x0)
{
    struct steps *s = ctx;
    struct painting *j = s->j;
    j->done = s->before + step;
    s->done = (double)step / s->steps;
    if (!report(j, x0, s->width, s->height) || atomic_load(&j->m->engine->cancel))
        return SAMPLER_CANCEL;
    if (atomic_load(&j->m->engine->interrupt)) {
        j->interrupted = true;
        return SAMPLER_FINISH;
    }
    return SAMPLER_CONTINUE;
}

/* What previews take in the midst of a pass. */
static bool plan_preview(void *ctx, struct err *err)
{
    const struct steps *s = ctx;
    struct painting *j = s->j;
    if (is_dry(j) && j->m->tiny && !j->plain && j->p->preview_every)
        preview_decode(j->m->family, &j->ops, NULL, s->width, s->height, &j->preview);
    return true;
}

static bool before_refiner(void *ctx, struct err *err)
{
    const struct steps *s = ctx;
    return plan_preview(ctx, err) && wake(s->j, s->refiner, err);
}

/* Latent pixels of the larger pass: the second need not be the one. */
static size_t most_pixels(const struct painting *j)
{
    const struct pictor_params *p = j->p;
    size_t factor = (size_t)facts_of(j)->factor;
    size_t again = (size_t)painter_of(j, 1)->family->facts.factor;
    size_t first = (size_t)p->width / factor * ((size_t)p->height / factor);
    size_t second = (size_t)p->hires_width / again * ((size_t)p->hires_height / again);
    return first > second ? first : second;
}

static bool begin_previews(struct painting *j, struct err *err)
{
    if (!j->p->preview_every)
        return true;
    if (!go_on(j, err))
        return false;
    size_t pixels = most_pixels(j), most = j->plain ? 0 : (size_t)PREVIEW_SIDE * PREVIEW_SIDE;
    j->preview.pixels = arena_alloc(j->ops.arena, pixels > most ? pixels : most, 3);
    bool wraps = device_wrap(j->ops.dev, false); /* what is fitted is kept for other pictures */
    for (int pass = 0; pass <= (j->p->hires_width > 0); pass++) {
        struct pictor_model *m = painter_of(j, pass);
        if (!m->preview.known && !m->family->facts.preview && !wake(j, m, err))
            return false;
        preview_fit(&m->preview, m->family, &j->ops);
    }
    device_wrap(j->ops.dev, wraps);
    return true;
}

/* ---- the stages ---- */

/* What a model makes of the words of a pass. */
static bool speak(struct painting *j, struct pictor_model *m, int pass,
                  const struct editing_pass *editing, struct spoken *out, struct err *err)
{
    struct pictor_params said = *j->p;
    if (pass == 1 && said.hires_prompt && *said.hires_prompt)
        said.prompt = said.hires_prompt;
    if (pass == 1 && said.hires_negative_prompt && *said.hires_negative_prompt)
        said.negative_prompt = said.hires_negative_prompt;
    return wake(j, m, err) && spoken_new(out, m->family, &j->ops, &said, editing, err);
}

/* From the end to the beginning: who had the last word in the picture before need not be woken for
 * it, and who begins is awake. */
static bool encode_words(struct painting *j, struct err *err)
{
    struct editing_pass passes[2];
    bool changing = family_passes(j->p, passes) > 0;
    size_t mark = arena_mark(j->ops.arena);
    if (!go_on(j, err))
        return false;
    for (int i = j->p->hires_width ? 1 : 0; i >= 0; i--) {
        const struct editing_pass *editing = changing ? &passes[i] : NULL;
        struct pictor_model *refiner = refiner_of(j, i);
        if ((refiner && !speak(j, refiner, i, editing, &j->refined[i], err)) ||
            !speak(j, painter_of(j, i), i, editing, &j->spoken[i], err))
            return false;
    }
    arena_reset(j->ops.arena, mark);
    return true;
}

static bool run_sampler(struct painting *j, const struct sampler_run *run, float *x,
                        struct err *err)
{
    size_t n = run->pixels * (size_t)run->channels;
    float *scratch = arena_alloc(j->ops.arena, (size_t)run->sampler->buffers * n, sizeof *scratch);
    if (is_dry(j))
        return run->denoiser.denoise(run->denoiser.ctx, NULL, 1, NULL, NULL, err);
    if (sampler_run(run, x, scratch, err))
        return true;
    if (err->code == ERR_CANCELLED)
        err_set(err, ERR_CANCELLED, "cancelled after step %d of %d", steps_done(j), j->steps);
    return false;
}

/* `image` is of the latent's size in pixels. */
static bool encode(struct painting *j, const struct pictor_image *image, struct latent *latent,
                   struct err *err)
{
    size_t factor = (size_t)facts_of(j)->factor, mark = arena_mark(j->ops.arena);
    size_t n = (size_t)latent->width * (size_t)latent->height * factor * factor * 3;
    if (!go_on(j, err) || !wake(j, j->m, err))
        return false;
    float *floats = arena_alloc(j->ops.arena, n, sizeof *floats);
    for (size_t i = 0; i < n && !is_dry(j); i++)
        floats[i] = (float)image->pixels[i] / 127.5f - 1;
    j->m->family->family->encode(j->m->family, &j->ops, floats, latent->height, latent->width,
                                 latent->at);
    arena_reset(j->ops.arena, mark);
    return true;
}

/* `out` is held; what comes out while planning has a size and no pixels. */
static bool decode(struct painting *j, const struct latent *latent, struct pictor_image *out,
                   struct err *err)
{
    int factor = facts_of(j)->factor;
    int width = latent->width * factor, height = latent->height * factor;
    size_t n = (size_t)width * (size_t)height * 3, mark = arena_mark(j->ops.arena);
    const char *network = facts_of(j)->flow ? "transformer" : "UNet";
    if (!go_on(j, err) ||
        (!is_dry(j) && !numbers_check(latent->at, latent_size(latent), network, err)) ||
        !wake(j, j->m, err))
        return false;
    hold(j, n);
    if (is_dry(j))
        *out = (struct pictor_image){width, height, 3, NULL};
    else if (!image_new(out, width, height, 3, err))
        return false;
    float *floats = arena_alloc(j->ops.arena, n, sizeof *floats);
    j->m->family->family->decode(j->m->family, &j->ops, latent->at, latent->height, latent->width,
                                 floats);
    bool ok = is_dry(j) || numbers_check(floats, n, "VAE", err);
    if (ok && !is_dry(j))
        numbers_to_bytes(floats, n, out->pixels);
    arena_reset(j->ops.arena, mark);
    if (!ok) {
        drop(j, n);
        pictor_image_free(out);
    }
    return ok;
}

/* What it takes where a refiner's turn did not come, and the painter decodes. */
static bool plan_decode(struct painting *j, struct pictor_model *painter,
                        const struct latent *latent, struct err *err)
{
    struct pictor_model *at_work = j->m;
    struct pictor_image image = {0};
    j->m = painter;
    bool ok = decode(j, latent, &image, err);
    drop(j, (size_t)image.width * (size_t)image.height * 3);
    j->m = at_work;
    return ok;
}

/* As the pass's own, of the model that takes over, which no ControlNet leads. `without` is the
 * params without them. */
static struct guided_options refiner_options(struct painting *j, const struct passes *passes,
                                             int pass, const struct guided_options *own,
                                             const float *beside, struct pictor_params *without)
{
    struct guided_options options = *own;
    *without = *j->p;
    without->control_count = 0;
    options.model = refiner_of(j, pass)->family;
    options.schedule = &passes->refined[pass];
    options.spoken = &j->refined[pass];
    options.picture.params = without;
    options.picture.beside = beside;
    options.picture.guides = options.picture.regions = NULL;
    return options;
}

/* The refiner goes on with what is left of the pass: it decodes. A pass that is stopped before it
 * had its turn is the painter's, whatever was planned. */
static bool end_pass(struct painting *j, const struct refined *refined,
                     struct pictor_model *refiner, const struct latent *latent, struct err *err)
{
    if (is_dry(j) && !plan_decode(j, j->m, latent, err))
        return false;
    if (refined->switched)
        j->m = refiner;
    return true;
}

/* Samples the latent in a pass: from nothing, or from what is in it, painted over where `mask` is 1
 * (NULL: everywhere) and filled there as `fill` says. `canvas` is as beside_new takes it. */
static bool sample(struct painting *j, const struct passes *passes, int pass, struct latent *latent,
                   bool from_latent, const struct canvas *canvas, const float *mask,
                   enum pictor_fill fill, struct err *err)
{
    const struct sampler_plan *plan = &passes->plan[pass];
    struct arena *a = j->ops.arena;
    size_t pixels = (size_t)latent->width * (size_t)latent->height, n = latent_size(latent);
    size_t mark = arena_mark(a), channels = (size_t)latent->channels;
    struct noise noise;
    if (!go_on(j, err))
        return false;
    struct pictor_model *refiner = refiner_of(j, pass);
    const float *other = NULL, *beside;
    if (refiner && refiner->family->facts.beside) {
        if (!wake(j, refiner, err))
            return false;
        other = beside_new(refiner->family, &j->ops, j->p, canvas, latent, from_latent);
    }
    if (!wake(j, j->m, err))
        return false;
    beside = beside_new(j->m->family, &j->ops, j->p, canvas, latent, from_latent);
    struct steps steps = {j, refiner, latent->width, latent->height, j->done, plan->steps, 0};
    struct guides guides;
    struct references references;
    int factor = facts_of(j)->factor;
    if (!references_new(&references, &j->ops, j->m->family, j->p, err) ||
        !guides_new(&guides, &j->ops, j->p, canvas, latent->width * factor, latent->height * factor,
                    factor, err))
        return false;
    struct latent x = latent_new(a, latent->width, latent->height, latent->channels);
    float *init = arena_alloc(a, n, sizeof *init), *shown = arena_alloc(a, n, sizeof *shown);
    latent_draw(a, j->p, facts_of(j)->factor, &noise, &x);
    if (!is_dry(j)) {
        memcpy(init, latent->at, n * sizeof *init);
        if (mask)
            latent_fill(init, mask, x.at, fill, pixels, channels);
        for (size_t i = 0; j->p->init && j->p->noise_multiplier != 1 && i < n; i++)
            x.at[i] *= (float)j->p->noise_multiplier;
        sampler_start(plan, x.at, from_latent ? init : NULL, x.at, n);
    }
    struct guided_options options = {
        .ops = &j->ops,
        .model = j->m->family,
        .schedule = &passes->schedule[pass],
        .picture = {latent->width, latent->height, j->p, beside,
                    j->p->control_count ? guides.at : NULL, &steps.done, guides.regions,
                    references.at, references.count},
        .spoken = &j->spoken[pass],
        .sampler = j->choice[pass].sampler,
        .calls = plan->steps * (j->choice[pass].sampler->info.second_order ? 2 : 1),
    };
    struct guided guided, second = {0};
    struct refined refined = {
        &guided, &second, j->p->refiner_at, j->p->refiner_by_steps, false, before_refiner, &steps};
    guided_new(&guided, &options);
    struct denoiser denoiser = guided_denoiser(&guided);
    struct pictor_params without;
    if (refiner) {
        struct guided_options its = refiner_options(j, passes, pass, &options, other, &without);
        guided_new(&second, &its);
        denoiser = refined_denoiser(&refined);
    }
    struct blend blend = {
        denoiser, init, mask, pixels, latent->channels, j->choice[pass].sampler->timesteps, shown};
    struct sampler_run run = {
        .sampler = j->choice[pass].sampler,
        .plan = plan,
        .pixels = pixels,
        .channels = latent->channels,
        .denoiser = mask && !is_dry(j) ? blend_denoiser(&blend) : denoiser,
        .noise = &noise,
        .seed_delta = j->p->noise_seed_delta,
        .eta = j->p->eta,
        .churn = j->p->sampling.churn,
        .churn_low = j->p->sampling.churn_low,
        .churn_high = j->p->sampling.churn_high,
        .noise_scale = j->p->sampling.noise_scale,
        .on_step = on_step,
        .ctx = &steps,
    };
    bool ok = run_sampler(j, &run, x.at, err);
    ok = ok && plan_preview(&steps, err);
    if (ok && !is_dry(j)) {
        if (mask)
            blend_apply(&blend, x.at);
        memcpy(latent->at, x.at, n * sizeof *x.at);
    }
    guided_free(&guided);
    guided_free(&second);
    arena_reset(a, mark);
    return ok && (!refiner || end_pass(j, &refined, refiner, latent, err));
}

/* A network at work may be cancelled, and says now and then that it lives. */
static bool go_on_enlarging(void *ctx, double share)
{
    struct painting *j = ctx;
    const struct pictor_params *p = j->p;
    double t = now();
    if (atomic_load(&j->m->engine->cancel))
        return false;
    if (!p->on_progress || t - j->last_step < SILENCE)
        return true;
    j->last_step = t;
    struct pictor_progress progress = {
        j->reported, j->steps, t - j->began, 0, pace_left(&j->pace, j->done, t), NULL};
    return p->on_progress(p->ctx, &progress);
}

/* In place; held before and after. On failure the picture is freed. `network`: of which the pixels
 * come, NULL: `filter` alone. */
static bool resize(struct painting *j, struct pictor_image *image, int width, int height,
                   const struct pictor_upscaler *network, enum image_filter filter, struct err *err)
{
    const struct esrgan_watch watch = {go_on_enlarging, j};
    struct enlarger e = {.ops = &j->ops,
                         .held = &j->held,
                         .upscaler = network,
                         .filter = filter,
                         .weights = others_weights(j->own, j->asked, j->turns),
                         .watch = &watch};
    bool wraps = device_wrap(j->ops.dev, false); /* it works in tiles */
    bool ok = enlarger_run(&e, image, width, height, err);
    device_wrap(j->ops.dev, wraps);
    return ok;
}

/* The network of an upscaler that has one; false: it could not be opened. */
static bool network_of(struct painting *j, const struct upscaler *upscaler,
                       const struct pictor_upscaler **out, struct err *err)
{
    *out = NULL;
    if (j->p->hires_network)
        *out = j->p->hires_network;
    else if (upscaler->network && !(*out = enlarger_builtin(j->m->engine, err)))
        return false;
    if (*out)
        hold(j, (*out)->info.weight_bytes);
    return true;
}

/* As one that covers it, where what sticks out of the second pass is cut off. */
static struct latent covering(struct painting *j, const struct latent *large, int factor)
{
    int width, height;
    params_cover(j->p, &width, &height);
    return latent_new(j->ops.arena, width / factor, height / factor, large->channels);
}

/* For the second pass, in the latent or by way of pixels, which whoever paints it encodes. */
static bool enlarge_to(struct painting *j, const struct latent *small, struct latent *large,
                       struct err *err)
{
    struct pictor_model *next = painter_of(j, 1);
    int factor = next->family->facts.factor;
    const struct upscaler *upscaler = upscaler_find(j->p->hires_upscaler);
    const struct pictor_upscaler *network;
    if (!j->p->hires_network && upscaler->latent) {
        upscaler_latent(upscaler, j->ops.arena, small, large);
        j->m = next;
        return true;
    }
    if (!network_of(j, upscaler, &network, err))
        return false;
    struct pictor_image image = {0};
    bool ok = (!is_dry(j) || plan_decode(j, painter_of(j, 0), small, err)) &&
              decode(j, small, &image, err) &&
              resize(j, &image, large->width * factor, large->height * factor, network,
                     network ? IMAGE_LANCZOS : upscaler->image, err);
    j->m = next;
    ok = ok && encode(j, &image, large, err);
    drop(j, (size_t)image.width * (size_t)image.height * 3);
    if (network)
        drop(j, network->info.weight_bytes);
    pictor_image_free(&image);
    return ok;
}

static bool enlarge(struct painting *j, const struct latent *small, struct latent *large,
                    struct err *err)
{
    if (widens(j)) {
        if (!is_dry(j))
            latent_widen(small->at, &j->wide);
        *large = j->wide.all;
        return true;
    }
    if (!j->p->hires_crop)
        return enlarge_to(j, small, large, err);
    size_t mark = arena_mark(j->ops.arena);
    struct latent whole = covering(j, large, painter_of(j, 1)->family->facts.factor);
    bool ok = enlarge_to(j, small, &whole, err);
    if (ok)
        latent_cut(j->ops.arena, &whole, large);
    arena_reset(j->ops.arena, mark);
    return ok;
}

/* The canvas that is painted over, its latent, and where it is painted over (NULL: everywhere). */
static bool begin_canvas(struct painting *j, struct canvas *canvas, struct latent *latent,
                         struct err *err)
{
    const struct pictor_params *p = j->p;
    int factor = facts_of(j)->factor;
    if (!p->init)
        return true;
    hold(j, canvas_bytes(j->asked));
    if (!is_dry(j) && !canvas_prepare(j->asked, factor, canvas, err))
        return false;
    /* A model that paints at sizes of its own gets the picture at that size. */
    if (!canvas_is_own(p) || p != j->asked)
        return resize(j, &canvas->image, p->width, p->height, NULL, IMAGE_LANCZOS, err) &&
               encode(j, &canvas->image, latent, err);
    size_t mark = arena_mark(j->ops.arena);
    struct latent own = latent_new(j->ops.arena, p->init->width / factor, p->init->height / factor,
                                   latent->channels);
    bool ok = encode(j, &canvas->image, &own, err);
    if (ok)
        upscaler_latent(upscaler_find("Latent"), j->ops.arena, &own, latent);
    arena_reset(j->ops.arena, mark);
    return ok;
}

/* The mask at the latent's size; NULL where there is none. */
static const float *mask_for(struct painting *j, const struct canvas *canvas,
                             const struct latent *latent)
{
    if (!(is_dry(j) ? j->p->mask != NULL : canvas->mask != NULL))
        return NULL;
    size_t pixels = (size_t)latent->width * (size_t)latent->height;
    float *mask = arena_alloc(j->ops.arena, pixels, sizeof *mask);
    if (!is_dry(j))
        canvas_mask(canvas, latent->width, latent->height, mask);
    return mask;
}

/* From the size that was painted to the one that was asked for. */
static bool finish_fitted(struct painting *j, struct pictor_image *painted, struct err *err)
{
    const struct pictor_params *asked = j->asked;
    const struct pictor_upscaler *network = NULL;
    const struct pictor_upscaler *own = asked->hires_width ? asked->hires_network : NULL;
    int width = asked->hires_width ? asked->hires_width : asked->width;
    int height = asked->hires_width ? asked->hires_height : asked->height;
    bool smaller = painted->width < width || painted->height < height;
    if (j->fitted.network && smaller &&
        !(network = own ? own : enlarger_builtin(j->m->engine, err)))
        return false;
    if (network)
        hold(j, network->info.weight_bytes);
    bool ok = resize(j, painted, width, height, network, IMAGE_LANCZOS, err);
    if (network)
        drop(j, network->info.weight_bytes);
    return ok;
}

/* An interrupted first pass is the picture, whatever size it has: what becomes of it is planned
 * too. */
static bool plan_interrupt(struct painting *j, const struct latent *latent, struct err *err)
{
    struct pictor_image image = {0};
    if (!is_dry(j))
        return true;
    if (!decode(j, latent, &image, err) || (j->p != j->asked && !finish_fitted(j, &image, err)))
        return false;
    drop(j, (size_t)image.width * (size_t)image.height * 3);
    return true;
}

/* All of a picture but what it began with. */
static bool run_stages(struct painting *j, const struct passes *passes, struct canvas *canvas,
                       struct pictor_image *painted, struct err *err)
{
    const struct pictor_params *p = j->p, *asked = j->asked;
    struct arena *a = j->ops.arena;
    int factor = facts_of(j)->factor, channels = facts_of(j)->channels;
    struct latent latent = latent_new(a, p->width / factor, p->height / factor, channels);
    j->total = j->steps = passes->plan[0].steps + passes->plan[1].steps;
    if (p != asked && !asked->hires_width)
        j->steps = passes->plan[0].steps;
    j->pace = pace_of(p, passes);
    if (widens(j))
        j->wide = latent_wide_new(a, p->hires_width / factor, p->hires_height / factor, channels);
    if (!encode_words(j, err) || !begin_previews(j, err))
        return false;
    if (!report(j, NULL, 0, 0))
        return err_set(err, ERR_CANCELLED, "cancelled");
    if (!begin_canvas(j, canvas, &latent, err) ||
        !sample(j, passes, 0, &latent, p->init != NULL, canvas, mask_for(j, canvas, &latent),
                canvas->fill, err))
        return false;
    if (p->hires_width && (!j->interrupted || widens(j))) {
        struct latent small = latent;
        if (!widens(j) && !plan_interrupt(j, &small, err))
            return false;
        factor = painter_of(j, 1)->family->facts.factor;
        channels = painter_of(j, 1)->family->facts.channels;
        latent = latent_new(a, p->hires_width / factor, p->hires_height / factor, channels);
        if (!enlarge(j, &small, &latent, err) ||
            (passes->plan[1].steps && !j->interrupted &&
             !sample(j, passes, 1, &latent, true, canvas,
                     widens(j) ? j->wide.mask : mask_for(j, canvas, &latent), PICTOR_FILL_ORIGINAL,
                     err)))
            return false;
    }
    if (!decode(j, &latent, painted, err))
        return false;
    return p == asked || finish_fitted(j, painted, err);
}

/* In j->ops.arena. While planning `out` is left alone. */
static bool paint(struct painting *j, struct pictor_image *out, struct err *err)
{
    struct passes passes;
    struct canvas canvas = {0};
    struct pictor_image painted = {0};
    device_wrap(j->ops.dev, j->p->tiling);
    bool ok = passes_plan(&passes, j->own, j->asked, j->p, j->choice, err) &&
              run_stages(j, &passes, &canvas, &painted, err);
    if (ok && j->asked->colour_correction && j->p->init && !is_dry(j))
        colours_match(&canvas.image, &painted);
    if (ok && j->p->init)
        hold(j, (size_t)painted.width * (size_t)painted.height * 3);
    if (ok && !is_dry(j)) {
        if (j->p->init) {
            ok = canvas_finish(&canvas, &painted, out, err);
        } else {
            *out = painted;
            painted = (struct pictor_image){0};
        }
    }
    device_wrap(j->ops.dev, false);
    pictor_image_free(&painted);
    canvas_free(&canvas);
    for (int i = 0; i < 2; i++) {
        spoken_free(&j->spoken[i]);
        spoken_free(&j->refined[i]);
        sampler_plan_free(&passes.plan[i]);
    }
    return ok;
}

/* ---- what a picture takes, and the picture ---- */

static struct painting painting_of(struct pictor_model *m, const struct pictor_params *params,
                                   struct arena *arena)
{
    return (struct painting){
        .own = m, .m = m, .asked = params, .p = params, .ops = {m->engine->dev, arena}};
}

static void fit(struct painting *j)
{
    const struct family *family = j->m->family->family;
    if (family->fit && family->fit(j->m->family, j->asked, &j->fitted))
        j->p = &j->fitted.params;
}

static bool does_fit(size_t bytes, size_t weights, size_t limit)
{
    return !limit || bytes <= limit - (weights < limit ? weights : limit);
}

/* Then the arena's peak is known, and `bytes` is that and the pictures. */
static bool run_dry(struct painting *j, size_t *bytes, struct err *err)
{
    fit(j);
    if (!paint(j, NULL, err))
        return false;
    *bytes = j->ops.arena->peak + j->held.most;
    return true;
}

/* Checks and runs dry; once more where previews cannot be decoded for want of room, and where the
 * models have to take turns, of which parts of a picture have more. */
static bool plan(struct painting *j, size_t *bytes, struct err *err)
{
    size_t limit = j->own->engine->memory_limit;
    size_t weights = others_weights(j->own, j->asked, false);
    if (!params_check(facts_of(j), j->asked, j->choice, err) ||
        !guides_check(j->asked, j->m->control_count, err) || !others_check(j->own, j->asked, err) ||
        !run_dry(j, bytes, err))
        return false;
    for (int turns = 0; turns < 2 && !does_fit(*bytes, weights, limit); turns++) {
        if (turns ? !others_take_turns(j->own, j->asked) : !j->asked->preview_every)
            continue;
        struct painting again = painting_of(j->own, j->asked, j->ops.arena);
        memcpy(again.choice, j->choice, sizeof again.choice);
        again.plain = true;
        again.turns = turns;
        arena_plan(j->ops.arena);
        *j = again;
        weights = others_weights(j->own, j->asked, turns);
        if (!run_dry(j, bytes, err))
            return false;
    }
    return does_fit(*bytes, weights, limit) ||
           err_set(err, ERR_TOO_LARGE,
                   "this picture needs %zu MiB beside the model's %zu MiB; the limit is %zu MiB",
                   *bytes >> 20, weights >> 20, limit >> 20);
}

bool pictor_check(struct pictor_model *model, const struct pictor_params *params, size_t *bytes,
                  struct err *err)
{
    struct arena arena;
    arena_plan(&arena);
    struct painting j = painting_of(model, params, &arena);
    size_t ignored;
    return plan(&j, bytes ? bytes : &ignored, err);
}

bool pictor_generate(struct pictor_model *model, const struct pictor_params *params,
                     struct pictor_image *out, struct err *err)
{
    struct pictor_engine *e = model->engine;
    struct arena arena;
    size_t bytes;
    *out = (struct pictor_image){0};
    arena_plan(&arena);
    struct painting dry = painting_of(model, params, &arena), j;
    model_begin(e);
    if (!plan(&dry, &bytes, err))
        return model_end(e, false, out, err);
    j = painting_of(model, params, &e->arena);
    memcpy(j.choice, dry.choice, sizeof j.choice);
    fit(&j);
    j.turns = dry.turns;
    j.plain = dry.plain;
    if (j.turns) {
        log_event(LOG_INFO, "models_take_turns", "limit_mib=%zu", e->memory_limit >> 20);
        arena_free(&e->arena); /* what an earlier picture had may be more than is planned for */
    }
    j.began = j.last_step = now();
    bool ok = arena_renew(&e->arena, arena.peak, err) && paint(&j, out, err);
    return model_end(e, ok, out, err);
}

#include "engine/pipeline/others.h"

#include <string.h>

#include "engine/pipeline/upscaler.h"

struct pictor_model *others_painter(struct pictor_model *own, const struct pictor_params *asked,
                                    int pass)
{
    return pass == 1 && asked->hires_width && asked->hires_model ? asked->hires_model : own;
}

/* Of a picture with a second pass, which of them. */
static bool is_refined(const struct pictor_params *p, int pass)
{
    switch (p->refiner_pass) {
    case PICTOR_REFINE_SECOND:
        return pass == 1;
    case PICTOR_REFINE_FIRST:
        return pass == 0;
    case PICTOR_REFINE_BOTH:
        break;
    }
    return true;
}

struct pictor_model *others_refiner(struct pictor_model *own, const struct pictor_params *asked,
                                    const struct pictor_params *painted, int pass)
{
    struct pictor_model *refiner = asked->refiner;
    bool none = !refiner || asked->refiner_at >= 1 ||
                refiner == others_painter(own, asked, pass);
    return none || (painted->hires_width && !is_refined(asked, pass)) ? NULL : refiner;
}

static bool is_one_space(const struct pictor_model *a, const struct pictor_model *b)
{
    const struct family_facts *x = &a->family->facts, *y = &b->family->facts;
    return x->channels == y->channels && x->factor == y->factor &&
           strcmp(a->family->family->latent, b->family->family->latent) == 0;
}

static bool check_spaces(const char *role, const struct pictor_model *own,
                         const struct pictor_model *other, const char *advice, struct err *err)
{
    const struct family *from = own->family->family, *to = other->family->family;
    return is_one_space(own, other) ||
           err_set(err, ERR_INVALID,
                   "the %s is of the family %s, whose latents are not those of %s that it is to go "
                   "on with%s",
                   role, to->name, from->name, advice);
}

static bool check_side(const char *role, const char *name, int side, int multiple, struct err *err)
{
    return side % multiple == 0 ||
           err_set(err, ERR_INVALID, "%s must be a multiple of %d for the %s, got %d", name,
                   multiple, role, side);
}

static bool check_model(const char *role, const struct pictor_model *m,
                        const struct pictor_params *p, bool first, bool second, struct err *err)
{
    const struct family_facts *facts = &m->family->facts;
    if (facts->info.default_image_guidance > 0)
        return err_set(err, ERR_INVALID,
                       "the %s edits pictures: such a model paints whole pictures alone", role);
    if (p->clip_skip > facts->clip_skips)
        return err_set(err, ERR_INVALID, "clip_skip must be 1..%d for the %s, got %d",
                       facts->clip_skips, role, p->clip_skip);
    return (!first || (check_side(role, "width", p->width, facts->multiple, err) &&
                       check_side(role, "height", p->height, facts->multiple, err))) &&
           (!second || (check_side(role, "hires_width", p->hires_width, facts->multiple, err) &&
                        check_side(role, "hires_height", p->hires_height, facts->multiple, err)));
}

static bool check_second_pass(struct pictor_model *own, const struct pictor_params *p,
                              struct err *err)
{
    struct pictor_model *m = others_painter(own, p, 1);
    const struct upscaler *upscaler = p->hires_network ? NULL : upscaler_find(p->hires_upscaler);
    if (m == own)
        return true;
    if (m->control_count != p->control_count)
        return err_set(err, ERR_INVALID, "controls: the model of the second pass has %zu of %zu",
                       m->control_count, p->control_count);
    return check_model("model of the second pass", m, p, false, true, err) &&
           (!upscaler || !upscaler->latent ||
            check_spaces("model of the second pass", own, m,
                         " by an upscaler of latents; others, such as Lanczos, go by pixels", err));
}

bool others_check(struct pictor_model *own, const struct pictor_params *p, struct err *err)
{
    if (!(p->refiner_at >= 0 && p->refiner_at <= 1))
        return err_set(err, ERR_INVALID, "refiner_at must be 0..1, got %g", p->refiner_at);
    if (!check_second_pass(own, p, err))
        return false;
    for (int pass = 0; pass <= (p->hires_width > 0); pass++) {
        struct pictor_model *refiner = others_refiner(own, p, p, pass);
        if (refiner && (!check_model("refiner", refiner, p, pass == 0, pass == 1, err) ||
                        !check_spaces("refiner", others_painter(own, p, pass), refiner, "", err)))
            return false;
    }
    return true;
}

/* All that paint, each once. */
struct all {
    struct pictor_model *at[3];
    int count;
};

static struct all all_of(struct pictor_model *own, const struct pictor_params *asked)
{
    struct pictor_model *second = others_painter(own, asked, 1), *refiner = asked->refiner;
    struct all all = {{own}, 1};
    if (second != own)
        all.at[all.count++] = second;
    if (refiner && refiner != own && refiner != second)
        all.at[all.count++] = refiner;
    return all;
}

size_t others_weights(struct pictor_model *own, const struct pictor_params *asked, bool turns)
{
    struct all all = all_of(own, asked);
    size_t sum = 0, most = 0, rest = 0;
    for (int i = 0; i < all.count; i++) {
        const struct family_facts *facts = &all.at[i]->family->facts;
        size_t works = facts->info.weight_bytes - facts->resting_bytes;
        sum += facts->info.weight_bytes;
        rest += facts->resting_bytes;
        most = works > most ? works : most;
    }
    return turns ? most + rest : sum;
}

bool others_take_turns(struct pictor_model *own, const struct pictor_params *asked)
{
    struct all all = all_of(own, asked);
    bool can = all.count > 1;
    for (int i = 0; i < all.count; i++)
        can = can && all.at[i]->family->family->rest;
    return can;
}

bool others_wake(struct pictor_model *own, const struct pictor_params *asked, bool turns,
                 struct pictor_model *m, struct err *err)
{
    struct all all = all_of(own, asked);
    for (int i = 0; i < all.count && turns; i++)
        if (all.at[i] != m)
            pictor_model_rest(all.at[i]);
    return model_wake(m, err);
}

#include "engine/family/stable_control.h"

#include <stdio.h>
#include <string.h>

/* A ControlNet's file stands for a UNet. */
static struct controlnet *open_net(struct device *dev, const struct unet_config *unet,
                                   const struct pictor_control_file *file,
                                   struct checkpoint **kept, struct err *err)
{
    struct pictor_files files = {.count = 1};
    snprintf(files.items[0].name, sizeof files.items[0].name, "unet/"); /* the error has its name */
    files.items[0].fd = file->fd;
    struct checkpoint *cp = checkpoint_open_files(&files, err);
    struct controlnet *net = cp ? controlnet_load(dev, cp, unet, err) : NULL;
    if (!net) {
        checkpoint_free(cp);
        err_prefix(err, "ControlNet %s", file->name);
        return NULL;
    }
    *kept = cp;
    return net;
}

bool stable_control_load(struct stable_control *c, struct device *dev,
                         const struct unet_config *unet, const struct pictor_control_file *files,
                         size_t count, struct err *err)
{
    stable_control_free(c);
    if (count > PICTOR_CONTROLS_MAX)
        return err_set(err, ERR_INVALID, "%zu ControlNets: wanted at most %d", count,
                       PICTOR_CONTROLS_MAX);
    for (; c->count < count; c->count++) {
        size_t i = c->count;
        if (!(c->nets[i] = open_net(dev, unet, &files[i], &c->files[i], err))) {
            stable_control_free(c);
            return false;
        }
        c->bytes += controlnet_bytes(c->nets[c->count]);
    }
    return true;
}

void stable_control_free(struct stable_control *c)
{
    for (size_t i = 0; i < c->count; i++) {
        controlnet_free(c->nets[i]);
        checkpoint_free(c->files[i]);
    }
    *c = (struct stable_control){.count = 0};
}

/* What a net that leads no negative prompt is asked by. */
static bool make_alone(struct stable_guides *g, size_t i, int b)
{
    if (g->wanted[i].say != PICTOR_SAY_CONTROL || g->led == 0 || g->led == b)
        return true;
    return (g->alone[i] = unet_prompt_first(g->prompts[i], g->led));
}

bool stable_control_begin(struct stable_guides *g, const struct stable_control *nets, struct ops *o,
                          const struct family_picture *picture, const struct family_words *words,
                          int b, const float *context, const float *label, struct err *err)
{
    size_t count = picture->guides ? picture->params->control_count : 0;
    *g = (struct stable_guides){.nets = nets,
                                .wanted = picture->params->controls,
                                .done = picture->done,
                                .regions = picture->regions};
    while (g->led < b && !words[g->led].negative)
        g->led++;
    while (g->count < count && g->count < nets->count) {
        size_t i = g->count++;
        g->hints[i] =
            controlnet_hint(o, nets->nets[i], picture->guides[i], picture->height, picture->width);
        g->prompts[i] = controlnet_prompt(o, nets->nets[i], b, words->tokens, context, label);
        if (!g->prompts[i] || !make_alone(g, i, b)) {
            stable_control_end(g);
            return err_set(err, ERR_INTERNAL, "no memory for a ControlNet's prompt");
        }
    }
    return true;
}

bool stable_control_first(struct stable_guides *first, const struct stable_guides *g,
                          struct err *err)
{
    *first = *g;
    first->led = g->led > 0;
    memset(first->alone, 0, sizeof first->alone);
    for (first->count = 0; first->count < g->count; first->count++)
        if (!(first->prompts[first->count] = unet_prompt_first(g->prompts[first->count], 1))) {
            stable_control_end(first);
            return err_set(err, ERR_INTERNAL, "no memory for a ControlNet's prompt");
        }
    return true;
}

void stable_control_end(struct stable_guides *g)
{
    for (size_t i = 0; i < g->count; i++) {
        unet_prompt_free(g->prompts[i]);
        unet_prompt_free(g->alone[i]);
    }
    g->count = 0;
}

/* While planning, all of them that ever do: the most that any step takes. */
static bool leads(const struct ops *o, const struct stable_guides *g, size_t i)
{
    const struct pictor_control *c = &g->wanted[i];
    double done = g->done ? *g->done : 0;
    if (c->say == PICTOR_SAY_CONTROL && g->led == 0)
        return false;
    return arena_planning(o->arena) || (c->weight != 0 && done >= c->start && done <= c->end);
}

const struct unet_residuals *stable_control_run(struct ops *o, const struct stable_guides *g,
                                                const float *x, int h, int w, float t,
                                                struct unet_residuals *out)
{
    bool fresh = true;
    for (size_t i = 0; i < g->count; i++) {
        const struct controlnet *net = g->nets->nets[i];
        const struct pictor_control *c = &g->wanted[i];
        const struct controlnet_lead lead = {.weight = c->weight,
                                             .soft = c->say != PICTOR_SAY_BALANCED,
                                             .region = g->regions ? g->regions[i] : NULL};
        if (!leads(o, g, i))
            continue;
        if (fresh && g->alone[i]) {
            controlnet_silence(o, net, g->prompts[i], h, w, out);
            fresh = false;
        }
        controlnet_forward(o, net, g->alone[i] ? g->alone[i] : g->prompts[i], &g->hints[i], x, h, w,
                           t, &lead, fresh, out);
        fresh = false;
    }
    return fresh ? NULL : out;
}

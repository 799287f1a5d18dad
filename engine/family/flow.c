#include "engine/family/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool flow_fit(const struct family_model *m, const struct pictor_params *asked,
              struct family_fitted *fitted)
{
    *fitted = (struct family_fitted){.params = *asked};
    struct pictor_params *p = &fitted->params;
    p->width -= p->width % FLOW_MULTIPLE;
    p->height -= p->height % FLOW_MULTIPLE;
    p->hires_width -= p->hires_width % FLOW_MULTIPLE;
    p->hires_height -= p->hires_height % FLOW_MULTIPLE;
    return p->width != asked->width || p->height != asked->height ||
           p->hires_width != asked->hires_width || p->hires_height != asked->hires_height;
}

bool flow_wake(struct weights *weights, struct device *dev, const struct checkpoint *cp,
               struct err *err)
{
    if (weights_merge(weights, dev, cp, NULL, 0, err))
        return true;
    weights_rest(weights);
    return false;
}

bool flow_is_called(const struct checkpoint *cp, const char *word)
{
    const char *name = checkpoint_name(cp), *title = checkpoint_metadata(cp, "modelspec.title");
    char lower[400];
    snprintf(lower, sizeof lower, "%.272s %.96s", name, title ? title : "");
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return strstr(lower, word);
}

void flow_release(const struct checkpoint *cp, const char *prefix)
{
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        if (strncmp(t->name, prefix, strlen(prefix)) == 0)
            checkpoint_release(cp, t);
    }
}

struct family_call *flow_copy(const struct family_call *call, size_t size, struct err *err)
{
    struct family_call *copy = malloc(size);
    if (!copy)
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
    return copy ? memcpy(copy, call, size) : NULL;
}

/* painted.h: a picture that a test cannot do without. */
#ifndef PICTOR_TESTS_PAINTED_H
#define PICTOR_TESTS_PAINTED_H

#include "engine/pictor.h"

/* Fails the test where there is none. Owned. */
static struct pictor_image paint(struct pictor_model *m, const struct pictor_params *p)
{
    struct err err;
    struct pictor_image image;
    if (!pictor_generate(m, p, &image, &err))
        fail_msg("%s", err.msg);
    return image;
}

#endif

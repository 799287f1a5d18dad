#include "server/job/inputs.h"

#include <string.h>

#include "server/job/job.h"

#define MORE (2 + CONTROLS_INPUTS) /* where those beside the first begin */

const char *inputs_name(size_t i)
{
    if (i < 2)
        return i == 0 ? "init" : "mask";
    return i < MORE ? controls_input(i - 2) : relay_input(i - MORE);
}

int inputs_index(const char *name)
{
    for (int i = 0; i < INPUTS_MAX; i++)
        if (strcmp(inputs_name((size_t)i), name) == 0)
            return i;
    return -1;
}

void inputs_wanted(const struct job_params *p, bool out[INPUTS_MAX])
{
    out[0] = p->has_init;
    out[1] = p->has_mask;
    controls_inputs(p->controls, out + 2);
    for (int i = 0; i < RELAY_IMAGES_MAX; i++)
        out[MORE + i] = i < p->more_images;
}

/* pace.c: steps are weighed by what they cost, because a pass over more pixels takes longer. */
#include "engine/pipeline/pace.h"

#include "engine/pictor.h"
#include "engine/pipeline/passes.h"

struct pace pace_of(const struct pictor_params *p, const struct passes *passes)
{
    int first = passes->plan[0].steps;
    double pixels = (double)p->width * p->height;
    return (struct pace){.first = first,
                         .total = first + passes->plan[1].steps,
                         .cost = (double)p->hires_width * p->hires_height / pixels};
}

static double work(const struct pace *p, int steps)
{
    return steps < p->first ? steps : p->first + (steps - p->first) * p->cost;
}

double pace_left(struct pace *p, int done, double now)
{
    if (done == 0) {
        p->began = now;
        return p->left = -1;
    }
    double behind = work(p, done);
    double left = (now - p->began) * (work(p, p->total) - behind) / behind;
    if (p->left < 0 || left < p->left)
        p->left = left;
    return p->left;
}

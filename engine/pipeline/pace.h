/* pace.h: how long a picture of two passes still takes, by the time that its steps took so far. */
#ifndef PICTOR_ENGINE_PIPELINE_PACE_H
#define PICTOR_ENGINE_PIPELINE_PACE_H

struct passes;
struct pictor_params;

struct pace {
    int first, total; /* steps: of the first pass, of both */
    double cost;      /* of a step of the second pass, by one of the first */
    double began;     /* seconds, of any clock */
    double left;      /* as said last; < 0: nothing was said yet */
};

struct pace pace_of(const struct pictor_params *p, const struct passes *passes);

/* Seconds that `done` steps (of pace.total) leave at time `now`; -1 before the first. What was said
 * before is never exceeded: on a machine that gets slower the count stops, and does not rise. */
double pace_left(struct pace *pace, int done, double now);

#endif

/* gauge.h: how fast a worker is, by the steps of the pictures that it painted. Not thread-safe. */
#ifndef PICTOR_SERVER_GAUGE_H
#define PICTOR_SERVER_GAUGE_H

/* Zeroed: nothing was measured. */
struct gauge {
    double sum; /* seconds of this picture's steps */
    int steps;
    double step_seconds; /* a step of the last picture; 0: none yet */
    double pace;         /* seconds for a step of a megapixel, the last pictures together */
};

void gauge_step(struct gauge *g, double seconds);
/* The picture of these steps is done; 0 x 0: it is not, and they count for nothing. */
void gauge_picture(struct gauge *g, int width, int height);

#endif

#include "server/paint/gauge.h"

#define KEPT 0.75 /* of what was measured before, with each picture */

void gauge_step(struct gauge *g, double seconds)
{
    g->sum += seconds;
    g->steps++;
}

void gauge_picture(struct gauge *g, int width, int height)
{
    double pixels = (double)width * height;
    if (g->steps > 0 && pixels > 0) {
        g->step_seconds = g->sum / g->steps;
        double pace = g->step_seconds / (pixels / 1e6);
        g->pace = g->pace > 0 ? KEPT * g->pace + (1 - KEPT) * pace : pace;
    }
    g->sum = 0;
    g->steps = 0;
}

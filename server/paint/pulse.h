/* pulse.h: whether a worker is alive, also while it paints: it is asked every second, by a thread
 * of its own it answers how much its engine has done so far.
 *
 * Questions are counted rather than timed, so a machine that slept has asked no more often, and a
 * server that was busy itself blames nobody. No threads, no clock: times are handed in. */
#ifndef PICTOR_SERVER_PULSE_H
#define PICTOR_SERVER_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define PULSE_MS 1000 /* between questions */
#define PULSE_LATE 3  /* so many without an answer: it is not ready */
#define PULSE_LOST 10 /* it is lost */
#define PULSE_STUCK                                                                                \
    120 /* answers between which nothing was done for a request: so it is, too. One                \
           operation takes seconds, and so does a tensor from a slow disk */

/* {0} asks nothing. */
struct pulse {
    bool on;
    int64_t due; /* when to ask again */
    int unanswered, stuck;
    int64_t beats; /* in the last answer */
};

void pulse_start(struct pulse *p, int64_t now_ms);

/* When to look; INT64_MAX: never. */
int64_t pulse_due(const struct pulse *p);

enum pulse_verdict {
    PULSE_WAIT,
    PULSE_ASK,      /* now; counts as asked */
    PULSE_ASK_LATE, /* the same, and from now on it is late */
    PULSE_IS_LOST,
    PULSE_IS_STUCK
};
enum pulse_verdict pulse_look(struct pulse *p, int64_t now_ms);

/* It has answered; `busy`: it has a request to work on. True: it was late and is not any more. */
bool pulse_answer(struct pulse *p, int64_t beats, bool busy);

#endif

#include "server/paint/pulse.h"

void pulse_start(struct pulse *p, int64_t now_ms)
{
    *p = (struct pulse){.on = true, .due = now_ms + PULSE_MS, .beats = -1};
}

int64_t pulse_due(const struct pulse *p)
{
    return p->on ? p->due : INT64_MAX;
}

enum pulse_verdict pulse_look(struct pulse *p, int64_t now_ms)
{
    if (now_ms < pulse_due(p))
        return PULSE_WAIT;
    if (p->unanswered >= PULSE_LOST)
        return PULSE_IS_LOST;
    if (p->stuck >= PULSE_STUCK)
        return PULSE_IS_STUCK;
    p->due = now_ms + PULSE_MS;
    return ++p->unanswered == PULSE_LATE ? PULSE_ASK_LATE : PULSE_ASK;
}

bool pulse_answer(struct pulse *p, int64_t beats, bool busy)
{
    bool was_late = p->unanswered >= PULSE_LATE;
    p->unanswered = 0;
    p->stuck = busy && beats == p->beats ? p->stuck + 1 : 0;
    p->beats = beats;
    return was_late;
}

/* painter_asked.c: what other threads ask of a painter, and what it says of itself. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/pictor.h"
#include "server/base/machine.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/paint/child.h"
#include "server/paint/painter_private.h"

#define TELL_MS 1000

void painter_wake(struct painter *p)
{
    eventfd_write(p->wake, 1); /* full, it has woken it already */
}

void painter_load(struct painter *p, const char *model)
{
    pthread_mutex_lock(&p->lock);
    p->unload = p->unload || !model;
    snprintf(p->load, sizeof p->load, "%s", model ? model : "");
    pthread_mutex_unlock(&p->lock);
    painter_wake(p);
}

bool painter_busy(struct painter *p)
{
    pthread_mutex_lock(&p->lock);
    bool busy = p->job_id[0] != '\0';
    pthread_mutex_unlock(&p->lock);
    return busy;
}

bool painter_ready(struct painter *p, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    bool ready = p->ready;
    if (!ready && err)
        *err = p->trouble;
    pthread_mutex_unlock(&p->lock);
    return ready;
}

void painter_stats(struct painter *p, struct dispatch_stats *out)
{
    pthread_mutex_lock(&p->lock);
    out->pictures += p->stats.pictures;
    out->steps += p->stats.steps;
    out->step_seconds += p->stats.step_seconds;
    out->worker_starts += p->stats.worker_starts;
    pid_t pid = p->pid;
    pthread_mutex_unlock(&p->lock);
    if (pid > 0)
        out->worker_memory += child_memory(pid);
}

/* ---- what it says of itself ---- */

void painter_warm(struct painter *p, const char *model, bool opened)
{
    char *others = NULL, word[ROSTER_WORD_MAX + 1];
    for (const char *w = model ? p->self.warm : NULL; w && *w; w = strchr(w, '\n') + 1) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(w, "\n"), w);
        if (strcmp(word, model) != 0)
            roster_add(&others, word);
    }
    if (model && opened)
        roster_add(&others, model);
    free(p->self.warm);
    p->self.warm = others;
}

static void introduce(struct painter *p)
{
    struct roster_worker *w = &p->self;
    const char *server = roster_server(p->parts.roster);
    w->local = true;
    snprintf(w->id, sizeof w->id, "local:%s", server);
    snprintf(w->name, sizeof w->name, "%s", *server ? server : "local");
    gethostname(w->host, sizeof w->host - 1);
    snprintf(w->version, sizeof w->version, "%s", PICTOR_VERSION);
    int64_t limit = (int64_t)p->parts.settings->memory_limit_mb << 20;
    w->memory = limit ? limit : (int64_t)machine_memory();
    for (size_t i = 0; pictor_family_name(i); i++)
        roster_add(&w->families, pictor_family_name(i));
}

void painter_tell(struct painter *p, bool at_once)
{
    struct roster_worker *w = &p->self;
    int64_t now = now_ms();
    if (!p->parts.roster || !p->paints || (!at_once && now < p->told + TELL_MS))
        return;
    p->told = now;
    if (!*w->id)
        introduce(p);
    pthread_mutex_lock(&p->lock);
    w->state = p->job_id[0] ? ROSTER_PAINTING : p->ready ? ROSTER_IDLE : ROSTER_STARTING;
    memcpy(w->job, p->job_id, sizeof w->job);
    pthread_mutex_unlock(&p->lock);
    w->step_seconds = p->gauge.step_seconds;
    w->pace = p->gauge.pace;
    roster_tell(p->parts.roster, w);
}

#include "server/paint/task.h"

#include <stdlib.h>

#include "server/job/intake.h"

static bool read_input(const struct task *t, const struct dispatch_parts *parts, const char *name,
                       bool wanted, void **data, size_t *size, struct err *err)
{
    return !wanted || queue_input(parts->queue, t->job.id, name, data, size, err);
}

bool task_open(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct intake_model usual;
    struct job_params *p = &t->job.params;
    if (!registry_resolve(parts->registry, p->model, &t->model, err))
        return false;
    intake_model_of(&t->model, &usual);
    /* An upstream's model when the job was accepted may be a local one now. */
    return intake_fill(&usual, parts->settings, p, err) &&
           registry_open(parts->registry, &t->model, &t->files, err) &&
           loras_open(parts->settings, p->prompt, &t->loras, err) &&
           read_input(t, parts, "init", p->has_init, &t->init, &t->init_size, err) &&
           read_input(t, parts, "mask", p->has_mask, &t->mask, &t->mask_size, err);
}

void task_free(struct task *t)
{
    job_free(&t->job);
    pictor_files_close(&t->files);
    loras_close(&t->loras);
    free(t->init);
    free(t->mask);
    free(t);
}

/* task.h: a job being painted, and all that a worker needs for it: files, open for the whole job.
 */
#ifndef PICTOR_SERVER_TASK_H
#define PICTOR_SERVER_TASK_H

#include "engine/pictor.h"
#include "server/job/relay.h"
#include "server/job/companions.h"
#include "server/job/controls.h"
#include "server/job/embeddings.h"
#include "server/job/job.h"
#include "server/job/loras.h"
#include "server/job/registry.h"
#include "server/job/tiny.h"
#include "server/job/upscalers.h"
#include "server/job/vaes.h"
#include "server/paint/dispatch.h"
#include "server/queue/queue.h"

struct task {
    struct job job;
    struct claim claim;
    struct registry_model model;
    struct pictor_files files; /* of the model */
    struct vaes_version vae;   /* that is among them in the place of the model's own */
    struct companion others[COMPANIONS];
    struct loras loras;            /* that the prompt names */
    struct embeddings embeddings;  /* that the prompts name */
    struct upscaler_file upscaler; /* between the passes */
    struct controls_files controls;
    struct tiny_file tiny; /* for previews */
    void *init, *mask, *leading[CONTROLS_INPUTS]; /* the inputs' bytes */
    size_t init_size, mask_size, leading_size[CONTROLS_INPUTS];
    void *shown[RELAY_IMAGES_MAX]; /* pictures beside the one that is begun from */
    size_t shown_size[RELAY_IMAGES_MAX];
    int index;    /* of the picture requested last */
    int chosen;   /* the picture whose prompts the job has, counted from 1; 0: not settled */
    int pictures; /* stored by us */
    bool interrupted;
    int skipped; /* behind which picture the last one is that was skipped */
    bool told;   /* that `left` seconds are to come */
    double left;
    int64_t started;
};

/* Finds the job's model, fills in what the job leaves to it, opens files and reads inputs. */
bool task_open(struct task *t, const struct dispatch_parts *parts, struct err *err);
/* Before picture `index` is requested: its own prompts, and the files that they name. */
bool task_choose(struct task *t, const struct dispatch_parts *parts, int index, struct err *err);
/* What a worker is told to paint picture `index`; borrows from the task. */
struct child_request;
void task_request(const struct task *t, int64_t serial, int index, struct child_request *out);
void task_free(struct task *t);

/* The one of its models that has this name; its own if none has. */
const struct registry_model *task_model(const struct task *t, const char *name);

#endif

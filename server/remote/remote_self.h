/* remote_self.h: what a worker says of itself when it asks for a job: what it is, what it may take,
 * and which models it has. The keeper's thread. */
#ifndef PICTOR_SERVER_REMOTE_SELF_H
#define PICTOR_SERVER_REMOTE_SELF_H

#include <stdbool.h>

#include "engine/pictor.h"
#include "server/paint/gauge.h"
#include "server/remote/remote_files.h"

struct cJSON;
struct settings;

#define REMOTE_SELF_MODELS 64 /* that are remembered; of more, those of the longest ago are not */
#define REMOTE_SELF_NAME 200

/* Zeroed is fine. */
struct remote_self {
    char device[128]; /* as the worker process says it */
    struct gauge gauge;
    struct remote_self_model {
        char name[REMOTE_SELF_NAME]; /* the server's */
        char files[PICTOR_FILES_MAX][65];
        size_t count;
        bool warm; /* the worker process has it in memory */
    } models[REMOTE_SELF_MODELS];
    size_t count;
};

/* A picture of the order's model was painted, so its files are all here. */
void remote_self_learn(struct remote_self *self, const struct remote_order *order);
/* The worker process has opened it, or closed it; NULL: all of them. */
void remote_self_warm(struct remote_self *self, const char *model, bool opened);

/* Adds it all to a claim. Looks into the folder of files. */
void remote_self_describe(const struct remote_self *self, const struct settings *settings,
                          const struct remote_files *files, struct cJSON *claim);

#endif

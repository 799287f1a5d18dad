/* remote_keeper.h: the loop between a server and the worker process; see remote.h. */
#ifndef PICTOR_SERVER_REMOTE_KEEPER_H
#define PICTOR_SERVER_REMOTE_KEEPER_H

#include <stdbool.h>

#include "engine/base/err.h"

struct remote_files;
struct remote_link;
struct settings;

/* Paints until `signals` (a signalfd) has something to say, gives back what is not finished, and
 * returns true. The thread that calls it is the worker process's. */
bool remote_keeper_run(const struct settings *settings, const struct remote_link *link,
                       const struct remote_files *files, int signals, struct err *err);

#endif

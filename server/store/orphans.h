/* orphans.h: the files that a server leaves when it is killed. */
#ifndef PICTOR_SERVER_ORPHANS_H
#define PICTOR_SERVER_ORPHANS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "engine/base/err.h"

struct store;

/* Puts away what lies beside the database (in a bucket another server may just be putting what it
 * has no row for yet: that is left to fsck), was last written before `before` and has no row:
 * unfinished files are removed, others are moved to DATA/lost, for the database beside them may be
 * an older one. *count: how many. `files` is held while a file is looked at; who removes a row and
 * then its file holds it, too. Stops when `stop` says so. False only when it could not look. */
bool orphans_put_away(struct store *st, time_t before, pthread_mutex_t *files,
                      bool (*stop)(void *ctx), void *ctx, size_t *count, struct err *err);

#endif

/* pull_folder.h: a model of many files, as a folder in the models folder.
 *
 * It grows as .NAME.part, a name that lists of models do not see, file by file (pull_part.h), and
 * gets its name when all are there. A file that is there and is the one that is wanted is not
 * fetched again; what lies in it and is not wanted is removed. No state; any thread. */
#ifndef PICTOR_SERVER_PULL_FOLDER_H
#define PICTOR_SERVER_PULL_FOLDER_H

#include <limits.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "server/pull/pull_part.h"
#include "server/pull/pull_source.h"

/* Fetches what lacks of s->files into `models`; `path` is where all of it grows. It is locked until
 * the descriptor is closed that is returned; -1 where it fails. */
int pull_folder_fetch(const struct pull_source *s, const struct pull_watch *watch,
                      const char *models, char path[PATH_MAX], struct err *err);

/* Whether the folder has all of s->files, as they are wanted. */
bool pull_folder_is(const char *path, const struct pull_source *s, const struct pull_watch *watch);

/* Removes what was fetched of a folder of this name; ERR_BUSY while another pull writes it. */
bool pull_folder_forget(const char *models, const char *name, struct err *err);

#endif

/* pull_repo.h: which files of a repository make one model: those of the parts that its
 * model_index.json names, and of the several that hold the weights of a part, one. No state. */
#ifndef PICTOR_SERVER_PULL_REPO_H
#define PICTOR_SERVER_PULL_REPO_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;

#define PULL_REPO_FILES 256 /* of one model; SDXL's has some 20 */

/* Items of the tree, borrowed: each an object with a "path". */
struct pull_repo {
    const struct cJSON *files[PULL_REPO_FILES];
    size_t count;
};

/* `tree`: the hub's list of all files. `index`: what its model_index.json says; NULL or another
 * object where there is none, if the network lies beside its configuration. */
bool pull_repo_choose(const struct cJSON *tree, const struct cJSON *index, struct pull_repo *out,
                      struct err *err);

/* The one file of weights of a repository that is no folder of parts: NULL, with an error that
 * names some, where there are several. */
const struct cJSON *pull_repo_single(const struct cJSON *tree, struct err *err);

/* The file of this path; NULL. */
const struct cJSON *pull_repo_find(const struct cJSON *tree, const char *path);

#endif

/* fsck.h: whether the store and the files beside it tell the same story.
 *
 * Files without rows are what a crash may leave (the file comes before its row, and goes after
 * it); rows without files, or with files of another size, are what only a damaged disk or a hand
 * in the data folder brings about. Repairing makes the store true again and throws no picture
 * away: a file that no row knows is moved to DATA/lost. */
#ifndef PICTOR_SERVER_FSCK_H
#define PICTOR_SERVER_FSCK_H

#include <stddef.h>
#include <stdio.h>

#include "engine/base/err.h"

struct blobs;
struct store;

struct fsck_options {
    bool repair;        /* needs the store opened STORE_ALONE */
    int ignore_seconds; /* files changed so recently may be in the making */
    bool all_lost;      /* repair although none of many pictures is there */
};

struct fsck_result {
    size_t images, inputs, files; /* rows that were looked at */
    size_t findings, repaired;
};

/* Prints a line a finding. False only when it could not look, or would not repair. */
bool fsck_run(struct store *store, struct blobs *blobs, const struct fsck_options *options,
              FILE *out, struct fsck_result *result, struct err *err);

#endif

/* blobs_move.h: all files from the folder to the bucket of the settings, or back. */
#ifndef PICTOR_SERVER_BLOBS_MOVE_H
#define PICTOR_SERVER_BLOBS_MOVE_H

#include <stdio.h>

#include "server/store/blobs.h"

struct blobs_move_options {
    bool back;   /* from the bucket to the folder */
    bool remove; /* from where they came, each after it was found whole on the other side */
};

struct blobs_moved {
    size_t moved, there; /* there: it was already, with the same hash */
    size_t failed;
    unsigned long long bytes; /* of all that are there now */
};

/* Can be called again after it was interrupted, and beside a running server, which finds a file on
 * either side. Prints a line for each file that fails, and goes on with the next; false when the
 * files could not be listed, or there is no bucket. */
bool blobs_move(struct blobs *b, const struct blobs_move_options *options, FILE *out,
                struct blobs_moved *moved, struct err *err);

#endif

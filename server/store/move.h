/* move.h: all rows of a store into another one, of whatever database. */
#ifndef PICTOR_SERVER_MOVE_H
#define PICTOR_SERVER_MOVE_H

#include <stdio.h>

#include "server/store/store.h"

/* Both opened alone. `to` must be empty, or what an earlier move of this kind has left unfinished:
 * then it goes on. Each table's rows are counted and hashed on both sides in the end, and said on
 * `out`. Until it is done no server opens `to`. */
bool move_rows(struct store *from, struct store *to, FILE *out, struct err *err);

#endif

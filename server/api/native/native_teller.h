/* native_teller.h: tells webhooks of jobs, on a few threads of its own. What is to be told is in
 * the store, so that it goes on after a restart. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_TELLER_H
#define PICTOR_SERVER_NATIVE_TELLER_H

#include "engine/base/err.h"

struct app;
struct native_teller;

/* Borrows `app`, which may still lack what only requests need. */
struct native_teller *native_teller_new(const struct app *app, struct err *err);
/* What is under way is told again, by the next server. NULL is fine. */
void native_teller_free(struct native_teller *t);

#endif

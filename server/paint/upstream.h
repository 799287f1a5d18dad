/* upstream.h: takes jobs of upstream models out of the queue and has them painted by OpenAI, or by
 * any server that speaks its images API (another pictor among them) or the SD WebUI's.
 *
 * One thread runs all transfers (server/paint/fetch.h) and holds all their jobs. A request is sent
 * again only when the server cannot have acted upon it: the connection failed, or it said "later"
 * (429, 503 with Retry-After). An order is noted in the store before it is sent, so that a server
 * that was killed knows that it may have been carried out, and does not pay twice. A model that
 * fails several times in a row is left alone for a while (server/paint/breaker.h), and so is the
 * whole upstream when it cannot be reached or refuses the key. What it says is wrong with a request
 * stays with the job (server/job/refusal.h). A picture that comes back is decoded, which must
 * succeed, and its file is kept as it came, with all it says of itself; only where the job asks for
 * another format is it encoded again. */
#ifndef PICTOR_SERVER_UPSTREAM_H
#define PICTOR_SERVER_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct dispatch_parts;
struct dispatch_stats;
struct upstream;

struct upstream *upstream_new(const struct dispatch_parts *parts, struct err *err);

/* Claims nothing more; what runs has `timeout_ms` from now. Does not wait. */
void upstream_drain(struct upstream *u, int timeout_ms);
/* Waits for the end of that time at most, then puts the rest back into the queue. */
void upstream_stop(struct upstream *u);
void upstream_free(struct upstream *u); /* after upstream_stop */

bool upstream_busy(struct upstream *u);
/* Adds its figures. */
void upstream_stats(struct upstream *u, struct dispatch_stats *out);

/* As dispatch_price. */
double upstream_price(struct upstream *u, const char *model);
struct dispatch_spending;
bool upstream_spending(struct upstream *u, size_t i, struct dispatch_spending *out);

/* All but upstream_new take NULL: there are no upstreams. */
#endif

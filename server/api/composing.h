/* composing.h: requests for pictures with "compose": true, whatever their dialect: the prompt is an
 * idea, out of which a description is made before the request is read as any other. */
#ifndef PICTOR_SERVER_COMPOSING_H
#define PICTOR_SERVER_COMPOSING_H

#include <stdbool.h>

#include "server/paint/composer.h"

struct app;
struct cJSON;
struct http_request;

/* Call it first in a handler. False: go on; the request may have another body by now, in which the
 * prompt is the description and `composed_from` the idea. True: it has replied, or does so later,
 * and will call `next`, the handler, when there is a description. */
bool composing_begins(struct http_request *req, void (*next)(struct http_request *req));

/* The composer for an idea; `model` (NULL: the default one) is what will paint it. */
bool composing_init(const struct app *app, const char *theme, const char *model, uint64_t seed,
                    struct composer *out, struct err *err);

/* The seed of a request: its member, or a random one. */
bool composing_seed(const struct cJSON *seed, uint64_t *out, struct err *err);

#endif

/* composing.h: requests for pictures with "compose": true, whatever their dialect: the prompt is an
 * idea, out of which a description is made before the request is read as any other. */
#ifndef PICTOR_SERVER_COMPOSING_H
#define PICTOR_SERVER_COMPOSING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/paint/composer.h"

struct app;
struct cJSON;
struct http_request;

/* Where a dialect has requests in a body in JSON. What is NULL: the body is the one request, and
 * its prompt is its member of that name. */
struct composing_place {
    /* The request behind `before` (NULL: the first); NULL: there is no more. */
    struct cJSON *(*next)(struct cJSON *body, struct cJSON *before);
    const char *list; /* what the member is called that has all of them; NULL: there is one */
    /* What the request says is to be painted, owned; NULL: who reads it says what is wrong. */
    char *(*idea)(const struct cJSON *request);
    bool (*put)(struct cJSON *request, const char *text); /* in its place */
    /* Replies; NULL: as http_reply_error. */
    void (*fail)(struct http_request *req, const struct cJSON *body, const struct err *err);
};

/* Call it first in a handler. False: go on; the request may have another body by now, in which the
 * prompt is the description and `composed_from` the idea. True: it has replied, or does so later,
 * and will call `next`, the handler, when there is a description. `place` (NULL: all is NULL) lives
 * for ever. Forms are read, too. */
bool composing_begins(struct http_request *req, const struct composing_place *place,
                      void (*next)(struct http_request *req));

/* Composes at once, which may take as long as a chat model does, where the request says so. */
bool composing_now(const struct app *app, struct cJSON *request, const atomic_bool *stop,
                   struct err *err);

/* The composer for an idea; `model` (NULL: the default one) is what will paint it. */
bool composing_init(const struct app *app, const char *theme, const char *model, uint64_t seed,
                    struct composer *out, struct err *err);

/* The seed of a request: its member, or a random one. */
bool composing_seed(const struct cJSON *seed, uint64_t *out, struct err *err);

#endif

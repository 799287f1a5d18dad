/* linked.h: pictures of requests that are given as addresses on the web, where the setting
 * picture_urls allows them: they are fetched before the request is read, and stand in its body as
 * data: URLs then. */
#ifndef PICTOR_SERVER_LINKED_H
#define PICTOR_SERVER_LINKED_H

#include <stdbool.h>

struct http_request;

/* Call it first in a handler of requests with pictures in JSON. False: go on. True: it has replied,
 * or does so later, and will call `next`, the handler, when the pictures are there. */
bool linked_begins(struct http_request *req, void (*next)(struct http_request *req));

#endif

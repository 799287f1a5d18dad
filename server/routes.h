/* routes.h: every path the server answers, in one table (routes.c), and the HTTP server over it.
 *
 * The table stands above the dialects because it names all their handlers; below it a dialect knows
 * nothing of the others, and http knows a table of any routes. */
#ifndef PICTOR_SERVER_ROUTES_H
#define PICTOR_SERVER_ROUTES_H

#include "engine/base/err.h"
#include "server/http/route.h"

struct app;
struct http;

enum routes_dialect {
    ROUTES_PAGE,
    ROUTES_NATIVE,
    ROUTES_OPENAI,
    ROUTES_SDAPI,
    ROUTES_MCP,
    ROUTES_DIALECTS
};

extern const struct route_table routes_table;

/* http_start with this table and the key gate. `app` is borrowed. */
struct http *routes_serve(const struct app *app, struct err *err);

#endif

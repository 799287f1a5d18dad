/* http_client.c: what each client holds, so that none holds what others need.
 *
 * A client is a key, or where there is none an address. Of memory that all share a client may have
 * as much as is left for others: one that wants all gets half, two get a third each. So a part is
 * always free, however many there are, and nobody has to say beforehand how many that will be. */
#include "server/http/http_private.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/settings.h"

#define BODIES_IN_MEMORY 4 /* all bodies together: so many of max_body_bytes */

struct http_client *http_client_join(struct http *http, const char *name)
{
    struct http_client *c = http->clients;
    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    if (!c && strlen(name) < sizeof c->name && (c = calloc(1, sizeof *c))) {
        strcpy(c->name, name);
        c->next = http->clients;
        http->clients = c;
    }
    if (c)
        c->users++;
    return c;
}

void http_client_leave(struct http *http, struct http_client *client)
{
    if (!client || --client->users > 0)
        return;
    struct http_client **at = &http->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    free(client);
}

/* With the lock held. */
static void let_go(struct http_request *req)
{
    if (!req->client)
        return;
    req->client->requests--;
    http_client_leave(req->http, req->client);
    req->client = NULL;
}

bool http_client_enter(struct http_request *req, const char *name, int most)
{
    struct http *http = req->http;
    pthread_mutex_lock(&http->lock);
    let_go(req);
    req->client = http_client_join(http, name);
    bool room = !req->client || ++req->client->requests <= most;
    if (!room)
        let_go(req); /* who asks too often has no more open for it */
    pthread_mutex_unlock(&http->lock);
    return room;
}

void http_client_exit(struct http_request *req)
{
    pthread_mutex_lock(&req->http->lock);
    let_go(req);
    pthread_mutex_unlock(&req->http->lock);
}

static size_t budget_of(const struct http *http, enum http_memory kind)
{
    const struct settings *s = http->options.settings;
    return kind == HTTP_BODIES ? BODIES_IN_MEMORY * (s->max_body_bytes + 1) : s->max_answers_bytes;
}

bool http_client_hold(struct http_request *req, enum http_memory kind, size_t was, size_t now)
{
    struct http *http = req->http;
    size_t budget = budget_of(http, kind);
    pthread_mutex_lock(&http->lock);
    struct http_client *client = req->client;
    size_t all = http->held[kind] - was + now;
    size_t ours = client ? client->held[kind] - was + now : now;
    /* What is larger than a share is taken when nobody else holds anything. */
    bool room = now <= was || all == now || (all <= budget && ours <= budget - all);
    if (room)
        http_client_count(req, kind, was, now);
    pthread_mutex_unlock(&http->lock);
    return room;
}

void http_client_count(struct http_request *req, enum http_memory kind, size_t was, size_t now)
{
    req->http->held[kind] += now - was;
    if (req->client)
        req->client->held[kind] += now - was;
}

bool http_client_full(const struct http_request *req, enum http_memory kind)
{
    size_t budget = budget_of(req->http, kind), all = req->http->held[kind];
    size_t ours = req->client ? req->client->held[kind] : 0;
    return all > budget || ours > budget - all;
}

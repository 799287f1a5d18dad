/* models_wait.c: a thread waits for as long as a look at the disk takes, and then the connection
 * does, without one. */
#include "server/api/models_wait.h"

#include <stdlib.h>

#include "server/api/app.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/job/registry.h"

#define DISK_MS 100
#define MOST_MS 10000

struct models_wait {
    void (*reply)(struct http_request *req);
    int64_t until;
};

static bool look(struct http_request *req, void *ctx)
{
    const struct models_wait *w = ctx;
    if (!registry_await(http_app(req)->registry, 0) && now_ms() < w->until)
        return false;
    w->reply(req);
    return true;
}

void models_wait(struct http_request *req, void (*reply)(struct http_request *req))
{
    static const struct http_waiter waiter = {.look = look, .free = free};
    struct models_wait *w = NULL;
    if (registry_await(http_app(req)->registry, DISK_MS) || !(w = malloc(sizeof *w))) {
        reply(req);
        return;
    }
    *w = (struct models_wait){.reply = reply, .until = now_ms() + MOST_MS};
    http_wait(req, &waiter, w);
}

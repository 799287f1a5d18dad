/* dispatch.c: starts and stops the painter and the upstreams. Who paints what is decided by the
 * names that each of the two claims for: the painter those of local models, the upstreams theirs.
 * */
#include "server/paint/dispatch.h"

#include <stdlib.h>

#include "server/base/settings.h"
#include "server/paint/painter.h"
#include "server/paint/upstream.h"

struct dispatch {
    struct painter *painter;
    struct upstream *upstream; /* NULL: none in the settings */
};

struct dispatch *dispatch_new(const struct dispatch_parts *parts, struct err *err)
{
    struct dispatch *d = calloc(1, sizeof *d);
    if (!d) {
        err_set(err, ERR_INTERNAL, "no memory for the dispatcher");
        return NULL;
    }
    if (parts->settings->upstream_count > 0 && !(d->upstream = upstream_new(parts, err)))
        goto fail;
    d->painter = painter_new(parts, &painter_patience_default, err);
    if (!d->painter)
        goto fail;
    return d;

fail:
    dispatch_stop(d, 0);
    dispatch_free(d);
    return NULL;
}

void dispatch_stop(struct dispatch *d, int timeout_ms)
{
    if (!d)
        return;
    upstream_drain(d->upstream, timeout_ms); /* while the painter drains, too */
    painter_stop(d->painter, timeout_ms);
    upstream_stop(d->upstream);
}

void dispatch_free(struct dispatch *d)
{
    if (!d)
        return;
    painter_free(d->painter);
    upstream_free(d->upstream);
    free(d);
}

void dispatch_load(struct dispatch *d, const char *model)
{
    painter_load(d->painter, model);
}

void dispatch_unload(struct dispatch *d)
{
    painter_load(d->painter, NULL);
}

bool dispatch_busy(struct dispatch *d)
{
    return painter_busy(d->painter) || upstream_busy(d->upstream);
}

bool dispatch_ready(struct dispatch *d, struct err *err)
{
    return painter_ready(d->painter, err);
}

void dispatch_stats(struct dispatch *d, struct dispatch_stats *out)
{
    *out = (struct dispatch_stats){0};
    painter_stats(d->painter, out);
    upstream_stats(d->upstream, out);
}

double dispatch_price(void *d, const char *model)
{
    return upstream_price(((struct dispatch *)d)->upstream, model);
}

bool dispatch_spending(struct dispatch *d, size_t i, struct dispatch_spending *out)
{
    return upstream_spending(d->upstream, i, out);
}

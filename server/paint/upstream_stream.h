/* upstream_stream.h: what an upstream sends while it paints: server-sent events of OpenAI's images
 * API, partial pictures and the finished one. No state. */
#ifndef PICTOR_SERVER_UPSTREAM_STREAM_H
#define PICTOR_SERVER_UPSTREAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

/* Where a reader is in what has come so far. Zero is the beginning. */
struct upstream_stream {
    size_t at, seen; /* of the next event; how far its end was looked for */
};

/* The data of the next whole event, as JSON; owned. NULL: there is none yet, or what is left is
 * none. Events that are not JSON are passed over. */
struct cJSON *upstream_stream_next(struct upstream_stream *s, const char *body, size_t size);

/* The partial picture in an event, in base64, and which it is; borrowed. NULL: it has none. */
const char *upstream_stream_partial(const struct cJSON *event, int *index);

/* All that came as the answer without a stream: {"data": [...], "usage"}, or {"error"}. Owned; NULL
 * without memory. */
struct cJSON *upstream_stream_answer(const char *body, size_t size);

#endif

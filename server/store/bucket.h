/* bucket.h: an S3-compatible bucket, as little of it as the pictures need.
 *
 * Requests are signed by libcurl (SigV4), links by bucket_sign.c, which needs no request. The hash
 * of what is put goes with it, so that a bucket refuses bytes that changed on the way, and lies
 * beside the object, so that what comes back is held against it. A call tries again by itself until
 * its deadline when the bucket is busy (429, 500, 502, 503, 504), slow or away; what may be tried
 * so is idempotent. What fails for such a reason, and what the bucket refuses (403, no such
 * bucket), is ERR_UNAVAILABLE with the bucket's own words: nobody's job is to blame. Secrets are in
 * no message. Thread-safe. */
#ifndef PICTOR_SERVER_BUCKET_H
#define PICTOR_SERVER_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "engine/base/err.h"

#define BUCKET_NAME_MAX 256 /* bytes of an object's name, without the prefix */

struct bucket;

struct bucket_options {
    /* s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&style=path|host&public=URL] */
    const char *url;
    const char *key, *secret; /* "" or NULL: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY */
    int timeout_seconds;      /* of a call with all its tries */
};

struct bucket *bucket_new(const struct bucket_options *options, struct err *err);
void bucket_free(struct bucket *b); /* NULL is fine */

/* Whole, or not there. Large ones go in parts. */
bool bucket_put(struct bucket *b, const char *name, const char *type, const void *data, size_t size,
                struct err *err);

/* *data is malloc'd. ERR_NOT_FOUND; ERR_IO when it has more than `most` bytes, or others than were
 * put. */
bool bucket_get(struct bucket *b, const char *name, size_t most, void **data, size_t *size,
                struct err *err);

#define BUCKET_HASH_SIZE 65 /* SHA-256 in hex */

/* ERR_NOT_FOUND. */
bool bucket_size(struct bucket *b, const char *name, size_t *size, struct err *err);
/* The same, and the hash that was put with it; "": none was. */
bool bucket_look(struct bucket *b, const char *name, size_t *size, char hash[BUCKET_HASH_SIZE],
                 struct err *err);
void bucket_hash(char hex[BUCKET_HASH_SIZE], const void *data, size_t size);

/* A missing one is fine. */
bool bucket_delete(struct bucket *b, const char *name, struct err *err);

/* Inside the bucket: `to` is whole before `from` goes. */
bool bucket_move(struct bucket *b, const char *from, const char *to, struct err *err);

/* Shows `fn` every object whose name begins with `prefix`, until it returns false. */
typedef bool bucket_fn(void *ctx, const char *name, size_t size, time_t modified);
bool bucket_list(struct bucket *b, const char *prefix, bucket_fn *fn, void *ctx, struct err *err);

/* Uploads in parts that nobody finished, begun before `before`: shown to `fn` as above (size 0)
 * and, with `end`, ended. */
bool bucket_list_parts(struct bucket *b, time_t before, bool end, bucket_fn *fn, void *ctx,
                       struct err *err);

/* Whether something can be written and read now: one try, a short deadline. */
bool bucket_probe(struct bucket *b, struct err *err);

/* An address at which anybody can read the object for `seconds`, made without asking the bucket.
 * `file_name`: browsers save it under that name; NULL: they show it. malloc'd; NULL without
 * memory. */
char *bucket_link(struct bucket *b, const char *name, const char *file_name, int seconds,
                  time_t now);

#endif

/* bucket_private.h: what the files of the bucket share. Nobody else includes it. */
#ifndef PICTOR_SERVER_BUCKET_PRIVATE_H
#define PICTOR_SERVER_BUCKET_PRIVATE_H

#include "server/store/bucket.h"

#include <pthread.h>

#define BUCKET_URL_SIZE 4096

/* Of the address in the settings; all owned. */
struct bucket_place {
    char *bucket;
    char *prefix;   /* "" or "a/b/" */
    char *region;
    char *base;     /* "https://host[:port]" and, in style path, "/BUCKET" */
    char *outside;  /* the same as clients reach it; often equal */
};

struct bucket {
    struct bucket_place place;
    char *key, *secret, *token; /* token NULL: none */
    char *user;                 /* "KEY:SECRET" */
    int timeout_ms;
    pthread_mutex_t lock; /* idle */
    void *idle[8];        /* curl handles with their connections */
    size_t idle_count;
};

/* One request, and what came of it. */
struct bucket_call {
    const char *method;
    const char *name;   /* of an object; NULL: the bucket's own address */
    const char *query;  /* encoded, sorted by name; NULL: none */
    const char *type;   /* Content-Type; NULL: none */
    const char *header; /* one more, "x-amz-...: ..."; NULL: none */
    const char *hash;   /* to keep beside the object; NULL: none */
    const void *data;   /* the body; NULL: none */
    size_t size;
    size_t most;    /* bytes of the answer's body */
    int timeout_ms; /* 0: the bucket's; of all tries */
    bool once;      /* no second try */
    /* out */
    int status;
    char *body; /* NUL-terminated, malloc'd, also of a failure; freed by the caller */
    size_t got;
    char kept[BUCKET_HASH_SIZE]; /* the hash beside the object; "" */
    char etag[128];
    int64_t length; /* Content-Length; -1 */
};

/* True: 2xx. */
bool bucket_call(struct bucket *b, struct bucket_call *call, struct err *err);

/* ---- bucket_place.c ---- */

bool bucket_place_read(struct bucket_place *p, const char *url, struct err *err);
void bucket_place_free(struct bucket_place *p);

/* ---- bucket_sign.c ---- */

/* RFC 3986: all but letters, digits and -._~ (and, with `path`, /) as %XX. False: no room. */
bool bucket_encode(char *out, size_t room, const char *text, bool path);

/* ---- bucket_list.c ---- */

/* The text between <tag> and </tag>, from *at on, without the entities of XML; *at goes behind it.
 * False: there is none, or it is longer. */
bool bucket_xml(const char **at, const char *tag, char *out, size_t room);

/* ---- bucket_parts.c ---- */

#define BUCKET_PART (8 << 20) /* S3's least is 5 MiB; what is no larger goes whole */

bool bucket_put_parts(struct bucket *b, const char *name, const char *type, const char *hash,
                      const void *data, size_t size, struct err *err);

#endif

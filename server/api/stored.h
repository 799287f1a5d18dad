/* stored.h: answers that are a file of blobs.h, wherever it lies. */
#ifndef PICTOR_SERVER_STORED_H
#define PICTOR_SERVER_STORED_H

#include <stdbool.h>
#include <stddef.h>

struct http_request;

#define STORED_HEADERS 3

struct stored {
    const char *path; /* of blobs_image_path and the like */
    const char *mime;
    size_t size;
    bool redirects;        /* programs may be sent to the bucket, if the settings say so */
    const char *file_name; /* browsers save it under that name; NULL: they show it */
    struct stored_header {
        const char *name, *value; /* NULL: none */
    } headers[STORED_HEADERS];    /* of the answer with the file; with an ETag, by which clients say
                                   * what they have, it is also given in parts */
};

/* From the folder at once, by a link to the bucket, or, when it was fetched from there, later: call
 * it last in a handler. Everything is copied. */
void stored_reply(struct http_request *req, const struct stored *stored);

#endif

/* multipart.h: multipart/form-data bodies (RFC 7578), complete in memory.
 *
 * Takes what real clients send: quoted and unquoted boundaries, names with \" or %22, filename* in
 * UTF-8, a preamble and an epilogue, bare LF after header lines, a last boundary without CRLF.
 * A body that ends before its last boundary is an error: the client gave up halfway. */
#ifndef PICTOR_SERVER_MULTIPART_H
#define PICTOR_SERVER_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define MULTIPART_PARTS_MAX 256
#define MULTIPART_BOUNDARY_SIZE 201
#define MULTIPART_HEADERS_MAX 8192 /* bytes of one part's header lines */

struct multipart_part {
    char *name;       /* decoded; never NULL */
    char *filename;   /* decoded; NULL when the part is a plain field */
    char *mime;       /* "image/png", lower case, without parameters; NULL when not said */
    const char *data; /* in the body; not terminated */
    size_t size;
};

struct multipart {
    struct multipart_part *parts; /* in the order of the body */
    size_t count;
};

/* `content_type` is the header with its boundary. The parts point into `body`. ERR_INVALID,
 * ERR_TOO_LARGE. */
bool multipart_parse(struct multipart *out, const char *content_type, const char *body, size_t size,
                     struct err *err);
void multipart_free(struct multipart *m);

/* What stands behind "--" between the parts. */
bool multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_SIZE],
                        struct err *err);

#endif

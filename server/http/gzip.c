/* gzip.c: zlib, with a gzip header. Fast rather than small: a server's thread packs it, and of
 * lists of jobs the fastest level leaves a sixth. */
#include "server/http/gzip.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define LEVEL 1
#define GZIP_WINDOW (15 + 16) /* zlib's largest window, and 16: a gzip header */
#define MEMORY 8              /* zlib's default */

/* Whether gzip is listed, and not with q=0. */
bool gzip_taken(const char *accepted)
{
    for (const char *at = accepted; at && (at = strcasestr(at, "gzip")); at += 4) {
        const char *after = at + 4 + strspn(at + 4, " ");
        bool alone = at == accepted || strchr(" ,\t", at[-1]);
        if (alone && *after == ';') {
            const char *q = strcasestr(after, "q="), *comma = strchr(after, ',');
            if (!q || (comma && q > comma) || strtod(q + 2, NULL) > 0)
                return true;
        } else if (alone && (!*after || *after == ',')) {
            return true;
        }
    }
    return false;
}

void *gzip_pack(const void *data, size_t size, size_t *packed)
{
    z_stream z = {0};
    void *out = size > 0 && size <= UINT_MAX ? malloc(size) : NULL;
    if (!out ||
        deflateInit2(&z, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(out);
        return NULL;
    }
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)size;
    bool done = deflate(&z, Z_FINISH) == Z_STREAM_END;
    *packed = z.total_out;
    deflateEnd(&z);
    void *less = done ? realloc(out, *packed) : NULL;
    if (!less)
        free(out);
    return less;
}

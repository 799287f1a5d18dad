/* gzip.h: answers that are sent compressed. No state. */
#ifndef PICTOR_SERVER_GZIP_H
#define PICTOR_SERVER_GZIP_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a client that sends this Accept-Encoding (or none, NULL) takes gzip. */
bool gzip_taken(const char *accepted);

/* `size` bytes as gzip (malloc'd), *packed of them. NULL: no memory, or it would be no less. */
void *gzip_pack(const void *data, size_t size, size_t *packed);

#endif

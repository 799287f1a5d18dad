/* url.h: the parts of a request's address. */
#ifndef PICTOR_SERVER_URL_H
#define PICTOR_SERVER_URL_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes %XX (and '+' as a space when `plus`) into `out`, which has room for size + 1 bytes, and
 * terminates it; what is no escape stays as it is. False when the text has a NUL, as it is or
 * decoded. `out` may be `text`. */
bool url_decode(char *out, const char *text, size_t size, bool plus);

/* The host part of "host:port", "[::1]:port" or "host", lower case, without brackets and port.
 * False when it is malformed or longer than `size`. */
bool url_host(char *out, size_t size, const char *authority);

/* The authority of an origin: "example.org:8080" of "https://example.org:8080". NULL when it is not
 * http or https, or has a path. */
const char *url_authority_of_origin(const char *origin);

#endif

/* range.h: the part of an answer that a request's Range asks for (RFC 9110, 14). No state. */
#ifndef PICTOR_SERVER_RANGE_H
#define PICTOR_SERVER_RANGE_H

#include <stddef.h>

enum range_kind {
    RANGE_WHOLE, /* it asks for no part, or for what is not given out: several parts, other units */
    RANGE_PART,
    RANGE_OUTSIDE /* nothing of it is there: 416 */
};

/* `text` is the header's value, or NULL; `size` what there is in all. With RANGE_PART, *first is
 * where the part begins and *count (at least 1) how long it is. */
enum range_kind range_parse(const char *text, size_t size, size_t *first, size_t *count);

#endif

/* cidr.h: networks as people write them: "10.0.0.0/8", "fd00::/8", or one address. No state. */
#ifndef PICTOR_SERVER_CIDR_H
#define PICTOR_SERVER_CIDR_H

#include <stdbool.h>

/* False: it is no network. A bit set behind the prefix makes it none: whoever wrote it meant
 * another one. */
bool cidr_valid(const char *network);

/* Whether the address, as text, lies in the network. An IPv4 address that came over IPv6
 * (::ffff:a.b.c.d) is that of IPv4. */
bool cidr_has(const char *network, const char *address);

#endif

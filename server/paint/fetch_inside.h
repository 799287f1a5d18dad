/* fetch_inside.h: the addresses of this machine, of its network, and others that are not the
 * internet's. */
#ifndef PICTOR_SERVER_FETCH_INSIDE_H
#define PICTOR_SERVER_FETCH_INSIDE_H

#include <stdbool.h>

struct sockaddr;

bool fetch_inside(const struct sockaddr *address);

#endif

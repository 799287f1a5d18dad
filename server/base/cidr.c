/* cidr.c: both families as sixteen bytes, IPv4 mapped into IPv6. */
#include "server/base/cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define BITS 128
#define MAPPED 96 /* bits before the four bytes of IPv4 */

static bool bytes_of(const char *text, unsigned char out[16], bool *four)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    *four = inet_pton(AF_INET, text, out + 12) == 1;
    if (*four)
        memcpy(out, mapped, sizeof mapped);
    return *four || inet_pton(AF_INET6, text, out) == 1;
}

static int bit(const unsigned char *bytes, int i)
{
    return bytes[i / 8] >> (7 - i % 8) & 1;
}

static bool parse(const char *network, unsigned char out[16], int *prefix)
{
    char address[64];
    const char *slash = strchr(network, '/');
    size_t n = slash ? (size_t)(slash - network) : strlen(network);
    bool four;
    if (n >= sizeof address)
        return false;
    memcpy(address, network, n);
    address[n] = '\0';
    if (!bytes_of(address, out, &four))
        return false;
    *prefix = BITS;
    if (slash) {
        char *end;
        long bits = strtol(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > (four ? 32 : BITS))
            return false;
        *prefix = (int)bits + (four ? MAPPED : 0);
    }
    for (int i = *prefix; i < BITS; i++)
        if (bit(out, i))
            return false;
    return true;
}

bool cidr_valid(const char *network)
{
    unsigned char bytes[16];
    int prefix;
    return parse(network, bytes, &prefix);
}

bool cidr_has(const char *network, const char *address)
{
    unsigned char wanted[16], given[16];
    int prefix;
    bool four;
    if (!parse(network, wanted, &prefix) || !bytes_of(address, given, &four))
        return false;
    for (int i = 0; i < prefix; i++)
        if (bit(wanted, i) != bit(given, i))
            return false;
    return true;
}

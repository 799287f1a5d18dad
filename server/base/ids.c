/* ids.c: random hex digits from the kernel. */
#include "server/base/ids.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

bool ids_random(char *out, size_t digits, struct err *err)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[IDS_DIGITS_MAX / 2];
    size_t n = digits / 2;
    ssize_t got;
    assert(digits >= 2 && digits <= IDS_DIGITS_MAX && digits % 2 == 0);
    /* Up to 256 bytes come whole, but before the first of them the call may be interrupted. */
    do {
        got = getrandom(bytes, n, 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)n)
        return err_set(err, ERR_INTERNAL, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[digits] = '\0';
    return true;
}

static bool is_hex(const char *text, size_t digits)
{
    return text && strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

bool ids_valid(const char *text)
{
    return is_hex(text, 32);
}

bool ids_sha256(const char *text)
{
    return is_hex(text, 64);
}

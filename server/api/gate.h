/* gate.h: the gate that asks for a key, as soon as the server has keys or api_auth. Thread-safe; no
 * state. */
#ifndef PICTOR_SERVER_GATE_H
#define PICTOR_SERVER_GATE_H

#include <stdbool.h>

#include "engine/base/err.h"

struct access_grant;
struct access_request;
struct keys;
struct settings;

/* With forward_auth_header also the user whom the proxy names there, if nothing of what follows
 * comes: the proxy is known by its address and its secret (settings.h).
 * Bearer KEY, Basic USER:PASS of api_auth, Basic with a key as the password or, without any such
 * header, the key in an api-key header, as Azure's clients send it. ERR_DENIED; the store's error
 * when the keys cannot be read. */
bool gate_check(const struct settings *s, struct keys *keys, const struct access_request *r,
                struct access_grant *out, struct err *err);

#endif

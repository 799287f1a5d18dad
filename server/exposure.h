/* exposure.h: whether this server may be seen by others, and what its settings give away.
 *
 * What must not be is refused; what an operator may choose is said once at the start, so that
 * nobody finds out later that a promise of docs/security.md does not hold here. */
#ifndef PICTOR_SERVER_EXPOSURE_H
#define PICTOR_SERVER_EXPOSURE_H

#include <stdbool.h>

#include "engine/base/err.h"

struct keys;
struct settings;

/* Whatever strangers send is read in processes that are locked in: where the kernel cannot do that,
 * only those who work on this machine are served, unless the operator says otherwise. */
bool exposure_check_sandbox(const struct settings *s, struct err *err);

/* An address that others can reach needs a key. */
bool exposure_check_keys(const struct settings *s, struct keys *keys, struct err *err);

/* Logs promise_weakened for each promise that the settings, or what they name, weaken. */
void exposure_warn(const struct settings *s, struct keys *keys);

#endif

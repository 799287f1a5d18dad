/* relay.h: what a request asked that only an upstream understands, kept with its job as a JSON
 * object of texts and numbers: quality, style, moderation... It is sent on in the same words. A
 * local model leaves it unread. */
#ifndef PICTOR_SERVER_RELAY_H
#define PICTOR_SERVER_RELAY_H

#include <stdbool.h>

#include "engine/base/err.h"

struct cJSON;

/* The texts and numbers of `body` that are sent on; a text where a number belongs, as forms have
 * them, becomes one. `variation`: it asked for variations of its picture. *text is malloc'd, or
 * NULL when it asked nothing of all that. */
bool relay_make(const struct cJSON *body, bool variation, char **text, struct err *err);

/* The same as an object; owned, NULL when there is none or its text is damaged. */
struct cJSON *relay_read(const char *text);

/* Whether variations were asked for. `relay` may be NULL. */
bool relay_is_variation(const struct cJSON *relay);

/* Item `i` that may be sent to `model`, or NULL past the last one; *name is its name. Those that
 * the model does not know, and pictor does itself, are passed over. */
const struct cJSON *relay_next(const struct cJSON *relay, const char *model, int *i,
                               const char **name);

#endif

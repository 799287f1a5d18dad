/* relay.h: what a request asked that only an upstream understands, kept with its job as a JSON
 * object of texts and numbers: quality, style, moderation... It is sent on in the same words. A
 * local model leaves it unread. */
#ifndef PICTOR_SERVER_RELAY_H
#define PICTOR_SERVER_RELAY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;

/* Pictures that are sent beside the one to begin from: inputs of the job. */
#define RELAY_IMAGES_MAX 15
const char *relay_input(size_t i); /* "more1"... */

/* The texts and numbers of `body` that are sent on; a text where a number belongs, as forms have
 * them, becomes one. `variation`: it asked for variations of its picture; `partials`: for partial
 * pictures, too, which only who reads a stream can have. *text is malloc'd, or NULL when it asked
 * nothing of all that. ERR_INVALID for a text that is too long. */
bool relay_make(const struct cJSON *body, bool variation, bool partials, char **text,
                struct err *err);

/* The same of an object that a request gives for just that: what is no such field, or no text or
 * number, is an error, and so is all of it where the model is not an `upstream`'s. A `variation`
 * may be asked for in it. */
bool relay_given(const struct cJSON *object, bool upstream, char **text, struct err *err);
/* JSON Schema of that; owned. */
struct cJSON *relay_schema(void);

/* How many partial pictures it asks for; -1: nothing is said of them. */
int relay_partials(const struct cJSON *relay);

/* The same as an object; owned, NULL when there is none or its text is damaged. */
struct cJSON *relay_read(const char *text);

/* Whether variations were asked for. `relay` may be NULL. */
bool relay_is_variation(const struct cJSON *relay);

/* Item `i` that may be sent to `model`, or NULL past the last one; *name is its name. Those that
 * the model does not know, and pictor does itself, are passed over. */
const struct cJSON *relay_next(const struct cJSON *relay, const char *model, int *i,
                               const char **name);

#endif

/* settings_names.h: the sections of the settings that are about models by name: [alias], and [parts
 * MODEL]. No state. */
#ifndef PICTOR_SERVER_SETTINGS_NAMES_H
#define PICTOR_SERVER_SETTINGS_NAMES_H

#include <stdbool.h>

#include "engine/base/err.h"

struct settings;

/* A line of [alias]. */
bool settings_names_alias(struct settings *s, const char *name, const char *model, struct err *err);

/* A line of [parts MODEL]: text_encoder, text_encoder_2, text_encoder_3 or vae, and the name of a
 * file. */
bool settings_names_part(struct settings *s, const char *model, const char *name, const char *value,
                         struct err *err);
void settings_names_free(struct settings *s);

#endif

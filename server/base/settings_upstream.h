/* settings_upstream.h: the sections [upstream NAME] of the settings. No state. */
#ifndef PICTOR_SERVER_SETTINGS_UPSTREAM_H
#define PICTOR_SERVER_SETTINGS_UPSTREAM_H

#include <stdbool.h>

#include "engine/base/err.h"

struct settings;

/* A line of [upstream SECTION]. */
bool settings_upstream_set(struct settings *s, const char *section, const char *name,
                           const char *value, struct err *err);
/* After the last line: what a section must have. */
bool settings_upstream_check(const struct settings *s, struct err *err);
void settings_upstream_free(struct settings *s);

#endif

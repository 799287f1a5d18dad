/* settings_value.h: a setting's text as a value, for the files that read settings. `where` stands
 * in front of an error: a setting's name, or its flag's. No state. */
#ifndef PICTOR_SERVER_SETTINGS_VALUE_H
#define PICTOR_SERVER_SETTINGS_VALUE_H

#include <stdbool.h>

#include "engine/base/err.h"

struct setting_list;

enum setting_type { STRING, INT, SIZE, REAL, BOOL, LIST, WORD };

bool settings_value_no_memory(struct err *err); /* false */
bool settings_value_replace(char **to, const char *text, struct err *err);
/* An INT, SIZE or REAL into *out, which is of that type. */
bool settings_value_number(const char *text, enum setting_type type, double least, double most,
                           void *out, const char *where, struct err *err);
/* Checks an address in place, and takes away the slashes at its end. */
bool settings_value_url(char *url, const char *where, struct err *err);
bool settings_value_bool(const char *text, bool *out, const char *where, struct err *err);
/* Adds the items of "a, b,c"; empty ones are left out. */
bool settings_value_list_add(struct setting_list *list, const char *text, struct err *err);
void settings_value_list_free(struct setting_list *list);

#endif

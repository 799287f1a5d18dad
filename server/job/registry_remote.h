/* registry_remote.h: the models of upstreams in the registry's table: those that the settings name,
 * and those that the upstreams list themselves. Not thread-safe. */
#ifndef PICTOR_SERVER_REGISTRY_REMOTE_H
#define PICTOR_SERVER_REGISTRY_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct registry_table;
struct settings;
struct settings_upstream;

/* Of each upstream the names that it lists, NULL-terminated. Zero: none lists any. */
struct registry_remote_lists {
    char ***names; /* as many as there are upstreams */
};

/* Adds what the settings name, which is to come first: no file takes the place of something that
 * the operator wrote down. */
bool registry_remote_named(struct registry_table *t, const struct settings_upstream *upstream,
                           struct err *err);
/* Adds what they list, which is to come after all else: it takes nobody's name away. */
bool registry_remote_listed(struct registry_table *t, const struct settings *settings,
                            const struct registry_remote_lists *lists, struct err *err);

/* Whether the settings want a name of an upstream's own list. */
bool registry_remote_wants(const struct settings_upstream *upstream, const char *name);

/* The names that one lists now, as far as the settings want them; *changed: they were others. */
bool registry_remote_set(struct registry_remote_lists *lists, const struct settings *settings,
                         const struct settings_upstream *upstream, const char *const *names,
                         size_t count, bool *changed, struct err *err);
void registry_remote_free(struct registry_remote_lists *lists, const struct settings *settings);

#endif

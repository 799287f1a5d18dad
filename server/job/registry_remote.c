#include "server/job/registry_remote.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/settings.h"
#include "server/job/registry_scan.h"

static enum registry_told told_of(const struct settings_upstream *u)
{
    if (u->kind && strcmp(u->kind, "sdapi") == 0)
        return REGISTRY_TOLD_WEBUI;
    if (u->kind && strcmp(u->kind, "comfyui") == 0)
        return REGISTRY_TOLD_WORKFLOW;
    return u->extensions ? REGISTRY_TOLD_EXTENSIONS : REGISTRY_TOLD_WORDS;
}

static bool add_remote(struct registry_table *t, const struct settings_upstream *u,
                       const char *local, const char *remote, struct err *err)
{
    struct registry_entry *e = registry_scan_add(t, local, strlen(local), REGISTRY_UPSTREAM, err);
    if (!e)
        return err->code == ERR_NONE;
    snprintf(e->model.upstream, sizeof e->model.upstream, "%s", u->name);
    snprintf(e->model.remote, sizeof e->model.remote, "%s", remote);
    e->model.told = told_of(u);
    e->model.placeholders = u->placeholders;
    e->model.takes_more = u->kind && strcmp(u->kind, "openai") == 0;
    e->was_read = true;
    return true;
}

bool registry_remote_named(struct registry_table *t, const struct settings_upstream *u,
                           struct err *err)
{
    for (size_t i = 0; i < u->model_count; i++)
        if (!add_remote(t, u, u->models[i].local, u->models[i].remote, err))
            return false;
    return true;
}

bool registry_remote_listed(struct registry_table *t, const struct settings *s,
                            const struct registry_remote_lists *lists, struct err *err)
{
    for (size_t i = 0; lists->names && i < s->upstream_count; i++)
        for (char **name = lists->names[i]; name && *name; name++)
            if (!add_remote(t, &s->upstreams[i], *name, *name, err))
                return false;
    return true;
}

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

bool registry_remote_wants(const struct settings_upstream *u, const char *name)
{
    for (size_t i = 0; i < u->listed.count; i++)
        if (fnmatch(u->listed.items[i], name, 0) == 0)
            return true;
    return false;
}

static bool same_names(char *const *a, char *const *b)
{
    for (; a && b && *a && *b && strcmp(*a, *b) == 0; a++, b++)
        ;
    return (!a || !*a) && (!b || !*b);
}

bool registry_remote_set(struct registry_remote_lists *lists, const struct settings *s,
                         const struct settings_upstream *u, const char *const *names, size_t count,
                         bool *changed, struct err *err)
{
    size_t i = (size_t)(u - s->upstreams), n = 0;
    char **fresh = calloc(count + 1, sizeof *fresh);
    bool whole = fresh;
    *changed = false;
    for (size_t k = 0; whole && k < count; k++)
        if (registry_remote_wants(u, names[k]))
            whole = (fresh[n++] = strdup(names[k])) != NULL;
    if (!lists->names)
        lists->names = calloc(s->upstream_count, sizeof *lists->names);
    if (!whole || !lists->names) {
        free_names(fresh);
        return err_set(err, ERR_INTERNAL, "no memory for the models of %s", u->name);
    }
    *changed = !same_names(lists->names[i], fresh);
    char **old = lists->names[i];
    lists->names[i] = fresh;
    free_names(old);
    return true;
}

void registry_remote_free(struct registry_remote_lists *lists, const struct settings *s)
{
    for (size_t i = 0; lists->names && i < s->upstream_count; i++)
        free_names(lists->names[i]);
    free(lists->names);
    lists->names = NULL;
}

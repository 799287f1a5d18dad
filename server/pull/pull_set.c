/* pull_set.c: a loop around pull.c. */
#include "server/pull/pull_set.h"

#include <string.h>

/* A part is found as what was asked for is: by the same keys, under its own name. */
static bool find_part(struct pull_set *set, const struct settings *settings, const char *name,
                      struct err *err)
{
    struct pull_source *s = &set->items[set->count], *first = &set->items[0];
    if (pull_has_part(settings, name))
        return true;
    *s = (struct pull_source){.public_only = first->public_only, .stop = first->stop};
    set->known[set->count++] = pull_catalogue_find(name);
    return pull_find(s, settings, name, err) || err_prefix(err, "%s", name);
}

bool pull_set_find(struct pull_set *set, const struct settings *settings, const char *ref,
                   struct err *err)
{
    const struct pull_catalogue_entry *known = pull_catalogue_find(ref);
    set->count = 1;
    set->known[0] = known;
    if (known && known->needs[0] && *set->items[0].sha256)
        return err_set(err, ERR_INVALID, "a SHA-256 is one file's, and %s comes with others", ref);
    if (!pull_find(&set->items[0], settings, ref, err))
        return false;
    for (int i = 0; known && known->needs[i]; i++)
        if (!find_part(set, settings, known->needs[i], err))
            return false;
    set->size = 0;
    bool all = true;
    for (size_t i = 0; i < set->count; i++) { /* what is there needs not come */
        all = all && set->items[i].size;
        set->size += set->items[i].size;
    }
    set->size = all ? set->size : 0;
    return true;
}

/* Progress of one as that of all. */
struct share {
    const struct pull_watch *all;
    uint64_t before, total;
};

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct share *s = ctx;
    s->all->progress(s->all->ctx, s->before + done, s->total);
}

/* Once one is there it counts whole. */
static bool run_one(const struct settings *settings, const struct pull_source *s,
                    struct share *share, struct pull_result *out, struct err *err)
{
    struct pull_watch watch = {.progress = share->all->progress ? on_progress : NULL,
                               .ctx = share,
                               .stop = share->all->stop};
    if (!pull_run(settings, s, &watch, out, err))
        return false;
    share->before += s->size;
    if (share->all->progress)
        share->all->progress(share->all->ctx, share->before, share->total);
    return true;
}

bool pull_set_run(const struct settings *settings, const struct pull_set *set,
                  const struct pull_watch *watch, struct pull_result *out, struct err *err)
{
    struct share share = {watch, 0, set->size};
    struct err problem = {0};
    if (set->count == 1)
        return pull_run(settings, &set->items[0], watch, out, err);
    for (size_t i = set->count - 1; i > 0; i--) {
        if (!run_one(settings, &set->items[i], &share, out, err))
            return err_prefix(err, "%s", set->known[i]->name);
        if (problem.code == ERR_NONE && out->problem.code != ERR_NONE) {
            err_copy(&problem, &out->problem);
            err_prefix(&problem, "%s", set->known[i]->name);
        }
    }
    if (!run_one(settings, &set->items[0], &share, out, err))
        return false;
    if (out->problem.code == ERR_NONE && problem.code != ERR_NONE)
        err_copy(&out->problem, &problem);
    return true;
}

bool pull_set_forget(const struct settings *settings, const char *ref, const char *name,
                     struct err *err)
{
    const struct pull_catalogue_entry *known = pull_catalogue_find(ref);
    for (int i = 0; known && known->needs[i]; i++) {
        struct pull_source s = {0};
        bool done = pull_source_set_name(&s, known->needs[i], err) &&
                    pull_source_complete_name(&s, pull_catalogue_find(known->needs[i])->ref, err) &&
                    pull_forget(settings, s.name, err);
        if (!done)
            return false;
    }
    return pull_forget(settings, name, err);
}

void pull_set_free(struct pull_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        pull_source_free(&set->items[i]);
    set->count = 0;
}

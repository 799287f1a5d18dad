#include "server/base/settings_names.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/settings.h"

bool settings_names_alias(struct settings *s, const char *name, const char *model, struct err *err)
{
    for (size_t i = 0; i < s->alias_count; i++)
        if (strcmp(s->aliases[i].name, name) == 0)
            return err_set(err, ERR_INVALID, "[alias] has \"%.60s\" twice", name);
    if (!*model)
        return err_set(err, ERR_INVALID, "[alias] %.60s wants the name of a model", name);
    struct settings_alias *all = realloc(s->aliases, (s->alias_count + 1) * sizeof *all);
    if (!all)
        return err_set(err, ERR_INTERNAL, "no memory for settings");
    s->aliases = all;
    struct settings_alias *a = &all[s->alias_count++];
    *a = (struct settings_alias){strdup(name), strdup(model)};
    return a->name && a->model ? true : err_set(err, ERR_INTERNAL, "no memory for settings");
}

static bool replace(char **to, const char *text, struct err *err)
{
    char *copy = strdup(text);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory for settings");
    free(*to);
    *to = copy;
    return true;
}

static struct settings_parts *find(struct settings *s, const char *model, struct err *err)
{
    for (size_t i = 0; i < s->parts_count; i++)
        if (strcmp(s->parts[i].model, model) == 0)
            return &s->parts[i];
    struct settings_parts *all = realloc(s->parts, (s->parts_count + 1) * sizeof *all);
    if (!all) {
        err_set(err, ERR_INTERNAL, "no memory for settings");
        return NULL;
    }
    s->parts = all;
    all[s->parts_count] = (struct settings_parts){.model = NULL};
    return replace(&all[s->parts_count].model, model, err) ? &all[s->parts_count++] : NULL;
}

bool settings_names_part(struct settings *s, const char *model, const char *name, const char *value,
                         struct err *err)
{
    struct settings_parts *p = find(s, model, err);
    if (!p)
        return false;
    char **to = strcmp(name, "text_encoder") == 0     ? &p->text_encoder
                : strcmp(name, "text_encoder_2") == 0 ? &p->text_encoder_2
                : strcmp(name, "text_encoder_3") == 0 ? &p->text_encoder_3
                : strcmp(name, "vae") == 0            ? &p->vae
                                                      : NULL;
    if (!to)
        return err_set(err, ERR_INVALID,
                       "[parts %s] has no setting \"%.60s\": wanted text_encoder, text_encoder_2, "
                       "text_encoder_3 or vae",
                       model, name);
    return (*value || err_set(err, ERR_INVALID, "%s wants the name of a file", name)) &&
           replace(to, value, err);
}

void settings_names_free(struct settings *s)
{
    for (size_t i = 0; i < s->alias_count; i++) {
        free(s->aliases[i].name);
        free(s->aliases[i].model);
    }
    free(s->aliases);
    for (size_t i = 0; i < s->parts_count; i++) {
        free(s->parts[i].model);
        free(s->parts[i].text_encoder);
        free(s->parts[i].text_encoder_2);
        free(s->parts[i].text_encoder_3);
        free(s->parts[i].vae);
    }
    free(s->parts);
}

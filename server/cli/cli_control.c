#include "server/cli/cli_control.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/settings.h"
#include "server/job/controls_item.h"
#include "server/job/job.h"

bool cli_control_add(struct cli_control *c, const char *words, struct err *err)
{
    if (c->count == PICTOR_CONTROLS_MAX)
        return err_set(err, ERR_INVALID, "--control: wanted at most %d of them",
                       PICTOR_CONTROLS_MAX);
    c->flags[c->count++] = words;
    return true;
}

/* "model=edges,weight=0.5" as an object of texts; NULL: it is no such list. */
static cJSON *object_of(const char *words, struct err *err)
{
    cJSON *object = cJSON_CreateObject();
    char *copy = strdup(words), *rest = copy, *pair;
    while (copy && (pair = strsep(&rest, ","))) {
        char *value = strchr(pair, '=');
        if (!value) {
            err_set(err, ERR_INVALID, "--control: wanted NAME=VALUE,... got '%.64s'", pair);
            cJSON_Delete(object);
            free(copy);
            return NULL;
        }
        *value++ = '\0';
        cJSON_AddStringToObject(object, pair, value);
    }
    free(copy);
    return object;
}

/* A unit of a flag, and what it is shown. */
static bool read_unit(struct cli_control *c, size_t i, struct controls_unit *out,
                      const struct settings *settings, cli_control_read_fn *read, struct err *err)
{
    struct controls_item item;
    cJSON *object = object_of(c->flags[i], err);
    if (!object)
        return false;
    bool ok = controls_item_read(object, true, &item, err) || err_prefix(err, "--control");
    if (ok && !item.shown[CONTROLS_PICTURE])
        ok = err_set(err, ERR_INVALID, "--control: image=FILE is missing");
    for (size_t part = 0; ok && part < CONTROLS_PARTS; part++)
        if (item.shown[part])
            ok = read(item.shown[part], (size_t)settings->max_pixels,
                      &c->images[part * PICTOR_CONTROLS_MAX + i], err);
    *out = item.unit;
    cJSON_Delete(object);
    return ok;
}

/* Their files are the model's from now on. */
static bool give(struct controls *units, const struct settings *settings,
                 struct pictor_model *model, struct pictor_model *second, struct err *err)
{
    struct controls_files opened = {.count = 0};
    struct pictor_control_file list[PICTOR_CONTROLS_MAX];
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_CONTROLNET, NULL, err) : NULL;
    bool ok =
        files && controls_check(units, files, err) && controls_open(units, files, &opened, err);
    files_free(files);
    folders_free(folders);
    for (size_t i = 0; ok && i < units->count; i++)
        list[i] = (struct pictor_control_file){units->at[i].model, opened.at[i].fd};
    ok = ok && pictor_model_control(model, list, units->count, err) &&
         (!second || pictor_model_control(second, list, units->count, err));
    controls_close(&opened);
    return ok;
}

bool cli_control_open(struct cli_control *c, const struct settings *settings,
                      cli_control_read_fn *read, struct pictor_model *model,
                      struct pictor_model *second, struct job_params *job, struct err *err)
{
    struct controls units = {.count = c->count};
    if (c->count == 0)
        return true;
    for (size_t i = 0; i < c->count; i++)
        if (!read_unit(c, i, &units.at[i], settings, read, err))
            return false;
    if (!give(&units, settings, model, second, err) ||
        !controls_see(&units, job->width, job->height, c->images, c->at, err))
        return false;
    free(job->controls);
    job->controls = controls_write(&units);
    return job->controls || err_set(err, ERR_INTERNAL, "no memory for ControlNets");
}

void cli_control_free(struct cli_control *c)
{
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        pictor_image_free(&c->images[i]);
}

#include "server/api/controls_given.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/job/controls_item.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/registry.h"
#include "server/queue/queue.h"
#include "server/worker/codec.h"

static bool read_picture(const struct app *app, const char *text, size_t i,
                         struct controls_given *out, struct err *err)
{
    struct pictor_image image;
    if (!base64_decode(text, strlen(text), &out->shown[i].data, &out->shown[i].size, err) ||
        !codec_decode(app->codec, out->shown[i].data, out->shown[i].size,
                      intake_pixels_max(app->settings), &image, err))
        return false;
    pictor_image_free(&image);
    return true;
}

#define REFERENCE "job:"

/* What a unit of another job was shown, but for what is given. */
static bool read_again(const struct app *app, const char *key_id, const char *text, size_t i,
                       const struct controls_item *item, struct controls_given *out,
                       struct controls_unit *unit, struct err *err)
{
    char id[JOB_ID_SIZE];
    struct job job;
    struct controls theirs;
    unsigned n;
    int used = 0;
    if (sscanf(text, REFERENCE "%32[0-9a-f]/%u%n", id, &n, &used) != 2 || text[used])
        return err_set(err, ERR_INVALID, "image: wanted job:ID/N, got '%.60s'", text);
    if (!queue_get(app->queue, id, key_id, &job, err)) {
        if (err->code == ERR_NOT_FOUND) /* it is no route that was not found */
            err->code = ERR_INVALID;
        return err_prefix(err, "image");
    }
    bool ok = controls_read(job.params.controls, &theirs, err) &&
              (n < theirs.count || err_set(err, ERR_INVALID, "image: that job has no ControlNet %u",
                                           n));
    for (size_t part = 0; ok && part < CONTROLS_PARTS; part++) {
        size_t from = part * PICTOR_CONTROLS_MAX + n, to = part * PICTOR_CONTROLS_MAX + i;
        void *data = NULL;
        if (!controls_has(&theirs, from) || (part != CONTROLS_PICTURE && item->shown[part]))
            continue;
        ok = queue_input(app->queue, id, controls_input(from), &data, &out->shown[to].size, err);
        out->shown[to].data = data;
        unit->hidden = unit->hidden || part == CONTROLS_HIDDEN;
        unit->region = unit->region || part == CONTROLS_REGION;
    }
    job_free(&job);
    return ok;
}

/* One item of the list, and its pictures. */
static bool read_item(const struct app *app, const char *key_id, cJSON *object, size_t i,
                      struct controls_given *out, struct controls_unit *unit, struct err *err)
{
    struct controls_item item;
    if (!controls_item_read(object, false, &item, err))
        return false;
    const char *picture = item.shown[CONTROLS_PICTURE];
    if (!picture)
        return err_set(err, ERR_INVALID, "image must be given");
    *unit = item.unit;
    bool again = strncmp(picture, REFERENCE, strlen(REFERENCE)) == 0;
    for (size_t part = again; part < CONTROLS_PARTS; part++)
        if (item.shown[part] &&
            !read_picture(app, item.shown[part], part * PICTOR_CONTROLS_MAX + i, out, err))
            return err_prefix(err, "%s", controls_item_part((enum controls_part)part));
    return !again || read_again(app, key_id, picture, i, &item, out, unit, err);
}

bool controls_given_read(const struct app *app, const char *key_id, struct cJSON *list,
                         bool upstream, struct job_params *p, struct controls_given *out,
                         struct err *err)
{
    struct controls c = {.count = 0};
    cJSON *item;
    if (!list || cJSON_IsNull(list) || (cJSON_IsArray(list) && !list->child))
        return true;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > PICTOR_CONTROLS_MAX)
        return err_set(err, ERR_INVALID, "controls must be a list of at most %d ControlNets",
                       PICTOR_CONTROLS_MAX);
    if (upstream)
        return err_set(err, ERR_INVALID, "controls: models of other servers take none");
    cJSON_ArrayForEach(item, list) {
        size_t i = c.count++;
        if (!read_item(app, key_id, item, i, out, &c.at[i], err))
            return err_prefix(err, "controls[%zu]", i);
    }
    if (!controls_check(&c, registry_files(app->registry, FOLDERS_CONTROLNET), err))
        return false;
    free(p->controls);
    p->controls = controls_write(&c);
    return p->controls || err_set(err, ERR_INTERNAL, "no memory for ControlNets");
}

size_t controls_given_inputs(const struct controls_given *given, struct job_input *inputs,
                             size_t count)
{
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        if (given->shown[i].data)
            inputs[count++] = (struct job_input){controls_input(i), given->shown[i].data,
                                                 given->shown[i].size};
    return count;
}

void controls_given_free(struct controls_given *given)
{
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        free(given->shown[i].data);
    *given = (struct controls_given){0};
}

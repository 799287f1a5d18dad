#include "server/job/controls.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/io/image_detect.h"
#include "server/base/json_number.h"
#include "server/base/json_text.h"

static const char *const inputs[CONTROLS_INPUTS] = {
    "lead0", "lead1", "lead2", "lead3", "hide0", "hide1",
    "hide2", "hide3", "area0", "area1", "area2", "area3"};

const char *controls_input(size_t i)
{
    return inputs[i];
}

bool controls_has(const struct controls *c, size_t i)
{
    const struct controls_unit *u = &c->at[i % PICTOR_CONTROLS_MAX];
    if (i % PICTOR_CONTROLS_MAX >= c->count)
        return false;
    switch ((enum controls_part)(i / PICTOR_CONTROLS_MAX)) {
    case CONTROLS_PICTURE:
        return true;
    case CONTROLS_HIDDEN:
        return u->hidden;
    case CONTROLS_REGION:
        return u->region;
    case CONTROLS_PARTS:
        break;
    }
    return false;
}

void controls_inputs(const char *json, bool out[CONTROLS_INPUTS])
{
    struct controls c;
    bool read = controls_read(json, &c, NULL);
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        out[i] = read && controls_has(&c, i);
}

/* As sd-webui-controlnet has it: a picture that is fitted into the other is scaled by the smaller
 * of both ratios, else by the larger. */
int controls_side(const struct controls_unit *u, int width, int height, int across, int down)
{
    double x = (double)across / width, y = (double)down / height;
    double scale = (x < y) == (u->fit == PICTOR_FIT_PAD) ? x : y;
    double side = scale * (width < height ? width : height);
    if (u->side != CONTROLS_PERFECT)
        return u->side;
    return (int)fmax(8, fmin(CONTROLS_SIDE_MAX, round(side)));
}

static bool read_text(const cJSON *object, const char *key, char *out, size_t size)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return (size_t)snprintf(out, size, "%s", text ? text : "") < size;
}

bool controls_read(const char *json, struct controls *out, struct err *err)
{
    *out = (struct controls){.count = 0};
    if (!json || !*json)
        return true;
    cJSON *list = json_text_parse(json, strlen(json), 4, err);
    const cJSON *item;
    bool ok = cJSON_IsArray(list) && cJSON_GetArraySize(list) <= PICTOR_CONTROLS_MAX;
    cJSON_ArrayForEach(item, list) {
        if (!ok)
            break;
        struct controls_unit *u = &out->at[out->count++];
        double fit = json_number_in(item, "fit", PICTOR_FIT_CROP);
        double say = json_number_in(item, "say", 0);
        double side = json_number_in(item, "side", 0);
        *u = (struct controls_unit){.a = json_number_in(item, "a", NAN),
                                    .b = json_number_in(item, "b", NAN),
                                    .weight = json_number_in(item, "weight", 1),
                                    .start = json_number_in(item, "start", 0),
                                    .end = json_number_in(item, "end", 1),
                                    .fit = fit >= 0 && fit <= 2 ? (int)fit : PICTOR_FIT_CROP,
                                    .say = say >= 0 && say <= 2 ? (int)say : 0,
                                    .side = fabs(side) <= CONTROLS_SIDE_MAX ? (int)side : 0,
                                    .hidden = json_number_in(item, "hidden", 0) != 0,
                                    .region = json_number_in(item, "region", 0) != 0};
        ok = read_text(item, "model", u->model, sizeof u->model) &&
             read_text(item, "module", u->module, sizeof u->module);
    }
    cJSON_Delete(list);
    if (!ok)
        out->count = 0;
    return ok || err_set(err, ERR_INVALID, "controls: wanted a list of at most %d ControlNets",
                         PICTOR_CONTROLS_MAX);
}

static void add_number(cJSON *item, const char *key, double value)
{
    if (!isnan(value))
        cJSON_AddNumberToObject(item, key, value);
}

char *controls_write(const struct controls *c)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < c->count; i++) {
        const struct controls_unit *u = &c->at[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "model", u->model);
        cJSON_AddStringToObject(item, "module", u->module);
        add_number(item, "a", u->a);
        add_number(item, "b", u->b);
        add_number(item, "weight", u->weight);
        add_number(item, "start", u->start);
        add_number(item, "end", u->end);
        add_number(item, "fit", u->fit);
        if (u->say)
            add_number(item, "say", u->say);
        if (u->side)
            add_number(item, "side", u->side);
        if (u->hidden)
            add_number(item, "hidden", 1);
        if (u->region)
            add_number(item, "region", 1);
        cJSON_AddItemToArray(list, item);
    }
    char *text = json_text_print(list);
    cJSON_Delete(list);
    return text;
}

/* Its name becomes that of lists. */
static bool check_module(struct controls_unit *u, size_t i, struct err *err)
{
    const char *known = image_detect_known(u->module);
    if (!known)
        return err_set(err, ERR_INVALID,
                       "ControlNet %zu: the module '%.40s' is none of this server's", i, u->module);
    if (strcasecmp(known, "none") != 0)
        strcpy(u->module, known);
    if (image_detect_inpaints(known) && !u->hidden)
        return err_set(err, ERR_INVALID, "ControlNet %zu: the module '%s' wants a mask", i, known);
    return !u->hidden || image_detect_inpaints(known) ||
           err_set(err, ERR_INVALID,
                   "ControlNet %zu: a mask is for the modules inpaint_only and "
                   "inpaint_global_harmonious; where a ControlNet leads is its region",
                   i);
}

/* "name.safetensors [1a2b3c4d]" as lists of the extension have it, and without what is behind;
 * `name` becomes the one that was found. */
static bool find(struct files *files, char name[REGISTRY_NAME_SIZE], struct err *err)
{
    char path[PATH_MAX], given[REGISTRY_NAME_SIZE];
    strcpy(given, name);
    if (files_find(files, name, path, err))
        return true;
    char *bracket = strstr(name, " [");
    if (bracket)
        *bracket = '\0';
    if (bracket && files_find(files, name, path, err))
        return true;
    char *dot = strrchr(name, '.');
    if (dot)
        *dot = '\0';
    if (dot && files_find(files, name, path, err))
        return true;
    strcpy(name, given);
    return false;
}

bool controls_check(struct controls *c, struct files *files, struct err *err)
{
    for (size_t i = 0; i < c->count; i++) {
        struct controls_unit *u = &c->at[i];
        if (!(u->weight >= 0 && u->weight <= 10) ||
            !(u->start >= 0 && u->start <= u->end && u->end <= 1))
            return err_set(err, ERR_INVALID,
                           "ControlNet %zu: wanted a weight of 0..10, and a start and an end of "
                           "0..1, got %g, %g and %g",
                           i, u->weight, u->start, u->end);
        if (u->side != 0 && u->side != CONTROLS_PERFECT &&
            !(u->side >= 64 && u->side <= CONTROLS_SIDE_MAX))
            return err_set(err, ERR_INVALID,
                           "ControlNet %zu: wanted a resolution of 64..%d, or 0, got %d", i,
                           CONTROLS_SIDE_MAX, u->side);
        if (!check_module(u, i, err))
            return false;
        if (!find(files, u->model, err)) {
            if (err->code == ERR_NOT_FOUND)
                err->code = ERR_INVALID;
            return err_prefix(err, "ControlNet '%.100s'", u->model);
        }
    }
    return true;
}

static bool see(const struct controls_unit *u, int across, int down, struct pictor_image *image,
                struct err *err)
{
    struct pictor_image found;
    int side = controls_side(u, image->width, image->height, across, down);
    if (!image_detect(u->module, image, u->a, u->b, side, &found, err))
        return err_prefix(err, "ControlNet %s", u->model);
    pictor_image_free(image);
    *image = found;
    return true;
}

bool controls_see(const struct controls *c, int across, int down,
                  struct pictor_image images[CONTROLS_INPUTS], struct pictor_control *out,
                  struct err *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct controls_unit *u = &c->at[i];
        const struct pictor_image *of = &images[i];
        if (!see(u, across, down, &images[i], err))
            return false;
        out[i] = (struct pictor_control){
            .image = of,
            .fit = (enum pictor_fit)u->fit,
            .weight = u->weight,
            .start = u->start,
            .end = u->end,
            .say = (enum pictor_say)u->say,
            .hidden = u->hidden ? of + CONTROLS_HIDDEN * PICTOR_CONTROLS_MAX : NULL,
            .region = u->region ? of + CONTROLS_REGION * PICTOR_CONTROLS_MAX : NULL,
        };
    }
    return true;
}

bool controls_open(const struct controls *c, struct files *files, struct controls_files *out,
                   struct err *err)
{
    *out = (struct controls_files){.count = 0};
    for (; out->count < c->count; out->count++)
        if (!files_open(files, c->at[out->count].model, &out->at[out->count], err)) {
            err_prefix(err, "ControlNet '%.100s'", c->at[out->count].model);
            controls_close(out);
            return false;
        }
    return true;
}

void controls_close(struct controls_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        close(files->at[i].fd);
    files->count = 0;
}

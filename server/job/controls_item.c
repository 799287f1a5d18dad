#include "server/job/controls_item.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/io/image_detect.h"
#include "server/base/json_fields.h"
#include "server/base/pyjson.h"
#include "server/job/infotext.h"

/* By enum pictor_fit and enum pictor_say: the words of requests, and the extension's. */
static const char *const fits[] = {"stretch", "crop", "pad", NULL};
static const char *const says[] = {"balanced", "prompt", "control", NULL};
static const char *const fit_labels[] = {"Just Resize", "Crop and Resize", "Resize and Fill", NULL};
static const char *const say_labels[] = {"Balanced", "My prompt is more important",
                                         "ControlNet is more important", NULL};
static const char *const parts[] = {"image", "mask", "region"};

struct given {
    const char *model, *preprocessor, *shown[CONTROLS_PARTS];
    double weight, start, end, a, b;
    int mode, fit, resolution;
    bool pixel_perfect;
};

#define AT(member) .offset = offsetof(struct given, member)

static const struct json_field fields[] = {
    {"model", .type = JSON_FIELD_STRING, AT(model), .required = true},
    {"image", .type = JSON_FIELD_STRING, AT(shown[CONTROLS_PICTURE])},
    {"preprocessor", .type = JSON_FIELD_STRING, AT(preprocessor), .text = "none"},
    {"weight", .type = JSON_FIELD_DOUBLE, AT(weight), .most = 10, .number = 1},
    {"start", .type = JSON_FIELD_DOUBLE, AT(start), .most = 1},
    {"end", .type = JSON_FIELD_DOUBLE, AT(end), .most = 1, .number = 1},
    {"mode", .type = JSON_FIELD_WORD, AT(mode), .words = says},
    {"fit", .type = JSON_FIELD_WORD, AT(fit), .words = fits, .number = PICTOR_FIT_CROP},
    {"mask", .type = JSON_FIELD_STRING, AT(shown[CONTROLS_HIDDEN])},
    {"region", .type = JSON_FIELD_STRING, AT(shown[CONTROLS_REGION])},
    {"threshold_a", .type = JSON_FIELD_DOUBLE, AT(a), .number = NAN},
    {"threshold_b", .type = JSON_FIELD_DOUBLE, AT(b), .number = NAN},
    {"resolution", .type = JSON_FIELD_INT, AT(resolution)},
    {"pixel_perfect", .type = JSON_FIELD_BOOL, AT(pixel_perfect)},
};
#define FIELDS (sizeof fields / sizeof *fields)

const char *controls_item_part(enum controls_part part)
{
    return parts[part];
}

bool controls_item_read(struct cJSON *object, bool coerce, struct controls_item *out,
                        struct err *err)
{
    struct given g;
    struct json_problem problem;
    unsigned flags = JSON_FIELDS_STRICT | (coerce ? JSON_FIELDS_COERCE : 0);
    if (!json_fields_parse(fields, FIELDS, object, flags, &g, &problem))
        return err_set(err, ERR_INVALID, "%s", problem.message);
    struct controls_unit *u = &out->unit;
    *u = (struct controls_unit){
        .a = g.a,
        .b = g.b,
        .weight = g.weight,
        .start = g.start,
        .end = g.end,
        .fit = g.fit,
        .say = g.mode,
        .side = g.pixel_perfect ? CONTROLS_PERFECT : g.resolution,
        .hidden = g.shown[CONTROLS_HIDDEN],
        .region = g.shown[CONTROLS_REGION],
    };
    memcpy(out->shown, g.shown, sizeof out->shown);
    if ((size_t)snprintf(u->model, sizeof u->model, "%s", g.model) >= sizeof u->model ||
        (size_t)snprintf(u->module, sizeof u->module, "%s", g.preprocessor) >= sizeof u->module)
        return err_set(err, ERR_INVALID, "a name of a model or preprocessor is too long");
    if (g.pixel_perfect && g.resolution)
        return err_set(err, ERR_INVALID, "wanted pixel_perfect or a resolution, got both");
    return g.resolution >= 0 ||
           err_set(err, ERR_INVALID, "resolution must be 64..%d, or 0, got %d", CONTROLS_SIDE_MAX,
                   g.resolution);
}

static void add_number(cJSON *json, const char *name, double value)
{
    if (!isnan(value))
        cJSON_AddNumberToObject(json, name, value);
}

static cJSON *item_of(const struct controls_unit *u)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", u->model);
    cJSON_AddStringToObject(json, "preprocessor", *u->module ? u->module : "none");
    add_number(json, "weight", u->weight);
    add_number(json, "start", u->start);
    add_number(json, "end", u->end);
    cJSON_AddStringToObject(json, "mode", says[u->say]);
    cJSON_AddStringToObject(json, "fit", fits[u->fit]);
    add_number(json, "threshold_a", u->a);
    add_number(json, "threshold_b", u->b);
    add_number(json, "resolution", u->side > 0 ? u->side : 0);
    cJSON_AddBoolToObject(json, "pixel_perfect", u->side == CONTROLS_PERFECT);
    return json;
}

struct cJSON *controls_item_list(const char *json)
{
    struct controls c;
    cJSON *list = cJSON_CreateArray();
    controls_read(json, &c, NULL);
    for (size_t i = 0; i < c.count; i++)
        cJSON_AddItemToArray(list, item_of(&c.at[i]));
    return list;
}

struct cJSON *controls_item_schema(void)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "array");
    cJSON_AddNumberToObject(schema, "maxItems", PICTOR_CONTROLS_MAX);
    cJSON *items = json_fields_schema(fields, FIELDS);
    cJSON *of = cJSON_GetObjectItem(cJSON_GetObjectItem(items, "properties"), "preprocessor");
    cJSON *names = cJSON_AddArrayToObject(of, "examples");
    for (int i = 0; image_detect_name(i); i++)
        cJSON_AddItemToArray(names, cJSON_CreateString(image_detect_name(i)));
    cJSON_AddItemToObject(schema, "items", items);
    return schema;
}

/* ---- infotexts ---- */

/* Quoted where the reader would stumble over it: a file may be called "a, Weight: 2". */
static void put(struct pyjson *out, const char *key, const char *value)
{
    pyjson_printf(out, ", %s: ", key);
    if (*value == '"' || strpbrk(value, ",\n:"))
        pyjson_string(out, value, false);
    else
        pyjson_puts(out, value);
}

static void put_number(struct pyjson *out, const char *key, double value)
{
    char buf[PYJSON_FLOAT_SIZE];
    if (!isnan(value))
        put(out, key, pyjson_float(buf, value));
}

void controls_item_put(struct pyjson *out, const struct controls_unit *u)
{
    pyjson_printf(out, "Module: %s", *u->module ? u->module : "none");
    put(out, "Model", u->model);
    put_number(out, "Weight", u->weight);
    put(out, "Resize Mode", fit_labels[u->fit]);
    if (u->side > 0)
        pyjson_printf(out, ", Processor Res: %d", u->side);
    put_number(out, "Threshold A", u->a);
    put_number(out, "Threshold B", u->b);
    put_number(out, "Guidance Start", u->start);
    put_number(out, "Guidance End", u->end);
    put(out, "Pixel Perfect", u->side == CONTROLS_PERFECT ? "True" : "False");
    put(out, "Control Mode", say_labels[u->say]);
}

static double number_in(const struct infotext *t, const char *key, double otherwise)
{
    char *end;
    const char *text = infotext_get(t, key);
    double value = text ? strtod(text, &end) : 0;
    return text && end != text && isfinite(value) ? value : otherwise;
}

static int label_in(const struct infotext *t, const char *key, const char *const *labels,
                    int otherwise)
{
    const char *text = infotext_get(t, key);
    for (int i = 0; text && labels[i]; i++)
        if (strcasecmp(labels[i], text) == 0)
            return i;
    return otherwise;
}

/* -1 stands for a module's own threshold. */
static double threshold_in(const struct infotext *t, const char *key)
{
    double value = number_in(t, key, NAN);
    return value >= 0 ? value : NAN;
}

/* "control_v11p_sd15_canny [d14c016b]": the hash is of no use here. */
static bool take_name(const char *text, char *out, size_t size)
{
    const char *bracket = text ? strstr(text, " [") : NULL;
    int length = (int)(bracket ? (size_t)(bracket - text) : text ? strlen(text) : 0);
    return length > 0 && (size_t)snprintf(out, size, "%.*s", length, text) < size;
}

static bool take_unit(const char *text, struct controls_unit *u)
{
    struct infotext t;
    if (!infotext_read(&t, text))
        return false;
    double side = number_in(&t, "Processor Res", 0), weight = number_in(&t, "Weight", 1);
    double start = number_in(&t, "Guidance Start", 0), end = number_in(&t, "Guidance End", 1);
    const char *perfect = infotext_get(&t, "Pixel Perfect");
    *u = (struct controls_unit){
        .a = threshold_in(&t, "Threshold A"),
        .b = threshold_in(&t, "Threshold B"),
        .weight = weight >= 0 && weight <= 10 ? weight : 1,
        .start = start >= 0 && start <= 1 ? start : 0,
        .end = end >= 0 && end <= 1 ? end : 1,
        .fit = label_in(&t, "Resize Mode", fit_labels, PICTOR_FIT_CROP),
        .say = label_in(&t, "Control Mode", say_labels, PICTOR_SAY_BALANCED),
        .side = side >= 64 && side <= CONTROLS_SIDE_MAX ? (int)side : 0,
    };
    if (perfect && strcasecmp(perfect, "True") == 0)
        u->side = CONTROLS_PERFECT;
    const char *module = infotext_get(&t, "Module");
    bool read = take_name(infotext_get(&t, "Model"), u->model, sizeof u->model) && module &&
                (size_t)snprintf(u->module, sizeof u->module, "%s", module) < sizeof u->module;
    infotext_free(&t);
    return read;
}

char *controls_item_take(const struct infotext *t)
{
    struct controls c = {.count = 0};
    for (int i = 0; i < PICTOR_CONTROLS_MAX; i++) {
        char key[32];
        snprintf(key, sizeof key, "ControlNet %d", i);
        const char *text = infotext_get(t, key);
        if (text && take_unit(text, &c.at[c.count]))
            c.count++;
    }
    return c.count ? controls_write(&c) : NULL;
}

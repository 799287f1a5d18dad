#include "server/api/sdapi/sdapi_script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/io/image_grid.h"
#include "server/api/app.h"
#include "server/api/sdapi/sdapi_args.h"
#include "server/api/sdapi/sdapi_axis.h"
#include "server/api/sdapi/sdapi_outpaint.h"
#include "server/api/sdapi/sdapi_series.h"
#include "server/base/pyjson.h"
#include "server/job/intake.h"

static const struct {
    const char *title;
    enum sdapi_script script;
    bool txt2img, img2img;
} scripts[] = {
    {"loopback", SDAPI_SCRIPT_LOOPBACK, false, true},
    {"outpainting mk2", SDAPI_SCRIPT_OUTPAINT, false, true},
    {"poor man's outpainting", SDAPI_SCRIPT_OUTPAINT, false, true},
    {"prompt matrix", SDAPI_SCRIPT_MATRIX, true, true},
    {"sd upscale", SDAPI_SCRIPT_UPSCALE, false, true},
    {"x/y/z plot", SDAPI_SCRIPT_XYZ, true, true},
};
#define SCRIPTS (sizeof scripts / sizeof *scripts)

static bool has(size_t i, enum sdapi_request_kind kind)
{
    return kind == SDAPI_TXT2IMG ? scripts[i].txt2img : scripts[i].img2img;
}

enum sdapi_script sdapi_script_of(const struct sdapi_request *r)
{
    if (!r->script_name || !*r->script_name)
        return SDAPI_SCRIPT_NONE;
    for (size_t i = 0; i < SCRIPTS; i++)
        if (has(i, r->kind) && strcasecmp(scripts[i].title, r->script_name) == 0)
            return scripts[i].script;
    return SDAPI_SCRIPT_UNKNOWN;
}

const char *sdapi_script_title(enum sdapi_request_kind kind, int index)
{
    for (size_t i = 0; i < SCRIPTS; i++)
        if (has(i, kind) && index-- == 0)
            return scripts[i].title;
    return NULL;
}

/* As the WebUI's pages have them. */
static const struct sdapi_script_arg loopback_args[] = {
    {"Loops", "4", 1, 32, 1},
    {"Final denoising strength", "0.5", 0, 1, 0.01},
    {"Denoising strength curve", "\"Linear\"", 0, 0, 0},
    {"Append interrogated prompt at each iteration", "\"None\"", 0, 0, 0},
    {NULL, NULL, 0, 0, 0}};
static const struct sdapi_script_arg mk2_args[] = {
    {"info", "null", 0, 0, 0},
    {"Pixels to expand", "128", 8, 256, 8},
    {"Mask blur", "8", 0, 64, 1},
    {"Outpainting direction", "[\"left\",\"right\",\"up\",\"down\"]", 0, 0, 0},
    {"Fall-off exponent (lower=higher detail)", "1.0", 0, 4, 0.01},
    {"Color variation", "0.05", 0, 1, 0.01},
    {NULL, NULL, 0, 0, 0}};
static const struct sdapi_script_arg poor_args[] = {
    {"Pixels to expand", "128", 8, 256, 8},
    {"Mask blur", "4", 0, 64, 1},
    {"Masked content", "\"fill\"", 0, 0, 0},
    {"Outpainting direction", "[\"left\",\"right\",\"up\",\"down\"]", 0, 0, 0},
    {NULL, NULL, 0, 0, 0}};
static const struct sdapi_script_arg matrix_args[] = {
    {"Put variable parts at start of prompt", "false", 0, 0, 0},
    {"Use different seed for each picture", "false", 0, 0, 0},
    {"Select prompt", "\"positive\"", 0, 0, 0},
    {"Select joining char", "\"comma\"", 0, 0, 0},
    {"Grid margins (px)", "0", 0, 500, 2},
    {NULL, NULL, 0, 0, 0}};
static const struct sdapi_script_arg upscale_args[] = {{"info", "null", 0, 0, 0},
                                                       {"Tile overlap", "64", 0, 256, 16},
                                                       {"Upscaler", "\"None\"", 0, 0, 0},
                                                       {"Scale Factor", "2.0", 1, 4, 0.05},
                                                       {NULL, NULL, 0, 0, 0}};
static const struct sdapi_script_arg xyz_args[] = {
    {"X type", "\"Seed\"", 0, 0, 0},
    {"X values", "\"\"", 0, 0, 0},
    {"X values", "[]", 0, 0, 0},
    {"Y type", "\"Nothing\"", 0, 0, 0},
    {"Y values", "\"\"", 0, 0, 0},
    {"Y values", "[]", 0, 0, 0},
    {"Z type", "\"Nothing\"", 0, 0, 0},
    {"Z values", "\"\"", 0, 0, 0},
    {"Z values", "[]", 0, 0, 0},
    {"Draw legend", "true", 0, 0, 0},
    {"Include Sub Images", "false", 0, 0, 0},
    {"Include Sub Grids", "false", 0, 0, 0},
    {"Keep -1 for seeds", "false", 0, 0, 0},
    {"Vary seeds for X", "false", 0, 0, 0},
    {"Vary seeds for Y", "false", 0, 0, 0},
    {"Vary seeds for Z", "false", 0, 0, 0},
    {"Grid margins (px)", "0", 0, 500, 2},
    {"Use text inputs instead of dropdowns", "false", 0, 0, 0},
    {NULL, NULL, 0, 0, 0}};

const struct sdapi_script_arg *sdapi_script_arg(const char *title, int index)
{
    static const struct {
        const char *title;
        const struct sdapi_script_arg *args;
    } tables[] = {{"loopback", loopback_args},           {"outpainting mk2", mk2_args},
                  {"poor man's outpainting", poor_args}, {"prompt matrix", matrix_args},
                  {"sd upscale", upscale_args},          {"x/y/z plot", xyz_args}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strcmp(tables[i].title, title) == 0)
            return tables[i].args[index].label ? &tables[i].args[index] : NULL;
    return NULL;
}

/* ---- args ---- */

static const cJSON *arg_at(const struct sdapi_request *r, int i)
{
    const cJSON *arg = cJSON_GetArrayItem(r->script_args, i);
    return cJSON_IsNull(arg) ? NULL : arg;
}

/* Clients send flags as text, too. */
static bool flag_at(const struct sdapi_request *r, int i, bool fallback)
{
    const cJSON *arg = arg_at(r, i);
    if (cJSON_IsString(arg))
        return strcasecmp(arg->valuestring, "true") == 0 || strcmp(arg->valuestring, "1") == 0;
    return arg ? cJSON_IsTrue(arg) || (cJSON_IsNumber(arg) && arg->valuedouble != 0) : fallback;
}

static const char *text_at(const struct sdapi_request *r, int i, const char *fallback)
{
    const char *text = cJSON_GetStringValue(arg_at(r, i));
    return text ? text : fallback;
}

/* ---- cells ---- */

#define MEMBERS_MAX 1000 /* of a request with a script, and of its settings */
#define COPIED_MAX 1000  /* bytes of a text */

/* There may be a hundred cells, and a request of many megabytes: what is large is the body's. */
static void copy_member(cJSON *to, const cJSON *item)
{
    bool large = cJSON_IsArray(item) || cJSON_IsObject(item) ||
                 (cJSON_IsString(item) && strlen(item->valuestring) > COPIED_MAX);
    if (cJSON_IsArray(to))
        cJSON_AddItemToArray(to, cJSON_Duplicate(item, true));
    else if (large)
        cJSON_AddItemReferenceToObject(to, item->string, (cJSON *)item);
    else
        cJSON_AddItemToObject(to, item->string, cJSON_Duplicate(item, true));
}

/* Without the script. Axes change members, and add to styles and settings, which are therefore the
 * copy's. */
static cJSON *copy_body(const cJSON *body)
{
    cJSON *copy = cJSON_CreateObject();
    const cJSON *item, *inner;
    cJSON_ArrayForEach(item, body) {
        bool styles = strcmp(item->string, "styles") == 0 && cJSON_IsArray(item);
        bool settings = strcmp(item->string, "override_settings") == 0 && cJSON_IsObject(item);
        if (strcmp(item->string, "script_name") == 0 || strcmp(item->string, "script_args") == 0)
            continue;
        if (!styles && !settings) {
            copy_member(copy, item);
            continue;
        }
        cJSON *own = styles ? cJSON_AddArrayToObject(copy, item->string)
                            : cJSON_AddObjectToObject(copy, item->string);
        cJSON_ArrayForEach(inner, item)
            copy_member(own, inner);
    }
    return copy;
}

static bool check_members(const cJSON *body, struct sdapi_fault *fault)
{
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(body, "override_settings");
    if (cJSON_GetArraySize(body) <= MEMBERS_MAX && cJSON_GetArraySize(settings) <= MEMBERS_MAX)
        return true;
    *fault = (struct sdapi_fault){.status = 422, .param = "script_name"};
    snprintf(fault->message, sizeof fault->message,
             "a request with a script may have %d members, and as many settings", MEMBERS_MAX);
    return false;
}

static void set(cJSON *body, const char *name, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(body, name);
    cJSON_AddItemToObject(body, name, value);
}

static void set_seed(cJSON *body, const char *name, uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    set(body, name, cJSON_CreateString(text));
}

/* One more, of one picture; its body, or NULL. */
static cJSON *add_cell(struct sdapi_plan *plan, const cJSON *body, uint64_t seed, uint64_t subseed)
{
    struct sdapi_cell *cells = realloc(plan->cells, (plan->count + 1) * sizeof *cells);
    cJSON *copy = copy_body(body);
    if (cells)
        plan->cells = cells;
    if (!cells || !copy) {
        cJSON_Delete(copy);
        return NULL;
    }
    set(copy, "batch_size", cJSON_CreateNumber(1));
    set(copy, "n_iter", cJSON_CreateNumber(1));
    set_seed(copy, "seed", seed);
    set_seed(copy, "subseed", subseed);
    cells[plan->count++] = (struct sdapi_cell){.body = copy};
    return copy;
}

void sdapi_script_plan_free(struct sdapi_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        cJSON_Delete(plan->cells[i].body);
    free(plan->cells);
    int counts[] = {plan->columns, plan->rows, plan->deep};
    for (int i = 0; i < 3; i++)
        sdapi_series_free_labels(plan->labels[i], counts[i]);
    *plan = (struct sdapi_plan){0};
}

static bool check_count(double count, struct sdapi_fault *fault)
{
    return (count >= 1 && count <= SDAPI_SERIES_RUNS) ||
           sdapi_args_refuse(fault, "a script may paint 1 to %d pictures, this would be %.0f",
                             SDAPI_SERIES_RUNS, count);
}

/* ---- X/Y/Z plot ---- */

/* The arg where an axis begins: three a piece, or two, without lists of choices, as it was before
 * 1.3. */
static int axis_at(const struct sdapi_request *r, int axis)
{
    return (cJSON_IsNumber(arg_at(r, 2)) ? 2 : 3) * axis;
}

static bool add_labels(struct sdapi_plan *plan, int side, const struct sdapi_axis *axis)
{
    if (!sdapi_axis_is_shown(axis))
        return true;
    char **labels = plan->labels[side] = calloc(axis->count, sizeof *labels);
    for (size_t i = 0; labels && i < axis->count; i++)
        if (!(labels[i] = sdapi_axis_label(axis, i)))
            return false;
    return labels;
}

static bool plan_xyz(const struct app *app, const struct sdapi_request *r, const cJSON *body,
                     uint64_t seed, uint64_t subseed, struct sdapi_plan *plan,
                     struct sdapi_fault *fault)
{
    struct sdapi_axis axes[3] = {{0}};
    bool lists = axis_at(r, 1) == 3, ok = true;
    int more = axis_at(r, 3);
    double margin = 0;
    for (int i = 0; ok && i < 3; i++) {
        int at = axis_at(r, i);
        ok = sdapi_axis_read(app, r, arg_at(r, at), arg_at(r, at + 1),
                             lists ? arg_at(r, at + 2) : NULL, &axes[i], fault);
    }
    bool keep = flag_at(r, more + 3, false);
    bool vary[3] = {false};
    for (int i = 0; i < 3 && lists && cJSON_GetArraySize(r->script_args) > more + 5; i++)
        vary[i] = flag_at(r, more + 4 + i, false);
    int margin_at = lists && cJSON_GetArraySize(r->script_args) > more + 5 ? more + 7 : more + 4;
    size_t n[3] = {axes[0].count, axes[1].count, axes[2].count};
    ok = ok && sdapi_args_number(r, margin_at, "the margin", 0, 500, &margin, fault) &&
         check_count((double)n[0] * (double)n[1] * (double)n[2], fault);
    for (size_t i = 0; ok && i < n[0] * n[1] * n[2]; i++) {
        size_t at[3] = {i % n[0], i / n[0] % n[1], i / n[0] / n[1]};
        uint64_t further = (vary[0] ? at[0] : 0) + (vary[1] ? at[1] * (vary[0] ? n[0] : 1) : 0) +
                           (vary[2] ? at[2] * (vary[0] ? n[0] : 1) * (vary[1] ? n[1] : 1) : 0);
        cJSON *cell = add_cell(plan, body, seed + further, subseed);
        if (cell && keep) { /* a seed of its own for each */
            set(cell, "seed", cJSON_CreateNumber(-1));
            set(cell, "subseed", cJSON_CreateNumber(-1));
        }
        ok = cell || sdapi_args_no_memory(fault);
        for (int k = 0; ok && k < 3; k++)
            ok = sdapi_axis_apply(&axes[k], at[k], cell, fault);
    }
    plan->columns = (int)n[0];
    plan->rows = (int)n[1];
    plan->deep = (int)n[2];
    for (int i = 0; ok && i < 3; i++)
        ok =
            !flag_at(r, more, true) || add_labels(plan, i, &axes[i]) || sdapi_args_no_memory(fault);
    plan->margin = (int)margin;
    plan->grid = true;
    plan->send_painted = flag_at(r, more + 1, false);
    plan->send_sheets = flag_at(r, more + 2, false);
    for (int i = 0; i < 3; i++)
        sdapi_axis_free(&axes[i]);
    return ok;
}

/* ---- Prompt matrix ---- */

#define PARTS_MAX 7 /* 2^6 pictures */

/* The next part of a prompt between bars, without the blanks and commas around it, in place. */
static char *next_part(char **at)
{
    char *part = strsep(at, "|"), *end;
    part += strspn(part, " \t\r\n");
    for (end = part + strlen(part); end > part && strchr(" \t\r\n", end[-1]); end--)
        end[-1] = '\0';
    return part;
}

static char *strip_commas(char *part)
{
    part += strspn(part, ",");
    for (size_t n = strlen(part); n && part[n - 1] == ','; n--)
        part[n - 1] = '\0';
    return part;
}

/* At a side of 2^count pictures: which of these parts each has. */
static bool name_parts(struct sdapi_plan *plan, int side, char *const *parts, size_t count)
{
    if (count == 0)
        return true;
    char **labels = plan->labels[side] = calloc((size_t)1 << count, sizeof *labels);
    for (size_t i = 0; labels && i < (size_t)1 << count; i++) {
        struct pyjson label = {0};
        for (size_t k = 0; k < count; k++) {
            if (!(i >> k & 1))
                continue;
            pyjson_puts(&label, label.size ? ", " : "");
            pyjson_puts(&label, parts[k]);
        }
        pyjson_puts(&label, label.size ? "" : "-");
        labels[i] = label.text;
        if (label.failed || !label.text)
            return false;
    }
    return labels;
}

static bool plan_matrix(const struct sdapi_request *r, const cJSON *body, uint64_t seed,
                        uint64_t subseed, struct sdapi_plan *plan, struct sdapi_fault *fault)
{
    bool at_start = flag_at(r, 0, false), seeds = flag_at(r, 1, false);
    const char *which = text_at(r, 2, "positive"), *by = text_at(r, 3, "comma");
    bool negative = strcasecmp(which, "negative") == 0;
    const char *glue = strcasecmp(by, "comma") == 0 ? ", " : " ";
    double margin = 0;
    char *parts[PARTS_MAX + 1], *text, *at;
    size_t count = 0;
    if (!negative && strcasecmp(which, "positive") != 0)
        return sdapi_args_refuse(
            fault, "script_args[2] must be \"positive\" or \"negative\", got \"%.40s\"", which);
    if (strcasecmp(by, "comma") != 0 && strcasecmp(by, "space") != 0)
        return sdapi_args_refuse(
            fault, "script_args[3] must be \"comma\" or \"space\", got \"%.40s\"", by);
    if (!sdapi_args_number(r, 4, "the margin", 0, 500, &margin, fault))
        return false;
    if (!(text = at = strdup(negative ? r->negative_prompt : r->prompt)))
        return sdapi_args_no_memory(fault);
    while (at && count <= PARTS_MAX)
        parts[count++] = next_part(&at);
    for (size_t i = 1; i < count; i++)
        parts[i] = strip_commas(parts[i]);
    bool ok = count <= PARTS_MAX ||
              sdapi_args_refuse(fault, "a prompt matrix may have %d parts behind the first one",
                                PARTS_MAX - 1);
    size_t cells = ok ? (size_t)1 << (count - 1) : 0, room = strlen(text) + 2 * PARTS_MAX + 256;
    for (size_t i = 0; ok && i < cells; i++) {
        char *words = calloc(1, strlen(negative ? r->negative_prompt : r->prompt) + room);
        for (size_t k = 0; words && k < count; k++) {
            size_t part = at_start ? (k + 1) % count : k;
            if (part && !(i >> (part - 1) & 1))
                continue;
            if (*words)
                strcat(words, glue);
            strcat(words, parts[part]);
        }
        cJSON *cell = words ? add_cell(plan, body, seed + (seeds ? i : 0), subseed) : NULL;
        ok = cell || sdapi_args_no_memory(fault);
        if (ok)
            set(cell, negative ? "negative_prompt" : "prompt", cJSON_CreateString(words));
        free(words);
    }
    size_t down = ok ? (count - 1) / 2 : 0, across = ok ? count - 1 - down : 0;
    plan->rows = 1 << down;
    plan->columns = 1 << across;
    ok = ok && ((name_parts(plan, 0, parts + 1, across) &&
                 name_parts(plan, 1, parts + 1 + across, down)) ||
                sdapi_args_no_memory(fault));
    free(text);
    plan->deep = 1;
    plan->margin = (int)margin;
    plan->grid = plan->send_painted = true;
    return ok;
}

/* ---- Loopback ---- */

static bool plan_loopback(const struct sdapi_request *r, const cJSON *body, uint64_t seed,
                          uint64_t subseed, struct sdapi_plan *plan, struct sdapi_fault *fault)
{
    double loops = 4, last = 0.5;
    const char *curve = text_at(r, 2, "Linear"), *words = text_at(r, 3, "None");
    bool aggressive = strcasecmp(curve, "Aggressive") == 0, lazy = strcasecmp(curve, "Lazy") == 0;
    if (!sdapi_args_number(r, 0, "the loops", 1, 32, &loops, fault) ||
        !sdapi_args_number(r, 1, "the final denoising strength", 0, 1, &last, fault))
        return false;
    if (!aggressive && !lazy && strcasecmp(curve, "Linear") != 0)
        return sdapi_args_refuse(
            fault,
            "script_args[2] must be \"Aggressive\", \"Linear\" or \"Lazy\", got "
            "\"%.40s\"",
            curve);
    if (*words && strcasecmp(words, "None") != 0)
        return sdapi_args_refuse(
            fault, "script_args[3] can only be \"None\": no model here describes pictures");
    int n = (int)loops;
    if (!check_count((double)n * r->n_iter, fault))
        return false;
    for (int i = 0; i < n * r->n_iter; i++) {
        int loop = i % n;
        double way = n > 1 ? (double)loop / (n - 1) : 0;
        if (aggressive)
            way = sin(way * M_PI / 2);
        else if (lazy)
            way = 1 - cos(way * M_PI / 2);
        cJSON *cell = add_cell(plan, body, seed + (uint64_t)i, subseed);
        if (!cell)
            return sdapi_args_no_memory(fault);
        set(cell, "denoising_strength",
            cJSON_CreateNumber(r->denoising_strength + (last - r->denoising_strength) * way));
        if (loop)
            set(cell, "inpainting_fill", cJSON_CreateNumber(1));
        plan->cells[i].from_last = loop > 0;
        plan->cells[i].hidden = r->n_iter > 1 && loop < n - 1;
    }
    plan->columns = r->n_iter > 1 ? r->n_iter : n;
    plan->rows = plan->deep = 1;
    plan->grid = plan->columns > 1;
    plan->send_painted = true;
    return true;
}

bool sdapi_script_plan(const struct app *app, const struct sdapi_request *r,
                       const struct cJSON *body, uint64_t seed, uint64_t subseed,
                       struct sdapi_plan *out, struct sdapi_fault *fault)
{
    *out = (struct sdapi_plan){.columns = 1, .rows = 1, .deep = 1};
    enum sdapi_script script = sdapi_script_of(r);
    if (!check_members(body, fault))
        return false;
    bool ok = script == SDAPI_SCRIPT_XYZ      ? plan_xyz(app, r, body, seed, subseed, out, fault)
              : script == SDAPI_SCRIPT_MATRIX ? plan_matrix(r, body, seed, subseed, out, fault)
                                              : plan_loopback(r, body, seed, subseed, out, fault);
    if (ok && out->grid &&
        !image_grid_fits(out->columns, out->rows, out->margin, intake_pixels_max(app->settings)))
        ok = sdapi_args_refuse(fault,
                               "a grid of %d x %d pictures is too large with a margin of %d pixels",
                               out->columns, out->rows, out->margin);
    if (!ok)
        sdapi_script_plan_free(out);
    return ok;
}

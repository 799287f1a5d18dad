#include "server/api/sdapi/sdapi_axis.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/sdapi/sdapi_args.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_series.h"
#include "server/base/json_number.h"
#include "server/base/pyjson.h"
#include "server/base/settings.h"

enum change { NOTHING, FIELD, OPTION, REPLACE, ORDER, STYLE, FACES, SIZE };
enum value { TEXT, WHOLE, REAL };
enum only { BOTH, TXT2IMG, IMG2IMG };

struct sdapi_axis_kind {
    const char *label;
    enum value value;
    enum change change;
    const char *name; /* of the field or the option */
    enum only only;
};

/* In the order of the WebUI's 1.10, whose numbers count those that a page has. */
static const struct sdapi_axis_kind kinds[] = {
    {"Nothing", TEXT, NOTHING, "", BOTH},
    {"Seed", WHOLE, FIELD, "seed", BOTH},
    {"Var. seed", WHOLE, FIELD, "subseed", BOTH},
    {"Var. strength", REAL, FIELD, "subseed_strength", BOTH},
    {"Steps", WHOLE, FIELD, "steps", BOTH},
    {"Hires steps", WHOLE, FIELD, "hr_second_pass_steps", TXT2IMG},
    {"CFG Scale", REAL, FIELD, "cfg_scale", BOTH},
    {"Image CFG Scale", REAL, FIELD, "image_cfg_scale", IMG2IMG},
    {"Prompt S/R", TEXT, REPLACE, "", BOTH},
    {"Prompt order", TEXT, ORDER, "", BOTH},
    {"Sampler", TEXT, FIELD, "sampler_name", TXT2IMG},
    {"Hires sampler", TEXT, FIELD, "hr_sampler_name", TXT2IMG},
    {"Sampler", TEXT, FIELD, "sampler_name", IMG2IMG},
    {"Checkpoint name", TEXT, OPTION, "sd_model_checkpoint", BOTH},
    {"Negative Guidance minimum sigma", REAL, FIELD, "s_min_uncond", BOTH},
    {"Sigma Churn", REAL, OPTION, "s_churn", BOTH},
    {"Sigma min", REAL, OPTION, "s_tmin", BOTH},
    {"Sigma max", REAL, OPTION, "s_tmax", BOTH},
    {"Sigma noise", REAL, OPTION, "s_noise", BOTH},
    {"Schedule type", TEXT, FIELD, "scheduler", BOTH},
    {"Schedule min sigma", REAL, OPTION, "sigma_min", BOTH},
    {"Schedule max sigma", REAL, OPTION, "sigma_max", BOTH},
    {"Schedule rho", REAL, OPTION, "rho", BOTH},
    {"Skip Early CFG", REAL, OPTION, "skip_early_cond", BOTH},
    {"Beta schedule alpha", REAL, OPTION, "beta_dist_alpha", BOTH},
    {"Beta schedule beta", REAL, OPTION, "beta_dist_beta", BOTH},
    {"Eta", REAL, FIELD, "eta", BOTH},
    {"Clip skip", WHOLE, OPTION, "CLIP_stop_at_last_layers", BOTH},
    {"Denoising", REAL, FIELD, "denoising_strength", BOTH},
    {"Initial noise multiplier", REAL, FIELD, "initial_noise_multiplier", BOTH},
    {"Extra noise", REAL, OPTION, "img2img_extra_noise", BOTH},
    {"Hires upscaler", TEXT, FIELD, "hr_upscaler", TXT2IMG},
    {"Cond. Image Mask Weight", REAL, OPTION, "inpainting_mask_weight", IMG2IMG},
    {"VAE", TEXT, OPTION, "sd_vae", BOTH},
    {"Styles", TEXT, STYLE, "", BOTH},
    {"UniPC Order", WHOLE, OPTION, "uni_pc_order", BOTH},
    {"Face restore", TEXT, FACES, "restore_faces", BOTH},
    {"Token merging ratio", REAL, OPTION, "token_merging_ratio", BOTH},
    {"Token merging ratio high-res", REAL, OPTION, "token_merging_ratio_hr", BOTH},
    {"Always discard next-to-last sigma", TEXT, OPTION, "always_discard_next_to_last_sigma", BOTH},
    {"SGM noise multiplier", TEXT, OPTION, "sgm_noise_multiplier", BOTH},
    {"Refiner checkpoint", TEXT, FIELD, "refiner_checkpoint", BOTH},
    {"Refiner switch at", REAL, FIELD, "refiner_switch_at", BOTH},
    {"RNG source", TEXT, OPTION, "randn_source", BOTH},
    {"FP8 mode", TEXT, OPTION, "fp8_storage", BOTH},
    {"Size", TEXT, SIZE, "", BOTH},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static const struct sdapi_axis_kind *kind_of(const struct sdapi_request *r, const cJSON *type)
{
    const char *label = cJSON_GetStringValue(type);
    double index = cJSON_IsNumber(type) ? type->valuedouble : label ? -1 : 0, at = 0;
    char *end;
    if (label && *label && strtod(label, &end) >= 0 && !*end)
        index = strtod(label, &end);
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i].only == (r->kind == SDAPI_TXT2IMG ? IMG2IMG : TXT2IMG))
            continue;
        if (at++ == index || (label && strcasecmp(label, kinds[i].label) == 0))
            return &kinds[i];
    }
    return NULL;
}

/* ---- values ---- */

static bool add(struct sdapi_axis *axis, const char *text, size_t size, struct sdapi_fault *fault)
{
    if (axis->count == SDAPI_SERIES_RUNS)
        return sdapi_args_refuse(fault, "an axis may have %d values", SDAPI_SERIES_RUNS);
    char **values = realloc(axis->values, (axis->count + 1) * sizeof *values);
    char *copy = strndup(text, size);
    if (values)
        axis->values = values;
    if (!values || !copy) {
        free(copy);
        return sdapi_args_no_memory(fault);
    }
    values[axis->count++] = copy;
    return true;
}

static bool add_number(struct sdapi_axis *axis, double value, struct sdapi_fault *fault)
{
    char text[PYJSON_FLOAT_SIZE];
    if (axis->kind->value == WHOLE)
        snprintf(text, sizeof text, "%.0f", value);
    else
        pyjson_float(text, round(value * 1e9) / 1e9);
    return add(axis, text, strlen(text), fault);
}

/* Seeds may have 64 bits, which a double has not. */
static bool add_whole(struct sdapi_axis *axis, struct json_whole value, struct sdapi_fault *fault)
{
    char text[JSON_NUMBER_TEXT];
    snprintf(text, sizeof text, "%s%" PRIu64, value.negative ? "-" : "", value.magnitude);
    return add(axis, text, strlen(text), fault);
}

/* "1-5", "1-10 (+3)", "0-1 [5]": from, to, and a step or how many; false: it is no such text. */
static bool is_range(const char *text, double *from, double *to, double *step, double *count)
{
    char *at;
    *step = *count = 0;
    *from = strtod(text, &at);
    at += strspn(at, " ");
    if (at == text || *at++ != '-')
        return false;
    const char *second = at;
    *to = strtod(second, &at);
    if (at == second)
        return false;
    at += strspn(at, " ");
    char open = *at;
    if (open == '(' || open == '[') {
        const char *third = ++at;
        *(open == '(' ? step : count) = strtod(third, &at);
        if (at == third)
            return false;
        at += strspn(at, " ");
        if (*at++ != (open == '(' ? ')' : ']'))
            return false;
        at += strspn(at, " ");
    }
    return !*at && isfinite(*from) && isfinite(*to) && isfinite(*step) && isfinite(*count);
}

static bool add_range(struct sdapi_axis *axis, double from, double to, double step, double count,
                      struct sdapi_fault *fault)
{
    bool whole = axis->kind->value == WHOLE;
    count = floor(count);
    if (count > 0) {
        for (int i = 0; i < count; i++) {
            double value = count > 1 ? from + (to - from) * i / (count - 1) : from;
            if (!add_number(axis, whole ? trunc(value) : value, fault))
                return false;
        }
        return true;
    }
    if (step == 0)
        step = from <= to ? 1 : -1;
    if ((to - from) / step < 0)
        return sdapi_args_refuse(fault, "a range from %g to %g by %g has no end", from, to, step);
    for (int i = 0; i <= (to - from) / step + 1e-9; i++)
        if (!add_number(axis, from + i * step, fault))
            return false;
    return true;
}

static bool add_value(struct sdapi_axis *axis, const char *text, size_t size,
                      struct sdapi_fault *fault)
{
    char number[64], *end;
    double from, to, step, count;
    if (axis->kind->value == TEXT)
        return add(axis, text, size, fault);
    if (size == 0)
        return true;
    snprintf(number, sizeof number, "%.*s", (int)size, text);
    struct json_whole whole;
    if (axis->kind->value == WHOLE && json_number_parse(number, &whole))
        return add_whole(axis, whole, fault);
    double value = strtod(number, &end);
    if (!*end && isfinite(value))
        return add_number(axis, axis->kind->value == WHOLE ? trunc(value) : value, fault);
    if (is_range(number, &from, &to, &step, &count))
        return add_range(axis, from, to, step, count, fault);
    return sdapi_args_refuse(fault,
                             "%s: wanted numbers or ranges such as 1-5, 1-10 (+3) and 0-1 [5], got "
                             "\"%.50s\"",
                             axis->kind->label, number);
}

/* As Python's csv reads it, without the blanks around values. */
static bool read_values(struct sdapi_axis *axis, const char *text, struct sdapi_fault *fault)
{
    char *value = malloc(strlen(text) + 1);
    bool ok = value || sdapi_args_no_memory(fault);
    for (const char *at = text; ok && *text;) {
        size_t n = 0;
        at += strspn(at, " \t");
        if (*at == '"') {
            for (at++; *at && (*at != '"' || at[1] == '"'); at++) {
                at += *at == '"';
                value[n++] = *at;
            }
            at += *at == '"';
        }
        while (*at && *at != ',' && *at != '\n')
            value[n++] = *at++;
        while (n && strchr(" \t\r", value[n - 1]))
            n--;
        ok = add_value(axis, value, n, fault);
        if (!*at++)
            break;
    }
    free(value);
    return ok;
}

/* All orders of the words, each in lines, so no word has several; of too many the count says so. */
static bool permute(struct sdapi_axis *axis, struct sdapi_fault *fault)
{
    char **words = axis->values;
    size_t n = axis->count, total = 1;
    struct sdapi_axis all = {.kind = axis->kind};
    for (size_t i = 2; i <= n && total <= SDAPI_SERIES_RUNS; i++)
        total *= i;
    bool ok = total <= SDAPI_SERIES_RUNS ||
              sdapi_args_refuse(fault, "Prompt order: %zu words have more than %d orders", n,
                                SDAPI_SERIES_RUNS);
    for (size_t i = 0; ok && i < n; i++)
        ok = !strchr(words[i], '\n') ||
             sdapi_args_refuse(fault, "Prompt order: words must stand in one line each");
    for (size_t k = 0; ok && k < total; k++) {
        struct pyjson line = {0};
        size_t rest = k, block = total;
        bool used[SDAPI_SERIES_RUNS] = {false};
        for (size_t i = 0; i < n; i++) {
            block /= n - i;
            size_t pick = rest / block, at = 0;
            rest %= block;
            for (;; at++)
                if (!used[at] && pick-- == 0)
                    break;
            used[at] = true;
            pyjson_puts(&line, i ? "\n" : "");
            pyjson_puts(&line, words[at]);
        }
        ok = !line.failed
                 ? add(&all, line.text ? line.text : "", strlen(line.text ? line.text : ""), fault)
                 : sdapi_args_no_memory(fault);
        free(line.text);
    }
    sdapi_axis_free(axis);
    *axis = all;
    return ok;
}

/* Names that nobody has are an error here: who plots them wants to see them. */
static bool check_names(const struct app *app, const struct sdapi_axis *axis,
                        struct sdapi_fault *fault)
{
    const char *name = axis->kind->name;
    bool sampler = strstr(name, "sampler_name"),
         checkpoint = strcmp(name, "sd_model_checkpoint") == 0;
    for (size_t i = 0; i < axis->count; i++) {
        struct sdapi_model model;
        const struct pictor_scheduler_info *ignored;
        bool known = sampler      ? pictor_sampler_find(axis->values[i], &ignored) != NULL
                     : checkpoint ? sdapi_models_find(app, axis->values[i], &model)
                                  : true;
        if (known)
            continue;
        *fault = (struct sdapi_fault){.status = 500, .crash = "RuntimeError"};
        snprintf(fault->message, sizeof fault->message, "Unknown %s: %.100s",
                 sampler ? "sampler" : "checkpoint", axis->values[i]);
        return false;
    }
    return true;
}

bool sdapi_axis_read(const struct app *app, const struct sdapi_request *r, const cJSON *type,
                     const cJSON *values, const cJSON *list, struct sdapi_axis *out,
                     struct sdapi_fault *fault)
{
    const cJSON *item;
    *out = (struct sdapi_axis){.kind = kind_of(r, type), .most = app->settings->max_prompt_bytes};
    if (!out->kind)
        return sdapi_args_refuse(fault, "an axis must be one of 0..%d or a label such as \"Steps\"",
                                 (int)KINDS - 1);
    if (out->kind->change == NOTHING)
        return add(out, "", 0, fault);
    cJSON_ArrayForEach(item, list)
        if (cJSON_IsString(item) &&
            !add_value(out, item->valuestring, strlen(item->valuestring), fault))
            return false;
    if (out->count == 0 && cJSON_IsNumber(values)) {
        struct json_whole whole;
        bool digits = out->kind->value == WHOLE && json_number_whole(values, &whole);
        if (!(digits ? add_whole(out, whole, fault) : add_number(out, values->valuedouble, fault)))
            return false;
    } else if (out->count == 0 && cJSON_IsString(values) &&
               !read_values(out, values->valuestring, fault)) {
        return false;
    }
    if (out->count == 0)
        return sdapi_args_refuse(fault, "%s has no values", out->kind->label);
    return (out->kind->change != ORDER || permute(out, fault)) && check_names(app, out, fault);
}

void sdapi_axis_free(struct sdapi_axis *axis)
{
    for (size_t i = 0; i < axis->count; i++)
        free(axis->values[i]);
    free(axis->values);
    *axis = (struct sdapi_axis){0};
}

/* ---- what they change ---- */

static void set(cJSON *body, const char *name, const char *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(body, name);
    cJSON_AddStringToObject(body, name, value);
}

static void set_option(cJSON *body, const char *name, const char *value)
{
    cJSON *options = cJSON_GetObjectItemCaseSensitive(body, "override_settings");
    if (!cJSON_IsObject(options)) {
        cJSON_DeleteItemFromObjectCaseSensitive(body, "override_settings");
        options = cJSON_AddObjectToObject(body, "override_settings");
    }
    set(options, name, value);
}

/* Value `i` in a prompt for every text that is to be replaced. Short texts can become endless ones
 * that way. */
static bool replace(const struct sdapi_axis *axis, size_t i, cJSON *body, const char *name,
                    bool *found, struct sdapi_fault *fault)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, name));
    const char *what = axis->values[0], *with = axis->values[i];
    size_t n = strlen(what), m = strlen(with), count = 0;
    struct pyjson out = {0};
    if (!text || !*what)
        return true;
    for (const char *at = text; (at = strstr(at, what)); at += n)
        count++;
    if (m > 0 && count > axis->most / m)
        return sdapi_args_refuse(fault,
                                 "Prompt S/R: with %zu bytes in %zu places the %s is longer than "
                                 "%zu bytes",
                                 m, count, name, axis->most);
    for (const char *at; (at = strstr(text, what)); text = at + n) {
        pyjson_put(&out, text, (size_t)(at - text));
        pyjson_puts(&out, with);
        *found = true;
    }
    pyjson_puts(&out, text);
    if (!out.failed && out.text)
        set(body, name, out.text);
    free(out.text);
    return !out.failed || sdapi_args_no_memory(fault);
}

/* The words of the axis where they stand in the prompt, in another order. */
static bool reorder(const struct sdapi_axis *axis, size_t i, cJSON *body, struct sdapi_fault *fault)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "prompt"));
    char *words = strdup(axis->values[i]), *all = strdup(axis->values[0]), *at = all, *word;
    struct {
        size_t at, size;
    } places[SDAPI_SERIES_RUNS];
    size_t count = 0;
    bool ok = (words && all) || sdapi_args_no_memory(fault);
    text = text ? text : "";
    while (ok && (word = strsep(&at, "\n"))) {
        const char *found = strstr(text, word);
        if (!found) {
            ok = sdapi_args_refuse(fault, "Prompt order did not find %.60s in the prompt", word);
            break;
        }
        size_t k = count++;
        for (; k && places[k - 1].at > (size_t)(found - text); k--)
            places[k] = places[k - 1];
        places[k].at = (size_t)(found - text);
        places[k].size = strlen(word);
    }
    struct pyjson out = {0};
    size_t from = 0;
    at = words;
    for (size_t k = 0; ok && k < count; k++) {
        if (places[k].at < from)
            ok = sdapi_args_refuse(fault, "Prompt order: its words overlap in the prompt");
        else
            pyjson_put(&out, text + from, places[k].at - from);
        pyjson_puts(&out, strsep(&at, "\n"));
        from = places[k].at + places[k].size;
    }
    pyjson_puts(&out, text + (ok ? from : 0));
    ok = ok && (!out.failed || sdapi_args_no_memory(fault));
    if (ok)
        set(body, "prompt", out.text ? out.text : "");
    free(out.text);
    free(words);
    free(all);
    return ok;
}

static bool resize(const char *value, cJSON *body, struct sdapi_fault *fault)
{
    char *end;
    long width = strtol(value, &end, 10), height = 0;
    size_t times = strncmp(end, "\xc3\x97", 2) == 0 ? 2 : *end == 'x' || *end == 'X' ? 1 : 0;
    if (times)
        height = strtol(end + times, &end, 10);
    if (!times || *end || width < 1 || height < 1 || width > 65536 || height > 65536)
        return sdapi_args_refuse(fault, "Size: wanted 512x768, got \"%.40s\"", value);
    cJSON_DeleteItemFromObjectCaseSensitive(body, "width");
    cJSON_DeleteItemFromObjectCaseSensitive(body, "height");
    cJSON_AddNumberToObject(body, "width", (double)width);
    cJSON_AddNumberToObject(body, "height", (double)height);
    return true;
}

static bool add_style(const char *value, cJSON *body)
{
    cJSON *styles = cJSON_GetObjectItemCaseSensitive(body, "styles");
    if (!cJSON_IsArray(styles)) {
        cJSON_DeleteItemFromObjectCaseSensitive(body, "styles");
        styles = cJSON_AddArrayToObject(body, "styles");
    }
    return cJSON_AddItemToArray(styles, cJSON_CreateString(value));
}

bool sdapi_axis_apply(const struct sdapi_axis *axis, size_t i, struct cJSON *body,
                      struct sdapi_fault *fault)
{
    const char *value = axis->values[i], *name = axis->kind->name;
    bool found = false;
    switch (axis->kind->change) {
    case NOTHING:
        return true;
    case FIELD:
        set(body, name, value);
        return true;
    case OPTION:
        set_option(body, name, value);
        return true;
    case FACES:
        set(body, name,
            strcasecmp(value, "none") == 0 || strcasecmp(value, "false") == 0 || !*value ? "false"
                                                                                         : "true");
        return true;
    case STYLE:
        return add_style(value, body) || sdapi_args_no_memory(fault);
    case SIZE:
        return resize(value, body, fault);
    case ORDER:
        return reorder(axis, i, body, fault);
    case REPLACE:
        if (!replace(axis, i, body, "prompt", &found, fault) ||
            !replace(axis, i, body, "negative_prompt", &found, fault))
            return false;
        return found || sdapi_args_refuse(
                            fault, "Prompt S/R did not find %.60s in prompt or negative prompt",
                            axis->values[0]);
    }
    return true;
}

bool sdapi_axis_is_shown(const struct sdapi_axis *axis)
{
    return axis->kind && axis->kind->change != NOTHING;
}

char *sdapi_axis_label(const struct sdapi_axis *axis, size_t i)
{
    struct pyjson out = {0};
    const char *value = axis->values[i];
    if (axis->kind->change == FIELD || axis->kind->change == OPTION)
        pyjson_printf(&out, "%s: ", axis->kind->label);
    for (; *value; value++) /* the words of an order stand in lines */
        pyjson_puts(&out, *value == '\n' ? ", " : (char[]){*value, '\0'});
    if (!out.failed && out.text)
        return out.text;
    free(out.text);
    return out.failed ? NULL : strdup("");
}

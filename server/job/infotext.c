#include "server/job/infotext.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/pyjson.h"

/* ---- writing ---- */

/* ", key: value" with the value quoted where the reader would stumble over it. */
static void put_text(struct pyjson *out, const char *key, const char *value)
{
    if (out->size && out->text[out->size - 1] != '\n')
        pyjson_puts(out, ", ");
    pyjson_puts(out, key);
    if (strcmp(key, value) == 0)
        return;
    pyjson_puts(out, ": ");
    if (strpbrk(value, ",\n:"))
        pyjson_string(out, value, false);
    else
        pyjson_puts(out, value);
}

static void put_integer(struct pyjson *out, const char *key, long long value)
{
    char buf[24];
    snprintf(buf, sizeof buf, "%lld", value);
    put_text(out, key, buf);
}

static void put_seed(struct pyjson *out, const char *key, uint64_t value)
{
    char buf[24];
    snprintf(buf, sizeof buf, "%llu", (unsigned long long)value);
    put_text(out, key, buf);
}

static void put_float(struct pyjson *out, const char *key, double value)
{
    char buf[PYJSON_FLOAT_SIZE];
    put_text(out, key, pyjson_float(buf, value));
}

static void put_size(struct pyjson *out, const char *key, int width, int height)
{
    char buf[32];
    snprintf(buf, sizeof buf, "%dx%d", width, height);
    put_text(out, key, buf);
}

static bool has(const char *text)
{
    return text && *text;
}

/* The label that SD WebUI shows: a sampler's own schedule by its name, "Automatic" when that is
 * nothing special. */
static const char *schedule_label(const struct job_params *p)
{
    const char *name = has(p->scheduler) ? p->scheduler : "automatic";
    if (strcmp(name, "automatic") == 0) {
        const struct pictor_sampler_info *sampler = pictor_sampler_find(p->sampler, NULL);
        if (!sampler || strcmp(sampler->default_scheduler, "uniform") == 0)
            return "Automatic";
        name = sampler->default_scheduler;
    }
    const struct pictor_scheduler_info *scheduler = pictor_scheduler_find(name);
    return scheduler ? scheduler->label : name;
}

/* Eta is written only where the sampler uses one and it is not that sampler's usual one. */
static void put_eta(struct pyjson *out, const struct job_params *p)
{
    if (isnan(p->eta) || !p->sampler)
        return;
    size_t n = strlen(p->sampler);
    bool ddim = strncmp(p->sampler, "DDIM", 4) == 0;
    bool ancestral = (n > 2 && strcmp(p->sampler + n - 2, " a") == 0) || strstr(p->sampler, "SDE");
    if (ddim && p->eta != 0)
        put_float(out, "Eta DDIM", p->eta);
    else if (ancestral && p->eta != 1)
        put_float(out, "Eta", p->eta);
}

/* NGMS is the WebUI's "negative guidance minimum sigma"; the other two are not of the WebUI. */
static void put_speed(struct pyjson *out, const struct job_params *p)
{
    if (p->guidance_low > 0) { /* false for NAN */
        put_float(out, "NGMS", p->guidance_low);
        if (!p->guidance_alternate)
            put_text(out, "NGMS all steps", "True");
    }
    if (p->guidance_high > 0)
        put_float(out, "Guidance maximum sigma", p->guidance_high);
    if (p->reuse_every > 1)
        put_integer(out, "Feature reuse", p->reuse_every);
}

/* "Hires upscale: 2.0" when the target is a plain multiple (in twentieths, the step of the WebUI's
 * slider) of the first size, else "Hires resize: WxH". */
static void put_hires(struct pyjson *out, const struct job_params *p)
{
    int twentieths = (int)lround(20.0 * p->hires_width / p->width);
    double scale = twentieths / 20.0;
    if ((int)(p->width * scale) == p->hires_width && (int)(p->height * scale) == p->hires_height)
        put_float(out, "Hires upscale", scale);
    else
        put_size(out, "Hires resize", p->hires_width, p->hires_height);
    if (p->hires_steps > 0)
        put_integer(out, "Hires steps", p->hires_steps);
    if (has(p->hires_upscaler))
        put_text(out, "Hires upscaler", p->hires_upscaler);
}

static void put_mask(struct pyjson *out, const struct job_params *p)
{
    if (p->mask_invert)
        put_text(out, "Mask mode", "Inpaint not masked");
    if (p->mask_blur > 0 && p->mask_blur == floor(p->mask_blur))
        put_integer(out, "Mask blur", (long long)p->mask_blur);
    else if (p->mask_blur > 0)
        put_float(out, "Mask blur", p->mask_blur);
    if (p->mask_only_area) {
        put_text(out, "Inpaint area", "Only masked");
        put_integer(out, "Masked area padding", p->mask_padding);
    }
    switch ((enum pictor_fill)p->fill) {
    case PICTOR_FILL_BLUR:
        put_text(out, "Masked content", "fill");
        break;
    case PICTOR_FILL_ORIGINAL:
        break;
    case PICTOR_FILL_NOISE:
        put_text(out, "Masked content", "latent noise");
        break;
    case PICTOR_FILL_NOTHING:
        put_text(out, "Masked content", "latent nothing");
        break;
    }
}

char *infotext_write(const struct job_params *p, const struct infotext_picture *picture)
{
    struct pyjson out = {0};
    pyjson_puts(&out, p->prompt ? p->prompt : "");
    if (has(p->negative_prompt)) {
        pyjson_puts(&out, "\nNegative prompt: ");
        pyjson_puts(&out, p->negative_prompt);
    }
    pyjson_puts(&out, "\n");
    if (p->steps > 0)
        put_integer(&out, "Steps", p->steps);
    if (p->sampler) {
        put_text(&out, "Sampler", p->sampler);
        put_text(&out, "Schedule type", schedule_label(p));
    }
    if (!isnan(p->guidance))
        put_float(&out, "CFG scale", p->guidance);
    put_seed(&out, "Seed", picture->seed);
    put_size(&out, "Size", p->width, p->height);
    if (has(picture->model_hash)) {
        char hash[11];
        snprintf(hash, sizeof hash, "%s", picture->model_hash);
        put_text(&out, "Model hash", hash);
    }
    if (has(picture->model_name))
        put_text(&out, "Model", picture->model_name);
    if (p->subseed_strength != 0) {
        put_seed(&out, "Variation seed", picture->subseed);
        put_float(&out, "Variation seed strength", p->subseed_strength);
    }
    if (p->has_init && !isnan(p->strength))
        put_float(&out, "Denoising strength", p->strength);
    else if (p->hires_width > 0)
        put_float(&out, "Denoising strength", p->hires_strength);
    if (p->clip_skip > 1)
        put_integer(&out, "Clip skip", p->clip_skip);
    if (p->token_merging > 0)
        put_float(&out, "Token merging ratio", p->token_merging);
    if (has(p->rng) && strcmp(p->rng, "cpu") == 0)
        put_text(&out, "RNG", "CPU");
    if (p->hires_width > 0)
        put_hires(&out, p);
    if (p->has_init && p->has_mask)
        put_mask(&out, p);
    put_eta(&out, p);
    put_speed(&out, p);
    put_text(&out, "Version", "pictor-" PICTOR_VERSION);
    if (out.failed)
        return NULL;

    /* Stripped, as the WebUI does: an empty prompt leaves no empty first line. */
    size_t blank = strspn(out.text, " \t\r\n\v\f");
    memmove(out.text, out.text + blank, out.size - blank + 1);
    return out.text;
}

/* ---- reading ---- */

struct span {
    const char *at;
    size_t size;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

/* \w of the format's regular expression; all of non-ASCII counts as letters. */
static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static struct span strip(struct span s)
{
    while (s.size && is_space(s.at[0]))
        s.at++, s.size--;
    while (s.size && is_space(s.at[s.size - 1]))
        s.size--;
    return s;
}

/* End of a "quoted" value that a comma or the line's end follows, or NULL. */
static const char *quoted_end(const char *s, const char *end)
{
    if (s == end || *s != '"')
        return NULL;
    const char *p = s + 1;
    while (p < end && *p != '"')
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    bool closed = p < end && p > s + 1 && (p + 1 == end || p[1] == ',');
    return closed ? p + 1 : NULL;
}

/* Finds the next `key: value` from *at on, as
 *     \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
 * does, and moves *at behind it. A run of key characters that no colon follows cannot hold a key
 * at a later start either, so it is skipped whole: that keeps the search linear. */
static bool next_pair(const char **at, const char *end, struct span *key, struct span *value)
{
    const char *s = *at;
    while (s < end) {
        while (s < end && !is_word(*s))
            s++;
        const char *start = s;
        while (s < end && (is_word(*s) || *s == ' ' || *s == '-' || *s == '/'))
            s++;
        if (s == end || *s != ':' || s - start < 2)
            continue;
        *key = (struct span){start, (size_t)(s - start)};
        s++;
        while (s < end && is_space(*s))
            s++;
        const char *stop = quoted_end(s, end);
        if (!stop) {
            stop = memchr(s, ',', (size_t)(end - s));
            if (!stop)
                stop = end;
        }
        *value = (struct span){s, (size_t)(stop - s)};
        *at = stop < end ? stop + 1 : end;
        return true;
    }
    *at = end;
    return false;
}

static char *copy(const char *text, size_t size)
{
    char *s = malloc(size + 1);
    if (s) {
        memcpy(s, text, size);
        s[size] = '\0';
    }
    return s;
}

/* Takes `value` (may be NULL: memory was short). A known key gets the new value. */
static bool add_pair(struct infotext *t, const char *key, size_t key_size, const char *suffix,
                     char *value)
{
    size_t suffix_size = strlen(suffix);
    char *name = malloc(key_size + suffix_size + 1);
    if (!name || !value)
        goto fail;
    memcpy(name, key, key_size);
    memcpy(name + key_size, suffix, suffix_size + 1);
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->pairs[i].key, name) == 0) {
            free(t->pairs[i].value);
            t->pairs[i].value = value;
            free(name);
            return true;
        }
    }
    if (t->count == INFOTEXT_PAIRS_MAX) {
        free(name);
        free(value);
        return true;
    }
    t->pairs[t->count++] = (struct infotext_pair){name, value};
    return true;
fail:
    free(name);
    free(value);
    return false;
}

static char *unquote(struct span value)
{
    if (value.at[0] == '"' && value.at[value.size - 1] == '"') {
        cJSON *json = json_text_parse(value.at, value.size, 1, NULL);
        if (cJSON_IsString(json)) {
            char *text = copy(json->valuestring, strlen(json->valuestring));
            cJSON_Delete(json);
            return text;
        }
        cJSON_Delete(json);
    }
    return copy(value.at, value.size);
}

static bool read_pair(struct infotext *t, struct span key, struct span value)
{
    if (value.size == 0)
        return true;
    char *text = unquote(value);
    if (!text)
        return false;
    size_t first = strspn(text, "0123456789");
    size_t second = text[first] == 'x' ? strspn(text + first + 1, "0123456789") : 0;
    if (!first || !second || text[first + 1 + second])
        return add_pair(t, key.at, key.size, "", text);
    bool ok = add_pair(t, key.at, key.size, "-1", copy(text, first)) &&
              add_pair(t, key.at, key.size, "-2", copy(text + first + 1, second));
    free(text);
    return ok;
}

static void append_line(struct pyjson *text, struct span line)
{
    if (text->size)
        pyjson_put(text, "\n", 1);
    pyjson_put(text, line.at, line.size);
}

bool infotext_read(struct infotext *out, const char *text)
{
    static const char negative_mark[] = "Negative prompt:";
    *out = (struct infotext){0};
    struct pyjson prompt = {0}, negative = {0};
    pyjson_puts(&prompt, "");
    pyjson_puts(&negative, "");
    out->pairs = calloc(INFOTEXT_PAIRS_MAX, sizeof *out->pairs);
    if (!out->pairs)
        goto fail;

    struct span whole = strip((struct span){text, strlen(text)});
    const char *end = whole.at + whole.size, *last = end;
    while (last > whole.at && last[-1] != '\n')
        last--;
    struct span key, value;
    int found = 0;
    for (const char *at = last; found < 3 && next_pair(&at, end, &key, &value);)
        found++;
    const char *text_end = found < 3 ? end : last;
    if (found == 3)
        for (const char *at = last; next_pair(&at, end, &key, &value);)
            if (!read_pair(out, key, value))
                goto fail;

    bool in_negative = false;
    for (const char *at = whole.at; at < text_end;) {
        const char *newline = memchr(at, '\n', (size_t)(text_end - at));
        const char *line_end = newline ? newline : text_end;
        struct span line = strip((struct span){at, (size_t)(line_end - at)});
        size_t mark = sizeof negative_mark - 1;
        if (line.size >= mark && memcmp(line.at, negative_mark, mark) == 0) {
            in_negative = true;
            line = strip((struct span){line.at + mark, line.size - mark});
        }
        append_line(in_negative ? &negative : &prompt, line);
        at = line_end + 1;
    }
    if (prompt.failed || negative.failed)
        goto fail;
    out->prompt = prompt.text;
    out->negative_prompt = negative.text;
    return true;
fail:
    free(prompt.text);
    free(negative.text);
    infotext_free(out);
    return false;
}

void infotext_free(struct infotext *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->pairs[i].key);
        free(t->pairs[i].value);
    }
    free(t->pairs);
    free(t->prompt);
    free(t->negative_prompt);
    *t = (struct infotext){0};
}

const char *infotext_get(const struct infotext *t, const char *key)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->pairs[i].key, key) == 0)
            return t->pairs[i].value;
    return NULL;
}

/* An opening bracket that is not escaped gives some words a weight. */
static bool uses_emphasis(const char *prompt)
{
    for (const char *s = prompt; *s; s++) {
        if (*s == '\\' && s[1])
            s++;
        else if (*s == '(' || *s == '[')
            return true;
    }
    return false;
}

static void default_text(cJSON *json, const char *key, const char *value)
{
    if (!cJSON_GetObjectItemCaseSensitive(json, key))
        cJSON_AddStringToObject(json, key, value);
}

static void default_number(cJSON *json, const char *key, double value)
{
    if (!cJSON_GetObjectItemCaseSensitive(json, key))
        cJSON_AddNumberToObject(json, key, value);
}

/* Texts from before "Hires upscale": "Size" was the target and "First pass size" the first size. */
static void move_first_pass(cJSON *json)
{
    static const char *const axis[2][3] = {
        {"First pass size-1", "Size-1", "Hires resize-1"},
        {"First pass size-2", "Size-2", "Hires resize-2"},
    };
    for (int i = 0; i < 2; i++) {
        const cJSON *first = cJSON_GetObjectItemCaseSensitive(json, axis[i][0]);
        const cJSON *size = cJSON_GetObjectItemCaseSensitive(json, axis[i][1]);
        if (!cJSON_IsString(first) || !cJSON_IsString(size) || strcmp(first->valuestring, "0") == 0)
            continue;
        cJSON_AddItemToObject(json, axis[i][2], cJSON_Duplicate(size, false));
        cJSON_ReplaceItemInObjectCaseSensitive(json, axis[i][1], cJSON_Duplicate(first, false));
    }
}

struct cJSON *infotext_to_json(const struct infotext *t)
{
    cJSON *json = cJSON_CreateObject();
    if (!json)
        return NULL;
    for (size_t i = 0; i < t->count; i++)
        cJSON_AddStringToObject(json, t->pairs[i].key, t->pairs[i].value);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "Prompt");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "Negative prompt");
    cJSON_AddStringToObject(json, "Prompt", t->prompt);
    cJSON_AddStringToObject(json, "Negative prompt", t->negative_prompt);
    default_text(json, "Clip skip", "1");
    if (!cJSON_GetObjectItemCaseSensitive(json, "Hires resize-1"))
        move_first_pass(json);
    default_number(json, "Hires resize-1", 0);
    default_number(json, "Hires resize-2", 0);
    default_text(json, "Hires sampler", "Use same sampler");
    default_text(json, "Hires schedule type", "Use same scheduler");
    default_text(json, "Hires checkpoint", "Use same checkpoint");
    default_text(json, "Hires prompt", "");
    default_text(json, "Hires negative prompt", "");
    default_text(json, "Mask mode", "Inpaint masked");
    default_text(json, "Masked content", "original");
    default_text(json, "Inpaint area", "Whole picture");
    default_number(json, "Masked area padding", 32);
    default_text(json, "RNG", "GPU");
    default_text(json, "Schedule type", "Automatic");
    default_number(json, "Schedule max sigma", 0);
    default_number(json, "Schedule min sigma", 0);
    default_number(json, "Schedule rho", 0);
    default_text(json, "VAE Encoder", "Full");
    default_text(json, "VAE Decoder", "Full");
    default_text(json, "FP8 weight", "Disable");
    if (uses_emphasis(t->prompt) || uses_emphasis(t->negative_prompt))
        default_text(json, "Emphasis", "Original");
    if (!cJSON_GetObjectItemCaseSensitive(json, "Refiner switch by sampling steps"))
        cJSON_AddFalseToObject(json, "Refiner switch by sampling steps");
    return json;
}

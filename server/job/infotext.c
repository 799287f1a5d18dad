#include "server/job/infotext.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/pyjson.h"

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

#include "server/job/lora_tags.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENT 64 /* bytes of a strength */

bool lora_tags_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Where the tag at `s` ends, or NULL. *closes is false once no '>' follows at all, so that many
 * openers do not make many searches. */
static const char *tag_end(const char *s, bool *closes)
{
    const char *p = s + 1;
    while (lora_tags_is_word(*p))
        p++;
    if (p == s + 1 || p[0] != ':' || !p[1] || p[1] == '>')
        return NULL;
    const char *end = strchr(p, '>');
    *closes = end != NULL;
    return end ? end + 1 : NULL;
}

const char *lora_tags_next(const char *prompt, size_t *size)
{
    bool closes = true;
    for (const char *s = prompt; closes && (s = strchr(s, '<')); s++) {
        const char *end = tag_end(s, &closes);
        if (end) {
            *size = (size_t)(end - s);
            return s;
        }
    }
    return NULL;
}

bool lora_tags_is_lora(const char *tag)
{
    return strncmp(tag, "<lora:", 6) == 0 || strncmp(tag, "<lyco:", 6) == 0;
}

static bool number(const char *name, const char *text, double *out, struct err *err)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(fabs(v) <= LORA_TAGS_STRENGTH))
        return err_set(err, ERR_INVALID, "<lora:%.64s>: wanted a strength of %d..%d, got '%.32s'",
                       name, -LORA_TAGS_STRENGTH, LORA_TAGS_STRENGTH, text);
    *out = v;
    return true;
}

/* One argument after the name: the `place`-th without a name of its own. */
static bool take_argument(struct lora_tag *tag, const char *text, int *place, double *unet,
                          struct err *err)
{
    if (strncmp(text, "te=", 3) == 0)
        return number(tag->name, text + 3, &tag->text, err);
    if (strncmp(text, "unet=", 5) == 0)
        return number(tag->name, text + 5, unet, err);
    if (strchr(text, '=')) /* "dyn", "lbw" and what other programs have */
        return true;
    switch ((*place)++) {
    case 0:
        return number(tag->name, text, &tag->text, err);
    case 1:
        return number(tag->name, text, unet, err);
    }
    return true;
}

static bool take_tag(const char *arguments, size_t n, struct lora_tags *out, struct err *err)
{
    struct lora_tag tag = {.text = 1};
    double unet = NAN;
    int place = 0;
    size_t length = strcspn(arguments, ":>");
    if (length > n)
        length = n;
    if (length == 0 || length >= sizeof tag.name) /* no file has such a name */
        return true;
    snprintf(tag.name, sizeof tag.name, "%.*s", (int)length, arguments);
    while (length < n) {
        char text[ARGUMENT];
        const char *from = arguments + length + 1;
        size_t some = strcspn(from, ":>");
        snprintf(text, sizeof text, "%.*s", (int)some, from);
        if (!take_argument(&tag, text, &place, &unet, err))
            return false;
        length += 1 + some;
    }
    tag.unet = isnan(unet) ? tag.text : unet;
    if (out->count == PICTOR_LORAS_MAX)
        return err_set(err, ERR_INVALID, "more than %d LoRAs", PICTOR_LORAS_MAX);
    out->at[out->count++] = tag;
    return true;
}

char *lora_tags_take(const char *prompt, struct lora_tags *out, struct err *err)
{
    char *text = malloc(strlen(prompt) + 1), *to = text;
    const char *tag;
    *out = (struct lora_tags){.count = 0};
    if (!text) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        return NULL;
    }
    for (size_t size; (tag = lora_tags_next(prompt, &size)); prompt = tag + size) {
        to = mempcpy(to, prompt, (size_t)(tag - prompt));
        const char *arguments = strchr(tag, ':') + 1;
        if (lora_tags_is_lora(tag) &&
            !take_tag(arguments, (size_t)(tag + size - 1 - arguments), out, err)) {
            free(text);
            return NULL;
        }
    }
    strcpy(to, prompt);
    return text;
}

bool lora_tags_same(const struct lora_tags *a, const struct lora_tags *b)
{
    for (size_t i = 0; i < a->count && a->count == b->count; i++)
        if (strcmp(a->at[i].name, b->at[i].name) != 0 || a->at[i].text != b->at[i].text ||
            a->at[i].unet != b->at[i].unet)
            return false;
    return a->count == b->count;
}

#include "server/base/pyjson.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

void pyjson_put(struct pyjson *out, const char *text, size_t size)
{
    if (out->failed)
        return;
    if (size >= out->capacity - out->size) {
        size_t wanted = out->capacity ? out->capacity * 2 : 128;
        while (wanted - out->size <= size)
            wanted *= 2;
        char *grown = realloc(out->text, wanted);
        if (!grown) {
            free(out->text);
            *out = (struct pyjson){.failed = true};
            return;
        }
        out->text = grown;
        out->capacity = wanted;
    }
    memcpy(out->text + out->size, text, size);
    out->size += size;
    out->text[out->size] = '\0';
}

void pyjson_puts(struct pyjson *out, const char *text)
{
    pyjson_put(out, text, strlen(text));
}

void pyjson_printf(struct pyjson *out, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    pyjson_put(out, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

const char *pyjson_float(char buf[PYJSON_FLOAT_SIZE], double value)
{
    if (isnan(value))
        return strcpy(buf, "nan");
    if (isinf(value))
        return strcpy(buf, value < 0 ? "-inf" : "inf");
    char digits[32];
    int precision = 1;
    do
        snprintf(digits, sizeof digits, "%.*e", precision - 1, value);
    while (strtod(digits, NULL) != value && ++precision <= 17);

    char *e = strchr(digits, 'e');
    int exponent = atoi(e + 1);
    if (exponent < -4 || exponent >= 16) {
        *e = '\0';
        snprintf(buf, PYJSON_FLOAT_SIZE, "%se%c%02d", digits, exponent < 0 ? '-' : '+',
                 abs(exponent));
        return buf;
    }
    int decimals = precision - 1 - exponent;
    snprintf(buf, PYJSON_FLOAT_SIZE, "%.*f", decimals > 1 ? decimals : 1, value);
    return buf;
}

/* Decodes one character; returns how many bytes it took. What is not UTF-8 is U+FFFD, one byte. */
static size_t decode(const unsigned char *s, uint32_t *code)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : (s[0] & 0xf0) == 0xe0       ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    *code = n == 1 ? s[0] : n == 2 ? s[0] & 0x1f : n == 3 ? s[0] & 0x0f : s[0] & 0x07;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            n = 0;
            break;
        }
        *code = *code << 6 | (s[i] & 0x3f);
    }
    bool overlong = (n == 3 && *code < 0x800) || (n == 4 && *code < 0x10000);
    if (n == 0 || overlong || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000)) {
        *code = 0xfffd;
        return 1;
    }
    return n;
}

void pyjson_string(struct pyjson *out, const char *text, bool ascii)
{
    pyjson_put(out, "\"", 1);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        uint32_t code;
        size_t n = decode(s, &code);
        if (code == '"' || code == '\\')
            pyjson_put(out, code == '"' ? "\\\"" : "\\\\", 2);
        else if (code == '\n')
            pyjson_put(out, "\\n", 2);
        else if (code == '\r')
            pyjson_put(out, "\\r", 2);
        else if (code == '\t')
            pyjson_put(out, "\\t", 2);
        else if (code == '\b')
            pyjson_put(out, "\\b", 2);
        else if (code == '\f')
            pyjson_put(out, "\\f", 2);
        else if (code < 0x20 || (ascii && code > 0x7e && code < 0x10000))
            pyjson_printf(out, "\\u%04x", (unsigned)code);
        else if (ascii && code >= 0x10000)
            pyjson_printf(out, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)),
                          (unsigned)(0xdc00 + ((code - 0x10000) & 0x3ff)));
        else if (code == 0xfffd)
            pyjson_put(out, "\xef\xbf\xbd", 3);
        else
            pyjson_put(out, (const char *)s, n);
        s += n;
    }
    pyjson_put(out, "\"", 1);
}

static void dump_number(struct pyjson *out, const cJSON *item)
{
    char buf[PYJSON_FLOAT_SIZE];
    double value = item->valuedouble;
    if (item->valuestring) /* see json_number.h */
        pyjson_puts(out, item->valuestring);
    else if (value == floor(value) && fabs(value) < 9007199254740992.0)
        pyjson_printf(out, "%.0f", value);
    else if (isfinite(value))
        pyjson_puts(out, pyjson_float(buf, value));
    else
        pyjson_puts(out, "null");
}

void pyjson_dump(struct pyjson *out, const struct cJSON *value)
{
    if (cJSON_IsNumber(value)) {
        dump_number(out, value);
    } else if (cJSON_IsString(value)) {
        pyjson_string(out, value->valuestring, true);
    } else if (cJSON_IsRaw(value)) {
        pyjson_puts(out, value->valuestring);
    } else if (cJSON_IsBool(value)) {
        pyjson_puts(out, cJSON_IsTrue(value) ? "true" : "false");
    } else if (cJSON_IsArray(value) || cJSON_IsObject(value)) {
        bool object = cJSON_IsObject(value);
        const cJSON *item;
        pyjson_put(out, object ? "{" : "[", 1);
        cJSON_ArrayForEach(item, value) {
            if (item != value->child)
                pyjson_put(out, ", ", 2);
            if (object) {
                pyjson_string(out, item->string, true);
                pyjson_put(out, ": ", 2);
            }
            pyjson_dump(out, item);
        }
        pyjson_put(out, object ? "}" : "]", 1);
    } else {
        pyjson_puts(out, "null");
    }
}

struct cJSON *pyjson_float_item(double value)
{
    char buf[PYJSON_FLOAT_SIZE];
    return isfinite(value) ? cJSON_CreateRaw(pyjson_float(buf, value)) : cJSON_CreateNull();
}

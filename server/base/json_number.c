#include "server/base/json_number.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 9007199254740992.0 /* 2^53: below it every whole number is a double */

bool json_number_parse(const char *text, struct json_whole *out)
{
    bool negative = *text == '-';
    const char *digits = text + negative;
    size_t n = strspn(digits, "0123456789");
    char *end;
    errno = 0;
    unsigned long long magnitude = strtoull(digits, &end, 10);
    if (n == 0 || digits[n] != '\0' || errno || magnitude > UINT64_MAX)
        return false;
    *out = (struct json_whole){magnitude, negative && magnitude > 0};
    return true;
}

bool json_number_whole(const struct cJSON *item, struct json_whole *out)
{
    if (cJSON_IsString(item) || (cJSON_IsNumber(item) && item->valuestring))
        return json_number_parse(item->valuestring, out);
    if (!cJSON_IsNumber(item))
        return false;
    double d = item->valuedouble;
    if (!(d == floor(d) && fabs(d) < 0x1p64)) /* false for NAN */
        return false;
    *out = (struct json_whole){(uint64_t)fabs(d), d < 0};
    return true;
}

struct cJSON *json_number_signed(struct json_whole value)
{
    double d = (double)value.magnitude;
    cJSON *item = cJSON_CreateNumber(value.negative ? -d : d);
    if (!item || d < EXACT)
        return item;
    char text[JSON_NUMBER_TEXT];
    snprintf(text, sizeof text, "%s%" PRIu64, value.negative ? "-" : "", value.magnitude);
    item->valuestring = strdup(text);
    if (!item->valuestring) {
        cJSON_Delete(item);
        return NULL;
    }
    return item;
}

double json_number_in(const struct cJSON *object, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

struct cJSON *json_number_item(uint64_t value)
{
    return json_number_signed((struct json_whole){value, false});
}

const char *json_number_text(const struct cJSON *item, char buf[JSON_NUMBER_TEXT])
{
    double d = item->valuedouble;
    if (item->valuestring)
        return item->valuestring;
    if (d == (double)item->valueint || !isfinite(d))
        return NULL;
    if (d == floor(d) && fabs(d) < EXACT) {
        snprintf(buf, JSON_NUMBER_TEXT, "%.0f", d);
        return buf;
    }
    /* cJSON takes 15 digits that are off by one in the last place of the double. */
    snprintf(buf, JSON_NUMBER_TEXT, "%.15g", d);
    if (strtod(buf, NULL) == d)
        return NULL;
    snprintf(buf, JSON_NUMBER_TEXT, "%.17g", d);
    return buf;
}

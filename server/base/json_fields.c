/* json_fields.c: walks a table of fields over a JSON object. Thread-safe; no state. */
#include "server/base/json_fields.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/json_text.h"

#define EXACT_MAX 9007199254740992.0 /* 2^53: whole doubles are exact up to here */

static bool fault(struct json_problem *problem, enum json_fault kind,
                  const struct json_field *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool fault(struct json_problem *problem, enum json_fault kind,
                  const struct json_field *field, const char *fmt, ...)
{
    problem->fault = kind;
    problem->field = field;
    if (field)
        snprintf(problem->name, sizeof problem->name, "%s", field->name);
    va_list args;
    va_start(args, fmt);
    vsnprintf(problem->message, sizeof problem->message, fmt, args);
    va_end(args);
    return false;
}

static bool is_whole(double number)
{
    return number == floor(number);
}

static const char *kind_of(const cJSON *value)
{
    if (cJSON_IsBool(value))
        return "a boolean";
    if (cJSON_IsNumber(value))
        return !isfinite(value->valuedouble)  ? "a number out of range"
               : is_whole(value->valuedouble) ? "an integer"
                                              : "a decimal number";
    if (cJSON_IsString(value))
        return "a string";
    if (cJSON_IsArray(value))
        return "an array";
    return cJSON_IsObject(value) ? "an object" : "null";
}

static const char *wanted(const struct json_field *field)
{
    switch (field->type) {
    case JSON_FIELD_STRING:
    case JSON_FIELD_WORD:
        return "a string";
    case JSON_FIELD_INT:
    case JSON_FIELD_WHOLE:
        return "an integer";
    case JSON_FIELD_DOUBLE:
        return "a number";
    case JSON_FIELD_BOOL:
        return "a boolean";
    case JSON_FIELD_RAW:
        return "a value";
    }
    return "";
}

static bool wrong_type(struct json_problem *problem, const struct json_field *field,
                       const cJSON *value)
{
    return fault(problem, JSON_FAULT_TYPE, field,
                 "Invalid type for '%s': expected %s, but got %s instead.", field->name,
                 wanted(field), kind_of(value));
}

/* The whole text as a number, with white space around it as Python's int() and float() allow. */
static bool number_of(const char *text, bool whole, double *out)
{
    text += strspn(text, " \t\r\n");
    size_t n = strcspn(text, " \t\r\n");
    if (n == 0 || n > 64 || text[n + strspn(text + n, " \t\r\n")] != '\0')
        return false;
    if (strspn(text, whole ? "+-0123456789" : "+-0123456789.eE") < n)
        return false;
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end == text + n && errno == 0;
}

static bool bool_of(const char *text, bool *out)
{
    static const char *const YES[] = {"true", "1", "on", "yes", "y", "t"};
    static const char *const NO[] = {"false", "0", "off", "no", "n", "f"};
    for (size_t i = 0; i < sizeof YES / sizeof *YES; i++) {
        *out = strcasecmp(text, YES[i]) == 0;
        if (*out || strcasecmp(text, NO[i]) == 0)
            return true;
    }
    return false;
}

/* Makes a scalar a string in place, so that it can be borrowed like any other. */
static bool to_string(cJSON *value)
{
    char buf[32];
    if (cJSON_IsNumber(value) && value->valuestring) { /* its digits */
        value->type = cJSON_String;
        return true;
    }
    if (cJSON_IsBool(value))
        snprintf(buf, sizeof buf, "%s", cJSON_IsTrue(value) ? "True" : "False");
    else if (is_whole(value->valuedouble) && fabs(value->valuedouble) < EXACT_MAX)
        snprintf(buf, sizeof buf, "%.0f", value->valuedouble);
    else
        snprintf(buf, sizeof buf, "%.17g", value->valuedouble);
    char *text = strdup(buf);
    if (!text)
        return false;
    value->type = cJSON_String;
    value->valuestring = text;
    return true;
}

/* The index of a word, -1 for a fault. */
static int word_of(const struct json_field *field, const char *text, struct json_problem *problem)
{
    char list[160] = "";
    for (int i = 0; field->words[i]; i++) {
        if (strcmp(field->words[i], text) == 0)
            return i;
        size_t used = strlen(list);
        const char *comma = i == 0 ? "" : field->words[i + 1] ? ", " : ", and ";
        snprintf(list + used, sizeof list - used, "%s'%s'", comma, field->words[i]);
    }
    fault(problem, JSON_FAULT_WORD, field, "Invalid value: '%.40s'. Supported values are: %s.",
          text, list);
    return -1;
}

static bool store_string(const struct json_field *field, cJSON *value, unsigned flags, void *at,
                         struct json_problem *problem)
{
    if ((flags & JSON_FIELDS_COERCE) && (cJSON_IsNumber(value) || cJSON_IsBool(value)) &&
        !to_string(value))
        return fault(problem, JSON_FAULT_MEMORY, field, "out of memory");
    if (!cJSON_IsString(value))
        return wrong_type(problem, field, value);
    const char *text = value->valuestring;

    int word = field->words ? word_of(field, text, problem) : 0;
    if (word < 0)
        return false;
    if (field->type == JSON_FIELD_WORD) {
        *(int *)at = word;
        return true;
    }
    if (field->words) {
        *(const char **)at = text;
        return true;
    }

    size_t length = 0;
    json_text_is_utf8(text, strlen(text), &length);
    if (field->most > 0 && (double)length > field->most)
        return fault(problem, JSON_FAULT_TOO_LONG, field,
                     "Invalid '%s': string too long. Expected a string with maximum length %.0f, "
                     "but got a string with length %zu instead.",
                     field->name, field->most, length);
    if ((double)length < field->least)
        return fault(problem, JSON_FAULT_TOO_SHORT, field,
                     length == 0 ? "Invalid '%s': empty string. Expected a string with minimum "
                                   "length %.0f, but got an empty string instead."
                                 : "Invalid '%s': string too short. Expected a string with minimum "
                                   "length %.0f.",
                     field->name, field->least);
    *(const char **)at = text;
    return true;
}

static bool store_number(const struct json_field *field, const cJSON *value, unsigned flags,
                         void *at, struct json_problem *problem)
{
    bool whole = field->type != JSON_FIELD_DOUBLE;
    double number = value->valuedouble;
    if ((flags & JSON_FIELDS_COERCE) && cJSON_IsString(value)) {
        if (!number_of(value->valuestring, whole, &number))
            return wrong_type(problem, field, value);
    } else if ((flags & JSON_FIELDS_COERCE) && cJSON_IsBool(value)) {
        number = cJSON_IsTrue(value);
    } else if (!cJSON_IsNumber(value)) {
        return wrong_type(problem, field, value);
    }
    if (whole && (flags & JSON_FIELDS_COERCE))
        number = trunc(number);
    if (!isfinite(number) || (whole && !is_whole(number)))
        return wrong_type(problem, field, value);

    double least = field->least, most = field->most;
    if (least == 0 && most == 0) {
        least = whole ? -EXACT_MAX : -HUGE_VAL;
        most = whole ? EXACT_MAX : HUGE_VAL;
    }
    if (field->type == JSON_FIELD_INT) {
        least = fmax(least, INT_MIN + 1.0); /* INT_MIN is JSON_FIELD_NO_INT */
        most = fmin(most, INT_MAX);
    }
    const char *noun = whole ? "integer" : "decimal";
    if (number < least)
        return fault(problem, JSON_FAULT_TOO_SMALL, field,
                     "Invalid '%s': %s below minimum value. Expected a value >= %.16g, but got "
                     "%.16g instead.",
                     field->name, noun, least, number);
    if (number > most)
        return fault(problem, JSON_FAULT_TOO_LARGE, field,
                     "Invalid '%s': %s above maximum value. Expected a value <= %.16g, but got "
                     "%.16g instead.",
                     field->name, noun, most, number);
    if (field->type == JSON_FIELD_INT)
        *(int *)at = (int)number;
    else
        *(double *)at = number;
    return true;
}

/* The digits of a number or text, for json_number_parse; NULL: it is no whole number. */
static const char *digits_of(const cJSON *value, bool coerce, char buf[64])
{
    double d = cJSON_IsBool(value) ? cJSON_IsTrue(value) : value->valuedouble;
    const char *text = value->valuestring;
    if (text && coerce)
        text += strspn(text, " \t\r\n");
    if (text && coerce && *text == '+')
        text++;
    if (text) {
        size_t sign = *text == '-', n = strspn(text + sign, "0123456789");
        size_t blank = coerce ? strspn(text + sign + n, " \t\r\n") : 0;
        snprintf(buf, 64, "%.*s", (int)(sign + n < 63 ? sign + n : 63), text);
        return n > 0 && !text[sign + n + blank] ? buf : NULL;
    }
    if (coerce)
        d = trunc(d);
    bool number = cJSON_IsNumber(value) || (coerce && cJSON_IsBool(value));
    snprintf(buf, 64, fabs(d) < 1e40 ? "%.0f" : "%.16g", d);
    return number && isfinite(d) && is_whole(d) ? buf : NULL;
}

static bool store_whole(const struct json_field *field, const cJSON *value, unsigned flags,
                        struct json_whole *at, struct json_problem *problem)
{
    char buf[64];
    const char *digits = digits_of(value, flags & JSON_FIELDS_COERCE, buf);
    if (!digits)
        return wrong_type(problem, field, value);
    bool held = json_number_parse(digits, at);
    bool low = held && at->negative && field->least != 0 && (double)at->magnitude > -field->least;
    if (low || (!held && *digits == '-'))
        return fault(problem, JSON_FAULT_TOO_SMALL, field,
                     "Invalid '%s': integer below minimum value. Expected a value >= %.16g, but "
                     "got %s instead.",
                     field->name, field->least ? field->least : -0x1p64, digits);
    if (!held)
        return fault(problem, JSON_FAULT_TOO_LARGE, field,
                     "Invalid '%s': integer above maximum value. Expected a value <= %" PRIu64
                     ", but got %s instead.",
                     field->name, UINT64_MAX, digits);
    return true;
}

static bool store_bool(const struct json_field *field, const cJSON *value, unsigned flags, bool *at,
                       struct json_problem *problem)
{
    if (cJSON_IsBool(value)) {
        *at = cJSON_IsTrue(value);
        return true;
    }
    if (flags & JSON_FIELDS_COERCE) {
        if (cJSON_IsString(value) && bool_of(value->valuestring, at))
            return true;
        if (cJSON_IsNumber(value) && (value->valuedouble == 0 || value->valuedouble == 1)) {
            *at = value->valuedouble == 1;
            return true;
        }
    }
    return wrong_type(problem, field, value);
}

static bool store(const struct json_field *field, cJSON *value, unsigned flags, void *out,
                  struct json_problem *problem)
{
    union {
        const char *text;
        cJSON *raw;
        struct json_whole whole;
        double number;
    } nowhere;
    void *at =
        field->offset == JSON_FIELD_NOWHERE ? &nowhere : (void *)((char *)out + field->offset);
    switch (field->type) {
    case JSON_FIELD_STRING:
    case JSON_FIELD_WORD:
        return store_string(field, value, flags, at, problem);
    case JSON_FIELD_INT:
    case JSON_FIELD_DOUBLE:
        return store_number(field, value, flags, at, problem);
    case JSON_FIELD_WHOLE:
        return store_whole(field, value, flags, at, problem);
    case JSON_FIELD_BOOL:
        return store_bool(field, value, flags, at, problem);
    case JSON_FIELD_RAW:
        *(cJSON **)at = value;
        return true;
    }
    return false;
}

static void store_default(const struct json_field *field, void *out)
{
    if (field->offset == JSON_FIELD_NOWHERE)
        return;
    void *at = (char *)out + field->offset;
    switch (field->type) {
    case JSON_FIELD_STRING:
        *(const char **)at = field->text;
        return;
    case JSON_FIELD_INT:
    case JSON_FIELD_WORD:
        *(int *)at = (int)field->number;
        return;
    case JSON_FIELD_WHOLE:
        *(struct json_whole *)at =
            (struct json_whole){(uint64_t)fabs(field->number), field->number < 0};
        return;
    case JSON_FIELD_DOUBLE:
        *(double *)at = field->number;
        return;
    case JSON_FIELD_BOOL:
        *(bool *)at = field->number != 0;
        return;
    case JSON_FIELD_RAW:
        *(cJSON **)at = NULL;
        return;
    }
}

static const struct json_field *find(const struct json_field *fields, size_t count,
                                     const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

bool json_fields_parse(const struct json_field *fields, size_t count, struct cJSON *object,
                       unsigned flags, void *out, struct json_problem *problem)
{
    *problem = (struct json_problem){JSON_FAULT_NONE, NULL, "", ""};
    for (size_t i = 0; i < count; i++)
        store_default(&fields[i], out);
    if (!cJSON_IsObject(object))
        return fault(problem, JSON_FAULT_NOT_OBJECT, NULL,
                     "The body must be a JSON object, but it is %s.", kind_of(object));

    uint64_t given[4] = {0}; /* bit i: field i has a value */
    for (cJSON *member = object->child; member; member = member->next) {
        const struct json_field *field = find(fields, count, member->string);
        if (!field) {
            if (!(flags & JSON_FIELDS_STRICT))
                continue;
            snprintf(problem->name, sizeof problem->name, "%s", member->string);
            return fault(problem, JSON_FAULT_UNKNOWN, NULL, "Unknown parameter: '%.63s'.",
                         member->string);
        }
        size_t i = (size_t)(field - fields);
        if (cJSON_IsNull(member)) {
            store_default(field, out);
            given[i / 64 % 4] &= ~(UINT64_C(1) << i % 64);
            continue;
        }
        if (!store(field, member, flags, out, problem))
            return false;
        given[i / 64 % 4] |= UINT64_C(1) << i % 64;
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !(given[i / 64 % 4] >> i % 64 & 1))
            return fault(problem, JSON_FAULT_MISSING, &fields[i],
                         "Missing required parameter: '%s'.", fields[i].name);
    return true;
}

static cJSON *field_schema(const struct json_field *field)
{
    cJSON *schema = cJSON_CreateObject();
    const char *low = "minimum", *high = "maximum";
    switch (field->type) {
    case JSON_FIELD_STRING:
        cJSON_AddStringToObject(schema, "type", "string");
        low = "minLength";
        high = "maxLength";
        if (field->text)
            cJSON_AddStringToObject(schema, "default", field->text);
        break;
    case JSON_FIELD_WORD:
        cJSON_AddStringToObject(schema, "type", "string");
        cJSON_AddStringToObject(schema, "default", field->words[(int)field->number]);
        break;
    case JSON_FIELD_INT:
    case JSON_FIELD_WHOLE:
        cJSON_AddStringToObject(schema, "type", "integer");
        if (field->number != JSON_FIELD_NO_INT && !field->required)
            cJSON_AddNumberToObject(schema, "default", field->number);
        break;
    case JSON_FIELD_DOUBLE:
        cJSON_AddStringToObject(schema, "type", "number");
        if (!isnan(field->number) && !field->required)
            cJSON_AddNumberToObject(schema, "default", field->number);
        break;
    case JSON_FIELD_BOOL:
        cJSON_AddStringToObject(schema, "type", "boolean");
        cJSON_AddBoolToObject(schema, "default", field->number != 0);
        break;
    case JSON_FIELD_RAW:
        break;
    }
    if (field->words) {
        int n = 0;
        while (field->words[n])
            n++;
        cJSON_AddItemToObject(schema, "enum", cJSON_CreateStringArray(field->words, n));
    }
    if (field->least != 0 || field->most != 0) {
        cJSON_AddNumberToObject(schema, low, field->least);
        if (field->most != 0)
            cJSON_AddNumberToObject(schema, high, field->most);
    }
    return schema;
}

struct cJSON *json_fields_schema(const struct json_field *fields, size_t count)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    cJSON *required = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++) {
        cJSON_AddItemToObject(properties, fields[i].name, field_schema(&fields[i]));
        if (fields[i].required)
            cJSON_AddItemToArray(required, cJSON_CreateString(fields[i].name));
    }
    cJSON_AddItemToObject(schema, "required", required);
    return schema;
}

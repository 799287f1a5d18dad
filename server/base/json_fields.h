/* json_fields.h: a JSON object into a C struct, by a table.
 *
 * A row is a field: its name, type, range, words, default and place in the struct. Parsing, the
 * checks, the error and (for the docs) the schema come from the same row. null is the same as
 * absent. Of repeated members the last one counts. */
#ifndef PICTOR_SERVER_JSON_FIELDS_H
#define PICTOR_SERVER_JSON_FIELDS_H

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/base/json_number.h"

struct cJSON;

enum json_field_type {
    JSON_FIELD_STRING, /* const char *, borrowed from the JSON; range is in characters */
    JSON_FIELD_INT,    /* int */
    JSON_FIELD_WHOLE,  /* struct json_whole: 64 bits; a number, or text that is one. Of a range only
                          `least` counts */
    JSON_FIELD_DOUBLE, /* double, finite */
    JSON_FIELD_BOOL,   /* bool */
    JSON_FIELD_WORD,   /* int: which of `words` the string is */
    JSON_FIELD_RAW     /* struct cJSON *, borrowed, any type */
};

/* An `offset` of what is checked, but not stored. */
#define JSON_FIELD_NOWHERE SIZE_MAX

/* Default that means "was not given". */
#define JSON_FIELD_NO_INT INT_MIN

struct json_field {
    const char *name;
    enum json_field_type type;
    size_t offset;
    bool required;
    double least, most;       /* both 0: any */
    double number;            /* default of all but STRING; NAN is fine for DOUBLE */
    const char *text;         /* default of STRING */
    const char *const *words; /* of a WORD, or all that a STRING may be; NULL-terminated */
};

enum json_fault {
    JSON_FAULT_NONE,
    JSON_FAULT_NOT_OBJECT,
    JSON_FAULT_MISSING,
    JSON_FAULT_TYPE,
    JSON_FAULT_WORD,      /* not one of `words` */
    JSON_FAULT_TOO_SMALL, /* number below `least` */
    JSON_FAULT_TOO_LARGE,
    JSON_FAULT_TOO_SHORT, /* string */
    JSON_FAULT_TOO_LONG,
    JSON_FAULT_UNKNOWN, /* no such field; only with JSON_FIELDS_STRICT */
    JSON_FAULT_MEMORY
};

struct json_problem {
    enum json_fault fault;
    const struct json_field *field; /* NULL for NOT_OBJECT, UNKNOWN */
    char name[64];                  /* of the field or unknown member, cut */
    char message[256];              /* a sentence for the client, with what was wanted and came */
};

enum {
    JSON_FIELDS_STRICT = 1, /* unknown members are faults */
    JSON_FIELDS_COERCE = 2  /* "20", 20.7 -> 20; "yes", 1 -> true; 5 -> "5" (as pydantic 1 does);
                               also what text parts of a form need. Changes `object` in place. */
};

/* Sets every field of `out` to its default, then to the object's value. On a fault `problem` says
 * which; `out` is then partly filled. Strings and raw values live as long as `object`. */
bool json_fields_parse(const struct json_field *fields, size_t count, struct cJSON *object,
                       unsigned flags, void *out, struct json_problem *problem);

/* {"type": "object", "properties": {...}, "required": [...]}; owned, NULL only without memory. */
struct cJSON *json_fields_schema(const struct json_field *fields, size_t count);

#endif

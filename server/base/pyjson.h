/* pyjson.h: numbers, strings and JSON exactly as Python prints them.
 *
 * SD WebUI is a Python program, and its clients compare and parse what `str(7.0)` and `json.dumps`
 * gave them: "7.0" and not "7", `", "` and `": "` between members, ASCII only. cJSON prints
 * neither, so these few functions do. Thread-safe; no state but the buffer. */
#ifndef PICTOR_SERVER_PYJSON_H
#define PICTOR_SERVER_PYJSON_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

/* A growing string. Zero it to start; `failed` stays set once memory was short. */
struct pyjson {
    char *text; /* NUL-terminated once something was written; malloc'd, the caller's */
    size_t size, capacity;
    bool failed;
};

void pyjson_put(struct pyjson *out, const char *text, size_t size);
void pyjson_puts(struct pyjson *out, const char *text);
void pyjson_printf(struct pyjson *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define PYJSON_FLOAT_SIZE 48
/* repr(float): the shortest digits that read back as `value`, "7.0", "1e-05", "inf", "nan". */
const char *pyjson_float(char buf[PYJSON_FLOAT_SIZE], double value);

/* json.dumps(str): quoted. `ascii` escapes everything above 0x7e as \uXXXX; bytes that are not
 * UTF-8 become U+FFFD. */
void pyjson_string(struct pyjson *out, const char *text, bool ascii);

/* json.dumps(value): ", " and ": ", ASCII only. Numbers that are whole print as integers; a float
 * is a cJSON_Raw made by pyjson_float_item. */
void pyjson_dump(struct pyjson *out, const struct cJSON *value);

/* A number that prints as Python's float, in both pyjson_dump and cJSON_Print. NULL only without
 * memory; NaN and infinities become null. */
struct cJSON *pyjson_float_item(double value);

#endif

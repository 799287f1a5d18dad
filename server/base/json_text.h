/* json_text.h: text to JSON and back, the only way in and out.
 *
 * cJSON recurses, takes any bytes as text, cuts strings at \u0000 and spends 64 bytes on a value
 * that took two, so the text is scanned once before cJSON sees it: valid UTF-8, no \u0000,
 * bounded depth, bounded number of values. Numbers keep their value both ways (json_number.h). */
#ifndef PICTOR_SERVER_JSON_TEXT_H
#define PICTOR_SERVER_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;

#define JSON_TEXT_VALUES_MAX 100000

/* Parses one value of any type and nothing after it but white space. ERR_INVALID says what is wrong
 * and where; ERR_TOO_LARGE for the number of values. Returns owned (cJSON_Delete). */
struct cJSON *json_text_parse(const char *text, size_t size, int max_depth, struct err *err);

/* A name that an object in it has twice (parsers differ in which one counts), or NULL. Borrows
 * from `json`. *ok is false without memory. */
const char *json_text_repeated(const struct cJSON *json, bool *ok);

/* A text of the program's own. Returned owned; NULL only without memory. */
struct cJSON *json_text_constant(const char *text);

/* Without white space; malloc'd. NULL: no memory, or no `json`. `json` is as before afterwards. */
char *json_text_print(struct cJSON *json);

/* Whether the bytes are UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
 * *code_points (may be NULL) counts the characters. */
bool json_text_is_utf8(const char *text, size_t size, size_t *code_points);

/* Makes UTF-8 of what snprintf and strangers left: a character that is incomplete at the end is cut
 * off, any other byte that is no part of one becomes '?'. */
void json_text_mend(char *text);

#endif

/* json_number.h: whole numbers of 64 bits in cJSON's trees.
 *
 * cJSON keeps a number as a double, which holds whole numbers up to 2^53, and prints 15 digits of
 * it. An item whose number a double does not hold has its digits in `valuestring` besides: the
 * parser of json_text.h leaves them there, json_number_item puts them there, json_text_print prints
 * them, and cJSON copies and frees them like any text. Thread-safe; no state. */
#ifndef PICTOR_SERVER_JSON_NUMBER_H
#define PICTOR_SERVER_JSON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

struct cJSON;

/* From -(2^64 - 1) to 2^64 - 1. */
struct json_whole {
    uint64_t magnitude;
    bool negative; /* never of 0 */
};

#define JSON_NUMBER_TEXT 32 /* room for any number's text and its NUL */

/* A number of the JSON, or text that is one ("18446744073709551615", as clients without integers
 * of 64 bits write it). false: it is neither, not whole, or larger than 64 bits. */
bool json_number_whole(const struct cJSON *item, struct json_whole *out);

/* The whole text as a whole number, in decimal, without white space or a leading '+'. */
bool json_number_parse(const char *text, struct json_whole *out);

/* The number under the name, or `otherwise`: no other type is one. */
double json_number_in(const struct cJSON *object, const char *name, double otherwise);

/* A number item; NULL only without memory. */
struct cJSON *json_number_item(uint64_t value);
struct cJSON *json_number_signed(struct json_whole value);

/* The text of a number item that reads back as the number. NULL: cJSON's own does. */
const char *json_number_text(const struct cJSON *item, char buf[JSON_NUMBER_TEXT]);

#endif

/* pull_ask.h: asking a hub about its files: addresses, and answers in JSON. No state. */
#ifndef PICTOR_SERVER_PULL_ASK_H
#define PICTOR_SERVER_PULL_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;
struct pull_source;

/* Letters, digits and signs that mean nothing in an address. */
#define PULL_ASK_PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

/* The first `length` bytes of `text`, with all but PULL_ASK_PLAIN and `keep` as %XX. Owned; NULL
 * without memory, as the next. */
char *pull_ask_encode(const char *text, size_t length, const char *keep);

/* As url_decode has it; what has a NUL stays as it is, all of it. */
char *pull_ask_decode(const char *text, size_t length);

/* What the environment has under the name, or else `fallback`. */
const char *pull_ask_environment(const char *name, const char *fallback);

/* What is behind `base` and its slash in the address, or NULL. Hosts are compared in any case. */
const char *pull_ask_below(const char *base, const char *url);

/* GET with the source's key. Owned. */
struct cJSON *pull_ask_json(const struct pull_source *s, const char *url, struct err *err);

/* The same of a list that comes in pages, each of which says where the next one is: all of it. */
struct cJSON *pull_ask_pages(const struct pull_source *s, const char *url, struct err *err);

/* The text under the name, or "". */
const char *pull_ask_text(const struct cJSON *json, const char *name);

/* A whole number of bytes, times `unit`, under the name; 0: there is none. */
unsigned long long pull_ask_size(const struct cJSON *json, const char *name, double unit);

bool pull_ask_no_memory(struct err *err);

#endif

/* upstream_spend.h: how many pictures were ordered at an upstream in this day and this month (UTC),
 * what they cost, and whether more may be. What is counted outlives the process: it is written
 * before an order is sent, so no crash makes pictures for nothing. Not thread-safe. */
#ifndef PICTOR_SERVER_UPSTREAM_SPEND_H
#define PICTOR_SERVER_UPSTREAM_SPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

struct refusal;
struct registry_hashes;
struct settings_upstream;

struct spend_sum {
    int64_t period; /* days since 1970, or months */
    int64_t pictures;
    double money;
};
struct spend { /* zero: nothing was counted */
    struct spend_sum day, month;
};

/* What a picture of the model, by its name here, costs. */
double upstream_spend_price(const struct settings_upstream *u, const char *model);

/* Whether `count` more pictures of `price` are within the limits at `now` (Unix milliseconds); else
 * `err` says which is reached, and `refusal` that it is a quota and when it ends. */
bool upstream_spend_allows(const struct spend *s, const struct settings_upstream *u, double price,
                           int count, int64_t now, struct refusal *refusal, struct err *err);

/* Counts them, or takes them back (count below 0). */
void upstream_spend_add(struct spend *s, double price, int count, int64_t now);

/* As it counts at `now`: what is of a day or a month before is nothing. */
struct spend upstream_spend_now(const struct spend *s, int64_t now);

/* From and to where it outlives the process, and where other servers have it, too. What is kept
 * nowhere stays as it is. `memory` without functions: nowhere. */
void upstream_spend_recall(struct spend *s, const struct settings_upstream *u,
                           const struct registry_hashes *memory);
bool upstream_spend_remember(const struct spend *s, const struct settings_upstream *u,
                             const struct registry_hashes *memory, struct err *err);

#endif

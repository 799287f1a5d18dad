/* quota.h: what a key has used of what it may use in a day and a month (UTC).
 *
 * Jobs that have ended count what came of them, on the day of their end; those that wait or run
 * count what was asked for, so that a quota cannot be passed by asking for much at once. Several
 * servers may pass it by a job a server. */
#ifndef PICTOR_SERVER_QUOTA_H
#define PICTOR_SERVER_QUOTA_H

#include "server/store/store.h"

struct queue;

/* What a picture of a model costs at an upstream; 0: nothing. Any thread. */
typedef double quota_price_fn(void *ctx, const char *model);

enum { QUOTA_PICTURES, QUOTA_WORK, QUOTA_MONEY, QUOTA_KINDS };

struct quota {
    bool limited; /* else the rest is empty */
    struct quota_period {
        const char *name; /* "day", "month" */
        int64_t reset_ms; /* when it begins anew, Unix milliseconds */
        struct {
            int64_t limit, used; /* limit 0: none; as of struct key_limit, used rounded up */
        } of[QUOTA_KINDS];
    } day, month;
};

/* Of the prices that jobs will cost; before anything is submitted. */
void quota_set_prices(struct queue *q, quota_price_fn *price, void *ctx);

/* How things stand at `now_ms`. */
bool quota_read(struct queue *q, const char *key_id, int64_t now_ms, struct quota *out,
                struct err *err);

/* Whether so much more of `model` may be asked for: ERR_QUOTA, or ERR_TOO_LARGE for what it would
 * never be enough for. */
bool quota_allows(const struct quota *quota, const struct store_amount *more, struct err *err);

/* What a job is asked for. */
void quota_add(struct queue *q, const struct job_params *params, struct store_amount *sum);

/* Seconds until the first used-up limit begins anew; 0: none is used up. */
int64_t quota_wait(const struct quota *quota, int64_t now_ms);

#endif

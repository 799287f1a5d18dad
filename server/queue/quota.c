#include "server/queue/quota.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/queue/queue_private.h"

#define DAY_MS INT64_C(86400000)
#define MONEY 1e6 /* store.h counts millionths */
#define WORK 1000 /* store.h counts thousands, limits are of millions */

static const char *const kinds[QUOTA_KINDS] = {"pictures", "megapixel-steps", "money"};

void quota_set_prices(struct queue *q, quota_price_fn *price, void *ctx)
{
    q->price = price;
    q->price_ctx = ctx;
}

static int64_t price_of(struct queue *q, const char *model, int64_t pictures)
{
    double price = q->price ? q->price(q->price_ctx, model) : 0;
    return price > 0 ? llround(price * (double)pictures * MONEY) : 0;
}

void quota_add(struct queue *q, const struct job_params *params, struct store_amount *sum)
{
    sum->pictures += params->count;
    sum->work += job_params_work(params);
    sum->money += price_of(q, params->model, params->count);
}

/* The first days, since 1970, of this month and of the next one. */
static void month_of(int64_t now_ms, int64_t *first, int64_t *next)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm at;
    gmtime_r(&seconds, &at);
    struct tm begin = {.tm_year = at.tm_year, .tm_mon = at.tm_mon, .tm_mday = 1};
    *first = (int64_t)timegm(&begin) / 86400;
    struct tm end = {
        .tm_year = at.tm_year + (at.tm_mon == 11), .tm_mon = (at.tm_mon + 1) % 12, .tm_mday = 1};
    *next = (int64_t)timegm(&end) / 86400;
}

struct sum {
    struct queue *q;
    struct store_amount amount;
};

static void add_pending(void *ctx, const char *model, const struct store_amount *amount)
{
    struct sum *sum = ctx;
    int64_t expected = price_of(sum->q, model, amount->pictures);
    sum->amount.pictures += amount->pictures;
    sum->amount.work += amount->work;
    sum->amount.money += expected > amount->money ? expected : amount->money;
}

static void fill(struct quota_period *p, const struct key_limit *limit,
                 const struct store_amount *ended, const struct store_amount *waiting)
{
    p->of[QUOTA_PICTURES].limit = limit->pictures;
    p->of[QUOTA_PICTURES].used = ended->pictures + waiting->pictures;
    p->of[QUOTA_WORK].limit = limit->work;
    p->of[QUOTA_WORK].used = (ended->work + waiting->work + WORK - 1) / WORK;
    p->of[QUOTA_MONEY].limit = limit->money;
    p->of[QUOTA_MONEY].used = ended->money + waiting->money;
}

bool quota_read(struct queue *q, const char *key_id, int64_t now_ms, struct quota *out,
                struct err *err)
{
    struct key_share share;
    struct store_amount day, month;
    struct sum waiting = {.q = q};
    int64_t today = now_ms / DAY_MS, first, next;
    *out = (struct quota){0};
    if (!*key_id)
        return true;
    if (!store_key_share(q->store, key_id, &share, err))
        return false;
    if (!keys_is_limited(&share))
        return true;
    month_of(now_ms, &first, &next);
    if (!store_usage_since(q->store, key_id, today, first, &day, &month, err) ||
        !store_usage_pending(q->store, key_id, add_pending, &waiting, err))
        return false;
    out->limited = true;
    out->day = (struct quota_period){.name = "day", .reset_ms = (today + 1) * DAY_MS};
    out->month = (struct quota_period){.name = "month", .reset_ms = next * DAY_MS};
    fill(&out->day, &share.day, &day, &waiting.amount);
    fill(&out->month, &share.month, &month, &waiting.amount);
    return true;
}

static bool within(const struct quota_period *p, int kind, int64_t more, struct err *err)
{
    int64_t limit = p->of[kind].limit, used = p->of[kind].used;
    if (limit == 0 || more == 0 || used + more <= limit)
        return true;
    double unit = kind == QUOTA_MONEY ? MONEY : 1;
    if (more > limit)
        return err_set(err, ERR_TOO_LARGE, "%.10g %s at once: this key may use at most %.10g a %s",
                       (double)more / unit, kinds[kind], (double)limit / unit, p->name);
    char when[32] = "";
    time_t seconds = (time_t)(p->reset_ms / 1000);
    struct tm at;
    if (gmtime_r(&seconds, &at))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &at);
    return err_set(
        err, ERR_QUOTA,
        "this key has used %.10g of its %.10g %s of this %s, jobs that wait included, and "
        "this takes %.10g more: it begins anew at %s",
        (double)used / unit, (double)limit / unit, kinds[kind], p->name, (double)more / unit, when);
}

bool quota_allows(const struct quota *quota, const struct store_amount *more, struct err *err)
{
    const int64_t amounts[QUOTA_KINDS] = {more->pictures, (more->work + WORK - 1) / WORK,
                                          more->money};
    for (int kind = 0; kind < QUOTA_KINDS && quota->limited; kind++)
        if (!within(&quota->month, kind, amounts[kind], err) ||
            !within(&quota->day, kind, amounts[kind], err))
            return false;
    return true;
}

static bool used_up(const struct quota_period *p)
{
    for (int kind = 0; kind < QUOTA_KINDS; kind++)
        if (p->of[kind].limit > 0 && p->of[kind].used >= p->of[kind].limit)
            return true;
    return false;
}

int64_t quota_wait(const struct quota *quota, int64_t now_ms)
{
    const struct quota_period *last = used_up(&quota->month) ? &quota->month
                                      : used_up(&quota->day) ? &quota->day
                                                             : NULL;
    return quota->limited && last ? (last->reset_ms - now_ms + 999) / 1000 : 0;
}

#include "server/paint/upstream_spend.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/settings.h"
#include "server/job/refusal.h"
#include "server/job/registry.h"

#define DAY_MS INT64_C(86400000)
#define QUOTA "insufficient_quota"
#define HAIR 1e-9 /* prices are decimal, doubles are not */

/* Today's number, and in how many seconds it ends. */
static int64_t day_of(int64_t now, int64_t *left)
{
    *left = (DAY_MS - now % DAY_MS) / 1000 + 1;
    return now / DAY_MS;
}

static int64_t month_of(int64_t now, int64_t *left)
{
    time_t seconds = (time_t)(now / 1000);
    struct tm at, next = {0};
    gmtime_r(&seconds, &at);
    next.tm_year = at.tm_year + (at.tm_mon == 11);
    next.tm_mon = (at.tm_mon + 1) % 12;
    next.tm_mday = 1;
    *left = (int64_t)(timegm(&next) - seconds);
    return (int64_t)at.tm_year * 12 + at.tm_mon;
}

static struct spend_sum sum_of(const struct spend_sum *sum, int64_t period)
{
    return sum->period == period ? *sum : (struct spend_sum){.period = period};
}

double upstream_spend_price(const struct settings_upstream *u, const char *model)
{
    for (size_t i = 0; i < u->price_count; i++)
        if (strcmp(u->prices[i].model, model) == 0)
            return u->prices[i].price;
    return u->price;
}

static bool refuse(struct refusal *refusal, int64_t left)
{
    *refusal = (struct refusal){.status = 429, .retry_after = (int)left};
    snprintf(refusal->type, sizeof refusal->type, QUOTA);
    snprintf(refusal->code, sizeof refusal->code, QUOTA);
    return false;
}

static bool is_within(const struct spend_sum *sum, const char *name, const char *period,
                      int max_pictures, double max_money, double price, int count, struct err *err)
{
    if (max_pictures > 0 && sum->pictures + count > max_pictures)
        return err_set(err, ERR_UPSTREAM,
                       "%s: %" PRId64 " of %d pictures are ordered this %s, and %d more are not "
                       "within its limit (max_pictures_per_%s)",
                       name, sum->pictures, max_pictures, period, count, period);
    double cost = price * count;
    if (max_money > 0 && cost > 0 && sum->money + cost > max_money + HAIR)
        return err_set(err, ERR_UPSTREAM,
                       "%s: %.4g of %.4g is spent this %s, and %.4g more is not within its limit "
                       "(max_money_per_%s)",
                       name, sum->money, max_money, period, cost, period);
    return true;
}

bool upstream_spend_allows(const struct spend *s, const struct settings_upstream *u, double price,
                           int count, int64_t now, struct refusal *refusal, struct err *err)
{
    int64_t left;
    struct spend_sum sum = sum_of(&s->month, month_of(now, &left));
    if (!is_within(&sum, u->name, "month", u->max_pictures_per_month, u->max_money_per_month, price,
                   count, err))
        return refuse(refusal, left);
    sum = sum_of(&s->day, day_of(now, &left));
    if (!is_within(&sum, u->name, "day", u->max_pictures_per_day, u->max_money_per_day, price,
                   count, err))
        return refuse(refusal, left);
    return true;
}

static void add(struct spend_sum *sum, int64_t period, double price, int count)
{
    *sum = sum_of(sum, period);
    sum->pictures += count;
    sum->money += price * count;
    /* Below 0: it was ordered in the period before, or doubles are no decimals. */
    if (sum->pictures < 0)
        sum->pictures = 0;
    if (sum->money < 0)
        sum->money = 0;
}

void upstream_spend_add(struct spend *s, double price, int count, int64_t now)
{
    int64_t left;
    add(&s->day, day_of(now, &left), price, count);
    add(&s->month, month_of(now, &left), price, count);
}

struct spend upstream_spend_now(const struct spend *s, int64_t now)
{
    int64_t left;
    return (struct spend){sum_of(&s->day, day_of(now, &left)),
                          sum_of(&s->month, month_of(now, &left))};
}

static void option_name(char *text, size_t size, const struct settings_upstream *u)
{
    snprintf(text, size, "upstream-spend:%s", u->name);
}

/* Else nobody asks, and it costs a commit. */
static bool is_kept(const struct settings_upstream *u)
{
    return u->max_pictures_per_day > 0 || u->max_pictures_per_month > 0 || u->price > 0 ||
           u->price_count > 0;
}

void upstream_spend_recall(struct spend *s, const struct settings_upstream *u,
                           const struct registry_hashes *memory)
{
    char name[80];
    struct spend_sum d, m;
    option_name(name, sizeof name, u);
    char *text = memory->recall && is_kept(u) ? memory->recall(memory->ctx, name) : NULL;
    if (text &&
        sscanf(text, "%" SCNd64 " %" SCNd64 " %lf %" SCNd64 " %" SCNd64 " %lf", &d.period,
               &d.pictures, &d.money, &m.period, &m.pictures, &m.money) == 6 &&
        d.pictures >= 0 && d.money >= 0 && m.pictures >= 0 && m.money >= 0)
        *s = (struct spend){d, m};
    free(text);
}

bool upstream_spend_remember(const struct spend *s, const struct settings_upstream *u,
                             const struct registry_hashes *memory, struct err *err)
{
    char name[80], text[256];
    if (!is_kept(u))
        return true;
    option_name(name, sizeof name, u);
    snprintf(text, sizeof text,
             "%" PRId64 " %" PRId64 " %.17g %" PRId64 " %" PRId64 " %.17g", s->day.period,
             s->day.pictures, s->day.money, s->month.period, s->month.pictures, s->month.money);
    return !memory->remember || memory->remember(memory->ctx, name, text, err);
}

#include "server/api/quota_headers.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/api/app.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/queue/quota.h"

#define MONEY 1e6

/* As OpenAI writes times: "5h3m12s". */
static void write_time(int64_t seconds, char *text, size_t size)
{
    int64_t hours = seconds / 3600, minutes = seconds / 60 % 60;
    if (hours > 0)
        snprintf(text, size, "%" PRId64 "h%" PRId64 "m%" PRId64 "s", hours, minutes, seconds % 60);
    else if (minutes > 0)
        snprintf(text, size, "%" PRId64 "m%" PRId64 "s", minutes, seconds % 60);
    else
        snprintf(text, size, "%" PRId64 "s", seconds);
}

static int64_t left_of(const struct quota_period *p, int kind)
{
    int64_t left = p->of[kind].limit - p->of[kind].used;
    return left > 0 ? left : 0;
}

static void tell(struct http_request *req, const char *what, const char *kind, const char *value)
{
    char name[64];
    snprintf(name, sizeof name, "x-ratelimit-%s-%s", what, kind);
    http_reply_header(req, name, value);
}

void quota_headers(struct http_request *req, int status)
{
    static const char *const kinds[QUOTA_KINDS] = {"pictures", "megapixel-steps", "money"};
    struct quota quota;
    char text[32];
    int64_t now = now_unix_ms();
    if (!quota_read(http_app(req)->queue, http_key_id(req), now, &quota, NULL) || !quota.limited)
        return;
    for (int kind = 0; kind < QUOTA_KINDS; kind++) {
        const struct quota_period *p = &quota.day;
        if (p->of[kind].limit == 0 ||
            (quota.month.of[kind].limit > 0 && left_of(&quota.month, kind) <= left_of(p, kind)))
            p = &quota.month;
        if (p->of[kind].limit == 0)
            continue;
        double unit = kind == QUOTA_MONEY ? MONEY : 1;
        snprintf(text, sizeof text, "%.15g", (double)p->of[kind].limit / unit);
        tell(req, "limit", kinds[kind], text);
        snprintf(text, sizeof text, "%.15g", (double)left_of(p, kind) / unit);
        tell(req, "remaining", kinds[kind], text);
        write_time((p->reset_ms - now + 999) / 1000, text, sizeof text);
        tell(req, "reset", kinds[kind], text);
    }
    int64_t wait = quota_wait(&quota, now);
    if (status == 429 && wait > 0) {
        snprintf(text, sizeof text, "%" PRId64, wait);
        http_reply_header(req, "Retry-After", text);
    }
}

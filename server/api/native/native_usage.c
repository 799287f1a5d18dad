/* native_usage.c: daily totals, as JSON and as CSV. An administrator sees all keys', everybody else
 * his own. */
#include "server/api/native/native_usage.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "server/api/app.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/queue/quota.h"
#include "server/store/keys.h"
#include "server/store/store.h"

#define DAY_MS INT64_C(86400000)
#define USUAL_DAYS 30
#define ROWS_MOST 20000
#define MONEY 1e6
#define WORK 1e3

struct asked {
    int64_t from, to; /* days since 1970, both included */
    const char *key;  /* NULL: all */
    bool csv;
};

static void write_day(int64_t day, char text[16])
{
    time_t seconds = (time_t)(day * 86400);
    struct tm at;
    if (!gmtime_r(&seconds, &at) || !strftime(text, 16, "%Y-%m-%d", &at))
        snprintf(text, 16, "-");
}

/* Of a query's parameter; `usual` when it is absent. */
static bool read_day(struct http_request *req, const char *name, int64_t usual, int64_t *day,
                     struct err *err)
{
    const char *text = http_query(req, name);
    struct tm at = {0};
    char again[16];
    *day = usual;
    if (!text)
        return true;
    const char *end = strptime(text, "%Y-%m-%d", &at);
    if (end && !*end) {
        *day = (int64_t)timegm(&at) / 86400;
        write_day(*day, again); /* 2026-02-30 is another day */
        if (strcmp(text, again) == 0)
            return true;
    }
    return err_set(err, ERR_INVALID, "%s must be a day, YYYY-MM-DD, got \"%.20s\"", name, text);
}

static bool wants_csv(const char *accept)
{
    const char *csv = accept ? strcasestr(accept, "text/csv") : NULL;
    const char *json = accept ? strcasestr(accept, "application/json") : NULL;
    return csv && (!json || csv < json);
}

static bool read_query(struct http_request *req, struct asked *out, const char **param,
                       struct err *err)
{
    int64_t today = now_unix_ms() / DAY_MS;
    const char *format = http_query(req, "format"), *key = http_query(req, "key");
    const char *own = http_visible_key(req);
    *param = "to";
    if (!read_day(req, "to", today, &out->to, err))
        return false;
    *param = "from";
    if (!read_day(req, "from", out->to - USUAL_DAYS, &out->from, err))
        return false;
    if (out->from > out->to)
        return err_set(err, ERR_INVALID, "from must not be after to");
    *param = "format";
    if (format && strcmp(format, "json") != 0 && strcmp(format, "csv") != 0)
        return err_set(err, ERR_INVALID, "format must be json or csv, got \"%.20s\"", format);
    out->csv = format ? strcmp(format, "csv") == 0 : wants_csv(http_header(req, "Accept"));
    *param = "key";
    if (key && own && strcmp(key, own) != 0)
        return err_set(err, ERR_DENIED, "another key's use needs the right to administer");
    out->key = own ? own : key;
    return true;
}

static const char *name_of(const struct key *keys, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].id, id) == 0)
            return keys[i].name;
    return "";
}

/* ---- JSON ---- */

static cJSON *row_json(const struct store_usage *u, const char *name)
{
    char day[16];
    cJSON *json = cJSON_CreateObject();
    write_day(u->day, day);
    cJSON_AddStringToObject(json, "day", day);
    cJSON_AddStringToObject(json, "key", u->key_id);
    cJSON_AddStringToObject(json, "key_name", name);
    cJSON_AddStringToObject(json, "model", u->model);
    cJSON_AddNumberToObject(json, "jobs", (double)u->jobs);
    cJSON_AddNumberToObject(json, "failed", (double)u->failed);
    cJSON_AddNumberToObject(json, "pictures", (double)u->amount.pictures);
    cJSON_AddNumberToObject(json, "megapixel_steps", (double)u->amount.work / WORK);
    cJSON_AddNumberToObject(json, "seconds", (double)u->ms / 1000);
    cJSON_AddNumberToObject(json, "money", (double)u->amount.money / MONEY);
    return json;
}

static void add_period(cJSON *json, const struct quota_period *p)
{
    static const char *const names[QUOTA_KINDS] = {"pictures", "megapixel_steps", "money"};
    cJSON *period = cJSON_AddObjectToObject(json, p->name);
    cJSON_AddNumberToObject(period, "resets_at", (double)p->reset_ms);
    for (int kind = 0; kind < QUOTA_KINDS; kind++) {
        double unit = kind == QUOTA_MONEY ? MONEY : 1;
        cJSON *item = cJSON_AddObjectToObject(period, names[kind]);
        cJSON_AddNumberToObject(item, "used", (double)p->of[kind].used / unit);
        cJSON_AddItemToObject(item, "limit",
                              p->of[kind].limit > 0
                                  ? cJSON_CreateNumber((double)p->of[kind].limit / unit)
                                  : cJSON_CreateNull());
    }
}

static void reply_json(struct http_request *req, const struct asked *asked,
                       const struct store_usage *rows, size_t count, const struct key *keys,
                       size_t key_count, const struct quota *quota)
{
    char day[16];
    cJSON *json = cJSON_CreateObject();
    write_day(asked->from, day);
    cJSON_AddStringToObject(json, "from", day);
    write_day(asked->to, day);
    cJSON_AddStringToObject(json, "to", day);
    cJSON_AddBoolToObject(json, "complete", count < ROWS_MOST);
    cJSON *list = cJSON_AddArrayToObject(json, "usage");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, row_json(&rows[i], name_of(keys, key_count, rows[i].key_id)));
    if (quota->limited) {
        cJSON *item = cJSON_AddObjectToObject(json, "quota");
        add_period(item, &quota->day);
        add_period(item, &quota->month);
    } else {
        cJSON_AddNullToObject(json, "quota");
    }
    http_reply_json(req, 200, json);
}

/* ---- CSV ---- */

/* Quoted, and what a spreadsheet would take for a formula begins with a quotation mark. */
static void put_text(FILE *out, const char *text)
{
    putc('"', out);
    if (*text && strchr("=+-@\t\r", *text))
        putc('\'', out);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void reply_csv(struct http_request *req, const struct store_usage *rows, size_t count,
                      const struct key *keys, size_t key_count)
{
    char *text = NULL, day[16];
    size_t size = 0;
    struct err err;
    FILE *out = open_memstream(&text, &size);
    if (out)
        fputs("day,key,key_name,model,jobs,failed,pictures,megapixel_steps,seconds,money\r\n", out);
    for (size_t i = 0; i < count && out; i++) {
        const struct store_usage *u = &rows[i];
        write_day(u->day, day);
        fprintf(out, "%s,%s,", day, u->key_id);
        put_text(out, name_of(keys, key_count, u->key_id));
        putc(',', out);
        put_text(out, u->model);
        fprintf(out, ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%.3f,%.3f,%.6f\r\n", u->jobs, u->failed,
                u->amount.pictures, (double)u->amount.work / WORK, (double)u->ms / 1000,
                (double)u->amount.money / MONEY);
    }
    if (!out || fclose(out) != 0 || !text) {
        free(text);
        err_set(&err, ERR_INTERNAL, "no memory for a table");
        http_reply_error(req, &err, NULL);
        return;
    }
    http_reply_header(req, "Content-Disposition", "attachment; filename=\"usage.csv\"");
    if (count == ROWS_MOST)
        http_reply_header(req, "x-truncated", "true");
    http_reply_data(req, 200, "text/csv; charset=utf-8", text, size, free);
}

void native_usage(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct asked asked;
    struct store_usage *rows = NULL;
    struct key *keys = NULL;
    struct quota quota = {0};
    size_t count = 0, key_count = 0;
    const char *param = NULL;
    struct err err;
    if (!read_query(req, &asked, &param, &err)) {
        http_reply_error(req, &err, param);
        return;
    }
    const char *whose = asked.key ? asked.key : http_key_id(req);
    if (!store_usage_list(app->store, asked.key, asked.from, asked.to, ROWS_MOST, &rows, &count,
                          &err) ||
        !keys_list(app->keys, &keys, &key_count, &err) ||
        !quota_read(app->queue, whose, now_unix_ms(), &quota, &err))
        http_reply_error(req, &err, NULL);
    else if (asked.csv)
        reply_csv(req, rows, count, keys, key_count);
    else
        reply_json(req, &asked, rows, count, keys, key_count, &quota);
    free(keys);
    free(rows);
}

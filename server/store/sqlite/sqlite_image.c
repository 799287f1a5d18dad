/* sqlite_image.c: the rows of pictures, and of inputs, the pictures that jobs start from. The files
 * are in blobs.c. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite/sqlite_sql.h"

bool sqlite_image_read(sqlite3_stmt *s, struct job_image *out, struct err *err)
{
    *out = (struct job_image){.seed = (uint64_t)sqlite3_column_int64(s, 4),
                              .subseed = (uint64_t)sqlite3_column_int64(s, 5),
                              .format = image_format_of(sqlite_sql_text(s, 6)),
                              .bytes = (size_t)sqlite3_column_int64(s, 7)};
    if (!sqlite_sql_id(s, 0, out->id) || !sqlite_sql_int(s, 1, 0, &out->index) ||
        !sqlite_sql_int(s, 2, 1, &out->width) || !sqlite_sql_int(s, 3, 1, &out->height) ||
        out->format == IMAGE_NONE ||
        sqlite3_column_int64(s, 7) < 0)
        return err_set(err, ERR_INTERNAL, "the row of picture \"%.40s\" is damaged",
                       sqlite_sql_text(s, 0));
    out->infotext = strdup(sqlite_sql_text(s, 8));
    return out->infotext ? true : err_set(err, ERR_INTERNAL, "no memory for a picture's row");
}

static bool image_put(struct store *st, const char *job_id, const struct job_image *image,
                      struct job_image *replaced, struct err *err)
{
    *replaced = (struct job_image){0};
    struct sqlite_connection *c = sqlite_writer(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_IMAGE_AT, err, "ti", job_id, (int64_t)image->index);
    bool failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err))
        failed = !sqlite_image_read(s, replaced, err);
    sqlite_sql_done(s);
    free(replaced->infotext);
    replaced->infotext = NULL;
    if (!failed && replaced->id[0])
        failed = !sqlite_sql_run(c, SQL_IMAGE_DELETE, err, "t", replaced->id);
    bool done = !failed &&
                sqlite_sql_run(c, SQL_IMAGE_INSERT, err, "ttiiiiitit", image->id, job_id,
                               (int64_t)image->index, (int64_t)image->width, (int64_t)image->height,
                               (int64_t)image->seed, (int64_t)image->subseed,
                               image_formats[image->format],
                               (int64_t)image->bytes, image->infotext ? image->infotext : "");
    sqlite_release(c);
    return done;
}

static bool image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                      struct err *err)
{
    *image = (struct job_image){0};
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_IMAGE_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    bool done = found && sqlite_image_read(s, image, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", id);
    sqlite_sql_done(s);
    sqlite_release(c);
    return done;
}

static bool image_delete(struct store *st, const char *id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_IMAGE_DELETE, err, "t", id);
    sqlite_release(c);
    return done;
}

static bool input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                      struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_INPUT_PUT, err, "tti", job_id, name, (int64_t)bytes);
    sqlite_release(c);
    return done;
}

static bool input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                        struct err *err)
{
    *bytes = 0;
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_INPUT_BYTES, err, "tt", job_id, name);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    if (found)
        *bytes = (size_t)sqlite3_column_int64(s, 0);
    else if (!failed)
        err_set(err, ERR_NOT_FOUND, "job %.40s has no input \"%.20s\"", job_id, name);
    sqlite_sql_done(s);
    sqlite_release(c);
    return found;
}

static bool input_waiting(struct store *st, const char *key_id, size_t *bytes, struct err *err)
{
    *bytes = 0;
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_INPUT_WAITING, err, "t", key_id);
    bool failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err))
        *bytes = (size_t)sqlite3_column_int64(s, 0);
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool input_delete(struct store *st, const char *job_id, const char *name, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_INPUT_DELETE, err, "tt", job_id, name);
    sqlite_release(c);
    return done;
}

/* ---- orders ---- */

static bool order_put(struct store *st, const char *job_id, const struct job_order *order,
                      struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_ORDER_PUT, err, "ttii", job_id, order->token,
                               (int64_t)order->index, (int64_t)order->count);
    sqlite_release(c);
    return done;
}

static bool order_get(struct store *st, const char *job_id, struct job_order *order,
                      struct err *err)
{
    *order = (struct job_order){.token = ""};
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_ORDER_GET, err, "t", job_id);
    bool failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err)) {
        bool sane = sqlite_sql_id(s, 0, order->token) && sqlite_sql_int(s, 1, 0, &order->index) &&
                    sqlite_sql_int(s, 2, 1, &order->count) &&
                    order->count <= INT_MAX - order->index;
        if (!sane) /* all the same something was ordered */
            *order = (struct job_order){.token = "damaged"};
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool order_delete(struct store *st, const char *job_id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_ORDER_DELETE, err, "t", job_id);
    sqlite_release(c);
    return done;
}

const struct store_driver_image sqlite_image = {
    .put = image_put,
    .get = image_get,
    .remove = image_delete,
    .input_put = input_put,
    .input_bytes = input_bytes,
    .input_waiting = input_waiting,
    .input_remove = input_delete,
    .order_put = order_put,
    .order_get = order_get,
    .order_remove = order_delete,
};

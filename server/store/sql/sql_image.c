/* sql_image.c: the rows of pictures, and of inputs, the pictures that jobs start from. The files
 * are in blobs.c. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/sql/sql.h"

bool sql_image_read(struct sql_rows *s, struct job_image *out, struct err *err)
{
    *out = (struct job_image){.seed = (uint64_t)sql_int64(s, 4),
                              .subseed = (uint64_t)sql_int64(s, 5),
                              .format = image_format_of(sql_text(s, 6)),
                              .bytes = (size_t)sql_int64(s, 7)};
    if (!sql_id(s, 0, out->id) || !sql_int(s, 1, 0, &out->index) ||
        !sql_int(s, 2, 1, &out->width) || !sql_int(s, 3, 1, &out->height) ||
        out->format == IMAGE_NONE || sql_int64(s, 7) < 0)
        return err_set(err, ERR_INTERNAL, "the row of picture \"%.40s\" is damaged",
                       sql_text(s, 0));
    out->infotext = strdup(sql_text(s, 8));
    return out->infotext ? true : err_set(err, ERR_INTERNAL, "no memory for a picture's row");
}

static bool image_put(struct store *st, const char *job_id, const struct job_image *image,
                      struct job_image *replaced, struct err *err)
{
    *replaced = (struct job_image){0};
    struct sql_connection *c = sql_writer(st);
    struct sql_rows *s = sql_bind(c, SQL_IMAGE_AT, err, "ti", job_id, (int64_t)image->index);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err))
        failed = !sql_image_read(s, replaced, err);
    sql_done(s);
    free(replaced->infotext);
    replaced->infotext = NULL;
    if (!failed && replaced->id[0])
        failed = !sql_run(c, SQL_IMAGE_DELETE, err, "t", replaced->id);
    bool done = !failed &&
                sql_run(c, SQL_IMAGE_INSERT, err, "ttiiiiitit", image->id, job_id,
                        (int64_t)image->index, (int64_t)image->width, (int64_t)image->height,
                        (int64_t)image->seed, (int64_t)image->subseed, image_formats[image->format],
                        (int64_t)image->bytes, image->infotext ? image->infotext : "");
    sql_release(c);
    return done;
}

bool sql_image_one(struct sql_connection *c, struct sql_rows *s, const char *id,
                   struct job_image *out, struct err *err)
{
    *out = (struct job_image){0};
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && sql_image_read(s, out, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", id);
    sql_done(s);
    return done;
}

static bool image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                      struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    bool done = sql_image_one(c, sql_bind(c, SQL_IMAGE_GET, err, "tt", id, key_id), id, image, err);
    sql_release(c);
    return done;
}

static bool image_delete(struct store *st, const char *id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done)
        done = sql_keep(c,
                        sql_run(c, SQL_ASIDE_IMAGE_MARKS_DELETE, err, "t", id) &&
                            sql_run(c, SQL_ASIDE_IMAGE_DELETE, err, "t", id) &&
                            sql_run(c, SQL_IMAGE_DELETE, err, "t", id),
                        err);
    sql_release(c);
    return done;
}

static bool input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                      struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_INPUT_PUT, err, "tti", job_id, name, (int64_t)bytes);
    sql_release(c);
    return done;
}

static bool input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                        struct err *err)
{
    *bytes = 0;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_INPUT_BYTES, err, "tt", job_id, name);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    if (found)
        *bytes = (size_t)sql_int64(s, 0);
    else if (!failed)
        err_set(err, ERR_NOT_FOUND, "job %.40s has no input \"%.20s\"", job_id, name);
    sql_done(s);
    sql_release(c);
    return found;
}

static bool input_waiting(struct store *st, const char *key_id, size_t *bytes, struct err *err)
{
    *bytes = 0;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_INPUT_WAITING, err, "t", key_id);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err))
        *bytes = (size_t)sql_int64(s, 0);
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool input_delete(struct store *st, const char *job_id, const char *name, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_ASIDE_INPUT_DELETE, err, "tt", job_id, name) &&
                sql_run(c, SQL_INPUT_DELETE, err, "tt", job_id, name);
    sql_release(c);
    return done;
}

/* ---- orders ---- */

static bool order_put(struct store *st, const char *job_id, const struct job_order *order,
                      struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_ORDER_PUT, err, "ttii", job_id, order->token, (int64_t)order->index,
                        (int64_t)order->count);
    sql_release(c);
    return done;
}

static bool order_get(struct store *st, const char *job_id, struct job_order *order,
                      struct err *err)
{
    *order = (struct job_order){.token = ""};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_ORDER_GET, err, "t", job_id);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err)) {
        bool sane = sql_id(s, 0, order->token) && sql_int(s, 1, 0, &order->index) &&
                    sql_int(s, 2, 1, &order->count) && order->count <= INT_MAX - order->index;
        if (!sane) /* all the same something was ordered */
            *order = (struct job_order){.token = "damaged"};
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool order_delete(struct store *st, const char *job_id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_ORDER_DELETE, err, "t", job_id);
    sql_release(c);
    return done;
}

const struct store_driver_image sql_image = {
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

/* store_image.c: the rows of pictures; see store.h and store_sql.h. The files are in blobs.c. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite/store_sql.h"
#include "server/store/store.h"

bool store_image_read(sqlite3_stmt *s, struct job_image *out, struct err *err)
{
    static const char *const formats[] = {"png", "jpeg", "webp"};
    *out = (struct job_image){.seed = (uint64_t)sqlite3_column_int64(s, 4),
                              .subseed = (uint64_t)sqlite3_column_int64(s, 5),
                              .bytes = (size_t)sqlite3_column_int64(s, 7)};
    bool format = false;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        format |= strcmp(store_sql_text(s, 6), formats[i]) == 0;
    if (!store_sql_id(s, 0, out->id) || !store_sql_int(s, 1, 0, &out->index) ||
        !store_sql_int(s, 2, 1, &out->width) || !store_sql_int(s, 3, 1, &out->height) || !format ||
        !store_sql_copy(s, 6, out->format, sizeof out->format) || sqlite3_column_int64(s, 7) < 0)
        return err_set(err, ERR_INTERNAL, "the row of picture \"%.40s\" is damaged",
                       store_sql_text(s, 0));
    out->infotext = strdup(store_sql_text(s, 8));
    return out->infotext ? true : err_set(err, ERR_INTERNAL, "no memory for a picture's row");
}

bool store_image_put(struct store *st, const char *job_id, const struct job_image *image,
                     struct job_image *replaced, struct err *err)
{
    *replaced = (struct job_image){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_IMAGE_AT, err, "ti", job_id, (int64_t)image->index);
    bool failed = !s;
    if (s && store_sql_row(st, s, &failed, err))
        failed = !store_image_read(s, replaced, err);
    store_sql_done(s);
    free(replaced->infotext);
    replaced->infotext = NULL;
    if (!failed && replaced->id[0])
        failed = !store_sql_run(st, SQL_IMAGE_DELETE, err, "t", replaced->id);
    bool done = !failed &&
                store_sql_run(st, SQL_IMAGE_INSERT, err, "ttiiiiitit", image->id, job_id,
                              (int64_t)image->index, (int64_t)image->width, (int64_t)image->height,
                              (int64_t)image->seed, (int64_t)image->subseed, image->format,
                              (int64_t)image->bytes, image->infotext ? image->infotext : "");
    store_unlock(st);
    return done;
}

bool store_image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                     struct err *err)
{
    *image = (struct job_image){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_IMAGE_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    bool done = found && store_image_read(s, image, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", id);
    store_sql_done(s);
    store_unlock(st);
    return done;
}

bool store_image_delete(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_IMAGE_DELETE, err, "t", id);
    store_unlock(st);
    return done;
}

/* sql_aside.c: rows that were deleted and can be taken back. They go to tables of their own, so no
 * statement that looks for jobs or pictures has to know of them. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sql/sql.h"

#define STEPS 8

/* A change, statement by statement, each with the id as its first parameter; SQL_BEGIN ends it. */
struct change {
    const char *what;
    enum sql_statement steps[STEPS];
    int timed;   /* the first so many have the time as their second parameter */
    int counted; /* this one moves a row, or there was none; -1: there may be none */
};

static const struct change job_away = {"job",
                                       {SQL_ASIDE_JOB, SQL_ASIDE_IMAGES, SQL_ASIDE_INPUTS,
                                        SQL_ASIDE_MARKS, SQL_JOB_UNINDEX, SQL_JOB_DELETE},
                                       2,
                                       5};
static const struct change image_away = {
    "picture",
    {SQL_ASIDE_IMAGE, SQL_ASIDE_IMAGE_MARKS, SQL_ASIDE_IMAGE_COUNT, SQL_IMAGE_DELETE},
    1,
    3};
static const struct change image_gone = {
    "picture",
    {SQL_ASIDE_IMAGE_COUNT, SQL_ASIDE_IMAGE_COUNT_ASIDE, SQL_ASIDE_IMAGE_MARKS_DELETE,
     SQL_ASIDE_IMAGE_DELETE, SQL_IMAGE_DELETE},
    0,
    -1};
static const struct change job_back = {"job",
                                       {SQL_BACK_JOB, SQL_BACK_IMAGES, SQL_BACK_INPUTS,
                                        SQL_BACK_MARKS, SQL_JOB_INDEX, SQL_ASIDE_LEFT_MARKS,
                                        SQL_ASIDE_LEFT_IMAGES},
                                       0,
                                       0};
static const struct change image_back = {
    "picture",
    {SQL_BACK_IMAGE, SQL_BACK_IMAGE_MARKS, SQL_BACK_IMAGE_COUNT, SQL_ASIDE_IMAGE_MARKS_DELETE,
     SQL_ASIDE_IMAGE_DELETE},
    0,
    0};

/* All of it, or nothing. */
static bool run(struct sql_connection *c, const struct change *change, const char *id,
                int64_t now_ms, struct err *err)
{
    bool done = true;
    for (int i = 0; i < STEPS && change->steps[i] != SQL_BEGIN && done; i++) {
        done = i < change->timed ? sql_run(c, change->steps[i], err, "ti", id, now_ms)
                                 : sql_run(c, change->steps[i], err, "t", id);
        if (done && i == change->counted && sql_changes(c) == 0)
            done = err_set(err, ERR_NOT_FOUND, "there is no %s \"%.40s\"", change->what, id);
    }
    return done;
}

static bool move(struct store *st, const struct change *change, const char *id, int64_t now_ms,
                 struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        done = run(c, change, id, now_ms, err);
        if (change == &job_back) /* what is left of it are pictures that went by themselves */
            done = done && sql_run(c, SQL_ASIDE_INPUTS_DELETE, err, "t", id) &&
                   sql_run(c, SQL_ASIDE_JOB_DELETE, err, "t", id);
        done = sql_keep(c, done, err);
    }
    sql_release(c);
    return done;
}

static bool put_job(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    return move(st, &job_away, id, now_ms, err);
}

static bool put_image(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    return move(st, &image_away, id, now_ms, err);
}

static bool remove_image(struct store *st, const char *id, struct err *err)
{
    return move(st, &image_gone, id, 0, err);
}

static bool back_job(struct store *st, const char *id, struct err *err)
{
    return move(st, &job_back, id, 0, err);
}

static bool back_image(struct store *st, const char *id, struct err *err)
{
    return move(st, &image_back, id, 0, err);
}

static bool get_job(struct store *st, const char *id, const char *key_id, struct job *out,
                    struct err *err)
{
    *out = (struct job){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_ASIDE_JOB_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && sql_job_read(s, out, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    sql_done(s);
    sql_release(c);
    if (!done)
        job_free(out);
    return done;
}

static bool get_image(struct store *st, const char *id, const char *key_id,
                      struct store_aside_image *out, struct err *err)
{
    *out = (struct store_aside_image){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_ASIDE_IMAGE_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && sql_image_read(s, &out->image, err);
    if (done && !(sql_id(s, 9, out->job_id) && sql_copy(s, 10, out->key_id, sizeof out->key_id)))
        done = err_set(err, ERR_INTERNAL, "the row of picture \"%.40s\" is damaged", id);
    if (done)
        out->alone = sql_int64(s, 11) != 0;
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", id);
    sql_done(s);
    sql_release(c);
    free(out->image.infotext);
    out->image.infotext = NULL;
    return done;
}

static bool images_of(struct store *st, const char *job_id, struct job_image **images,
                      size_t *count, struct err *err)
{
    struct job job = {0};
    strcpy(job.id, job_id);
    struct sql_connection *c = sql_reader(st);
    bool done = sql_job_images(c, SQL_ASIDE_IMAGES_OF, &job, err);
    sql_release(c);
    *images = job.images;
    *count = job.image_count;
    if (done)
        return true;
    job_free(&job);
    *images = NULL;
    *count = 0;
    return false;
}

static bool held(struct store *st, const char *id, struct job_image *image, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    bool done = sql_image_one(c, sql_bind(c, SQL_IMAGE_HELD, err, "t", id), id, image, err);
    sql_release(c);
    return done;
}

static bool jobs_before(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                        struct err *err)
{
    return sql_job_ids(st, SQL_ASIDE_JOBS_BEFORE, before_ms, limit, out, err);
}

static bool images_before(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                          struct err *err)
{
    return sql_job_ids(st, SQL_ASIDE_IMAGES_BEFORE, before_ms, limit, out, err);
}

const struct store_driver_aside sql_aside = {
    .put_job = put_job,
    .put_image = put_image,
    .remove_image = remove_image,
    .back_job = back_job,
    .back_image = back_image,
    .get_job = get_job,
    .get_image = get_image,
    .images_of = images_of,
    .held = held,
    .jobs_before = jobs_before,
    .images_before = images_before,
};

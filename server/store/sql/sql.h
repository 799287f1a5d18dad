/* sql.h: what the drivers that speak SQL share: jobs, pictures, keys and the others as rows of the
 * same tables, read and written by sql_job.c and its neighbours. A driver (sqlite/, pg/) brings the
 * connections and the text of each statement, in its database's dialect, by struct sql_ops.
 *
 * What a row holds may be damaged or hostile: it is checked here (ids that become paths above all),
 * whatever the database. Nobody but the drivers includes this. */
#ifndef PICTOR_SERVER_SQL_H
#define PICTOR_SERVER_SQL_H

#include <stdatomic.h>

#include "server/store/store_driver.h"

/* Statements that a database has no use for have no text, and do nothing. */
enum sql_statement {
    SQL_BEGIN,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVE,
    SQL_SAVE_KEEP,
    SQL_SAVE_UNDO,
    SQL_OPTION_GET,
    SQL_OPTION_SET,
    SQL_KEY_INSERT,
    SQL_KEY_ALL,
    SQL_KEY_PREFIX,
    SQL_KEY_ANY,
    SQL_KEY_REVOKE,
    SQL_KEY_SET,
    SQL_KEY_ONE,
    SQL_JOB_INSERT,
    SQL_JOB_JOIN, /* its key is among those that take turns */
    SQL_JOB_GET,
    SQL_JOB_INDEX,
    SQL_JOB_UNINDEX,
    SQL_JOB_TAGGED,
    SQL_JOB_ALL,
    SQL_JOB_LINE,
    SQL_JOB_DEPTH,
    SQL_JOB_BACKLOG,
    SQL_JOB_NEXT_USUAL, /* where nothing goes before the keys' shares */
    SQL_JOB_NEXT,
    SQL_JOB_NEXT_DEEP, /* where many claim at once */
    SQL_JOB_START,
    SQL_JOB_TURN,   /* its key is charged what it is expected to take */
    SQL_JOB_CHARGE, /* and at its end what it took instead */
    SQL_JOB_REFUND, /* or nothing */
    SQL_JOB_SPEND,
    SQL_USAGE_ADD,
    SQL_USAGE_SINCE,
    SQL_USAGE_PENDING,
    SQL_USAGE_LIST,
    SQL_JOB_LEASE,
    SQL_JOB_LEASE_HELD, /* until the end of the transaction */
    SQL_JOB_RENEW,
    SQL_JOB_INTERRUPT,
    SQL_JOB_REQUEUE,
    SQL_JOB_RESUME,
    SQL_JOB_SPARE,
    SQL_JOB_END,
    SQL_JOB_DELETE,
    SQL_ASIDE_JOB, /* what is deleted goes aside, with what hangs on it; the time is $2 */
    SQL_ASIDE_IMAGES,
    SQL_ASIDE_INPUTS,
    SQL_ASIDE_MARKS,
    SQL_ASIDE_IMAGE,
    SQL_ASIDE_IMAGE_MARKS,
    SQL_ASIDE_IMAGE_COUNT,       /* a job wants one fewer: fsck misses none that was deleted */
    SQL_ASIDE_IMAGE_COUNT_ASIDE, /* likewise, of a job that is aside itself */
    SQL_BACK_IMAGE_COUNT,
    SQL_BACK_JOB, /* and comes back */
    SQL_BACK_IMAGES,
    SQL_BACK_INPUTS,
    SQL_BACK_MARKS,
    SQL_BACK_IMAGE,
    SQL_BACK_IMAGE_MARKS,
    SQL_ASIDE_LEFT_MARKS, /* of what came back with its job */
    SQL_ASIDE_LEFT_IMAGES,
    SQL_ASIDE_JOB_DELETE, /* or is removed for good */
    SQL_ASIDE_IMAGES_DELETE,
    SQL_ASIDE_INPUTS_DELETE,
    SQL_ASIDE_MARKS_DELETE,
    SQL_ASIDE_IMAGE_DELETE,
    SQL_ASIDE_IMAGE_MARKS_DELETE,
    SQL_ASIDE_INPUT_DELETE,
    SQL_ASIDE_JOB_GET,
    SQL_ASIDE_IMAGE_GET,
    SQL_ASIDE_IMAGES_OF,
    SQL_ASIDE_JOBS_BEFORE,
    SQL_ASIDE_IMAGES_BEFORE,
    SQL_IMAGE_HELD, /* there, or aside */
    SQL_JOB_EXPIRED,
    SQL_JOB_OWN,
    SQL_JOB_FINISHED_BEFORE,
    SQL_JOB_KEYLESS,
    SQL_JOB_WAITED,
    SQL_JOB_SHORT,
    SQL_JOB_LOST,
    SQL_JOB_RANK,
    SQL_JOB_RANK_MOST,
    SQL_JOB_NAMELESS,
    SQL_IMAGE_AT,
    SQL_IMAGE_DELETE,
    SQL_IMAGE_INSERT,
    SQL_IMAGE_GET,
    SQL_IMAGES_OF_JOB,
    SQL_IMAGE_ALL,
    SQL_INPUT_PUT,
    SQL_INPUT_BYTES,
    SQL_INPUT_WAITING,
    SQL_INPUT_DELETE,
    SQL_INPUT_ALL,
    SQL_ORDER_PUT,
    SQL_ORDER_GET,
    SQL_ORDER_DELETE,
    SQL_RECORD_PUT,
    SQL_RECORD_GET,
    SQL_RECORD_GET_HELD, /* until the end of the transaction */
    SQL_RECORD_NEWEST,
    SQL_RECORD_OLDEST,
    SQL_RECORD_TOTAL,
    SQL_RECORD_DELETE,
    SQL_RECORD_FILES,
    SQL_MARKS_OF_JOB,
    SQL_MARK_ADD,
    SQL_MARK_REMOVE,
    SQL_MARK_COUNT,
    SQL_MARK_TAGS,
    SQL_IMAGE_JOB,
    SQL_ONCE_LOCK,
    SQL_ONCE_GET,
    SQL_ONCE_PUT,
    SQL_ONCE_FORGET,
    SQL_WEBHOOK_PUT,
    SQL_WEBHOOK_LIST,
    SQL_WEBHOOK_DELETE,
    SQL_WEBHOOK_TOLD,
    SQL_WEBHOOK_FAILED,
    SQL_DELIVERY_ADD,
    SQL_DELIVERY_DUE,
    SQL_DELIVERIES_TOLD_OFF, /* why a key's webhooks are told no more; for those that wait */
    SQL_DELIVERIES_OF_KEY,   /* removes what they wait for */
    SQL_DELIVERY_AGAIN,
    SQL_DELIVERY_DONE,
    SQL_INTEGRITY,
    SQL_FOREIGN_KEYS,
    SQL_SEARCH_CHECK,
    SQL_SEARCH_REBUILD,
    SQL_WORKER_PUT,
    SQL_WORKER_LIST,
    SQL_WORKER_DELETE,
    SQL_NEWS_LAST,
    SQL_NEWS_GAPS,
    SQL_NEWS_SINCE,
    SQL_NEWS_FORGET,
    SQL_NEWS_REPORT,
    SQL_NEWS_PROGRESS,
    SQL_NEWS_SKIP,
    SQL_NEWS_LEAD,
    SQL_MOVE_QUIET,
    SQL_MOVE_JOBS,
    SQL_MOVE_KEYS,
    SQL_MOVE_DELIVERIES,
    SQL_MOVE_TURNS,
    SQL_MOVE_LINE,
    SQL_COUNT
};

#define SQL_JOB_COLUMNS                                                                            \
    "id, key_id, state, priority, attempts, created_ms, started_ms, finished_ms, error_code, "     \
    "error_message, params, sequence, refusal"
#define SQL_TURN_COLUMNS                                                                           \
    "jobs.id, jobs.key_id, jobs.model, jobs.rank, jobs.priority, jobs.created_ms"
#define SQL_RECORD_COLUMNS "id, kind, key_id, created_ms, expires_ms, bytes, body"
#define SQL_KEY_COLUMNS                                                                            \
    "id, name, scopes, created_ms, revoked_ms, hash, weight, day_pictures, month_pictures, "       \
    "day_work, month_work, day_money, month_money"
#define SQL_USAGE_COLUMNS "day, key_id, model, jobs, failed, pictures, work, ms, money"
#define SQL_IMAGE_MOVED                                                                            \
    "id, job_id, position, width, height, seed, subseed, format, bytes, infotext"
#define SQL_IMAGE_COLUMNS "id, position, width, height, seed, subseed, format, bytes, infotext"

/* All columns of a job that every database has. */
#define SQL_JOB_MOVED                                                                              \
    "sequence, id, key_id, state, rank, priority, model, prompt, tag, count, params, waited, "    \
    "attempts, token, owner, lease_until, interrupted, created_ms, started_ms, finished_ms, "     \
    "error_code, error_message, refusal, work, charged, money"

/* The statements of what is aside, in each dialect: `p` begins its parameters. */
#define SQL_ASIDE_SEQUENCE(p)                                                                      \
    "sequence IN (SELECT sequence FROM jobs_aside WHERE id = " p "1 UNION ALL SELECT sequence "   \
    "FROM jobs WHERE id = " p "1)"
#define SQL_ASIDE_STATEMENTS(p)                                                                    \
    [SQL_ASIDE_JOB] = "INSERT INTO jobs_aside (" SQL_JOB_MOVED ", aside_ms) SELECT " SQL_JOB_MOVED \
                      ", " p "2 FROM jobs WHERE id = " p "1 ON CONFLICT DO NOTHING",              \
    [SQL_ASIDE_IMAGES] = "INSERT INTO images_aside (" SQL_IMAGE_MOVED ", alone, aside_ms) "       \
                         "SELECT " SQL_IMAGE_MOVED ", 0, " p "2 FROM images WHERE job_id = " p    \
                         "1 ON CONFLICT DO NOTHING",                                               \
    [SQL_ASIDE_INPUTS] = "INSERT INTO inputs_aside (job_id, name, bytes) SELECT job_id, name, "   \
                         "bytes FROM inputs WHERE job_id = " p "1 ON CONFLICT DO NOTHING",        \
    [SQL_ASIDE_MARKS] = "INSERT INTO marks_aside (sequence, image_id, tag) SELECT sequence, "     \
                        "image_id, tag FROM marks WHERE sequence = (SELECT sequence FROM jobs "   \
                        "WHERE id = " p "1) ON CONFLICT DO NOTHING",                               \
    [SQL_ASIDE_IMAGE] = "INSERT INTO images_aside (" SQL_IMAGE_MOVED ", alone, aside_ms) SELECT " \
        SQL_IMAGE_MOVED ", 1, " p "2 FROM images WHERE id = " p "1 ON CONFLICT DO NOTHING",       \
    [SQL_ASIDE_IMAGE_MARKS] = "INSERT INTO marks_aside (sequence, image_id, tag) SELECT "         \
                              "sequence, image_id, tag FROM marks WHERE image_id = " p            \
                              "1 ON CONFLICT DO NOTHING",                                          \
    [SQL_ASIDE_IMAGE_COUNT] = "UPDATE jobs SET count = count - 1 WHERE id = (SELECT job_id FROM " \
                              "images WHERE id = " p "1)",                                         \
    [SQL_ASIDE_IMAGE_COUNT_ASIDE] = "UPDATE jobs_aside SET count = count - 1 WHERE id = (SELECT " \
                                    "job_id FROM images_aside WHERE id = " p "1 AND alone = 0)",   \
    [SQL_BACK_IMAGE_COUNT] = "UPDATE jobs SET count = count + 1 WHERE id = (SELECT job_id FROM "  \
                             "images WHERE id = " p "1)",                                          \
    [SQL_BACK_JOB] = "INSERT INTO jobs (" SQL_JOB_MOVED ") SELECT " SQL_JOB_MOVED                 \
                     " FROM jobs_aside WHERE id = " p "1 ON CONFLICT DO NOTHING",                  \
    [SQL_BACK_IMAGES] = "INSERT INTO images (" SQL_IMAGE_MOVED ") SELECT " SQL_IMAGE_MOVED        \
                        " FROM images_aside WHERE job_id = " p "1 AND alone = 0",                  \
    [SQL_BACK_INPUTS] = "INSERT INTO inputs (job_id, name, bytes) SELECT job_id, name, bytes "    \
                        "FROM inputs_aside WHERE job_id = " p "1",                                 \
    [SQL_BACK_MARKS] = "INSERT INTO marks (sequence, image_id, tag) SELECT sequence, image_id, "  \
                       "tag FROM marks_aside WHERE sequence = (SELECT sequence FROM jobs_aside "  \
                       "WHERE id = " p "1) AND (image_id IS NULL OR image_id IN (SELECT id FROM " \
                       "images WHERE job_id = " p "1))",                                           \
    [SQL_BACK_IMAGE] = "INSERT INTO images (" SQL_IMAGE_MOVED ") SELECT " SQL_IMAGE_MOVED         \
                       " FROM images_aside WHERE id = " p "1 AND alone = 1 AND job_id IN "        \
                       "(SELECT id FROM jobs) ON CONFLICT DO NOTHING",                             \
    [SQL_BACK_IMAGE_MARKS] = "INSERT INTO marks (sequence, image_id, tag) SELECT sequence, "      \
                             "image_id, tag FROM marks_aside WHERE image_id = " p "1",             \
    [SQL_ASIDE_LEFT_MARKS] = "DELETE FROM marks_aside WHERE sequence = (SELECT sequence FROM "    \
                             "jobs_aside WHERE id = " p "1) AND (image_id IS NULL OR image_id "   \
                             "IN (SELECT id FROM images WHERE job_id = " p "1))",                  \
    [SQL_ASIDE_LEFT_IMAGES] = "DELETE FROM images_aside WHERE job_id = " p "1 AND alone = 0",      \
    [SQL_ASIDE_JOB_DELETE] = "DELETE FROM jobs_aside WHERE id = " p "1",                           \
    [SQL_ASIDE_IMAGES_DELETE] = "DELETE FROM images_aside WHERE job_id = " p "1",                  \
    [SQL_ASIDE_INPUTS_DELETE] = "DELETE FROM inputs_aside WHERE job_id = " p "1",                  \
    [SQL_ASIDE_MARKS_DELETE] = "DELETE FROM marks_aside WHERE " SQL_ASIDE_SEQUENCE(p),             \
    [SQL_ASIDE_IMAGE_DELETE] = "DELETE FROM images_aside WHERE id = " p "1",                       \
    [SQL_ASIDE_IMAGE_MARKS_DELETE] = "DELETE FROM marks_aside WHERE image_id = " p "1",            \
    [SQL_ASIDE_INPUT_DELETE] =                                                                     \
        "DELETE FROM inputs_aside WHERE job_id = " p "1 AND name = " p "2",                        \
    [SQL_ASIDE_JOB_GET] = "SELECT " SQL_JOB_COLUMNS " FROM jobs_aside WHERE id = " p "1 AND (" p  \
                          "2 IS NULL OR key_id = " p "2)",                                         \
    [SQL_ASIDE_IMAGE_GET] = "SELECT " SQL_IMAGE_COLUMNS ", job_id, owner, alone FROM "            \
                            "images_aside JOIN (SELECT id AS whose, key_id AS owner FROM jobs "   \
                            "UNION ALL SELECT id, key_id FROM jobs_aside) AS owners ON whose = "  \
                            "job_id WHERE id = " p "1 AND (" p "2 IS NULL OR owner = " p "2)",     \
    [SQL_ASIDE_IMAGES_OF] = "SELECT " SQL_IMAGE_COLUMNS " FROM images_aside WHERE job_id = " p    \
                            "1 ORDER BY position",                                                 \
    [SQL_ASIDE_JOBS_BEFORE] = "SELECT id FROM jobs_aside WHERE aside_ms < " p                      \
                              "1 ORDER BY aside_ms LIMIT " p "2",                                  \
    [SQL_ASIDE_IMAGES_BEFORE] = "SELECT id FROM images_aside WHERE alone = 1 AND aside_ms < " p   \
                                "1 ORDER BY aside_ms LIMIT " p "2",                                \
    [SQL_IMAGE_HELD] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE id = " p                    \
                       "1 UNION ALL SELECT " SQL_IMAGE_COLUMNS " FROM images_aside WHERE id = " p \
                       "1"

/* Who goes before whom: a priority above 0 before all, one below 0 behind all others. */
#define SQL_CLASS "CASE WHEN priority > 0 THEN 1 WHEN priority < 0 THEN -1 ELSE 0 END"
/* What a job is expected to take, in milliseconds, by its key's pace; a second before that is
 * known. `least` and `most` are the names of the database's functions. A pace that is told by a
 * tiny job (most of whose time a model was read) is cut: the product has to fit into 64 bits. */
#define SQL_EXPECTED(least, most)                                                                  \
    "CASE WHEN pace > 0 AND work > 0 THEN " least "(" most "(work * " least                        \
    "(pace, 10000000) / 1000, 1), 86400000) "                                                      \
    "ELSE 1000 END"

struct sql_ops;

/* One way into the database, used by one thread at a time; begins each driver's own struct. */
struct sql_connection {
    const struct sql_ops *ops;
};
/* A statement in use and the row it stands on; likewise. */
struct sql_rows {
    const struct sql_ops *ops;
};
/* Begins a driver's store, before all else. */
struct sql_store {
    struct store store;
    const struct sql_ops *ops;
};

/* ---- lists of jobs: each kind is a statement of its own ---- */

/* How the rows of a state are found: few by an index of their own, the others along the history. */
enum sql_list_state { LIST_ANY, LIST_QUEUED, LIST_RUNNING, LIST_DONE, LIST_ENDED, LIST_STATES };
/* TEXT_SHORT has too few characters for an index: every prompt is read. */
enum sql_list_text { TEXT_NONE, TEXT_SHORT, TEXT_INDEXED, LIST_TEXTS };
/* What else narrows a list; any of them at once. */
enum sql_list_narrow {
    NARROW_TAGS = 1,
    NARROW_FAVOURITE = 2,
    NARROW_MODEL = 4,
    NARROW_TIME = 8,
    NARROW_PARAMS = 16
};
#define SQL_NARROWS 32
#define SQL_LISTS (2 * LIST_STATES * LIST_TEXTS * SQL_NARROWS)
#define SQL_TABLE_SLOTS 34  /* statements of sql_table.c, behind the lists: reading, writing */
#define SQL_LIST_SIZE 1600  /* of a list's text */
#define SQL_MATCH_SIZE 1024 /* of what an index is asked for */

struct sql_list {
    bool of_key;
    enum sql_list_state state;
    enum sql_list_text text;
    unsigned narrow;
};

struct sql_ops {
    struct sql_connection *(*writer)(struct store *st);
    struct sql_connection *(*reader)(struct store *st);
    struct sql_connection *(*snapshot)(struct store *st);
    struct sql_connection *(*searcher)(struct store *st, const atomic_bool *gone);
    void (*release)(struct sql_connection *c);
    struct sql_rows *(*bind)(struct sql_connection *c, enum sql_statement which, struct err *err,
                             const char *types, const struct store_value *values);
    struct sql_rows *(*bind_list)(struct sql_connection *c, int which, const char *sql,
                                  struct err *err, const char *types,
                                  const struct store_value *values);
    bool (*row)(struct sql_connection *c, struct sql_rows *s, bool *failed, struct err *err);
    void (*done)(struct sql_rows *s);
    bool (*save)(struct sql_connection *c, struct err *err);
    bool (*keep)(struct sql_connection *c, bool done, struct err *err);
    int (*changes)(struct sql_connection *c);
    const char *(*text)(struct sql_rows *s, int column);
    int64_t (*int64)(struct sql_rows *s, int column);
    const unsigned char *(*hash)(struct sql_rows *s, int column);
    /* The text of a kind of list; its parameters: key, state, text, match, before, tags (JSON),
     * their number, model, since, until, limit. Columns are SQL_JOB_COLUMNS. */
    void (*list)(const struct sql_list *kind, char sql[SQL_LIST_SIZE]);
    /* What the index of prompts is asked for a text (UTF-8, checked before); false when the text
     * has too few characters for it. */
    bool (*match)(const char *text, char match[SQL_MATCH_SIZE]);
    /* When a lease of so many milliseconds ends that begins now, and now, on the clock that the
     * rows' leases are kept by; a database that has its own clock for that takes 0. */
    int64_t (*clock)(struct store *st);
};

/* Each is given back by sql_release; between store_begin and its end it is the transaction's. */
struct sql_connection *sql_writer(struct store *st);
/* For one statement; and for several, which see one state of the database. */
struct sql_connection *sql_reader(struct store *st);
struct sql_connection *sql_snapshot(struct store *st);
/* For what may take long: it has a deadline, and `gone` (may be NULL) ends it earlier. */
struct sql_connection *sql_searcher(struct store *st, const atomic_bool *gone);
void sql_release(struct sql_connection *c);
int64_t sql_clock(struct store *st);

/* Binds by `types`, a letter a parameter: t const char * (NULL is SQL NULL), i int64_t, b hash of
 * STORE_HASH_SIZE bytes; all are copied. The statement stays in use until sql_done; NULL on
 * failure. */
struct sql_rows *sql_bind(struct sql_connection *c, enum sql_statement which, struct err *err,
                          const char *types, ...);
/* Likewise for list `which`. */
struct sql_rows *sql_bind_list(struct sql_connection *c, int which, const char *sql,
                               struct err *err, const char *types, ...);
/* Steps to the next row. False at the end and on failure, which sets *failed. */
bool sql_row(struct sql_connection *c, struct sql_rows *s, bool *failed, struct err *err);
void sql_done(struct sql_rows *s); /* NULL is fine */
/* Binds, runs to the end, done: for statements without rows. */
bool sql_run(struct sql_connection *c, enum sql_statement which, struct err *err, const char *types,
             ...);
/* All statements between these two, or none; inside of a transaction or alone. `done`: whether they
 * went well; returns whether all did. */
bool sql_save(struct sql_connection *c, struct err *err);
bool sql_keep(struct sql_connection *c, bool done, struct err *err);
int sql_changes(struct sql_connection *c); /* rows that sql_run's last statement changed */

const char *sql_text(struct sql_rows *s, int column); /* never NULL */
int64_t sql_int64(struct sql_rows *s, int column);
/* STORE_HASH_SIZE bytes; NULL when it has another size. Valid until the next row. */
const unsigned char *sql_hash(struct sql_rows *s, int column);
/* Copies a text column; false when it does not fit. */
bool sql_copy(struct sql_rows *s, int column, char *out, size_t size);
/* A job's or picture's id: it becomes a file name, so it is one or false. */
bool sql_id(struct sql_rows *s, int column, char out[JOB_ID_SIZE]);
/* false outside least..INT_MAX. */
bool sql_int(struct sql_rows *s, int column, int least, int *out);

extern const struct store_driver_job sql_job;
extern const struct store_driver_image sql_image;
extern const struct store_driver_aside sql_aside;
extern const struct store_driver_record sql_record;
extern const struct store_driver_mark sql_mark;
extern const struct store_driver_once sql_once;
extern const struct store_driver_webhook sql_webhook;
extern const struct store_driver_usage sql_usage;
extern const struct store_driver_worker sql_worker;
extern const struct store_driver_check sql_check;
extern const struct store_driver_table sql_table;

/* As store_option_*, store_key_*. */
bool sql_option_get(struct store *st, const char *name, char **value, struct err *err);
bool sql_option_set(struct store *st, const char *name, const char *value, struct err *err);
bool sql_key_insert(struct store *st, const struct key *key,
                    const unsigned char hash[STORE_HASH_SIZE], struct err *err);
bool sql_key_each(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                  struct err *err);
bool sql_key_any(struct store *st, bool *any, struct err *err);
bool sql_key_revoke(struct store *st, const char *id, int64_t now_ms, struct err *err);
bool sql_key_set(struct store *st, const char *id, const struct key_share *share, struct err *err);
bool sql_key_share(struct store *st, const char *id, struct key_share *out, struct err *err);

/* A row of SQL_JOB_COLUMNS, without pictures and position; job_free also after failure. */
bool sql_job_read(struct sql_rows *s, struct job *out, struct err *err);
/* Of a job that was read: its pictures (`which`: SQL_IMAGES_OF_JOB or SQL_ASIDE_IMAGES_OF), and
 * what is said of it and of them. */
bool sql_job_images(struct sql_connection *c, enum sql_statement which, struct job *job,
                    struct err *err);
/* The ids that a statement lists for a number and a limit. */
bool sql_job_ids(struct store *st, enum sql_statement which, int64_t before, int limit,
                 struct store_ids *out, struct err *err);
bool sql_mark_read(struct sql_connection *c, struct job *job, struct err *err);
/* As store_job_list. */
bool sql_list_jobs(struct store *st, const struct job_filter *filter, struct job **jobs,
                   size_t *count, int64_t *next, struct err *err);
/* A row of SQL_KEY_ALL; false when it is damaged. */
bool sql_key_read(struct sql_rows *s, struct key *out);
/* A row of SQL_IMAGE_COLUMNS; free out->infotext. */
bool sql_image_read(struct sql_rows *s, struct job_image *out, struct err *err);
/* The only such row of `s`, which is done then; ERR_NOT_FOUND. `s` NULL: binding it has failed. */
bool sql_image_one(struct sql_connection *c, struct sql_rows *s, const char *id,
                   struct job_image *out, struct err *err);

#endif

/* sqlite_sql.c: connections, the table of statements, and what SQLite answers.
 *
 * WAL lets readers go on while one connection writes, so there is one writer, a few readers for
 * what is quick, and one searcher, so that searches wait for each other and for nobody else. A
 * reader's statements run in one read transaction: they see one state of the database. */
#include "server/store/sqlite/sqlite_sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/now.h"
#include "server/store/shares.h"

#define BUSY_MS 10000              /* `pictor keys` beside a server waits for its turn to write */
#define VALUE_BYTES_MAX (64 << 20) /* no row needs more; a damaged one may claim gigabytes */
#define READ_MS 10000 /* far more than a read takes: a bound for what nobody thought of */
#define SEARCH_MS 2000
#define OPCODES 200 /* of SQLite's machine between looks at the clock; most take less than 1 us */

#define FIRST_QUEUED "SELECT key_id FROM jobs WHERE state = 'queued'"

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVE] = "SAVEPOINT one",
    [SQL_SAVE_KEEP] = "RELEASE one",
    [SQL_SAVE_UNDO] = "ROLLBACK TO one",
    [SQL_OPTION_GET] = "SELECT value FROM options WHERE name = ?1",
    [SQL_OPTION_SET] = "INSERT INTO options (name, value) VALUES (?1, ?2) "
                       "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [SQL_KEY_INSERT] = "INSERT INTO keys (id, name, scopes, prefix, hash, created_ms, weight, "
                       "day_pictures, month_pictures, day_work, month_work, day_money, "
                       "month_money) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 "
                       "WHERE NOT EXISTS (SELECT 1 FROM keys "
                       "WHERE ?2 IN (name, id) AND revoked_ms = 0)",
    [SQL_KEY_ALL] = "SELECT " SQL_KEY_COLUMNS " FROM keys ORDER BY sequence",
    [SQL_KEY_PREFIX] = "SELECT " SQL_KEY_COLUMNS " FROM keys WHERE prefix = ?1 "
                       "ORDER BY sequence",
    [SQL_KEY_SET] =
        "UPDATE keys SET weight = ?2, day_pictures = ?3, month_pictures = ?4, "
        "day_work = ?5, month_work = ?6, day_money = ?7, month_money = ?8 WHERE id = ?1 "
        "AND revoked_ms = 0",
    [SQL_KEY_ONE] = "SELECT " SQL_KEY_COLUMNS " FROM keys WHERE id = ?1",
    [SQL_KEY_ANY] = "SELECT EXISTS (SELECT 1 FROM keys)",
    [SQL_KEY_REVOKE] = "UPDATE keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms = 0",
    [SQL_JOB_INSERT] = "INSERT INTO jobs (id, key_id, priority, model, prompt, count, params, "
                       "created_ms, tag, waited, work) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_JOB_JOIN] = "INSERT OR IGNORE INTO turns (key_id, turn) VALUES (?1, 0)",
    [SQL_JOB_INDEX] = "INSERT INTO jobs_search (rowid, prompt) "
                      "SELECT sequence, prompt FROM jobs WHERE id = ?1",
    [SQL_JOB_UNINDEX] = "INSERT INTO jobs_search (jobs_search, rowid, prompt) "
                        "SELECT 'delete', sequence, prompt FROM jobs WHERE id = ?1",
    [SQL_JOB_GET] = "SELECT " SQL_JOB_COLUMNS " FROM jobs WHERE id = ?1 "
                    "AND (?2 IS NULL OR key_id = ?2)",
    [SQL_JOB_TAGGED] = "SELECT id FROM jobs WHERE tag = ?1 AND tag > '' "
                       "AND (?2 IS NULL OR key_id = ?2) ORDER BY sequence DESC LIMIT 1",
    [SQL_JOB_ALL] = "SELECT " SQL_JOB_COLUMNS " FROM jobs UNION ALL SELECT " SQL_JOB_COLUMNS
                    " FROM jobs_aside",
    /* In the order they will run if nothing else comes: each key's jobs begin when what it has used
     * and what is before them comes to as much as the others'. */
    [SQL_JOB_LINE] =
        "WITH q AS (SELECT jobs.id, rank, " SQL_CLASS " AS class, jobs.sequence, coalesce(used, 0) "
        "AS used, coalesce(sum(" SQL_EXPECTED(
            "min",
            "max") " * 1.0 / coalesce(weight, 1)) OVER "
                   "(PARTITION BY jobs.key_id ORDER BY rank DESC, priority DESC, jobs.sequence "
                   "ROWS BETWEEN "
                   "UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before FROM jobs LEFT JOIN turns "
                   "ON turns.key_id = jobs.key_id LEFT JOIN keys ON keys.id = jobs.key_id "
                   "WHERE state = 'queued') SELECT id FROM q ORDER BY rank DESC, class DESC, "
                   "before + pictor_left(used, ?1), used, sequence",
    [SQL_JOB_DEPTH] = "SELECT (SELECT count(*) FROM jobs WHERE state = 'queued' AND "
                      "(?1 IS NULL OR key_id = ?1)), (SELECT count(*) FROM jobs WHERE "
                      "state = 'running' AND (?1 IS NULL OR key_id = ?1))",
    [SQL_JOB_BACKLOG] = "SELECT model, count(*), min(created_ms) FROM jobs INDEXED BY jobs_queued "
                        "WHERE state = 'queued' GROUP BY model ORDER BY model LIMIT ?1",
    /* The head of each key's line, the best of them first: a few rows a key, however many wait. */
    [SQL_JOB_NEXT] =
        "WITH RECURSIVE line (key_id) AS (SELECT (" FIRST_QUEUED " ORDER BY key_id LIMIT 1) UNION "
        "ALL SELECT (" FIRST_QUEUED " AND key_id > line.key_id ORDER BY key_id LIMIT 1) FROM line "
        "WHERE line.key_id IS NOT NULL) SELECT " SQL_TURN_COLUMNS " FROM line JOIN "
        "jobs ON jobs.sequence = (SELECT sequence FROM jobs AS head WHERE head.state = 'queued' "
        "AND head.key_id = "
        "line.key_id AND (?1 IS NULL OR head.model IN (SELECT value FROM json_each(?1))) ORDER BY "
        "head.rank DESC, head.priority DESC, head.sequence LIMIT 1) LEFT JOIN turns ON "
        "turns.key_id = line.key_id ORDER BY jobs.rank DESC, " SQL_CLASS " DESC, "
        "coalesce(turns.used, 0), jobs.sequence LIMIT 1",
    [SQL_JOB_START] = "UPDATE jobs SET state = 'running', attempts = attempts + 1, "
                      "token = token + 1, owner = ?2, started_ms = ?3, lease_until = ?4, "
                      "interrupted = 0, charged = (SELECT " SQL_EXPECTED(
                          "min", "max") " FROM "
                                        "(SELECT 1) LEFT JOIN turns ON turns.key_id = jobs.key_id) "
                                        "WHERE id = ?1 AND state = 'queued' RETURNING token",
    [SQL_JOB_TURN] = "UPDATE turns SET used = (SELECT pictor_used(used, charged * 1.0 / "
                     "coalesce(weight, 1), started_ms) FROM jobs LEFT JOIN keys ON keys.id = "
                     "key_id WHERE jobs.id = ?1) WHERE key_id = (SELECT key_id FROM jobs WHERE "
                     "id = ?1)",
    [SQL_JOB_CHARGE] =
        "UPDATE turns SET used = pictor_used(used, (took - charged) * 1.0 / weight, started_ms), "
        "pace = CASE WHEN NOT painted THEN pace WHEN pace = 0 THEN took * 1000 / work "
        "ELSE (3 * pace + took * 1000 / work) / 4 END FROM (SELECT key_id AS whose, charged, work, "
        "started_ms, coalesce(weight, 1) AS weight, max(min(finished_ms - started_ms, 86400000), "
        "1) AS took, state = 'done' AND work > 0 AND count = (SELECT count(*) FROM images WHERE "
        "job_id = jobs.id) AS painted FROM jobs LEFT JOIN keys ON keys.id = key_id WHERE "
        "jobs.id = ?1 AND charged > 0) WHERE key_id = whose",
    /* A day is one of UTC, and the job's end's. What was cancelled before anybody began it is none.
     */
    [SQL_USAGE_ADD] =
        "INSERT INTO usage (" SQL_USAGE_COLUMNS
        ") SELECT finished_ms / 86400000, key_id, model, 1, "
        "state = 'failed', painted, CASE WHEN count > 0 THEN work * painted / count ELSE 0 END, "
        "CASE WHEN charged > 0 THEN max(min(finished_ms - started_ms, 86400000), 0) ELSE 0 END, "
        "money FROM (SELECT *, (SELECT count(*) FROM images WHERE job_id = jobs.id) AS painted "
        "FROM "
        "jobs WHERE id = ?1 AND (state <> 'cancelled' OR charged > 0 OR money > 0)) WHERE true "
        "ON CONFLICT (day, key_id, model) DO UPDATE SET jobs = usage.jobs + 1, failed = "
        "usage.failed "
        "+ excluded.failed, pictures = usage.pictures + excluded.pictures, work = usage.work + "
        "excluded.work, ms = usage.ms + excluded.ms, money = usage.money + excluded.money",
    [SQL_USAGE_SINCE] =
        "SELECT coalesce(sum(CASE WHEN day >= ?2 THEN pictures END), 0), "
        "coalesce(sum(CASE WHEN day >= ?2 THEN work END), 0), "
        "coalesce(sum(CASE WHEN day >= ?2 THEN money END), 0), coalesce(sum(pictures), 0), "
        "coalesce(sum(work), 0), coalesce(sum(money), 0) FROM usage WHERE key_id = ?1 AND day >= "
        "?3",
    [SQL_USAGE_PENDING] = "SELECT model, sum(count), sum(work), sum(money) FROM (SELECT model, "
                          "count, work, money FROM "
                          "jobs WHERE state = 'queued' AND key_id = ?1 UNION ALL SELECT model, "
                          "count, work, money FROM "
                          "jobs WHERE state = 'running' AND key_id = ?1) AS waiting GROUP BY model",
    [SQL_USAGE_LIST] = "SELECT " SQL_USAGE_COLUMNS " FROM usage WHERE (?1 IS NULL OR key_id = ?1) "
                       "AND day >= ?2 AND day <= ?3 ORDER BY day, key_id, model LIMIT ?4",
    [SQL_JOB_SPEND] = "UPDATE jobs SET money = max(money + ?3, 0) WHERE id = ?1 AND "
                      "token = ?2 AND state IN ('running', 'cancelled')",
    [SQL_JOB_REFUND] = "UPDATE turns SET used = (SELECT pictor_used(used, charged * 1.0 / "
                       "coalesce(weight, 1), started_ms) FROM jobs LEFT JOIN keys ON keys.id = "
                       "key_id WHERE jobs.id = ?1) WHERE key_id = (SELECT key_id FROM jobs WHERE "
                       "id = ?1 AND charged < 0)",
    [SQL_JOB_LEASE] = "SELECT state, key_id, token, attempts, count, interrupted, (SELECT count(*) "
                      "FROM images WHERE job_id = jobs.id), owner FROM jobs WHERE id = ?1",
    [SQL_JOB_RENEW] = "UPDATE jobs SET lease_until = ?2 WHERE id = ?1 AND state = 'running' "
                      "AND token = ?3",
    [SQL_JOB_INTERRUPT] = "UPDATE jobs SET interrupted = 1 WHERE id = ?1 AND state = 'running'",
    [SQL_JOB_REQUEUE] = "UPDATE jobs SET state = 'queued', lease_until = 0, "
                        "attempts = max(attempts - ?2, 0), charged = -charged, "
                        "owner = CASE WHEN ?4 = 0 THEN '' ELSE owner END "
                        "WHERE id = ?1 AND state = 'running' "
                        "AND token = ?3",
    [SQL_JOB_RESUME] = "UPDATE jobs SET state = 'running', lease_until = ?2, "
                       "charged = abs(charged) WHERE id = ?1 AND "
                       "state = 'queued' AND token = ?3 AND owner = ?4",
    [SQL_JOB_SPARE] = "UPDATE jobs SET lease_until = ?1 WHERE state = 'running' AND "
                      "owner GLOB 'worker:*'",
    [SQL_JOB_END] = "UPDATE jobs SET state = ?2, finished_ms = ?3, error_code = ?4, "
                    "error_message = ?5, refusal = ?6, owner = '', lease_until = 0 WHERE id = ?1 "
                    "AND state IN ('queued', 'running') AND ?7 IN (0, token)",
    [SQL_JOB_DELETE] = "DELETE FROM jobs WHERE id = ?1",
    SQL_ASIDE_STATEMENTS("?"),
    [SQL_JOB_EXPIRED] = "SELECT id FROM jobs WHERE state = 'running' AND lease_until < ?1 "
                        "ORDER BY lease_until LIMIT ?2",
    /* All of them but those of workers elsewhere: nobody else has the folder. */
    [SQL_JOB_OWN] = "SELECT id FROM jobs WHERE state = 'running' AND owner NOT GLOB 'worker:*' AND "
                    "?1 = 0 LIMIT ?2",
    [SQL_JOB_FINISHED_BEFORE] = "SELECT id FROM jobs WHERE finished_ms > 0 AND finished_ms < ?1 "
                                "AND NOT EXISTS (SELECT 1 FROM marks WHERE tag = '' AND "
                                "marks.sequence = jobs.sequence) ORDER BY finished_ms LIMIT ?2",
    [SQL_JOB_KEYLESS] = "SELECT jobs.id FROM jobs JOIN keys ON keys.id = jobs.key_id "
                        "WHERE jobs.state IN ('queued', 'running') AND keys.revoked_ms > ?1 "
                        "LIMIT ?2",
    [SQL_JOB_WAITED] = "SELECT id FROM jobs WHERE state = 'queued' AND waited > ?1 LIMIT ?2",
    [SQL_JOB_SHORT] = "SELECT id, count, n FROM (SELECT id, count, interrupted, (SELECT count(*) "
                      "FROM images WHERE job_id = jobs.id) AS n FROM jobs WHERE state = 'done') "
                      "WHERE n < count AND interrupted = 0",
    [SQL_JOB_LOST] = "UPDATE jobs SET state = 'failed', error_code = 'io', error_message = "
                     "'its pictures were lost' WHERE id = ?1 AND state = 'done'",
    [SQL_JOB_RANK] = "UPDATE jobs SET rank = ?2 WHERE id = ?1 AND state = 'queued'",
    [SQL_JOB_RANK_MOST] = "SELECT coalesce(max(rank), 0) FROM jobs INDEXED BY jobs_moved "
                          "WHERE state = 'queued' AND rank > 0",
    [SQL_JOB_NAMELESS] = "UPDATE jobs SET state = 'failed', error_code = 'internal', "
                         "error_message = 'its id is damaged' WHERE state IN ('queued', 'running') "
                         "AND (length(CAST(id AS BLOB)) <> 32 OR id GLOB '*[^0-9a-f]*')",
    [SQL_IMAGE_AT] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE job_id = ?1 AND position = ?2",
    [SQL_IMAGE_DELETE] = "DELETE FROM images WHERE id = ?1",
    [SQL_IMAGE_INSERT] = "INSERT INTO images (id, job_id, position, width, height, seed, subseed, "
                         "format, bytes, infotext) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                         "?10)",
    [SQL_IMAGE_GET] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE id = ?1 AND (?2 IS NULL OR "
                      "job_id IN (SELECT id FROM jobs WHERE key_id = ?2))",
    [SQL_IMAGES_OF_JOB] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE job_id = ?1 "
                          "ORDER BY position",
    [SQL_IMAGE_ALL] = "SELECT " SQL_IMAGE_COLUMNS ", job_id FROM images UNION ALL SELECT "
                      SQL_IMAGE_COLUMNS ", job_id FROM images_aside",
    [SQL_INPUT_PUT] = "INSERT INTO inputs (job_id, name, bytes) VALUES (?1, ?2, ?3)",
    [SQL_INPUT_BYTES] = "SELECT bytes FROM inputs WHERE job_id = ?1 AND name = ?2 UNION ALL "
                        "SELECT bytes FROM inputs_aside WHERE job_id = ?1 AND name = ?2",
    [SQL_INPUT_WAITING] = "SELECT coalesce(sum(bytes), 0) FROM jobs JOIN inputs ON job_id = id "
                          "WHERE state IN ('queued', 'running') AND key_id = ?1",
    [SQL_INPUT_DELETE] = "DELETE FROM inputs WHERE job_id = ?1 AND name = ?2",
    [SQL_INPUT_ALL] = "SELECT job_id, name, bytes FROM inputs UNION ALL SELECT job_id, name, "
                      "bytes FROM inputs_aside",
    [SQL_ORDER_PUT] = "INSERT OR REPLACE INTO orders (job_id, token, position, count) "
                      "VALUES (?1, ?2, ?3, ?4)",
    [SQL_ORDER_GET] = "SELECT token, position, count FROM orders WHERE job_id = ?1",
    [SQL_ORDER_DELETE] = "DELETE FROM orders WHERE job_id = ?1",
    [SQL_RECORD_PUT] = "INSERT OR REPLACE INTO records (" SQL_RECORD_COLUMNS ") "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_RECORD_GET] = "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE id = ?1 AND kind = ?2 AND "
                       "(?3 IS NULL OR key_id = ?3)",
    [SQL_RECORD_NEWEST] = "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE kind = ?1 AND "
                          "(?2 IS NULL OR key_id = ?2) AND (?3 = 0 OR (created_ms, id) < (?3, ?4)) "
                          "AND (?5 = 0 OR (expires_ms > 0 AND expires_ms < ?5)) "
                          "ORDER BY created_ms DESC, id DESC",
    [SQL_RECORD_OLDEST] = "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE kind = ?1 AND "
                          "(?2 IS NULL OR key_id = ?2) AND (?3 = 0 OR (created_ms, id) > (?3, ?4)) "
                          "AND (?5 = 0 OR (expires_ms > 0 AND expires_ms < ?5)) "
                          "ORDER BY created_ms, id",
    [SQL_RECORD_TOTAL] = "SELECT count(*), coalesce(sum(bytes), 0) FROM records WHERE kind = ?1 "
                         "AND (?2 IS NULL OR key_id = ?2)",
    [SQL_RECORD_FILES] = "SELECT id, bytes FROM records WHERE kind = 'file'",
    [SQL_RECORD_DELETE] = "DELETE FROM records WHERE id = ?1",
    [SQL_MARKS_OF_JOB] = "SELECT image_id, tag FROM marks WHERE sequence = (SELECT sequence FROM "
                         "jobs WHERE id = ?1) ORDER BY tag",
    /* Only where there is such a picture of such a job. */
    [SQL_MARK_ADD] = "INSERT OR IGNORE INTO marks (sequence, image_id, tag) SELECT sequence, ?2, "
                     "?3 FROM jobs WHERE id = ?1 AND (?2 IS NULL OR EXISTS (SELECT 1 FROM images "
                     "WHERE images.id = ?2 AND job_id = ?1))",
    [SQL_MARK_REMOVE] = "DELETE FROM marks WHERE sequence = (SELECT sequence FROM jobs WHERE "
                        "id = ?1) AND coalesce(image_id, '') = coalesce(?2, '') AND tag = ?3",
    [SQL_MARK_COUNT] = "SELECT count(*) FROM marks WHERE sequence = (SELECT sequence FROM jobs "
                       "WHERE id = ?1) AND coalesce(image_id, '') = coalesce(?2, '') AND tag > ''",
    [SQL_MARK_TAGS] = "SELECT tag, count(DISTINCT sequence) FROM marks WHERE tag > '' AND "
                      "(?1 IS NULL OR sequence IN (SELECT sequence FROM jobs WHERE key_id = ?1)) "
                      "GROUP BY tag ORDER BY tag LIMIT ?2",
    [SQL_IMAGE_JOB] = "SELECT jobs.id FROM images JOIN jobs ON jobs.id = job_id "
                      "WHERE images.id = ?1 AND (?2 IS NULL OR key_id = ?2)",
    [SQL_ONCE_GET] = "SELECT hash, jobs FROM once WHERE key_id = ?1 AND name = ?2 "
                     "AND created_ms >= ?3",
    [SQL_ONCE_PUT] = "INSERT OR REPLACE INTO once (key_id, name, hash, created_ms, jobs) "
                     "VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_ONCE_FORGET] = "DELETE FROM once WHERE created_ms < ?1",
    [SQL_WEBHOOK_PUT] = "INSERT INTO webhooks (id, key_id, url, secret, states, every, created_ms) "
                        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_WEBHOOK_LIST] = "SELECT id, key_id, url, secret, states, every, created_ms, told, failed, "
                         "last_ms, last_error, (SELECT count(*) FROM deliveries WHERE "
                         "webhook_id = webhooks.id) FROM webhooks WHERE (?1 IS NULL OR id = ?1) "
                         "AND (?2 IS NULL OR key_id = ?2) ORDER BY created_ms, id",
    [SQL_WEBHOOK_DELETE] = "DELETE FROM webhooks WHERE id = ?1 AND (?2 IS NULL OR key_id = ?2)",
    [SQL_WEBHOOK_TOLD] = "UPDATE webhooks SET told = told + 1, failed = 0, last_ms = ?2, "
                         "last_error = ?3 WHERE id = ?1",
    [SQL_WEBHOOK_FAILED] = "UPDATE webhooks SET failed = failed + 1, last_ms = ?2, "
                           "last_error = ?3 WHERE id = ?1",
    /* Who is to be told of a job's final state: its own key, and who asked for all. */
    [SQL_DELIVERY_ADD] = "INSERT INTO deliveries (id, webhook_id, job_id, state, created_ms, "
                         "due_ms) SELECT lower(hex(randomblob(16))), webhooks.id, ?1, ?2, ?3, ?3 "
                         "FROM webhooks JOIN jobs ON jobs.id = ?1 WHERE (every = 1 OR "
                         "webhooks.key_id = jobs.key_id) AND instr(states, ?2) > 0 AND NOT EXISTS "
                         "(SELECT 1 FROM keys WHERE keys.id = webhooks.key_id AND revoked_ms > 0)",
    /* One of each webhook, so that none hides the others behind what it does not take; first those
     * that take what they are told, and of them who was told longest ago. */
    [SQL_DELIVERY_DUE] = "SELECT d.sequence, d.id, d.webhook_id, d.job_id, d.created_ms, "
                         "d.attempts, d.state FROM webhooks JOIN deliveries AS d ON d.sequence = "
                         "(SELECT sequence FROM deliveries WHERE webhook_id = webhooks.id AND "
                         "due_ms <= ?1 ORDER BY due_ms, sequence LIMIT 1) "
                         "WHERE NOT EXISTS (SELECT 1 FROM keys WHERE keys.id = webhooks.key_id AND "
                         "revoked_ms > 0) "
                         "ORDER BY failed > 0, last_ms, d.due_ms LIMIT ?2",
    [SQL_DELIVERIES_TOLD_OFF] = "UPDATE webhooks SET last_error = ?2 WHERE key_id = ?1 AND EXISTS "
                                "(SELECT 1 FROM deliveries WHERE webhook_id = webhooks.id)",
    [SQL_DELIVERIES_OF_KEY] = "DELETE FROM deliveries WHERE webhook_id IN "
                              "(SELECT id FROM webhooks WHERE key_id = ?1)",
    [SQL_DELIVERY_AGAIN] = "UPDATE deliveries SET attempts = attempts + 1, due_ms = ?2 "
                           "WHERE sequence = ?1",
    [SQL_DELIVERY_DONE] = "DELETE FROM deliveries WHERE sequence = ?1",
    [SQL_INTEGRITY] = "PRAGMA integrity_check(20)",
    [SQL_FOREIGN_KEYS] = "PRAGMA foreign_key_check",
    [SQL_SEARCH_CHECK] = "INSERT INTO jobs_search (jobs_search, rank) "
                         "VALUES ('integrity-check', 1)",
    [SQL_SEARCH_REBUILD] = "INSERT INTO jobs_search (jobs_search) VALUES ('rebuild')",
};

/* ---- opening ---- */

/* Called by SQLite while a reader works; true interrupts it. */
static int is_late(void *ctx)
{
    struct sqlite_connection *c = ctx;
    return (c->gone && atomic_load(c->gone)) || (c->deadline && now_ms() > c->deadline);
}

static void left(sqlite3_context *c, int count, sqlite3_value **values)
{
    sqlite3_result_double(
        c, shares_left(sqlite3_value_int64(values[0]), sqlite3_value_int64(values[1])));
}

static void used(sqlite3_context *c, int count, sqlite3_value **values)
{
    sqlite3_result_int64(c, shares_used(sqlite3_value_int64(values[0]),
                                        sqlite3_value_double(values[1]),
                                        sqlite3_value_int64(values[2])));
}

bool sqlite_sql_open(struct sqlite *owner, struct sqlite_connection *c, bool writes,
                     struct err *err)
{
    c->sql.ops = &sqlite_sql_ops;
    c->owner = owner;
    int rc =
        sqlite3_open_v2(owner->path, &c->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(c->db, "pictor_left", 2, flags, NULL, left, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(c->db, "pictor_used", 3, flags, NULL, used, NULL, NULL);
    if (rc != SQLITE_OK)
        return sqlite_sql_fail(c, rc, err);
    sqlite3_busy_timeout(c->db, BUSY_MS);
    sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!writes)
        sqlite3_progress_handler(c->db, OPCODES, is_late, c);
    /* The schema of a file that somebody else wrote must not call functions of its choice, and
     * pages are checked before they are believed. */
    return sqlite_sql_execute(c,
                              "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; "
                              "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
                              err) &&
           sqlite_sql_execute(c,
                              writes ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                                       "PRAGMA wal_autocheckpoint = 128" /* pages: half a MB */
                                     : "PRAGMA query_only = ON",
                              err);
}

void sqlite_sql_close(struct sqlite_connection *c)
{
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(c->statements[i].s);
    for (int i = 0; i < SQL_LISTS + SQL_TABLE_SLOTS; i++)
        sqlite3_finalize(c->lists[i].s);
    sqlite3_close(c->db);
}

/* ---- taking turns ---- */

struct sqlite *sqlite_of(struct store *st)
{
    return (struct sqlite *)st;
}

static bool is_mine(struct sqlite *st)
{
    return pthread_equal(atomic_load(&st->holder), pthread_self());
}

struct sqlite_connection *sqlite_writer(struct store *store)
{
    struct sqlite *st = sqlite_of(store);
    if (!is_mine(st))
        pthread_mutex_lock(&st->writing);
    return &st->writer;
}

static void start_reading(struct sqlite_connection *c, int ms, const atomic_bool *gone)
{
    c->deadline = now_ms() + ms;
    c->gone = gone;
    sqlite_sql_run(c, SQL_BEGIN_READ, NULL); /* without, each statement reads by itself */
}

static struct sql_connection *reader(struct store *store)
{
    struct sqlite *st = sqlite_of(store);
    struct sqlite_connection *c = NULL;
    if (is_mine(st))
        return &st->writer.sql;
    pthread_mutex_lock(&st->reading);
    for (;;) {
        for (int i = 0; i < SQLITE_READERS && !c; i++)
            if (!st->readers[i].busy)
                c = &st->readers[i];
        if (c)
            break;
        pthread_cond_wait(&st->freed, &st->reading);
    }
    c->busy = true;
    pthread_mutex_unlock(&st->reading);
    start_reading(c, READ_MS, NULL);
    return &c->sql;
}

static struct sql_connection *searcher(struct store *store, const atomic_bool *gone)
{
    struct sqlite *st = sqlite_of(store);
    pthread_mutex_lock(&st->searching);
    start_reading(&st->searcher, SEARCH_MS, gone);
    return &st->searcher.sql;
}

void sqlite_release(struct sqlite_connection *c)
{
    struct sqlite *st = c->owner;
    if (c == &st->writer) {
        if (!is_mine(st))
            pthread_mutex_unlock(&st->writing);
        return;
    }
    c->deadline = 0;
    c->gone = NULL;
    if (!sqlite3_get_autocommit(c->db))
        sqlite_sql_run(c, SQL_ROLLBACK, NULL);
    if (c == &st->searcher) {
        pthread_mutex_unlock(&st->searching);
        return;
    }
    pthread_mutex_lock(&st->reading);
    c->busy = false;
    pthread_cond_signal(&st->freed);
    pthread_mutex_unlock(&st->reading);
}

/* ---- statements ---- */

bool sqlite_sql_fail(const struct sqlite_connection *c, int rc, struct err *err)
{
    const char *path = c->owner->path;
    switch (rc & 0xff) {
    case SQLITE_CORRUPT: {
        /* So SQLite calls a disk that cannot be read, too, and that may pass. */
        bool index = sqlite3_extended_errcode(c->db) == SQLITE_CORRUPT_VTAB;
        return err_at(err, path, index ? ERR_IO : ERR_UNAVAILABLE, "the database is damaged: %s",
                      sqlite3_errmsg(c->db));
    }
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return err_at(err, path, ERR_IO, "the database is damaged: %s", sqlite3_errmsg(c->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_at(err, path, ERR_UNAVAILABLE, "the database is in use by another process");
    case SQLITE_INTERRUPT:
        if (c == &c->owner->searcher)
            return err_set(err, ERR_BUSY, "the search took too long: ask for something rarer");
        return err_at(err, path, ERR_UNAVAILABLE, "the database took too long to answer");
    case SQLITE_CONSTRAINT:
    case SQLITE_MISUSE:
    case SQLITE_TOOBIG:
        return err_at(err, path, ERR_INTERNAL, "the database: %s", sqlite3_errmsg(c->db));
    case SQLITE_FULL:
        return err_at(err, path, ERR_NO_ROOM, "the database: %s", sqlite3_errmsg(c->db));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOMEM: {
        int number = sqlite3_system_errno(c->db);
        bool full = number == ENOSPC || number == EDQUOT;
        return err_at(err, path, full ? ERR_NO_ROOM : ERR_UNAVAILABLE, "the database: %s",
                      full ? strerror(number) : sqlite3_errmsg(c->db));
    }
    }
    return err_at(err, path, ERR_IO, "the database: %s", sqlite3_errmsg(c->db));
}

bool sqlite_sql_execute(struct sqlite_connection *c, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? true : sqlite_sql_fail(c, rc, err);
}

static bool prepare(struct sqlite_connection *c, struct sqlite_rows *slot, const char *sql,
                    struct err *err)
{
    slot->sql.ops = &sqlite_sql_ops;
    int rc = slot->s || !sql
                 ? SQLITE_OK
                 : sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &slot->s, NULL);
    return rc == SQLITE_OK ? true : sqlite_sql_fail(c, rc, err);
}

bool sqlite_sql_prepare_all(struct sqlite_connection *c, struct err *err)
{
    for (int i = 0; i < SQL_COUNT; i++)
        if (!prepare(c, &c->statements[i], statements[i], err))
            return false;
    return true;
}

static void done(struct sql_rows *rows)
{
    sqlite3_stmt *s = ((struct sqlite_rows *)rows)->s;
    if (!s) /* a statement that this database has no use for */
        return;
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

static bool bind_values(struct sqlite_connection *c, struct sqlite_rows *rows, struct err *err,
                        const char *types, const struct store_value *values)
{
    sqlite3_stmt *s = rows->s;
    int rc = SQLITE_OK;
    for (int i = 1; s && *types && rc == SQLITE_OK; i++, types++) {
        if (*types == 't')
            rc = sqlite3_bind_text(s, i, values[i - 1].text, -1, SQLITE_TRANSIENT);
        else if (*types == 'i')
            rc = sqlite3_bind_int64(s, i, values[i - 1].number);
        else
            rc = sqlite3_bind_blob(s, i, values[i - 1].hash, STORE_HASH_SIZE, SQLITE_TRANSIENT);
    }
    if (rc == SQLITE_OK)
        return true;
    sqlite_sql_fail(c, rc, err);
    done(&rows->sql);
    return false;
}

static struct sqlite_connection *connection(struct sql_connection *c)
{
    return (struct sqlite_connection *)c;
}

static struct sql_rows *bind(struct sql_connection *sql, enum sql_statement which, struct err *err,
                             const char *types, const struct store_value *values)
{
    struct sqlite_connection *c = connection(sql);
    struct sqlite_rows *rows = &c->statements[which];
    bool ok = prepare(c, rows, statements[which], err) && bind_values(c, rows, err, types, values);
    return ok ? &rows->sql : NULL;
}

static struct sql_rows *bind_list(struct sql_connection *sql, int which, const char *text,
                                  struct err *err, const char *types,
                                  const struct store_value *values)
{
    struct sqlite_connection *c = connection(sql);
    struct sqlite_rows *rows = &c->lists[which];
    bool ok = prepare(c, rows, text, err) && bind_values(c, rows, err, types, values);
    return ok ? &rows->sql : NULL;
}

static bool row(struct sql_connection *sql, struct sql_rows *rows, bool *failed, struct err *err)
{
    sqlite3_stmt *s = ((struct sqlite_rows *)rows)->s;
    int rc = s ? sqlite3_step(s) : SQLITE_DONE;
    *failed = rc != SQLITE_ROW && rc != SQLITE_DONE;
    if (*failed)
        sqlite_sql_fail(connection(sql), rc, err);
    return rc == SQLITE_ROW;
}

bool sqlite_sql_run(struct sqlite_connection *c, enum sql_statement which, struct err *err)
{
    return sql_run(&c->sql, which, err, "");
}

static bool save(struct sql_connection *c, struct err *err)
{
    return sql_run(c, SQL_SAVE, err, "");
}

static bool keep(struct sql_connection *c, bool all, struct err *err)
{
    if (all && sql_run(c, SQL_SAVE_KEEP, err, ""))
        return true;
    /* A commit that failed leaves its transaction open: what is written next would be in there,
     * seem to be kept, and be seen by nobody. */
    sql_run(c, SQL_SAVE_UNDO, NULL, "");
    sql_run(c, SQL_SAVE_KEEP, NULL, "");
    return false;
}

static int changes(struct sql_connection *c)
{
    return sqlite3_changes(connection(c)->db);
}

static const char *text(struct sql_rows *rows, int column)
{
    const unsigned char *value = sqlite3_column_text(((struct sqlite_rows *)rows)->s, column);
    return value ? (const char *)value : "";
}

static int64_t int64(struct sql_rows *rows, int column)
{
    return sqlite3_column_int64(((struct sqlite_rows *)rows)->s, column);
}

static const unsigned char *hash(struct sql_rows *rows, int column)
{
    sqlite3_stmt *s = ((struct sqlite_rows *)rows)->s;
    const unsigned char *bytes = sqlite3_column_blob(s, column);
    return sqlite3_column_bytes(s, column) == STORE_HASH_SIZE ? bytes : NULL;
}

static struct sql_connection *writer(struct store *st)
{
    return &sqlite_writer(st)->sql;
}

static void release(struct sql_connection *c)
{
    sqlite_release(connection(c));
}

/* Leases end on the monotonic clock: a step of the wall clock expires none. */
static int64_t lease_clock(struct store *st)
{
    return now_ms();
}

const struct sql_ops sqlite_sql_ops = {
    .writer = writer,
    .reader = reader,
    .snapshot = reader,
    .searcher = searcher,
    .release = release,
    .bind = bind,
    .bind_list = bind_list,
    .row = row,
    .done = done,
    .save = save,
    .keep = keep,
    .changes = changes,
    .text = text,
    .int64 = int64,
    .hash = hash,
    .list = sqlite_list_sql,
    .match = sqlite_list_match,
    .clock = lease_clock,
};

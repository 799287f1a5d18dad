/* pg_sql.c: the table of statements, and rows.
 *
 * Each statement runs as soon as it is bound, and its rows are all here, but for a few that look at
 * everything, whose rows come one by one. A reader of several statements sees one state of the
 * database. */
#include "server/store/pg/pg_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/now.h"

#define ANSWER_MS 12000 /* as in pg_pool.c */
#define SEARCH_MS 4000
#define CHECK_MS 3600000 /* fsck looks at every row */
#define PARAMETERS STORE_COLUMNS_MAX
#define TEXT_OID 25
#define INT8_OID 20
#define BYTEA_OID 17

#define HERE "current_setting('application_name')"

#define TEXT(number) #number
#define NUMBER(macro) TEXT(macro)

/* The next number is behind all that are there. */
#define NUMBERS(of, column, table)                                                                 \
    "SELECT setval(" of ", (SELECT coalesce(max(" column "), 0) + 1 FROM " table "), false)"

#define LEASE                                                                                      \
    "SELECT state, key_id, token, attempts, count, interrupted, (SELECT count(*) FROM images "     \
    "WHERE job_id = jobs.id), owner FROM jobs WHERE id = $1"

#define RECORD                                                                                     \
    "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE id = $1 AND kind = $2 AND "                  \
    "($3 IS NULL OR key_id = $3)"

/* Of `turns`: whether the key has a job that waits, of the models $1 if they are named. */
#define WAITS                                                                                      \
    "EXISTS (SELECT 1 FROM backlog WHERE backlog.key_id = turns.key_id AND queued > 0 AND "        \
    "($1 IS NULL OR model IN (SELECT json_array_elements_text($1::json))))"

/* The heads of all keys' lines, the best of them first; those that another server is about to
 * claim are passed over, and other keys' heads come before what is behind them. A few rows of each
 * key are looked at and one is locked, however many wait. */
#define NEXT(depth)                                                                                \
    "SELECT " SQL_TURN_COLUMNS " FROM turns CROSS JOIN LATERAL (SELECT sequence, row_number() "    \
    "OVER () AS place FROM (SELECT sequence FROM jobs WHERE state = 'queued' AND key_id = "        \
    "turns.key_id AND "                                                                            \
    "($1 IS NULL OR model IN (SELECT json_array_elements_text($1::json))) ORDER BY rank DESC, "    \
    "priority DESC, sequence LIMIT " depth ") AS line) AS heads JOIN jobs ON jobs.sequence = "     \
    "heads.sequence WHERE jobs.state = 'queued' AND " WAITS " ORDER BY jobs.rank DESC, " SQL_CLASS \
    " DESC, "                                                                                      \
    "place, turns.used, jobs.sequence LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED"

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN",
    [SQL_BEGIN_READ] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVE] = "SAVEPOINT one",
    [SQL_SAVE_KEEP] = "RELEASE one",
    [SQL_SAVE_UNDO] = "ROLLBACK TO one",
    [SQL_OPTION_GET] = "SELECT value FROM options WHERE name = $1",
    [SQL_OPTION_SET] = "INSERT INTO options (name, value) VALUES ($1, $2) "
                       "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [SQL_KEY_INSERT] = "INSERT INTO keys (id, name, scopes, prefix, hash, created_ms, weight, "
                       "day_pictures, month_pictures, day_work, month_work, day_money, "
                       "month_money) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 "
                       "WHERE NOT EXISTS (SELECT 1 FROM keys "
                       "WHERE $2 IN (name, id) AND revoked_ms = 0)",
    [SQL_KEY_ALL] = "SELECT " SQL_KEY_COLUMNS " FROM keys ORDER BY sequence",
    [SQL_KEY_PREFIX] = "SELECT " SQL_KEY_COLUMNS " FROM keys WHERE prefix = $1 "
                       "ORDER BY sequence",
    [SQL_KEY_SET] =
        "UPDATE keys SET weight = $2, day_pictures = $3, month_pictures = $4, "
        "day_work = $5, month_work = $6, day_money = $7, month_money = $8 WHERE id = $1 "
        "AND revoked_ms = 0",
    [SQL_KEY_ONE] = "SELECT " SQL_KEY_COLUMNS " FROM keys WHERE id = $1",
    [SQL_KEY_ANY] = "SELECT EXISTS (SELECT 1 FROM keys)::int",
    [SQL_KEY_REVOKE] = "UPDATE keys SET revoked_ms = $2 WHERE id = $1 AND revoked_ms = 0",
    [SQL_JOB_INSERT] = "INSERT INTO jobs (id, key_id, priority, model, prompt, count, params, "
                       "created_ms, tag, waited, work, home) "
                       "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, " HERE ")",
    [SQL_JOB_GET] = "SELECT " SQL_JOB_COLUMNS " FROM jobs WHERE id = $1 "
                    "AND ($2 IS NULL OR key_id = $2)",
    [SQL_JOB_TAGGED] = "SELECT id FROM jobs WHERE tag = $1 AND tag > '' "
                       "AND ($2 IS NULL OR key_id = $2) ORDER BY sequence DESC LIMIT 1",
    [SQL_JOB_ALL] = "SELECT " SQL_JOB_COLUMNS " FROM jobs UNION ALL SELECT " SQL_JOB_COLUMNS
                    " FROM jobs_aside",
    /* In the order they will run if nothing else comes: each key's jobs begin when what it has used
     * and what is before them comes to as much as the others'. Of very many the first: what is
     * behind them has no place yet. */
    [SQL_JOB_LINE] =
        "WITH q AS (SELECT id, rank, " SQL_CLASS
        " AS class, sequence, used, coalesce(sum(" SQL_EXPECTED(
            "least",
            "greatest") "::float8 / coalesce(weight, 1)) OVER (PARTITION BY "
                        "turns.key_id ORDER BY rank DESC, priority DESC, sequence ROWS BETWEEN "
                        "UNBOUNDED PRECEDING "
                        "AND 1 PRECEDING), 0) AS before FROM turns CROSS JOIN LATERAL (SELECT id "
                        "AS id, rank, "
                        "priority, sequence, work FROM jobs WHERE state = 'queued' AND key_id = "
                        "turns.key_id ORDER "
                        "BY rank DESC, priority DESC, sequence LIMIT (SELECT least(1000, "
                        "greatest(50000 / count(DISTINCT key_id), 20)) FROM backlog WHERE "
                        "queued > 0 HAVING count(*) > 0)) AS line LEFT JOIN "
                        "(SELECT id AS whose, "
                        "weight FROM keys) AS owner ON whose = turns.key_id) SELECT id FROM q "
                        "ORDER BY rank DESC, "
                        "class DESC, before + pictor_left(used, $1), used, sequence LIMIT 50000",
    [SQL_JOB_DEPTH] = "SELECT (SELECT coalesce(sum(queued), 0) FROM backlog WHERE "
                      "($1 IS NULL OR key_id = $1)), (SELECT count(*) FROM jobs WHERE "
                      "state = 'running' AND ($1 IS NULL OR key_id = $1))",
    [SQL_JOB_BACKLOG] =
        "SELECT model, waiting, coalesce((SELECT created_ms FROM jobs WHERE state = 'queued' AND "
        "jobs.model = lines.model ORDER BY created_ms LIMIT 1), 0) FROM (SELECT model, sum(queued) "
        "AS waiting FROM backlog GROUP BY model HAVING sum(queued) > 0) AS lines ORDER BY model "
        "LIMIT $1",
    /* Keys in the order of what they have used, until one has a job that nobody else is about to
     * claim: as a rule the first, however many keys and jobs there are. What was claimed stays in
     * the index until the table is vacuumed, so that each line looked at has its price. The whole
     * order is asked for because one index alone has it: another one has a key's history as well.
     */
    [SQL_JOB_NEXT_USUAL] =
        "SELECT " SQL_TURN_COLUMNS " FROM (SELECT key_id, used FROM turns WHERE " WAITS
        " ORDER BY used OFFSET 0) AS line CROSS JOIN LATERAL (SELECT sequence, rank, priority FROM "
        "jobs WHERE state = 'queued' AND key_id = line.key_id AND ($1 IS NULL OR model IN (SELECT "
        "json_array_elements_text($1::json))) ORDER BY rank DESC, priority DESC, sequence LIMIT 1) "
        "AS head JOIN jobs ON jobs.sequence = head.sequence WHERE head.rank = 0 AND head.priority "
        "= 0 AND jobs.state = 'queued' AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' "
        "AND rank > 0) AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND priority > 0) "
        "ORDER BY line.used LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED",
    [SQL_JOB_NEXT] = NEXT("2"),
    [SQL_JOB_NEXT_DEEP] = NEXT("1000"),
    [SQL_JOB_START] =
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, "
        "token = token + 1, owner = $2, server = " HERE ", started_ms = $3, "
        "lease_until = pictor_now() + $4, interrupted = 0, charged = (SELECT " SQL_EXPECTED(
            "least",
            "greatest") " FROM (SELECT 1) AS one LEFT JOIN turns "
                        "ON turns.key_id = jobs.key_id) WHERE id = $1 AND state = 'queued' "
                        "RETURNING token",
    /* The turns' row is locked behind the job's, and nothing behind it: whoever waits for it waits
     * for no more than a commit. */
    [SQL_JOB_TURN] = "UPDATE turns SET turn = nextval('turn_numbers'), used = pictor_used(used, "
                     "charged::float8 / coalesce(weight, 1), started_ms) FROM jobs LEFT JOIN keys "
                     "ON keys.id = jobs.key_id WHERE jobs.id = $1 AND turns.key_id = jobs.key_id",
    [SQL_JOB_CHARGE] =
        "UPDATE turns SET used = pictor_used(used, (took - charged)::float8 / weight, started_ms), "
        "pace = CASE WHEN NOT painted THEN pace WHEN pace = 0 THEN took * 1000 / work "
        "ELSE (3 * pace + took * 1000 / work) / 4 END FROM (SELECT jobs.key_id AS whose, charged, "
        "work, started_ms, coalesce(weight, 1) AS weight, greatest(least(finished_ms - started_ms, "
        "86400000), 1) AS took, state = 'done' AND work > 0 AND count = (SELECT count(*) FROM "
        "images WHERE job_id = jobs.id) AS painted FROM jobs LEFT JOIN keys ON keys.id = "
        "jobs.key_id WHERE jobs.id = $1 AND charged > 0) AS job WHERE turns.key_id = whose",
    /* A day is one of UTC, and the job's end's. What was cancelled before anybody began it is none.
     */
    [SQL_USAGE_ADD] =
        "INSERT INTO usage (" SQL_USAGE_COLUMNS
        ") SELECT finished_ms / 86400000, key_id, model, 1, "
        "(state = 'failed')::int, painted, CASE WHEN count > 0 THEN work * painted / count ELSE 0 "
        "END, "
        "CASE WHEN charged > 0 THEN greatest(least(finished_ms - started_ms, 86400000), 0) ELSE 0 "
        "END, "
        "money FROM (SELECT *, (SELECT count(*) FROM images WHERE job_id = jobs.id) AS painted "
        "FROM "
        "jobs WHERE id = $1 AND (state <> 'cancelled' OR charged > 0 OR money > 0)) AS ended "
        "WHERE true "
        "ON CONFLICT (day, key_id, model) DO UPDATE SET jobs = usage.jobs + 1, failed = "
        "usage.failed "
        "+ excluded.failed, pictures = usage.pictures + excluded.pictures, work = usage.work + "
        "excluded.work, ms = usage.ms + excluded.ms, money = usage.money + excluded.money",
    [SQL_USAGE_SINCE] =
        "SELECT coalesce(sum(CASE WHEN day >= $2 THEN pictures END), 0), "
        "coalesce(sum(CASE WHEN day >= $2 THEN work END), 0), "
        "coalesce(sum(CASE WHEN day >= $2 THEN money END), 0), coalesce(sum(pictures), 0), "
        "coalesce(sum(work), 0), coalesce(sum(money), 0) FROM usage WHERE key_id = $1 AND day >= "
        "$3",
    [SQL_USAGE_PENDING] =
        "SELECT model, sum(count), sum(work), sum(money) FROM (SELECT model, pictures AS count, "
        "work, money FROM backlog WHERE key_id = $1 AND queued > 0 UNION ALL SELECT model, count, "
        "work, money FROM jobs WHERE state = 'running' AND key_id = $1) AS waiting GROUP BY model",
    [SQL_USAGE_LIST] = "SELECT " SQL_USAGE_COLUMNS " FROM usage WHERE ($1 IS NULL OR key_id = $1) "
                       "AND day >= $2 AND day <= $3 ORDER BY day, key_id, model LIMIT $4",
    [SQL_JOB_SPEND] = "UPDATE jobs SET money = greatest(money + $3, 0) WHERE id = $1 AND "
                      "token = $2 AND state IN ('running', 'cancelled')",
    [SQL_JOB_REFUND] = "UPDATE turns SET used = pictor_used(used, charged::float8 / "
                       "coalesce(weight, 1), started_ms) FROM jobs LEFT JOIN keys ON keys.id = "
                       "jobs.key_id WHERE jobs.id = $1 AND turns.key_id = jobs.key_id AND "
                       "charged < 0",
    [SQL_JOB_LEASE] = LEASE,
    [SQL_JOB_LEASE_HELD] = LEASE " FOR UPDATE OF jobs",
    [SQL_JOB_RENEW] = "UPDATE jobs SET lease_until = pictor_now() + $2 WHERE id = $1 AND "
                      "state = 'running' AND token = $3",
    [SQL_JOB_INTERRUPT] = "UPDATE jobs SET interrupted = 1 WHERE id = $1 AND state = 'running'",
    [SQL_JOB_REQUEUE] = "UPDATE jobs SET state = 'queued', lease_until = 0, "
                        "attempts = greatest(attempts - $2, 0), charged = -charged, "
                        "owner = CASE WHEN $4 = 0 THEN '' ELSE owner END "
                        "WHERE id = $1 AND state = 'running' "
                        "AND token = $3",
    [SQL_JOB_RESUME] = "UPDATE jobs SET state = 'running', lease_until = pictor_now() + $2, "
                       "charged = abs(charged) WHERE id = $1 AND state = 'queued' AND token = $3 "
                       "AND owner = $4",
    [SQL_JOB_SPARE] = "UPDATE jobs SET lease_until = greatest(lease_until, pictor_now() + $1) "
                      "WHERE state = 'running' AND owner LIKE 'worker:%'",
    [SQL_JOB_END] = "UPDATE jobs SET state = $2, finished_ms = $3, error_code = $4, "
                    "error_message = $5, refusal = $6, owner = '', lease_until = 0 WHERE id = $1 "
                    "AND state IN ('queued', 'running') AND $7 IN (0, token)",
    [SQL_JOB_DELETE] = "DELETE FROM jobs WHERE id = $1",
    SQL_ASIDE_STATEMENTS("$"),
    [SQL_JOB_EXPIRED] = "SELECT id FROM jobs WHERE state = 'running' AND lease_until < "
                        "pictor_now() + $1 ORDER BY lease_until LIMIT $2",
    [SQL_JOB_OWN] = "SELECT id FROM jobs WHERE state = 'running' AND server = " HERE " AND "
                    "owner NOT LIKE 'worker:%' AND $1 = 0 LIMIT $2",
    [SQL_JOB_FINISHED_BEFORE] = "SELECT id FROM jobs WHERE finished_ms > 0 AND finished_ms < $1 "
                                "AND NOT EXISTS (SELECT 1 FROM marks WHERE tag = '' AND "
                                "marks.sequence = jobs.sequence) ORDER BY finished_ms LIMIT $2",
    [SQL_JOB_KEYLESS] =
        "SELECT line.id FROM (SELECT DISTINCT keys.id AS whose FROM keys JOIN backlog ON key_id = "
        "keys.id WHERE revoked_ms > $1 AND queued > 0) AS gone CROSS JOIN LATERAL (SELECT id FROM "
        "jobs WHERE state = 'queued' AND key_id = whose LIMIT $2) AS line UNION ALL SELECT jobs.id "
        "FROM jobs JOIN keys ON keys.id = key_id WHERE state = 'running' AND revoked_ms > $1 LIMIT "
        "$2",
    [SQL_JOB_WAITED] = "SELECT id FROM jobs WHERE state = 'queued' AND waited = 1 AND home = " HERE
                       " AND $1 = 0 LIMIT $2",
    [SQL_JOB_SHORT] = "SELECT id, count, n FROM (SELECT id, count, interrupted, (SELECT count(*) "
                      "FROM images WHERE job_id = jobs.id) AS n FROM jobs WHERE state = 'done') "
                      "AS counted WHERE n < count AND interrupted = 0",
    [SQL_JOB_LOST] = "UPDATE jobs SET state = 'failed', error_code = 'io', error_message = "
                     "'its pictures were lost' WHERE id = $1 AND state = 'done'",
    [SQL_JOB_RANK] = "UPDATE jobs SET rank = $2 WHERE id = $1 AND state = 'queued'",
    [SQL_JOB_RANK_MOST] = "SELECT coalesce(max(rank), 0) FROM jobs WHERE state = 'queued' AND "
                          "rank > 0",
    [SQL_JOB_NAMELESS] = "UPDATE jobs SET state = 'failed', error_code = 'internal', "
                         "error_message = 'its id is damaged' WHERE state IN ('queued', 'running') "
                         "AND id !~ '^[0-9a-f]{32}$'",
    [SQL_IMAGE_AT] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE job_id = $1 AND position = $2",
    [SQL_IMAGE_DELETE] = "DELETE FROM images WHERE id = $1",
    [SQL_IMAGE_INSERT] = "INSERT INTO images (id, job_id, position, width, height, seed, subseed, "
                         "format, bytes, infotext) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
                         "$10)",
    [SQL_IMAGE_GET] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE id = $1 AND ($2 IS NULL OR "
                      "job_id IN (SELECT id FROM jobs WHERE key_id = $2))",
    [SQL_IMAGES_OF_JOB] = "SELECT " SQL_IMAGE_COLUMNS " FROM images WHERE job_id = $1 "
                          "ORDER BY position",
    [SQL_IMAGE_ALL] = "SELECT " SQL_IMAGE_COLUMNS ", job_id FROM images UNION ALL SELECT "
                      SQL_IMAGE_COLUMNS ", job_id FROM images_aside",
    [SQL_INPUT_PUT] = "INSERT INTO inputs (job_id, name, bytes) VALUES ($1, $2, $3)",
    [SQL_INPUT_BYTES] = "SELECT bytes FROM inputs WHERE job_id = $1 AND name = $2 UNION ALL "
                        "SELECT bytes FROM inputs_aside WHERE job_id = $1 AND name = $2",
    [SQL_INPUT_WAITING] =
        "SELECT coalesce(sum(bytes), 0) FROM (SELECT id FROM jobs WHERE state = 'queued' AND "
        "key_id = $1 UNION ALL SELECT id FROM jobs WHERE state = 'running' AND key_id = $1) AS "
        "waiting JOIN inputs ON job_id = id",
    [SQL_INPUT_DELETE] = "DELETE FROM inputs WHERE job_id = $1 AND name = $2",
    [SQL_INPUT_ALL] = "SELECT job_id, name, bytes FROM inputs UNION ALL SELECT job_id, name, "
                      "bytes FROM inputs_aside",
    [SQL_ORDER_PUT] = "INSERT INTO orders (job_id, token, position, count) "
                      "VALUES ($1, $2, $3, $4) ON CONFLICT (job_id) DO UPDATE SET token = "
                      "excluded.token, position = excluded.position, count = excluded.count",
    [SQL_ORDER_GET] = "SELECT token, position, count FROM orders WHERE job_id = $1",
    [SQL_ORDER_DELETE] = "DELETE FROM orders WHERE job_id = $1",
    [SQL_RECORD_PUT] = "INSERT INTO records (" SQL_RECORD_COLUMNS ") "
                       "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET kind = "
                       "excluded.kind, key_id = excluded.key_id, created_ms = excluded.created_ms, "
                       "expires_ms = excluded.expires_ms, bytes = excluded.bytes, body = "
                       "excluded.body",
    [SQL_RECORD_GET] = RECORD,
    [SQL_RECORD_GET_HELD] = RECORD " FOR UPDATE",
    [SQL_RECORD_NEWEST] = "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE kind = $1 AND "
                          "($2 IS NULL OR key_id = $2) AND ($3 = 0 OR (created_ms, id) < ($3, $4)) "
                          "AND ($5 = 0 OR (expires_ms > 0 AND expires_ms < $5)) "
                          "ORDER BY created_ms DESC, id DESC LIMIT 1000",
    [SQL_RECORD_OLDEST] = "SELECT " SQL_RECORD_COLUMNS " FROM records WHERE kind = $1 AND "
                          "($2 IS NULL OR key_id = $2) AND ($3 = 0 OR (created_ms, id) > ($3, $4)) "
                          "AND ($5 = 0 OR (expires_ms > 0 AND expires_ms < $5)) "
                          "ORDER BY created_ms, id LIMIT 1000",
    [SQL_RECORD_TOTAL] = "SELECT count(*), coalesce(sum(bytes), 0) FROM records WHERE kind = $1 "
                         "AND ($2 IS NULL OR key_id = $2)",
    [SQL_RECORD_FILES] = "SELECT id, bytes FROM records WHERE kind = 'file'",
    [SQL_RECORD_DELETE] = "DELETE FROM records WHERE id = $1",
    [SQL_MARKS_OF_JOB] = "SELECT image_id, tag FROM marks WHERE sequence = (SELECT sequence FROM "
                         "jobs WHERE id = $1) ORDER BY tag",
    /* Only where there is such a picture of such a job. */
    [SQL_MARK_ADD] = "INSERT INTO marks (sequence, image_id, tag) SELECT sequence, $2, "
                     "$3 FROM jobs WHERE id = $1 AND ($2 IS NULL OR EXISTS (SELECT 1 FROM images "
                     "WHERE images.id = $2 AND job_id = $1)) ON CONFLICT DO NOTHING",
    [SQL_MARK_REMOVE] = "DELETE FROM marks WHERE sequence = (SELECT sequence FROM jobs WHERE "
                        "id = $1) AND coalesce(image_id, '') = coalesce($2, '') AND tag = $3",
    [SQL_MARK_COUNT] = "SELECT count(*) FROM marks WHERE sequence = (SELECT sequence FROM jobs "
                       "WHERE id = $1) AND coalesce(image_id, '') = coalesce($2, '') AND tag > ''",
    [SQL_MARK_TAGS] = "SELECT tag, count(DISTINCT sequence) FROM marks WHERE tag > '' AND "
                      "($1 IS NULL OR sequence IN (SELECT sequence FROM jobs WHERE key_id = $1)) "
                      "GROUP BY tag ORDER BY tag LIMIT $2",
    [SQL_IMAGE_JOB] = "SELECT jobs.id FROM images JOIN jobs ON jobs.id = job_id "
                      "WHERE images.id = $1 AND ($2 IS NULL OR key_id = $2)",
    /* Whoever asks under the name of another's open transaction waits for its end. */
    [SQL_ONCE_LOCK] = "SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))",
    [SQL_ONCE_GET] = "SELECT hash, jobs FROM once WHERE key_id = $1 AND name = $2 "
                     "AND created_ms >= $3",
    [SQL_ONCE_PUT] = "INSERT INTO once (key_id, name, hash, created_ms, jobs) "
                     "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key_id, name) DO UPDATE SET hash = "
                     "excluded.hash, created_ms = excluded.created_ms, jobs = excluded.jobs",
    [SQL_ONCE_FORGET] = "DELETE FROM once WHERE created_ms < $1",
    [SQL_WEBHOOK_PUT] = "INSERT INTO webhooks (id, key_id, url, secret, states, every, created_ms) "
                        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
    [SQL_WEBHOOK_LIST] = "SELECT id, key_id, url, secret, states, every, created_ms, told, failed, "
                         "last_ms, last_error, (SELECT count(*) FROM deliveries WHERE "
                         "webhook_id = webhooks.id) FROM webhooks WHERE ($1 IS NULL OR id = $1) "
                         "AND ($2 IS NULL OR key_id = $2) ORDER BY created_ms, id",
    [SQL_WEBHOOK_DELETE] = "DELETE FROM webhooks WHERE id = $1 AND ($2 IS NULL OR key_id = $2)",
    [SQL_WEBHOOK_TOLD] = "UPDATE webhooks SET told = told + 1, failed = 0, last_ms = $2, "
                         "last_error = $3 WHERE id = $1",
    [SQL_WEBHOOK_FAILED] = "UPDATE webhooks SET failed = failed + 1, last_ms = $2, "
                           "last_error = $3 WHERE id = $1",
    /* Who is to be told of a job's final state: its own key, and who asked for all. */
    [SQL_DELIVERY_ADD] =
        "INSERT INTO deliveries (id, webhook_id, job_id, state, created_ms, "
        "due_ms) SELECT replace(gen_random_uuid()::text, '-', ''), webhooks.id, $1, $2, $3, $3 "
        "FROM webhooks JOIN jobs ON jobs.id = $1 WHERE (every = 1 OR "
        "webhooks.key_id = jobs.key_id) AND strpos(states, $2) > 0 AND NOT EXISTS "
        "(SELECT 1 FROM keys WHERE keys.id = webhooks.key_id AND revoked_ms > 0)",
    /* One of each webhook, so that none hides the others behind what it does not take; first those
     * that take what they are told, and of them who was told longest ago. */
    [SQL_DELIVERY_DUE] = "SELECT d.sequence, d.id, d.webhook_id, d.job_id, d.created_ms, "
                         "d.attempts, d.state FROM webhooks JOIN deliveries AS d ON d.sequence = "
                         "(SELECT sequence FROM deliveries WHERE webhook_id = webhooks.id AND "
                         "due_ms <= $1 ORDER BY due_ms, sequence LIMIT 1) "
                         "WHERE NOT EXISTS (SELECT 1 FROM keys WHERE keys.id = webhooks.key_id AND "
                         "revoked_ms > 0) "
                         "ORDER BY failed > 0, last_ms, d.due_ms LIMIT $2",
    [SQL_DELIVERIES_TOLD_OFF] = "UPDATE webhooks SET last_error = $2 WHERE key_id = $1 AND EXISTS "
                                "(SELECT 1 FROM deliveries WHERE webhook_id = webhooks.id)",
    [SQL_DELIVERIES_OF_KEY] = "DELETE FROM deliveries WHERE webhook_id IN "
                              "(SELECT id FROM webhooks WHERE key_id = $1)",
    [SQL_DELIVERY_AGAIN] = "UPDATE deliveries SET attempts = attempts + 1, due_ms = $2 "
                           "WHERE sequence = $1",
    [SQL_DELIVERY_DONE] = "DELETE FROM deliveries WHERE sequence = $1",

    [SQL_NEWS_LAST] = "SELECT (SELECT coalesce(max(sequence), 0) FROM news), (SELECT "
                      "coalesce(max(changed), 0) FROM progress)",
    [SQL_NEWS_GAPS] =
        "SELECT before + 1, sequence - 1 FROM (SELECT sequence, lag(sequence, 1, "
        "greatest($1 - $2, 0)) OVER (ORDER BY sequence) AS before FROM news WHERE "
        "sequence > $1 - $2 AND sequence <= $1) AS numbers WHERE sequence > before + 1",
    [SQL_NEWS_SINCE] =
        "SELECT sequence, kind, job_id, key_id, state, image_id, position FROM news WHERE "
        "sequence > $1 UNION ALL SELECT sequence, kind, job_id, key_id, state, image_id, position "
        "FROM unnest($2::bigint[], $3::bigint[]) AS gap (first, last) JOIN news ON sequence "
        "BETWEEN "
        "first AND last ORDER BY sequence LIMIT " NUMBER(PG_NEWS_PAGE),
    [SQL_NEWS_FORGET] = "DELETE FROM news WHERE at_ms < pictor_now() - 600000 AND sequence < "
                        "(SELECT max(sequence) FROM news)",
    /* Of a job that runs here; its row is held, so that none is left of one that has ended. */
    [SQL_NEWS_REPORT] =
        "INSERT INTO progress (job_id, key_id, server, changed, picture, step, steps, eta_ms, "
        "preview) SELECT id, key_id, server, nextval('progress_numbers'), $2, $3, $4, $5, "
        "decode($6, 'hex') FROM jobs WHERE id = $1 AND state = 'running' AND server = " HERE
        " FOR SHARE SKIP LOCKED ON CONFLICT (job_id) DO UPDATE SET server = excluded.server, "
        "changed = excluded.changed, picture = excluded.picture, step = excluded.step, steps = "
        "excluded.steps, eta_ms = excluded.eta_ms, preview = coalesce(excluded.preview, "
        "progress.preview)",
    [SQL_NEWS_PROGRESS] =
        "SELECT job_id, key_id, changed, picture, step, steps, eta_ms, "
        "encode(preview, 'hex') FROM progress WHERE changed > $1 AND server <> " HERE
        " ORDER BY changed",
    /* Its row is held: news of a job that has ended would make it run again for all who hear. */
    [SQL_NEWS_SKIP] = "INSERT INTO news (at_ms, kind, job_id, key_id, state, position) SELECT "
                      "pictor_now(), 'skip', id, $2, state, $3 FROM jobs WHERE id = $1 AND "
                      "state = 'running' FOR SHARE",
    [SQL_WORKER_PUT] = "INSERT INTO workers (id, body, seen_ms) VALUES ($1, $2, pictor_now()) ON "
                       "CONFLICT (id) DO UPDATE SET body = excluded.body, seen_ms = "
                       "excluded.seen_ms",
    [SQL_WORKER_LIST] = "SELECT id, body, pictor_now() - seen_ms FROM workers WHERE seen_ms > "
                        "pictor_now() - $1 ORDER BY id",
    [SQL_WORKER_DELETE] = "DELETE FROM workers WHERE id = $1 OR seen_ms < pictor_now() - $2",
    [SQL_NEWS_LEAD] = "SELECT pg_try_advisory_lock(" PG_LEAD ")::int",
    [SQL_MOVE_QUIET] = "SELECT set_config('pictor.quiet', 'on', true)",
    [SQL_MOVE_JOBS] = NUMBERS("pg_get_serial_sequence('jobs', 'sequence')", "sequence", "jobs"),
    [SQL_MOVE_KEYS] = NUMBERS("pg_get_serial_sequence('keys', 'sequence')", "sequence", "keys"),
    [SQL_MOVE_DELIVERIES] =
        NUMBERS("pg_get_serial_sequence('deliveries', 'sequence')", "sequence", "deliveries"),
    [SQL_MOVE_TURNS] = NUMBERS("'turn_numbers'", "turn", "turns"),
    [SQL_MOVE_LINE] = "INSERT INTO turns (key_id) SELECT DISTINCT key_id FROM jobs WHERE state IN "
                      "('queued', 'running') ON CONFLICT DO NOTHING",
};

/* ---- taking turns ---- */

struct pg *pg_of(struct store *st)
{
    return (struct pg *)st;
}

static struct pg_connection *connection(struct sql_connection *c)
{
    return (struct pg_connection *)c;
}

static struct sql_connection *writer(struct store *st)
{
    return &pg_pool_take(pg_of(st))->sql;
}

static struct sql_connection *snapshot(struct store *st)
{
    struct pg_connection *c = pg_pool_take(pg_of(st));
    c->reads = !pg_pool_is_mine(c);
    return &c->sql;
}

static struct sql_connection *searcher(struct store *st, const atomic_bool *gone)
{
    struct pg_connection *c = pg_pool_take(pg_of(st));
    if (!pg_pool_is_mine(c)) {
        c->reads = c->searching = true;
        c->gone = gone;
    }
    return &c->sql;
}

static void release(struct sql_connection *c)
{
    pg_pool_give(connection(c));
}

/* ---- statements ---- */

static bool streams(enum sql_statement which)
{
    return which == SQL_JOB_ALL || which == SQL_IMAGE_ALL || which == SQL_INPUT_ALL ||
           which == SQL_RECORD_FILES || which == SQL_JOB_SHORT;
}

/* Those upon which a trigger may write news. */
static bool tells(enum sql_statement which)
{
    switch ((int)which) {
    case SQL_OPTION_SET:
    case SQL_JOB_INSERT:
    case SQL_JOB_START:
    case SQL_JOB_INTERRUPT:
    case SQL_JOB_REQUEUE:
    case SQL_JOB_RESUME:
    case SQL_JOB_END:
    case SQL_JOB_DELETE:
    case SQL_BACK_JOB:
    case SQL_BACK_IMAGES:
    case SQL_BACK_IMAGE:
    case SQL_BACK_MARKS:
    case SQL_BACK_IMAGE_MARKS:
    case SQL_JOB_LOST:
    case SQL_JOB_RANK:
    case SQL_JOB_NAMELESS:
    case SQL_IMAGE_INSERT:
    case SQL_IMAGE_DELETE:
    case SQL_MARK_ADD:
    case SQL_MARK_REMOVE:
    case SQL_NEWS_SKIP:
        return true;
    }
    return false;
}

/* Before the first statement of a reader that sees one state. */
static bool begin_reading(struct pg_connection *c, struct err *err)
{
    if (!c->reads)
        return true;
    c->reads = false;
    return pg_pool_execute(c,
                           c->searching
                               ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL "
                                 "statement_timeout = '2s'; SET LOCAL plan_cache_mode = "
                                 "force_custom_plan"
                               : statements[SQL_BEGIN_READ],
                           err);
}

/* Reads the answers to a command without rows. */
static bool finish(struct pg_connection *c, struct err *err)
{
    bool done = true;
    for (PGresult *r; (r = pg_pool_answer(c, err)); PQclear(r))
        if (PQresultStatus(r) != PGRES_COMMAND_OK && done)
            done = pg_pool_fail(c, r, err);
    return done && !c->broken;
}

static bool prepare(struct pg_connection *c, const char *name, const char *sql, const char *types,
                    struct err *err)
{
    Oid oids[PARAMETERS];
    int count = (int)strlen(types);
    for (int i = 0; i < count; i++)
        oids[i] = types[i] == 't' ? TEXT_OID : types[i] == 'i' ? INT8_OID : BYTEA_OID;
    if (!PQsendPrepare(c->db, name, sql, count, oids))
        return pg_pool_fail(c, NULL, err);
    return finish(c, err);
}

static bool send_values(struct pg_connection *c, const char *name, const char *types,
                        const struct store_value *given, struct err *err)
{
    char numbers[PARAMETERS][24];
    const char *values[PARAMETERS];
    int lengths[PARAMETERS] = {0}, formats[PARAMETERS] = {0}, count = 0;
    for (; types[count]; count++) {
        if (types[count] == 't') {
            values[count] = given[count].text;
        } else if (types[count] == 'i') {
            snprintf(numbers[count], sizeof numbers[count], "%lld", (long long)given[count].number);
            values[count] = numbers[count];
        } else {
            values[count] = (const char *)given[count].hash;
            lengths[count] = STORE_HASH_SIZE;
            formats[count] = 1;
        }
    }
    return PQsendQueryPrepared(c->db, name, count, values, lengths, formats, 0) ||
           pg_pool_fail(c, NULL, err);
}

/* Takes the next rows; false at the end and on failure. */
static bool fetch(struct pg_rows *rows, bool *failed, struct err *err)
{
    struct pg_connection *c = rows->c;
    PQclear(rows->result);
    rows->at = -1;
    rows->result = pg_pool_answer(c, err);
    ExecStatusType status = PQresultStatus(rows->result);
    *failed = c->broken || (rows->result && status != PGRES_COMMAND_OK &&
                            status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE);
    if (*failed && !c->broken)
        pg_pool_fail(c, rows->result, err);
    return !*failed && rows->result;
}

/* What is left of the answers. */
static void drain(struct pg_connection *c)
{
    PGresult *r;
    while (!c->broken && (r = pg_pool_answer(c, NULL)))
        PQclear(r);
}

static void done(struct sql_rows *sql)
{
    struct pg_rows *rows = (struct pg_rows *)sql;
    if (rows->streams && rows->result)
        drain(rows->c);
    PQclear(rows->result);
    rows->result = NULL;
    rows->streams = false;
}

static struct sql_rows *start(struct pg_connection *c, bool *prepared, const char *name,
                              const char *sql, bool one_by_one, struct err *err, const char *types,
                              const struct store_value *values)
{
    struct pg_rows *rows = &c->rows;
    bool failed;
    rows->sql.ops = &pg_sql_ops;
    rows->c = c;
    rows->streams = false;
    c->changes = 0;
    if (!sql) { /* nothing to do here */
        rows->at = -1;
        return &rows->sql;
    }
    if (!c->db || c->broken) {
        err_copy(err, &c->trouble);
        return NULL;
    }
    if (!begin_reading(c, err))
        return NULL;
    c->deadline = now_ms() + (one_by_one ? CHECK_MS : c->searching ? SEARCH_MS : ANSWER_MS);
    if (!*prepared && !prepare(c, name, sql, types, err))
        return NULL;
    *prepared = true;
    if (!send_values(c, name, types, values, err))
        return NULL;
    rows->streams = one_by_one && PQsetSingleRowMode(c->db);
    if (!fetch(rows, &failed, err)) {
        drain(c);
        rows->streams = false;
        PQclear(rows->result);
        rows->result = NULL;
        return NULL;
    }
    if (!rows->streams) {
        const char *changed = PQcmdTuples(rows->result);
        c->changes = atoi(changed);
        drain(c);
    }
    return &rows->sql;
}

/* Before what takes as long as it takes. */
static bool read_everything(struct pg_connection *c, struct err *err)
{
    return !c->db || c->broken || PQtransactionStatus(c->db) != PQTRANS_IDLE ||
           pg_pool_execute(c, "BEGIN READ ONLY; SET LOCAL statement_timeout = 0", err);
}

static struct sql_rows *bind(struct sql_connection *sql, enum sql_statement which, struct err *err,
                             const char *types, const struct store_value *values)
{
    struct pg_connection *c = connection(sql);
    char name[16];
    /* In a transaction what is looked at stays as it is until its end. */
    if (which == SQL_JOB_LEASE && pg_pool_is_mine(c))
        which = SQL_JOB_LEASE_HELD;
    if (which == SQL_RECORD_GET && pg_pool_is_mine(c))
        which = SQL_RECORD_GET_HELD;
    c->wrote = c->wrote || tells(which);
    snprintf(name, sizeof name, "s%d", (int)which);
    if (streams(which) && !read_everything(c, err))
        return NULL;
    return start(c, &c->prepared[which], name, statements[which], streams(which), err, types,
                 values);
}

static struct sql_rows *bind_list(struct sql_connection *sql, int which, const char *text,
                                  struct err *err, const char *types,
                                  const struct store_value *values)
{
    struct pg_connection *c = connection(sql);
    char name[16];
    bool table = which >= SQL_LISTS && (which - SQL_LISTS) % 2 == 0; /* a whole one is read */
    snprintf(name, sizeof name, "l%d", which);
    if (table && !read_everything(c, err))
        return NULL;
    return start(c, &c->lists[which], name, text, table, err, types, values);
}

static bool row(struct sql_connection *c, struct sql_rows *sql, bool *failed, struct err *err)
{
    struct pg_rows *rows = (struct pg_rows *)sql;
    *failed = false;
    if (!rows->result)
        return false;
    if (++rows->at < PQntuples(rows->result))
        return true;
    if (!rows->streams)
        return false;
    return fetch(rows, failed, err) && ++rows->at < PQntuples(rows->result);
}

static bool save(struct sql_connection *sql, struct err *err)
{
    struct pg_connection *c = connection(sql);
    if (!c->db || c->broken)
        return err_copy(err, &c->trouble);
    c->alone = PQtransactionStatus(c->db) == PQTRANS_IDLE;
    return pg_pool_execute(c, statements[c->alone ? SQL_BEGIN : SQL_SAVE], err);
}

static bool keep(struct sql_connection *sql, bool all, struct err *err)
{
    struct pg_connection *c = connection(sql);
    if (all)
        return pg_pool_execute(c, statements[c->alone ? SQL_COMMIT : SQL_SAVE_KEEP], err);
    if (c->alone) {
        pg_pool_execute(c, statements[SQL_ROLLBACK], NULL);
    } else {
        pg_pool_execute(c, statements[SQL_SAVE_UNDO], NULL);
        pg_pool_execute(c, statements[SQL_SAVE_KEEP], NULL);
    }
    return false;
}

static int changes(struct sql_connection *c)
{
    return connection(c)->changes;
}

/* ---- rows ---- */

static const char *text(struct sql_rows *sql, int column)
{
    struct pg_rows *rows = (struct pg_rows *)sql;
    const char *value = PQgetvalue(rows->result, rows->at, column);
    return value ? value : "";
}

static int64_t int64(struct sql_rows *sql, int column)
{
    return strtoll(text(sql, column), NULL, 10);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const unsigned char *hash(struct sql_rows *sql, int column)
{
    struct pg_rows *rows = (struct pg_rows *)sql;
    const char *hex = text(sql, column);
    if (strlen(hex) != 2 + 2 * STORE_HASH_SIZE || strncmp(hex, "\\x", 2) != 0)
        return NULL;
    for (int i = 0; i < STORE_HASH_SIZE; i++) {
        int high = digit(hex[2 + 2 * i]), low = digit(hex[3 + 2 * i]);
        if (high < 0 || low < 0)
            return NULL;
        rows->hash[i] = (unsigned char)(high << 4 | low);
    }
    return rows->hash;
}

/* The statements ask the database's own. */
static int64_t lease_clock(struct store *st)
{
    return 0;
}

const struct sql_ops pg_sql_ops = {
    .writer = writer,
    .reader = writer,
    .snapshot = snapshot,
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
    .list = pg_list_sql,
    .match = pg_list_match,
    .clock = lease_clock,
};

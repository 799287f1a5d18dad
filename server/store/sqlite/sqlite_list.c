/* sqlite_list.c: lists of jobs, each kind by a statement of its own that says how its rows are
 * found: along the history, by an index of few rows, or by what the search index knows. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/store/sqlite/sqlite_sql.h"

static void leave_out(struct job *job, const struct err *damage)
{
    job_free(job);
    log_err(LOG_ERROR, "job_damaged", damage, " ");
}

/* How the rows of a state are found: few by an index of their own, the others along the history. */
enum list_state { LIST_ANY, LIST_QUEUED, LIST_RUNNING, LIST_DONE, LIST_ENDED, LIST_STATES };

/* TEXT_SHORT has no three characters in a row for the index: every prompt is read. */
enum list_text { TEXT_NONE, TEXT_SHORT, TEXT_INDEXED, LIST_TEXTS };

/* What else narrows a list; any of them at once. */
enum list_narrow { NARROW_TAGS = 1, NARROW_FAVOURITE = 2, NARROW_MODEL = 4, NARROW_TIME = 8 };
#define NARROWS 16

_Static_assert(2 * LIST_STATES * LIST_TEXTS * NARROWS == SQLITE_LISTS,
               "a slot for each kind of list");

#define TRIGRAMS_MAX 12
#define MATCH_SIZE (TRIGRAMS_MAX * 24)

static const char narrow_tags[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag IN (SELECT value FROM json_each(?6)) "
    "GROUP BY sequence HAVING count(DISTINCT tag) = ?7)";
static const char narrow_favourite[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag = '')";
/* The index of times says between which numbers; the clock may have gone back meanwhile, so each is
 * looked at, too. */
#define OF_TIME "created_ms >= ?9 AND created_ms < ?10"
#define OF_TIMES " FROM jobs INDEXED BY jobs_created WHERE " OF_TIME ")"
static const char narrow_time[] =
    " AND " OF_TIME " AND sequence <= (SELECT max(sequence)" OF_TIMES
    " AND sequence >= (SELECT min(sequence)" OF_TIMES;

/* The statement of a kind of list. Parameters: key, state, text, match, before, tags, their
 * number, model, since, until, limit. */
static void list_sql(bool of_key, enum list_state state, enum list_text text, unsigned narrow,
                     char *sql, size_t size)
{
    static const struct {
        const char *index, *where;
    } states[LIST_STATES] = {
        [LIST_ANY] = {"", ""},
        [LIST_QUEUED] = {" INDEXED BY jobs_queued", " AND state = 'queued'"},
        [LIST_RUNNING] = {" INDEXED BY jobs_running", " AND state = 'running'"},
        [LIST_DONE] = {"", " AND state = ?2"},
        [LIST_ENDED] = {" INDEXED BY jobs_ended",
                        " AND state IN ('failed', 'cancelled') AND state = ?2"},
    };
    bool indexed = text == TEXT_INDEXED;
    snprintf(sql, size,
             "SELECT " SQLITE_JOB_COLUMNS " FROM %sjobs%s WHERE %ssequence < ?5%s%s%s%s%s%s%s "
             "ORDER BY %s DESC LIMIT ?11",
             indexed ? "jobs_search CROSS JOIN " : "",
             indexed || narrow ? "" : states[state].index,
             indexed ? "jobs_search MATCH ?4 AND jobs_search.rowid < ?5 AND "
                       "jobs.sequence = jobs_search.rowid AND "
                     : "",
             states[state].where, of_key ? " AND key_id = ?1" : "",
             text == TEXT_NONE ? "" : " AND instr(lower(jobs.prompt), lower(?3)) > 0",
             narrow & NARROW_TAGS ? narrow_tags : "",
             narrow & NARROW_FAVOURITE ? narrow_favourite : "",
             narrow & NARROW_MODEL ? " AND model = ?8" : "",
             narrow & NARROW_TIME ? narrow_time : "",
             indexed ? "jobs_search.rowid" : "sequence");
}

/* Bytes of the character at p (UTF-8, checked before); 0 at the end. */
static size_t character(const char *p)
{
    unsigned char c = (unsigned char)*p;
    return c == 0 ? 0 : c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* The text's trigrams as a query of the index: "abc" AND "bcd". Only some of a long text's, spread
 * over it: what they find is compared with the whole text anyway. False when there are none. */
static bool match_query(const char *text, char match[MATCH_SIZE])
{
    size_t starts[JOB_SEARCH_MAX + 1], count = 0, n = 0;
    for (const char *p = text; *p; p += character(p))
        starts[count++] = (size_t)(p - text);
    starts[count] = strlen(text);
    if (count < 3)
        return false;
    size_t trigrams = count - 2, used = trigrams < TRIGRAMS_MAX ? trigrams : TRIGRAMS_MAX;
    for (size_t i = 0; i < used; i++) {
        size_t at = i * trigrams / used;
        n += (size_t)snprintf(match + n, MATCH_SIZE - n, "%s\"", i ? " AND " : "");
        for (size_t k = starts[at]; k < starts[at + 3]; k++) {
            if (text[k] == '"')
                match[n++] = '"';
            match[n++] = text[k];
        }
        match[n++] = '"';
        match[n] = '\0';
    }
    return true;
}

static unsigned narrow_of(const struct job_filter *filter)
{
    return (filter->tags ? NARROW_TAGS : 0) | (filter->favourite ? NARROW_FAVOURITE : 0) |
           (filter->model ? NARROW_MODEL : 0) |
           (filter->since_ms || filter->until_ms ? NARROW_TIME : 0);
}

static sqlite3_stmt *bind_list(struct sqlite_connection *c, const struct job_filter *filter,
                               int limit, struct err *err)
{
    char sql[1600], match[MATCH_SIZE] = "";
    enum list_state state = LIST_ANY;
    enum list_text text = TEXT_NONE;
    if (filter->state >= 0)
        state = filter->state == JOB_QUEUED    ? LIST_QUEUED
                : filter->state == JOB_RUNNING ? LIST_RUNNING
                : filter->state == JOB_DONE    ? LIST_DONE
                                               : LIST_ENDED;
    if (filter->text)
        text = match_query(filter->text, match) ? TEXT_INDEXED : TEXT_SHORT;
    unsigned narrow = narrow_of(filter);
    int which = ((filter->key_id != NULL) * LIST_STATES + (int)state) * LIST_TEXTS + (int)text;
    list_sql(filter->key_id != NULL, state, text, narrow, sql, sizeof sql);
    return sqlite_sql_bind_list(
        c, which * NARROWS + (int)narrow, sql, err, "ttttititiii", filter->key_id,
        filter->state < 0 ? NULL : job_state_name((enum job_state)filter->state), filter->text,
        match, filter->before_sequence ? filter->before_sequence : INT64_MAX,
        filter->tags, (int64_t)filter->tag_count, filter->model, filter->since_ms,
        filter->until_ms ? filter->until_ms : INT64_MAX, (int64_t)limit);
}

/* Reads up to `limit` rows and their pictures. */
static bool read_list(struct sqlite_connection *c, const struct job_filter *filter, int limit,
                      struct job *all, size_t *count, int64_t *next, struct err *err)
{
    int64_t last = 0;
    int rows = 0;
    bool failed = true;
    struct err damage;
    size_t n = 0;
    /* One more than asked for tells whether there is another page. */
    sqlite3_stmt *s = bind_list(c, filter, limit + 1, err);
    while (s && sqlite_sql_row(c, s, &failed, err)) {
        if (rows++ == limit) {
            *next = last;
            break;
        }
        last = sqlite3_column_int64(s, 11);
        if (sqlite_job_read(s, &all[n], &damage))
            n++;
        else
            leave_out(&all[n], &damage);
    }
    sqlite_sql_done(s);
    for (size_t i = 0; i < n && !failed;) {
        if (sqlite_job_images(c, &all[i], &damage) &&
            sqlite_mark_read(c, &all[i], &damage)) {
            i++;
        } else if (damage.code == ERR_INTERNAL) {
            leave_out(&all[i], &damage);
            memmove(&all[i], &all[i + 1], (--n - i) * sizeof *all);
        } else {
            failed = !err_copy(err, &damage);
        }
    }
    *count = n;
    return !failed;
}

bool sqlite_list_jobs(struct store *st, const struct job_filter *filter, struct job **jobs,
                      size_t *count, int64_t *next, struct err *err)
{
    int limit = filter->limit < 1 ? 1 : filter->limit > 200 ? 200 : filter->limit;
    *jobs = NULL;
    *count = 0;
    *next = 0;
    if (filter->text && (strlen(filter->text) > JOB_SEARCH_MAX ||
                         !json_text_is_utf8(filter->text, strlen(filter->text), NULL)))
        return err_set(err, ERR_INVALID, "a search is for at most %d bytes of UTF-8",
                       JOB_SEARCH_MAX);
    struct job *all = calloc((size_t)limit, sizeof *all);
    size_t n = 0;
    if (!all)
        return err_set(err, ERR_INTERNAL, "no memory for a list of jobs");
    struct sqlite_connection *c =
        filter->text || narrow_of(filter) ? sqlite_searcher(st, filter->gone) : sqlite_reader(st);
    bool done = read_list(c, filter, limit, all, &n, next, err);
    sqlite_release(c);
    if (!done) {
        for (size_t i = 0; i < n; i++)
            job_free(&all[i]);
        free(all);
        return false;
    }
    *jobs = all;
    *count = n;
    return true;
}


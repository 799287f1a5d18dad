/* sqlite_list.c: the text of lists, and what the index of prompts is asked. */
#include <stdio.h>
#include <string.h>

#include "server/store/sqlite/sqlite_sql.h"

#define TRIGRAMS_MAX 12
_Static_assert(SQL_MATCH_SIZE >= TRIGRAMS_MAX * 24, "room for each");

static const char narrow_tags[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag IN (SELECT value FROM json_each(?6)) "
    "GROUP BY sequence HAVING count(DISTINCT tag) = ?7)";
static const char narrow_favourite[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag = '')";
/* The index of times says between which numbers; the clock may have gone back meanwhile, so each is
 * looked at, too. */
#define OF_TIME "created_ms >= ?9 AND created_ms < ?10"
#define OF_TIMES " FROM jobs INDEXED BY jobs_created WHERE " OF_TIME ")"
static const char narrow_time[] = " AND " OF_TIME " AND sequence <= (SELECT max(sequence)" OF_TIMES
                                  " AND sequence >= (SELECT min(sequence)" OF_TIMES;

/* A field that a request left out is none of the row's, and equals nothing. */
static const char narrow_params[] =
    " AND NOT EXISTS (SELECT 1 FROM json_each(?11) AS wanted WHERE "
    "json_extract(jobs.params, '$.' || wanted.key) IS NOT wanted.value)";

void sqlite_list_sql(const struct sql_list *kind, char sql[SQL_LIST_SIZE])
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
    bool indexed = kind->text == TEXT_INDEXED;
    snprintf(sql, SQL_LIST_SIZE,
             "SELECT " SQL_JOB_COLUMNS " FROM %sjobs%s WHERE %ssequence < ?5%s%s%s%s%s%s%s%s "
             "ORDER BY %s DESC LIMIT ?12",
             indexed ? "jobs_search CROSS JOIN " : "",
             indexed || kind->narrow ? "" : states[kind->state].index,
             indexed ? "jobs_search MATCH ?4 AND jobs_search.rowid < ?5 AND "
                       "jobs.sequence = jobs_search.rowid AND "
                     : "",
             states[kind->state].where, kind->of_key ? " AND key_id = ?1" : "",
             kind->text == TEXT_NONE ? "" : " AND instr(lower(jobs.prompt), lower(?3)) > 0",
             kind->narrow & NARROW_TAGS ? narrow_tags : "",
             kind->narrow & NARROW_FAVOURITE ? narrow_favourite : "",
             kind->narrow & NARROW_MODEL ? " AND model = ?8" : "",
             kind->narrow & NARROW_TIME ? narrow_time : "",
             kind->narrow & NARROW_PARAMS ? narrow_params : "",
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
bool sqlite_list_match(const char *text, char match[SQL_MATCH_SIZE])
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
        n += (size_t)snprintf(match + n, SQL_MATCH_SIZE - n, "%s\"", i ? " AND " : "");
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

/* pg_list.c: the text of lists, and what the index of prompts is asked. */
#include <stdio.h>
#include <string.h>

#include "server/store/pg/pg_sql.h"

static const char narrow_tags[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag IN (SELECT "
    "json_array_elements_text($6::json)) GROUP BY sequence HAVING count(DISTINCT tag) = $7)";
static const char narrow_favourite[] =
    " AND sequence IN (SELECT sequence FROM marks WHERE tag = '')";

void pg_list_sql(const struct sql_list *kind, char sql[SQL_LIST_SIZE])
{
    /* As the partial indexes have it, so that they are found. */
    static const char *const states[LIST_STATES] = {
        [LIST_ANY] = "",
        [LIST_QUEUED] = " AND state = 'queued'",
        [LIST_RUNNING] = " AND state = 'running'",
        [LIST_DONE] = " AND state = 'done'",
        [LIST_ENDED] = " AND state IN ('failed', 'cancelled') AND state = $2",
    };
    snprintf(sql, SQL_LIST_SIZE,
             "SELECT " SQL_JOB_COLUMNS " FROM jobs WHERE sequence < $5%s%s%s%s%s%s%s%s%s "
             "ORDER BY sequence DESC LIMIT $12",
             states[kind->state], kind->of_key ? " AND key_id = $1" : "",
             kind->text == TEXT_INDEXED ? " AND prompt ILIKE $4" : "",
             kind->text == TEXT_NONE ? "" : " AND strpos(lower(prompt), lower($3)) > 0",
             kind->narrow & NARROW_TAGS ? narrow_tags : "",
             kind->narrow & NARROW_FAVOURITE ? narrow_favourite : "",
             kind->narrow & NARROW_MODEL ? " AND model = $8" : "",
             kind->narrow & NARROW_TIME ? " AND created_ms >= $9 AND created_ms < $10" : "",
             kind->narrow & NARROW_PARAMS ? " AND params::jsonb @> $11::jsonb" : "");
}

/* A pattern that the index cuts into trigrams itself. Of a long text its beginning is enough: what
 * is found is compared with the whole text anyway. */
bool pg_list_match(const char *text, char match[SQL_MATCH_SIZE])
{
    size_t n = 0, characters = 0;
    match[n++] = '%';
    for (const char *p = text; *p; p++) {
        bool begins = ((unsigned char)*p & 0xc0) != 0x80;
        if (begins && n > SQL_MATCH_SIZE - 12)
            break;
        characters += begins;
        if (*p == '%' || *p == '_' || *p == '\\')
            match[n++] = '\\';
        match[n++] = *p;
    }
    match[n++] = '%';
    match[n] = '\0';
    return characters >= 3;
}

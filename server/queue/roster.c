/* roster.c: a list in memory, and of servers that share a store the rows by which they tell
 * each other. A row is written when what it says changes, else once in TELL_MS; what others wrote
 * is read when somebody asks. Of two that say something of one worker, who heard it last is right.
 *
 * `lock` is never held while the store is asked. */
#include "server/queue/roster.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"

#define MOST 4000       /* workers; those that come then are not listed */
#define TELL_MS 5000
#define COMPLAIN_MS 60000
#define REFRESH_MS 2000
#define FORGET_ROW_MS (6 * ROSTER_FORGET_MS)
#define LIST_MOST 65536 /* bytes of one list */
#define HELD_MOST (64 << 20) /* of them all: a hostile worker has many names */
#define DEPTH 3

struct entry {
    struct roster_worker w;
    bool told;       /* by itself: more is known than that it is there */
    bool here;       /* it was this server that heard of it last */
    bool listed;     /* its row was there */
    int64_t passing; /* now_ms */
    int64_t written; /* when its row was, now_ms; 0: never */
};

struct roster {
    struct store *store;
    const char *server;
    pthread_mutex_t looking; /* held while rows are read, before the other one */
    pthread_mutex_t lock;    /* what follows */
    struct entry *entries;
    size_t count, held; /* held: bytes of lists */
    int64_t complained, refreshed;
};

static const char *const states[] = {"starting", "idle", "painting", "away"};

const char *roster_state_name(enum roster_state state)
{
    return states[state];
}

/* ---- lists ---- */

bool roster_add(char **list, const char *word)
{
    size_t size = strlen(word), had = *list ? strlen(*list) : 0;
    if (size == 0 || size > ROSTER_WORD_MAX || strchr(word, '\n') || had + size + 2 > LIST_MOST)
        return false;
    char *more = realloc(*list, had + size + 2);
    if (!more)
        return false;
    memcpy(more + had, word, size);
    memcpy(more + had + size, "\n", 2);
    *list = more;
    return true;
}

bool roster_has(const char *list, const char *word)
{
    size_t size = strlen(word);
    for (const char *p = list; p && *p; p = strchr(p, '\n') + 1)
        if (strncmp(p, word, size) == 0 && p[size] == '\n')
            return true;
    return false;
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* ---- workers ---- */

void roster_worker_free(struct roster_worker *w)
{
    free(w->families);
    free(w->files);
    free(w->models);
    free(w->warm);
    w->families = w->files = w->models = w->warm = NULL;
}

static bool copy_list(char **out, const char *list)
{
    *out = list ? strdup(list) : NULL;
    return *out || !list;
}

/* False without memory; `out` is free then. */
static bool copy_worker(struct roster_worker *out, const struct roster_worker *w)
{
    *out = *w;
    out->families = out->files = out->models = out->warm = NULL;
    if (copy_list(&out->families, w->families) && copy_list(&out->files, w->files) &&
        copy_list(&out->models, w->models) && copy_list(&out->warm, w->warm))
        return true;
    roster_worker_free(out);
    return false;
}

/* Whether somebody who looks would see a difference at once. */
static bool differs(const struct roster_worker *a, const struct roster_worker *b)
{
    return a->state != b->state || strcmp(a->job, b->job) != 0 || !same(a->warm, b->warm) ||
           !same(a->models, b->models) || !same(a->files, b->files) ||
           strcmp(a->device, b->device) != 0;
}

/* ---- rows ---- */

static void put_list(cJSON *json, const char *name, const char *list)
{
    char word[ROSTER_WORD_MAX + 1];
    cJSON *array = list ? cJSON_AddArrayToObject(json, name) : NULL;
    for (const char *p = list; array && p && *p; p = strchr(p, '\n') + 1) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "\n"), p);
        cJSON_AddItemToArray(array, cJSON_CreateString(word));
    }
}

static char *row_of(const struct roster_worker *w, const char *server)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "by", server);
    cJSON_AddBoolToObject(json, "local", w->local);
    cJSON_AddStringToObject(json, "state", states[w->state]);
    cJSON_AddStringToObject(json, "job", w->job);
    cJSON_AddStringToObject(json, "name", w->name);
    cJSON_AddStringToObject(json, "host", w->host);
    cJSON_AddStringToObject(json, "version", w->version);
    cJSON_AddStringToObject(json, "device", w->device);
    cJSON_AddNumberToObject(json, "memory", (double)w->memory);
    cJSON_AddNumberToObject(json, "disk", (double)w->disk);
    cJSON_AddNumberToObject(json, "step_seconds", w->step_seconds);
    cJSON_AddNumberToObject(json, "pace", w->pace);
    cJSON_AddNumberToObject(json, "since", (double)w->since_ms);
    put_list(json, "families", w->families);
    put_list(json, "files", w->files);
    put_list(json, "models", w->models);
    put_list(json, "warm", w->warm);
    char *text = json_text_print(json);
    cJSON_Delete(json);
    return text;
}

static void take_text(const cJSON *json, const char *name, char *out, size_t size)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    snprintf(out, size, "%s", text ? text : "");
    json_text_mend(out);
}

static double take_number(const cJSON *json, const char *name, double most)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    double n = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return n > 0 && n < most ? n : 0;
}

static void take_list(const cJSON *json, const char *name, char **out)
{
    const cJSON *item, *array = cJSON_GetObjectItemCaseSensitive(json, name);
    cJSON_ArrayForEach(item, array) {
        if (cJSON_IsString(item))
            roster_add(out, item->valuestring);
    }
}

/* A row may have been written by another version of this program. */
static void worker_of(const cJSON *json, const char *id, struct roster_worker *w)
{
    char state[16];
    *w = (struct roster_worker){.state = ROSTER_IDLE};
    snprintf(w->id, sizeof w->id, "%s", id);
    w->local = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "local"));
    take_text(json, "state", state, sizeof state);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(state, states[i]) == 0)
            w->state = (enum roster_state)i;
    take_text(json, "job", w->job, sizeof w->job);
    take_text(json, "name", w->name, sizeof w->name);
    take_text(json, "host", w->host, sizeof w->host);
    take_text(json, "version", w->version, sizeof w->version);
    take_text(json, "device", w->device, sizeof w->device);
    w->memory = (int64_t)take_number(json, "memory", 9e15);
    w->disk = (int64_t)take_number(json, "disk", 9e15);
    w->step_seconds = take_number(json, "step_seconds", 1e9);
    w->pace = take_number(json, "pace", 1e9);
    w->since_ms = (int64_t)take_number(json, "since", 9e15);
    take_list(json, "families", &w->families);
    take_list(json, "files", &w->files);
    take_list(json, "models", &w->models);
    take_list(json, "warm", &w->warm);
}

/* ---- the list ---- */

struct roster *roster_new(struct store *store, const char *server, struct err *err)
{
    struct roster *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, ERR_INTERNAL, "no memory for the list of workers");
        return NULL;
    }
    r->store = store;
    r->server = server;
    pthread_mutex_init(&r->looking, NULL);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

const char *roster_server(const struct roster *r)
{
    return r->server;
}

void roster_free(struct roster *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        struct entry *e = &r->entries[i];
        if (e->w.local && e->here && store_tells(r->store))
            store_worker_delete(r->store, e->w.id, FORGET_ROW_MS, NULL);
        roster_worker_free(&e->w);
    }
    free(r->entries);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->looking);
    free(r);
}

/* Under the lock, as those that follow. */
static struct entry *find(struct roster *r, const char *id)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entries[i].w.id, id) == 0)
            return &r->entries[i];
    return NULL;
}

static size_t bytes_of(const struct roster_worker *w)
{
    const char *const all[] = {w->families, w->files, w->models, w->warm};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        bytes += all[i] ? strlen(all[i]) + 1 : 0;
    return bytes;
}

/* Takes what is in `w`; of one for whose lists there is no room nobody says what it has. */
static void put_worker(struct roster *r, struct entry *e, struct roster_worker *w)
{
    r->held -= bytes_of(&e->w);
    roster_worker_free(&e->w);
    if (r->held + bytes_of(w) > HELD_MOST)
        roster_worker_free(w);
    e->w = *w;
    r->held += bytes_of(&e->w);
}

static void drop(struct roster *r, size_t i)
{
    r->held -= bytes_of(&r->entries[i].w);
    roster_worker_free(&r->entries[i].w);
    r->entries[i] = r->entries[--r->count];
}

static void forget(struct roster *r, int64_t now)
{
    for (size_t i = 0; i < r->count;)
        if (r->entries[i].w.seen_ms > now - ROSTER_FORGET_MS)
            i++;
        else
            drop(r, i);
}

/* NULL: no memory, or too many. */
static struct entry *find_or_add(struct roster *r, const char *id, int64_t now)
{
    struct entry *e = find(r, id);
    if (e)
        return e;
    forget(r, now);
    if (r->count == MOST)
        return NULL;
    struct entry *more = realloc(r->entries, (r->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    r->entries = more;
    e = &more[r->count++];
    *e = (struct entry){.w = {.since_ms = now}};
    snprintf(e->w.id, sizeof e->w.id, "%s", id);
    const char *name = strrchr(id, ':');
    snprintf(e->w.name, sizeof e->w.name, "%s", name ? name + 1 : id);
    return e;
}

/* The row to be written now; NULL: none. */
static char *due_row(struct roster *r, struct entry *e, bool changed)
{
    int64_t now = now_ms();
    if (!store_tells(r->store) || !e->told ||
        (!changed && e->written && now < e->written + TELL_MS))
        return NULL;
    e->written = now;
    return row_of(&e->w, r->server);
}

/* Without the lock. Takes `row`. */
static void write_row(struct roster *r, const char *id, char *row)
{
    struct err err;
    if (row && !store_worker_put(r->store, id, row, &err)) {
        pthread_mutex_lock(&r->lock);
        bool again = r->complained == 0 || now_ms() > r->complained + COMPLAIN_MS;
        if (again)
            r->complained = now_ms();
        pthread_mutex_unlock(&r->lock);
        if (again)
            log_err(LOG_WARN, "workers_not_told", &err, " ");
    }
    free(row);
}

void roster_tell(struct roster *r, const struct roster_worker *w)
{
    struct roster_worker copy;
    int64_t now = now_unix_ms();
    char *row = NULL;
    if (!copy_worker(&copy, w))
        return; /* it says it again */
    pthread_mutex_lock(&r->lock);
    struct entry *e = find_or_add(r, w->id, now);
    if (e) {
        bool changed = !e->told || differs(&e->w, &copy);
        copy.since_ms = e->w.since_ms;
        copy.seen_ms = now;
        put_worker(r, e, &copy);
        e->told = e->here = true;
        row = due_row(r, e, changed);
    } else {
        roster_worker_free(&copy);
    }
    pthread_mutex_unlock(&r->lock);
    write_row(r, w->id, row);
}

/* What others have heard. */
static void merge(void *ctx, const char *id, const char *body, int64_t age_ms)
{
    struct roster *r = ctx;
    struct roster_worker w;
    struct err err;
    char by[STORE_NAME_SIZE];
    int64_t now = now_unix_ms();
    bool fits = strlen(id) < sizeof w.id;
    cJSON *json = fits ? json_text_parse(body, strlen(body), DEPTH, &err) : NULL;
    if (!json)
        return;
    worker_of(json, id, &w);
    take_text(json, "by", by, sizeof by);
    cJSON_Delete(json);
    w.seen_ms = now - (age_ms > 0 ? age_ms : 0);
    pthread_mutex_lock(&r->lock);
    struct entry *e = find_or_add(r, id, now);
    if (e)
        e->listed = true;
    bool later = e && w.seen_ms > e->w.seen_ms && strcmp(by, r->server) != 0;
    if (e && !later && !e->told && e->w.seen_ms > 0) { /* all that we know is what it does */
        w.state = e->w.state;
        memcpy(w.job, e->w.job, sizeof w.job);
        w.seen_ms = e->w.seen_ms;
    }
    if (later || (e && !e->told)) {
        put_worker(r, e, &w);
        e->here = !later && e->here;
        e->told = true;
    } else {
        roster_worker_free(&w);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Reads the rows; a worker that others knew and that has none any more is gone. */
static bool look_around(struct roster *r, struct err *err)
{
    if (!store_tells(r->store))
        return true;
    pthread_mutex_lock(&r->looking);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count; i++)
        r->entries[i].listed = false;
    pthread_mutex_unlock(&r->lock);
    bool done = store_worker_list(r->store, ROSTER_FORGET_MS, merge, r, err);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; done && i < r->count;)
        if (r->entries[i].here || r->entries[i].listed)
            i++;
        else
            drop(r, i);
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->looking);
    return done;
}

void roster_refresh(struct roster *r)
{
    struct err err;
    if (!store_tells(r->store))
        return;
    pthread_mutex_lock(&r->lock);
    bool due = r->refreshed == 0 || now_ms() > r->refreshed + REFRESH_MS;
    if (due)
        r->refreshed = now_ms();
    pthread_mutex_unlock(&r->lock);
    if (due)
        look_around(r, &err); /* what is known already will do */
}

void roster_each(struct roster *r, void (*fn)(void *ctx, const struct roster_worker *w), void *ctx)
{
    int64_t now = now_unix_ms();
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count; i++) {
        const struct roster_worker *w = &r->entries[i].w;
        if (w->state != ROSTER_AWAY && w->seen_ms > now - ROSTER_AWAY_MS)
            fn(ctx, w);
    }
    pthread_mutex_unlock(&r->lock);
}

void roster_doing(struct roster *r, const char *id, enum roster_state state, const char *job)
{
    int64_t now = now_unix_ms();
    char *row = NULL;
    pthread_mutex_lock(&r->lock);
    struct entry *e = find_or_add(r, id, now);
    if (e) {
        bool changed = e->w.state != state || strcmp(e->w.job, job ? job : "") != 0;
        e->w.state = state;
        snprintf(e->w.job, sizeof e->w.job, "%s", job ? job : "");
        e->w.seen_ms = now;
        e->here = true;
        row = due_row(r, e, changed);
    }
    pthread_mutex_unlock(&r->lock);
    write_row(r, id, row);
}

void roster_passing(struct roster *r, const char *id, const int64_t *since_ms)
{
    pthread_mutex_lock(&r->lock);
    struct entry *e = find(r, id);
    if (e)
        e->passing = *since_ms;
    pthread_mutex_unlock(&r->lock);
}

void roster_passed(struct roster *r, const char *id, int64_t *since_ms)
{
    pthread_mutex_lock(&r->lock);
    const struct entry *e = find(r, id);
    *since_ms = e ? e->passing : 0;
    pthread_mutex_unlock(&r->lock);
}

void roster_lost(struct roster *r, const char *id, const char *job)
{
    pthread_mutex_lock(&r->lock);
    const struct entry *e = find(r, id);
    bool its = e && strcmp(e->w.job, job) == 0;
    pthread_mutex_unlock(&r->lock);
    if (its)
        roster_doing(r, id, ROSTER_IDLE, NULL);
}

static int compare(const void *a, const void *b)
{
    const struct roster_worker *x = a, *y = b;
    if (x->local != y->local)
        return x->local ? -1 : 1;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->id, y->id);
}

bool roster_list(struct roster *r, struct roster_worker **list, size_t *count, struct err *err)
{
    int64_t now = now_unix_ms();
    *list = NULL;
    *count = 0;
    if (!look_around(r, err))
        return false;
    pthread_mutex_lock(&r->lock);
    forget(r, now);
    bool done = r->count == 0 || (*list = calloc(r->count, sizeof **list)) != NULL;
    for (size_t i = 0; done && i < r->count; i++) {
        done = copy_worker(&(*list)[i], &r->entries[i].w);
        *count += done;
        if (done && (*list)[i].seen_ms < now - ROSTER_AWAY_MS)
            (*list)[i].state = ROSTER_AWAY;
    }
    pthread_mutex_unlock(&r->lock);
    if (!done) {
        roster_list_free(*list, *count);
        return err_set(err, ERR_INTERNAL, "no memory for the list of workers");
    }
    if (*count > 0)
        qsort(*list, *count, sizeof **list, compare);
    return true;
}

void roster_list_free(struct roster_worker *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        roster_worker_free(&list[i]);
    free(list);
}

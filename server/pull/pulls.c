/* pulls.c: a list under a lock, and one thread that takes the oldest that waits. */
#include "server/pull/pulls.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/base/small_file.h"
#include "server/job/files.h"
#include "server/job/registry.h"
#include "server/pull/pull_set.h"

#define LIST_MOST ((size_t)1 << 20) /* bytes of the file */
#define RATE_MS 500   /* between two looks at the rate */
#define RATE_WEIGHT 3 /* of the rate before, against one of what was seen last */

struct pulls {
    const struct settings *settings;
    struct registry *registry;
    char path[PATH_MAX];
    pthread_mutex_t lock; /* all below but `halt` */
    pthread_cond_t more;
    struct pulls_entry list[PULLS_MAX]; /* the oldest first */
    size_t count;
    char running[PULLS_ID]; /* "": none */
    int64_t rated_ms;       /* when, and at how many bytes, the rate was looked at */
    uint64_t rated_bytes;
    bool quit;
    atomic_bool halt; /* what runs is to stop */
    pthread_t thread;
};

static const char *const states[] = {"waiting", "fetching", "checking",
                                     "done",    "failed",   "stopped"};

const char *pulls_state_name(enum pulls_state state)
{
    return states[state];
}

static bool has_ended(const struct pulls_entry *e)
{
    return e->state == PULLS_DONE || e->state == PULLS_FAILED || e->state == PULLS_STOPPED;
}

/* Under the lock. */
static struct pulls_entry *find(struct pulls *p, const char *id)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->list[i].id, id) == 0)
            return &p->list[i];
    return NULL;
}

static void drop(struct pulls *p, size_t i)
{
    memmove(&p->list[i], &p->list[i + 1], (p->count - i - 1) * sizeof *p->list);
    p->count--;
}

/* ---- the file: a line an entry ---- */

/* Under the lock. What is not kept is a convenience. */
static void save(struct pulls *p)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s.part", p->path) >= sizeof part)
        return;
    FILE *f = fopen(part, "we");
    for (size_t i = 0; f && i < p->count; i++) {
        const struct pulls_entry *e = &p->list[i];
        fprintf(f, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%" PRIu64 "\t%" PRIu64 "\t%lld\t%lld\t%s\n", e->id,
                e->ref, e->name, e->sha256, (int)e->state, (int)e->kind, (int)e->fault, e->done,
                e->total, (long long)e->created_ms, (long long)e->ended_ms, e->problem);
    }
    bool bad = !f || ferror(f);
    if ((f && fclose(f) != 0) || bad || rename(part, p->path) != 0)
        log_event(LOG_WARN, "pulls_not_kept", "reason=\"%s\"", strerror(errno));
}

static void take(char *to, size_t size, char **at)
{
    const char *text = strsep(at, "\t");
    snprintf(to, size, "%s", text ? text : "");
    json_text_mend(to);
}

static bool read_line(char *line, struct pulls_entry *e)
{
    char *at = line;
    int state, kind, fault, used = 0;
    long long created, ended;
    *e = (struct pulls_entry){.kind = PICTOR_KIND_UNKNOWN};
    take(e->id, sizeof e->id, &at);
    take(e->ref, sizeof e->ref, &at);
    take(e->name, sizeof e->name, &at);
    take(e->sha256, sizeof e->sha256, &at);
    if (!at || !*e->id || !*e->ref ||
        sscanf(at, "%d\t%d\t%d\t%" SCNu64 "\t%" SCNu64 "\t%lld\t%lld\t%n", &state, &kind, &fault,
               &e->done, &e->total, &created, &ended, &used) != 7 ||
        !used || state < 0 || state > PULLS_STOPPED || kind < 0 || kind > PICTOR_KIND_UNKNOWN ||
        fault < 0 || fault > ERR_INTERNAL)
        return false;
    e->state = (enum pulls_state)state;
    e->kind = (enum pictor_kind)kind;
    e->fault = (enum err_code)fault;
    e->created_ms = created;
    e->ended_ms = ended;
    at += used;
    take(e->problem, sizeof e->problem, &at);
    if (!has_ended(e))
        e->state = PULLS_STOPPED;
    return true;
}

static void load(struct pulls *p)
{
    struct err err;
    char *text = small_file_read(p->path, LIST_MOST, NULL, &err), *at = text, *line;
    if (!text && err.code != ERR_NOT_FOUND)
        log_err(LOG_WARN, "pulls", &err, " ");
    while (at && p->count < PULLS_MAX && (line = strsep(&at, "\n")) && (at || *line)) {
        if (read_line(line, &p->list[p->count]))
            p->count++;
        else
            log_event(LOG_WARN, "pulls", "reason=\"a line of the list is broken\"");
    }
    free(text);
}

/* ---- the thread ---- */

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct pulls *p = ctx;
    int64_t now = now_ms();
    pthread_mutex_lock(&p->lock);
    struct pulls_entry *e = find(p, p->running);
    if (e) {
        e->done = done;
        e->total = total;
        if (total && done >= total)
            e->state = PULLS_CHECKING;
        if (!p->rated_ms || done < p->rated_bytes) {
            p->rated_ms = now;
            p->rated_bytes = done;
        } else if (now - p->rated_ms >= RATE_MS) {
            double rate = 1000.0 * (double)(done - p->rated_bytes) / (double)(now - p->rated_ms);
            e->rate = e->rate > 0 ? (RATE_WEIGHT * e->rate + rate) / (RATE_WEIGHT + 1) : rate;
            p->rated_ms = now;
            p->rated_bytes = done;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* Looks it up and fetches it, without the lock; *was: a copy of the entry. */
static bool fetch(struct pulls *p, const struct pulls_entry *was, struct pull_result *result,
                  struct err *err)
{
    struct pull_set set = {.count = 1};
    struct pull_source *s = &set.items[0];
    struct pull_watch watch = {.progress = on_progress, .ctx = p, .stop = &p->halt};
    s->public_only = !p->settings->pull_private;
    s->stop = &p->halt;
    snprintf(s->name, sizeof s->name, "%s", was->name);
    memcpy(s->sha256, was->sha256, sizeof s->sha256);
    bool done = pull_set_find(&set, p->settings, was->ref, err);
    if (done) {
        pthread_mutex_lock(&p->lock);
        struct pulls_entry *e = find(p, was->id);
        if (e) {
            snprintf(e->name, sizeof e->name, "%s", s->name);
            e->total = set.size;
        }
        pthread_mutex_unlock(&p->lock);
        done = pull_set_run(p->settings, &set, &watch, result, err);
    }
    pull_set_free(&set);
    return done;
}

/* The lists know it at once: of what is of this kind, and of what may have come with a model. */
static void tell_registry(struct pulls *p, enum pictor_kind kind)
{
    struct err err;
    bool told = registry_refresh(p->registry, &err);
    for (int k = 0; told && k < PICTOR_KIND_UNKNOWN; k++) {
        bool beside = kind == PICTOR_KIND_MODEL &&
                      (k == PICTOR_KIND_VAE || k == PICTOR_KIND_TEXT_ENCODER);
        if (k != PICTOR_KIND_MODEL && (k == (int)kind || beside))
            told = files_refresh(registry_files(p->registry, (enum folders_kind)k), &err);
    }
    if (!told)
        log_err(LOG_WARN, "models_refresh_failed", &err, " ");
}

/* What is done, but not as it was meant. */
static const struct err *fault_of(const struct pull_result *result)
{
    static const struct err kept = {
        .code = ERR_INVALID,
        .msg = "a file of this name was there already, so nothing was fetched: give another name"};
    return result->was_there && result->unchecked ? &kept : &result->problem;
}

static void end(struct pulls *p, const struct pulls_entry *was, bool done,
                const struct pull_result *result, const struct err *why)
{
    char text[300];
    pthread_mutex_lock(&p->lock);
    struct pulls_entry *e = find(p, was->id);
    if (e) {
        const struct err *fault = done ? fault_of(result) : why;
        bool stopped = !done && atomic_load(&p->halt);
        e->state = done ? PULLS_DONE : stopped ? PULLS_STOPPED : PULLS_FAILED;
        e->kind = done ? result->kind : PICTOR_KIND_UNKNOWN;
        e->rate = 0;
        e->ended_ms = now_unix_ms();
        e->fault = stopped ? ERR_NONE : fault->code;
        snprintf(e->problem, sizeof e->problem, "%s", e->fault ? fault->msg : "");
        for (char *c = e->problem; *c; c++)
            if ((unsigned char)*c < ' ')
                *c = ' ';
        json_text_mend(e->problem);
        log_event(LOG_INFO, "pull", "id=%s state=%s name=%s", e->id, pulls_state_name(e->state),
                  log_quote(text, sizeof text, e->name));
    }
    p->running[0] = '\0';
    save(p);
    pthread_mutex_unlock(&p->lock);
}

static void *run(void *arg)
{
    struct pulls *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->quit) {
        struct pulls_entry *next = NULL;
        for (size_t i = 0; i < p->count && !next; i++)
            if (p->list[i].state == PULLS_WAITING)
                next = &p->list[i];
        if (!next) {
            pthread_cond_wait(&p->more, &p->lock);
            continue;
        }
        struct pulls_entry was = *next;
        struct pull_result result = {.kind = PICTOR_KIND_UNKNOWN};
        struct err err = {0};
        next->state = PULLS_FETCHING;
        memcpy(p->running, was.id, sizeof p->running);
        p->rated_ms = 0;
        atomic_store(&p->halt, false);
        save(p);
        pthread_mutex_unlock(&p->lock);
        bool done = fetch(p, &was, &result, &err);
        if (!done)
            log_err(LOG_WARN, "pull_failed", &err, "id=%s", was.id);
        else
            tell_registry(p, result.kind);
        end(p, &was, done, &result, &err);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- life ---- */

struct pulls *pulls_new(const struct settings *settings, struct registry *registry,
                        struct err *err)
{
    struct pulls *p = calloc(1, sizeof *p);
    if (!p || (size_t)snprintf(p->path, sizeof p->path, "%s/pulls", settings->data) >=
                  sizeof p->path) {
        free(p);
        err_set(err, ERR_INTERNAL, "no memory for the list of pulls");
        return NULL;
    }
    p->settings = settings;
    p->registry = registry;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    load(p);
    if (pthread_create(&p->thread, NULL, run, p) == 0)
        return p;
    err_set(err, ERR_INTERNAL, "no thread for pulls");
    free(p);
    return NULL;
}

void pulls_free(struct pulls *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    atomic_store(&p->halt, true);
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->more);
    free(p);
}

/* ---- orders ---- */

/* Room for one more: the oldest that has ended goes. Under the lock. */
static bool make_room(struct pulls *p, struct err *err)
{
    if (p->count < PULLS_MAX)
        return true;
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].state == PULLS_DONE || p->list[i].state == PULLS_FAILED) {
            drop(p, i);
            return true;
        }
    return err_set(err, ERR_BUSY, "%d pulls wait or are stopped: remove some", PULLS_MAX);
}

static bool is_reference(const char *ref, struct err *err)
{
    static const char *const forms[] = {"https://", "http://", "hf:", "civitai:"};
    if (strlen(ref) >= PULLS_REF)
        return err_set(err, ERR_INVALID, "a reference has at most %d bytes", PULLS_REF - 1);
    for (const char *c = ref; *c; c++)
        if ((unsigned char)*c < ' ')
            return err_set(err, ERR_INVALID, "control characters in the reference");
    if (pull_catalogue_find(ref))
        return true;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strncmp(ref, forms[i], strlen(forms[i])) == 0)
            return true;
    return err_set(err, ERR_INVALID,
                   "wanted https://..., hf:OWNER/REPO[/FILE], civitai:VERSION or a short name, got "
                   "\"%.100s\"",
                   ref);
}

bool pulls_add(struct pulls *p, const char *ref, const char *name, const char *sha256,
               struct pulls_entry *out, struct err *err)
{
    struct pull_source s = {0}; /* checks what is given */
    unsigned char random[8];
    if (!is_reference(ref, err) || (*name && !pull_source_set_name(&s, name, err)) ||
        (*sha256 && !pull_source_set_sha256(&s, sha256, err)))
        return false;
    struct pulls_entry e = {
        .state = PULLS_WAITING, .kind = PICTOR_KIND_UNKNOWN, .created_ms = now_unix_ms()};
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_set(err, ERR_INTERNAL, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof random; i++)
        sprintf(e.id + 2 * i, "%02x", random[i]);
    snprintf(e.ref, sizeof e.ref, "%s", ref);
    memcpy(e.name, s.name, sizeof e.name);
    memcpy(e.sha256, s.sha256, sizeof e.sha256);
    pthread_mutex_lock(&p->lock);
    bool done = make_room(p, err);
    if (done) {
        p->list[p->count++] = *out = e;
        save(p);
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    return done;
}

static bool unknown(struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no such pull");
}

bool pulls_get(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    const struct pulls_entry *e = find(p, id);
    if (e)
        *out = *e;
    pthread_mutex_unlock(&p->lock);
    return e || unknown(err);
}

bool pulls_list(struct pulls *p, struct pulls_entry **list, size_t *count, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    *count = p->count;
    *list = malloc((p->count + 1) * sizeof **list);
    for (size_t i = 0; *list && i < p->count; i++)
        (*list)[i] = p->list[p->count - 1 - i];
    pthread_mutex_unlock(&p->lock);
    return *list || err_set(err, ERR_INTERNAL, "no memory for the list of pulls");
}

bool pulls_stop(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err)
{
    bool done = false;
    pthread_mutex_lock(&p->lock);
    struct pulls_entry *e = find(p, id);
    if (!e) {
        unknown(err);
    } else if (has_ended(e)) {
        err_set(err, ERR_INVALID, "this pull is %s", pulls_state_name(e->state));
    } else {
        if (strcmp(p->running, id) == 0) {
            atomic_store(&p->halt, true); /* the thread says when */
        } else {
            e->state = PULLS_STOPPED;
            e->ended_ms = now_unix_ms();
            save(p);
        }
        *out = *e;
        done = true;
    }
    pthread_mutex_unlock(&p->lock);
    return done;
}

bool pulls_resume(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err)
{
    bool done = false;
    pthread_mutex_lock(&p->lock);
    struct pulls_entry *e = find(p, id);
    if (!e) {
        unknown(err);
    } else if (e->state != PULLS_FAILED && e->state != PULLS_STOPPED) {
        err_set(err, ERR_INVALID, "this pull is %s", pulls_state_name(e->state));
    } else {
        e->state = PULLS_WAITING;
        e->fault = ERR_NONE;
        e->problem[0] = '\0';
        e->ended_ms = 0;
        *out = *e;
        save(p);
        pthread_cond_signal(&p->more);
        done = true;
    }
    pthread_mutex_unlock(&p->lock);
    return done;
}

bool pulls_remove(struct pulls *p, const char *id, struct err *err)
{
    bool done = false;
    pthread_mutex_lock(&p->lock);
    struct pulls_entry *e = find(p, id);
    if (!e)
        unknown(err);
    else if (!has_ended(e))
        err_set(err, ERR_INVALID, "this pull is %s: stop it first", pulls_state_name(e->state));
    else
        done = e->state == PULLS_DONE || !*e->name ||
               pull_set_forget(p->settings, e->ref, e->name, err);
    if (done) {
        drop(p, (size_t)(e - p->list));
        save(p);
    }
    pthread_mutex_unlock(&p->lock);
    return done;
}

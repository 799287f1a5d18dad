/* store.h: what must survive a crash. A face over a table of functions (store_driver.h); the driver
 * is sqlite/, and only drivers know SQL.
 *
 * The store keeps rows and has no opinions: what may happen to a job is the queue's matter, which
 * groups calls into transactions. Every call is atomic by itself; committed means on disk. What is
 * read may be damaged or hostile: values are checked (ids that become paths above all).
 * Thread-safe. Failures: ERR_NO_ROOM when the disk is full, ERR_UNAVAILABLE for what passes
 * (another process holds it, no descriptors, it is gone), ERR_IO when it is damaged.
 *
 * What several servers may rely on that share a store:
 *  - leases end on one clock, the store's;
 *  - store_job_own names what this server ran, store_job_expired what anybody did;
 *  - what store_job_next and store_job_lease read inside of store_begin..commit is held until then,
 *    and a write that names a claim's token changes that claim alone;
 *  - store_listen tells of every change; "is there room? then insert" may be exceeded by a job a
 *    server;
 *  - pictures and inputs are files below store_data: every server must see them. */
#ifndef PICTOR_SERVER_STORE_H
#define PICTOR_SERVER_STORE_H

#include "server/job/job.h"
#include "server/store/keys.h"

struct store;

enum store_mode {
    STORE_SERVE, /* a server: alone where the store has room for one, else as one of many */
    STORE_ALONE, /* ERR_BUSY while a server or another process has it */
    STORE_SHARED /* beside a running server: keys, fsck without repair */
};

/* Where a store is. */
struct store_place {
    const char *data;     /* the folder of pictures, and of DATA/pictor.db */
    const char *database; /* "postgresql://..."; NULL, "" or "sqlite": DATA/pictor.db */
    const char *name;     /* of this server, among those that share the database; may be NULL */
};

#define STORE_NAME_SIZE 80
struct settings;
/* As the settings have it. `name` is filled where they leave it open; both live as long as they. */
struct store_place store_place_of(const struct settings *s, char name[STORE_NAME_SIZE]);

/* Opens the database, creating folder (0700) and file (0600) when missing, and brings the schema
 * up to date; a newer schema of a file than ours is ERR_UNSUPPORTED. Waits a while for a database
 * that cannot be reached yet when it is to be had alone. Returns owned. */
struct store *store_open(const struct store_place *place, enum store_mode mode, struct err *err);
/* Whether there is a store to open; store_open would make one. */
bool store_exists(const struct store_place *place);
void store_close(struct store *st);             /* NULL is fine */
const char *store_data(const struct store *st); /* the folder; valid until closed */

/* The lock is held by the calling thread from a successful begin to commit or rollback. A failed
 * commit has rolled back. Not nested. */
bool store_begin(struct store *st, struct err *err);
bool store_commit(struct store *st, struct err *err);
void store_rollback(struct store *st);
/* Commits what is done, or else rolls back; whether it is committed. */
bool store_end(struct store *st, bool done, struct err *err);

/* Whether the database still lies where it was opened; else ERR_UNAVAILABLE. */
bool store_present(struct store *st, struct err *err);
/* Whether something could be committed now: commits a moment to the options. */
bool store_probe(struct store *st, struct err *err);

/* ---- what happens in a store that several servers share ---- */

enum store_news_kind {
    STORE_NEWS_STATE, /* a job is in `state` now, or something about it has changed */
    STORE_NEWS_IMAGE, /* a running job has the picture image_id, number `index` */
    STORE_NEWS_DELETED,
    STORE_NEWS_QUEUE,   /* paused, resumed, or in another order */
    STORE_NEWS_SKIP,    /* picture `index` of a running job is to be skipped */
    STORE_NEWS_PROGRESS /* of a job that runs on another server */
};

struct store_news {
    enum store_news_kind kind;
    char job_id[JOB_ID_SIZE], key_id[JOB_ID_SIZE], image_id[JOB_ID_SIZE];
    enum job_state state;
    int index;
    struct job_progress progress;
    const uint8_t *preview; /* a JPEG, or NULL; borrowed for the call */
    size_t preview_size;
};
typedef void store_news_fn(void *ctx, const struct store_news *news);

/* Whether the store itself tells of what happens in it, whoever did it, so that nobody else may. */
bool store_tells(const struct store *st);
/* If it does: calls fn by a thread of its own, a job's news in the order of its changes, until
 * store_hush, which waits for a call that runs. */
bool store_listen(struct store *st, store_news_fn *fn, void *ctx, struct err *err);
void store_hush(struct store *st);
/* Tells the other servers of a progress (a moment later, or never) or of a skip (all servers). */
bool store_report(struct store *st, const struct store_news *news, struct err *err);
/* Whether this is the server that does what one alone does; it may change at any time. */
bool store_leads(struct store *st);

/* The option that says "unfinished" while rows are moved into a store (move.h): no server opens
 * it. */
#define STORE_MOVING "moving"

/* ---- options: what clients may set and find again (POST /sdapi/v1/options) ---- */

/* *value is malloc'd; NULL when the option was never set (true). */
bool store_option_get(struct store *st, const char *name, char **value, struct err *err);
bool store_option_set(struct store *st, const char *name, const char *value, struct err *err);

/* ---- jobs ---- */

/* Writes id, key_id, priority, created_ms and params as a queued job. */
bool store_job_insert(struct store *st, const struct job *job, struct err *err);

/* Fills `out` (job_free), images included, without its position. `key_id` NULL: any. ERR_NOT_FOUND;
 * ERR_INTERNAL when the row is damaged (id, key_id and state are filled even then). */
bool store_job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                   struct err *err);
/* As queue_list, without positions. A damaged row is left out and logged. */
bool store_job_list(struct store *st, const struct job_filter *filter, struct job **jobs,
                    size_t *count, int64_t *next, struct err *err);
/* Number of queued and running jobs; `key_id` NULL: of all keys. */
bool store_job_depth(struct store *st, const char *key_id, int *queued, int *running,
                     struct err *err);

/* As queue_backlog. */
bool store_job_backlog(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                       struct err *err);

/* Fails queued and running jobs whose id is damaged: they would be in everybody's way for ever. */
bool store_job_nameless(struct store *st, int *count, struct err *err);

/* The id of the queued job whose turn it is; "" when there is none. */
bool store_job_next(struct store *st, const char *const *models, size_t model_count,
                    char id[JOB_ID_SIZE], struct err *err);
/* The same, with what claims go by. */
struct store_turn {
    char id[JOB_ID_SIZE], key_id[JOB_ID_SIZE], model[200];
    int64_t rank, priority, created_ms;
};
bool store_job_turn(struct store *st, const char *const *models, size_t model_count,
                    struct store_turn *out, struct err *err);
/* queued -> running: one more attempt, a greater token, and its key is charged what it is expected
 * to take (shares.h; what it took, by the times given, once it ends). Its lease ends `lease_ms`
 * from now. */
bool store_job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                     int64_t lease_ms, int64_t *token, struct err *err);

#define STORE_OWNER_SIZE 128
/* What the owners of jobs that run on other machines begin with: they outlive a server. */
#define STORE_OWNER_AFAR "worker:"

struct store_lease {
    enum job_state state;
    char key_id[JOB_ID_SIZE];
    char owner[STORE_OWNER_SIZE]; /* who claimed it last; "" of a final job */
    int64_t token;
    int attempts, count, images; /* count: pictures asked for; images: stored */
    bool interrupted;
};
bool store_job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err);
/* The newest job that its client calls `tag`; `key_id` NULL: anybody's. ERR_NOT_FOUND. */
bool store_job_tagged(struct store *st, const char *tag, const char *key_id, char id[JOB_ID_SIZE],
                      struct err *err);
/* This and those that follow, which have a `token`, change the job of that claim alone:
 * ERR_NOT_FOUND when it was claimed again since, or has another state. */
bool store_job_renew(struct store *st, const char *id, int64_t token, int64_t lease_ms,
                     struct err *err);
/* queued -> running, by the claim that had it last: its lease ended, and nobody has it since. */
bool store_job_resume(struct store *st, const char *id, int64_t token, const char *owner,
                      int64_t lease_ms, struct err *err);
bool store_job_interrupt(struct store *st, const char *id, struct err *err);
/* running -> queued. */
enum store_requeue {
    STORE_REQUEUE_COUNTED,
    STORE_REQUEUE_UNCOUNTED, /* the attempt is taken back */
    STORE_REQUEUE_EXPIRED    /* counted, and whoever had it may resume it */
};
bool store_job_requeue(struct store *st, const char *id, int64_t token, enum store_requeue why,
                       struct err *err);
/* To a final state (`token` 0: whoever runs it, if anybody); its order is forgotten. `reason` may
 * be NULL unless failed; `refusal`, what an upstream said of it (JSON), may be NULL. */
bool store_job_end(struct store *st, const char *id, int64_t token, enum job_state state,
                   const struct err *reason, const char *refusal, int64_t now_ms, struct err *err);
/* The row and those that hang on it, for good, also of a job that is aside; the files are the
 * caller's. */
bool store_job_delete(struct store *st, const char *id, struct err *err);

/* Ids, malloc'd. */
struct store_ids {
    char (*ids)[JOB_ID_SIZE];
    size_t count;
};
/* All queued jobs in the order in which they will run if nothing else comes. */
bool store_job_line(struct store *st, struct store_ids *out, struct err *err);
/* A queued job's place by hand: the greater rank goes first, 0 is that of all others. */
bool store_job_rank(struct store *st, const char *id, int64_t rank, struct err *err);
bool store_job_rank_most(struct store *st, int64_t *rank, struct err *err); /* of them all */
/* At most `limit`: running jobs whose lease has ended, by the store's clock; final jobs that
 * finished before `before_ms` and are, with their pictures, nobody's favourites. */
bool store_job_expired(struct store *st, int limit, struct store_ids *out, struct err *err);
bool store_job_finished_before(struct store *st, int64_t before_ms, int limit,
                               struct store_ids *out, struct err *err);
/* At a server's start: running jobs of workers elsewhere, which could not say that they live, get a
 * whole lease. */
bool store_job_spare(struct store *st, int64_t lease_ms, struct err *err);
/* At a server's start: the running jobs that were this server's when it ended. */
bool store_job_own(struct store *st, int limit, struct store_ids *out, struct err *err);
/* Jobs that are not final and whose key was revoked. */
bool store_job_keyless(struct store *st, int limit, struct store_ids *out, struct err *err);
/* Queued jobs that only an open request wants (struct job: waited). */
bool store_job_waited(struct store *st, int limit, struct store_ids *out, struct err *err);

/* ---- pictures and inputs ---- */

/* `replaced` gets the picture that had this index before; its id is "" when there was none. */
bool store_image_put(struct store *st, const char *job_id, const struct job_image *image,
                     struct job_image *replaced, struct err *err);
/* `key_id` NULL: any. Free image->infotext. */
bool store_image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                     struct err *err);
/* Also of one that is aside. */
bool store_image_delete(struct store *st, const char *id, struct err *err);
bool store_input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                     struct err *err);
bool store_input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                       struct err *err);
/* Of all of the key's jobs that are queued or running. */
bool store_input_waiting(struct store *st, const char *key_id, size_t *bytes, struct err *err);
bool store_input_delete(struct store *st, const char *job_id, const char *name, struct err *err);

/* ---- aside: what was deleted, and may be taken back until it is deleted for good ---- */

/* A job with its pictures and inputs, tags included, or one picture: from now on nothing above
 * finds them but store_input_bytes and what deletes. ERR_NOT_FOUND. */
bool store_aside_job(struct store *st, const char *id, int64_t now_ms, struct err *err);
bool store_aside_image(struct store *st, const char *id, int64_t now_ms, struct err *err);
/* For good, wherever the picture is; store_image_delete leaves a job that misses one. */
bool store_aside_image_remove(struct store *st, const char *id, struct err *err);
/* As it was. A picture that went alone comes alone, to a job that is there. ERR_NOT_FOUND. */
bool store_aside_job_back(struct store *st, const char *id, struct err *err);
bool store_aside_image_back(struct store *st, const char *id, struct err *err);

struct store_aside_image {
    struct job_image image; /* without its infotext */
    char job_id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    bool alone; /* it did not go with its job */
};

/* `key_id` NULL: anybody's. Without pictures and tags; job_free. ERR_NOT_FOUND. */
bool store_aside_job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                         struct err *err);
bool store_aside_image_get(struct store *st, const char *id, const char *key_id,
                           struct store_aside_image *out, struct err *err);
/* Those of a job, which may be aside itself or not; *images is malloc'd, as their infotexts are. */
bool store_aside_images_of(struct store *st, const char *job_id, struct job_image **images,
                           size_t *count, struct err *err);
/* A picture that is there or aside. Free image->infotext. */
bool store_image_held(struct store *st, const char *id, struct job_image *image, struct err *err);
/* What went aside before that time: jobs, and pictures that went alone. */
bool store_aside_jobs_before(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                             struct err *err);
bool store_aside_images_before(struct store *st, int64_t before_ms, int limit,
                               struct store_ids *out, struct err *err);

/* ---- orders: one a job ---- */

/* In place of an earlier one. */
bool store_order_put(struct store *st, const char *job_id, const struct job_order *order,
                     struct err *err);
bool store_order_get(struct store *st, const char *job_id, struct job_order *order,
                     struct err *err);
bool store_order_delete(struct store *st, const char *job_id, struct err *err);

/* ---- records: what clients keep beside jobs ---- */

struct store_record {
    char id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    char kind[8];                   /* "file", "batch" */
    int64_t created_ms, expires_ms; /* Unix milliseconds; expires_ms 0: never */
    size_t bytes;                   /* of its file, DATA/files/ID */
    char *body;                     /* JSON; owned by whom the record was filled for */
};

struct store_record_filter {
    const char *kind, *key_id; /* key_id NULL: any */
    bool oldest_first;
    int64_t after_ms; /* behind the record of this time and id, in the order asked for; 0: all */
    const char *after_id;
    int64_t expired_ms; /* those alone that expire before this time; 0: all */
    int limit;          /* at least 1 */
};

/* In place of one of the same id. */
bool store_record_put(struct store *st, const struct store_record *record, struct err *err);
/* `key_id` NULL: anybody's. Free out->body. ERR_NOT_FOUND. */
bool store_record_get(struct store *st, const char *kind, const char *id, const char *key_id,
                      struct store_record *out, struct err *err);
/* *rows is malloc'd, as each one's body is. */
bool store_record_list(struct store *st, const struct store_record_filter *filter,
                       struct store_record **rows, size_t *count, struct err *err);
/* How many there are, and the bytes of their files. */
bool store_record_total(struct store *st, const char *kind, const char *key_id, int64_t *count,
                        size_t *bytes, struct err *err);
/* The row; its file is the caller's. ERR_NOT_FOUND. */
bool store_record_delete(struct store *st, const char *id, struct err *err);

/* ---- marks: tags of jobs and of pictures; the empty tag is a favourite's ---- */

struct store_tag {
    char tag[JOB_MARK_SIZE];
    int jobs; /* that have it, or a picture that has it */
};

/* Sets or takes away a tag of a job, or (`image_id` not NULL) of a picture of it. What is as wanted
 * already stays so. */
bool store_mark_put(struct store *st, const char *job_id, const char *image_id, const char *tag,
                    bool set, struct err *err);
/* How many tags the job has, or the picture: the empty one is none. */
bool store_mark_count(struct store *st, const char *job_id, const char *image_id, size_t *count,
                      struct err *err);
/* All tags but the empty one, by name, STORE_TAGS_MAX at most; malloc'd. `key_id` NULL: any. It
 * waits for searches, and ends early when `gone` (may be NULL) becomes true. */
#define STORE_TAGS_MAX 2000
bool store_mark_tags(struct store *st, const char *key_id, const atomic_bool *gone,
                     struct store_tag **tags, size_t *count, struct err *err);
/* Whose picture it is. ERR_NOT_FOUND. */
bool store_image_job(struct store *st, const char *image_id, const char *key_id,
                     char job_id[JOB_ID_SIZE], struct err *err);

/* ---- what is done once, however often it is asked for ---- */

struct store_once {
    char hash[65]; /* of what was asked, hex */
    char *jobs;    /* ids, between commas; NULL: nothing was asked under that name */
};

/* What a key asked under a name since then; free out->jobs. That there is nothing is no failure. */
bool store_once_get(struct store *st, const char *key_id, const char *name, int64_t since_ms,
                    struct store_once *out, struct err *err);
/* Forgets those from before `since_ms`, of all keys. */
bool store_once_put(struct store *st, const char *key_id, const char *name,
                    const struct store_once *once, int64_t now_ms, int64_t since_ms,
                    struct err *err);

/* ---- webhooks: addresses that are told of jobs' final states ---- */

#define STORE_WEBHOOKS_MAX 1000
#define STORE_URL_SIZE 2048

struct store_webhook {
    char id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    char url[STORE_URL_SIZE];
    char secret[128]; /* what it is signed with */
    char states[64];  /* "done failed cancelled", or some of them */
    bool every;       /* of all keys' jobs */
    int64_t created_ms;
    /* Read only. */
    int64_t told, last_ms; /* how often it took what it was told; of the last attempt */
    int failed, pending;   /* attempts in a row that failed; what it is still to be told */
    char last_error[200];  /* "": the last attempt went well */
};

/* What a webhook is to be told; store_job_end writes it. */
struct store_delivery {
    int64_t sequence;
    char id[JOB_ID_SIZE], webhook_id[JOB_ID_SIZE], job_id[JOB_ID_SIZE];
    enum job_state state;
    int64_t created_ms;
    int attempts; /* so far */
};

bool store_webhook_put(struct store *st, const struct store_webhook *webhook, struct err *err);
/* The one (`id` not NULL) or all, oldest first; `key_id` NULL: anybody's. *rows is malloc'd. */
bool store_webhook_list(struct store *st, const char *id, const char *key_id,
                        struct store_webhook **rows, size_t *count, struct err *err);
/* With what it is still to be told. ERR_NOT_FOUND. */
bool store_webhook_delete(struct store *st, const char *id, const char *key_id, struct err *err);
/* What is due, one of each webhook, in the order in which they are to be told. */
bool store_webhook_due(struct store *st, int64_t now_ms, struct store_delivery *rows, size_t most,
                       size_t *count, struct err *err);
/* After an attempt: again at `again_ms`, or (0) never. `fault` NULL: it went well. */
bool store_webhook_settle(struct store *st, const struct store_delivery *delivery, int64_t now_ms,
                          int64_t again_ms, const char *fault, struct err *err);

/* ---- who paints: for the other servers of the store, where there are any ---- */

/* In place of what it said before. */
bool store_worker_put(struct store *st, const char *id, const char *body, struct err *err);
/* `age_ms`: since it was said. Both texts are the callback's for the call. */
typedef void store_worker_fn(void *ctx, const char *id, const char *body, int64_t age_ms);
/* All that said something within so many milliseconds. */
bool store_worker_list(struct store *st, int64_t within_ms, store_worker_fn *fn, void *ctx,
                       struct err *err);
/* This one ("": none), and those that have said nothing for so long. */
bool store_worker_delete(struct store *st, const char *id, int64_t silent_ms, struct err *err);

/* ---- keys ---- */

#define STORE_HASH_SIZE 32
bool store_key_insert(struct store *st, const struct key *key,
                      const unsigned char hash[STORE_HASH_SIZE], struct err *err);
/* Calls fn for every key, oldest first, or for those whose hash begins as `hash` does. */
typedef bool store_key_fn(void *ctx, const struct key *key, const unsigned char *hash);
bool store_key_each(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                    struct err *err);
/* Whether there is a row of a key, also a revoked or damaged one. */
bool store_key_any(struct store *st, bool *any, struct err *err);
bool store_key_revoke(struct store *st, const char *id, int64_t now_ms, struct err *err);

/* ---- what was used, by days (UTC) ---- */

struct store_amount {
    int64_t pictures;
    int64_t work;  /* thousands of pixels times steps */
    int64_t money; /* millionths, spent at upstreams */
};
struct store_usage {
    int64_t day; /* since 1970 */
    char key_id[JOB_ID_SIZE], model[200];
    int64_t jobs, failed; /* that have ended, and of them */
    struct store_amount amount;
    int64_t ms; /* from claims to ends */
};
typedef void store_pending_fn(void *ctx, const char *model, const struct store_amount *amount);

/* Counts what was spent for a job, or (below 0) was not after all. A claim that is over is none. */
bool store_job_spend(struct store *st, const char *job_id, int64_t token, int64_t money,
                     struct err *err);
/* What of a key's jobs has ended on `day` or later, and on `month` or later, which is before. */
bool store_usage_since(struct store *st, const char *key_id, int64_t day, int64_t month,
                       struct store_amount *of_day, struct store_amount *of_month, struct err *err);
/* What its jobs that are not final were asked for, by model, and have cost so far. */
bool store_usage_pending(struct store *st, const char *key_id, store_pending_fn *fn, void *ctx,
                         struct err *err);
/* Of days from..to, in order, `most` rows at most; *rows is malloc'd. `key_id` NULL: of all. */
bool store_usage_list(struct store *st, const char *key_id, int64_t from, int64_t to, size_t most,
                      struct store_usage **rows, size_t *count, struct err *err);

/* Of a key that is not there: the usual. */
bool store_key_share(struct store *st, const char *id, struct key_share *out, struct err *err);
bool store_key_set(struct store *st, const char *id, const struct key_share *share,
                   struct err *err);

/* ---- fsck ---- */

struct store_check {
    void *ctx;
    void (*damage)(void *ctx, const char *message); /* the database's own check, damaged rows */
    void (*index)(void *ctx); /* searches would not find what is there: store_reindex */
    void (*image)(void *ctx, const char *job_id, const struct job_image *image);
    void (*input)(void *ctx, const char *job_id, const char *name, size_t bytes);
    void (*file)(void *ctx, const char *id, size_t bytes); /* that a record is of */
    void (*short_job)(void *ctx, const char *job_id, int images, int count); /* done, but fewer */
};
/* All but short jobs. */
bool store_check(struct store *st, const struct store_check *check, struct err *err);
bool store_check_short(struct store *st, const struct store_check *check, struct err *err);
/* Makes what searches use anew, from the rows. */
bool store_reindex(struct store *st, struct err *err);
/* The one way out of a final state: a done job whose pictures are lost has failed. */
bool store_job_lost(struct store *st, const char *id, struct err *err);

#endif

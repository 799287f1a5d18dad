/* store_driver.h: what a driver of the store is: a table of functions, one for each of store.h,
 * whose comments are their contract. For store.c and the drivers alone.
 *
 * A driver's own struct begins with a struct store. */
#ifndef PICTOR_SERVER_STORE_DRIVER_H
#define PICTOR_SERVER_STORE_DRIVER_H

#include "server/store/store.h"

struct store {
    const struct store_driver *driver;
    const char *data; /* the folder */
};

struct store_driver_job {
    bool (*insert)(struct store *st, const struct job *job, struct err *err);
    bool (*get)(struct store *st, const char *id, const char *key_id, struct job *out,
                struct err *err);
    bool (*list)(struct store *st, const struct job_filter *filter, struct job **jobs,
                 size_t *count, int64_t *next, struct err *err);
    bool (*depth)(struct store *st, const char *key_id, int *queued, int *running, struct err *err);
    bool (*backlog)(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                    struct err *err);
    bool (*nameless)(struct store *st, int *count, struct err *err);
    bool (*next)(struct store *st, const char *const *models, size_t model_count,
                 struct store_turn *out, struct err *err);
    bool (*start)(struct store *st, const char *id, const char *owner, int64_t now_ms,
                  int64_t lease_ms, int64_t *token, struct err *err);
    bool (*tagged)(struct store *st, const char *tag, const char *key_id, char id[JOB_ID_SIZE],
                   struct err *err);
    bool (*lease)(struct store *st, const char *id, struct store_lease *out, struct err *err);
    bool (*renew)(struct store *st, const char *id, int64_t token, int64_t lease_ms,
                  struct err *err);
    bool (*resume)(struct store *st, const char *id, int64_t token, const char *owner,
                   int64_t lease_ms, struct err *err);
    bool (*spare)(struct store *st, int64_t lease_ms, struct err *err);
    bool (*interrupt)(struct store *st, const char *id, struct err *err);
    bool (*requeue)(struct store *st, const char *id, int64_t token, enum store_requeue why,
                    struct err *err);
    bool (*end)(struct store *st, const char *id, int64_t token, enum job_state state,
                const struct err *reason, const char *refusal, int64_t now_ms, struct err *err);
    bool (*delete)(struct store *st, const char *id, struct err *err);
    bool (*line)(struct store *st, struct store_ids *out, struct err *err);
    bool (*expired)(struct store *st, int limit, struct store_ids *out, struct err *err);
    bool (*own)(struct store *st, int limit, struct store_ids *out, struct err *err);
    bool (*finished_before)(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                            struct err *err);
    bool (*keyless)(struct store *st, int limit, struct store_ids *out, struct err *err);
    bool (*waited)(struct store *st, int limit, struct store_ids *out, struct err *err);
    bool (*rank)(struct store *st, const char *id, int64_t rank, struct err *err);
    bool (*rank_most)(struct store *st, int64_t *rank, struct err *err);
    bool (*lost)(struct store *st, const char *id, struct err *err);
};

struct store_driver_image {
    bool (*put)(struct store *st, const char *job_id, const struct job_image *image,
                struct job_image *replaced, struct err *err);
    bool (*get)(struct store *st, const char *id, const char *key_id, struct job_image *image,
                struct err *err);
    bool (*remove)(struct store *st, const char *id, struct err *err);
    bool (*input_put)(struct store *st, const char *job_id, const char *name, size_t bytes,
                      struct err *err);
    bool (*input_bytes)(struct store *st, const char *job_id, const char *name, size_t *bytes,
                        struct err *err);
    bool (*input_waiting)(struct store *st, const char *key_id, size_t *bytes, struct err *err);
    bool (*input_remove)(struct store *st, const char *job_id, const char *name, struct err *err);
    bool (*order_put)(struct store *st, const char *job_id, const struct job_order *order,
                      struct err *err);
    bool (*order_get)(struct store *st, const char *job_id, struct job_order *order,
                      struct err *err);
    bool (*order_remove)(struct store *st, const char *job_id, struct err *err);
};

struct store_driver_aside {
    bool (*put_job)(struct store *st, const char *id, int64_t now_ms, struct err *err);
    bool (*put_image)(struct store *st, const char *id, int64_t now_ms, struct err *err);
    bool (*remove_image)(struct store *st, const char *id, struct err *err);
    bool (*back_job)(struct store *st, const char *id, struct err *err);
    bool (*back_image)(struct store *st, const char *id, struct err *err);
    bool (*get_job)(struct store *st, const char *id, const char *key_id, struct job *out,
                    struct err *err);
    bool (*get_image)(struct store *st, const char *id, const char *key_id,
                      struct store_aside_image *out, struct err *err);
    bool (*images_of)(struct store *st, const char *job_id, struct job_image **images,
                      size_t *count, struct err *err);
    bool (*held)(struct store *st, const char *id, struct job_image *image, struct err *err);
    bool (*jobs_before)(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                        struct err *err);
    bool (*images_before)(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                          struct err *err);
};

struct store_driver_record {
    bool (*put)(struct store *st, const struct store_record *record, struct err *err);
    bool (*get)(struct store *st, const char *kind, const char *id, const char *key_id,
                struct store_record *out, struct err *err);
    bool (*list)(struct store *st, const struct store_record_filter *filter,
                 struct store_record **rows, size_t *count, struct err *err);
    bool (*total)(struct store *st, const char *kind, const char *key_id, int64_t *count,
                  size_t *bytes, struct err *err);
    bool (*remove)(struct store *st, const char *id, struct err *err);
};

struct store_driver_mark {
    bool (*put)(struct store *st, const char *job_id, const char *image_id, const char *tag,
                bool set, struct err *err);
    bool (*count)(struct store *st, const char *job_id, const char *image_id, size_t *count,
                  struct err *err);
    bool (*tags)(struct store *st, const char *key_id, const atomic_bool *gone,
                 struct store_tag **tags, size_t *count, struct err *err);
    bool (*image_job)(struct store *st, const char *image_id, const char *key_id,
                      char job_id[JOB_ID_SIZE], struct err *err);
};

struct store_driver_once {
    bool (*get)(struct store *st, const char *key_id, const char *name, int64_t since_ms,
                struct store_once *out, struct err *err);
    bool (*put)(struct store *st, const char *key_id, const char *name,
                const struct store_once *once, int64_t now_ms, int64_t since_ms, struct err *err);
};

struct store_driver_webhook {
    bool (*put)(struct store *st, const struct store_webhook *webhook, struct err *err);
    bool (*list)(struct store *st, const char *id, const char *key_id, struct store_webhook **rows,
                 size_t *count, struct err *err);
    bool (*remove)(struct store *st, const char *id, const char *key_id, struct err *err);
    bool (*due)(struct store *st, int64_t now_ms, struct store_delivery *rows, size_t most,
                size_t *count, struct err *err);
    bool (*settle)(struct store *st, const struct store_delivery *delivery, int64_t now_ms,
                   int64_t again_ms, const char *fault, struct err *err);
};

struct store_driver_usage {
    bool (*spend)(struct store *st, const char *job_id, int64_t token, int64_t money,
                  struct err *err);
    bool (*since)(struct store *st, const char *key_id, int64_t day, int64_t month,
                  struct store_amount *of_day, struct store_amount *of_month, struct err *err);
    bool (*pending)(struct store *st, const char *key_id, store_pending_fn *fn, void *ctx,
                    struct err *err);
    bool (*list)(struct store *st, const char *key_id, int64_t from, int64_t to, size_t most,
                 struct store_usage **rows, size_t *count, struct err *err);
};

struct store_driver_worker {
    bool (*put)(struct store *st, const char *id, const char *body, struct err *err);
    bool (*list)(struct store *st, int64_t within_ms, store_worker_fn *fn, void *ctx,
                 struct err *err);
    bool (*remove)(struct store *st, const char *id, int64_t before_ms, struct err *err);
};

struct store_driver_check {
    bool (*all)(struct store *st, const struct store_check *check, struct err *err);
    bool (*short_jobs)(struct store *st, const struct store_check *check, struct err *err);
    bool (*reindex)(struct store *st, struct err *err);
};

/* Whole tables, for move.c. */
#define STORE_COLUMNS_MAX 32

struct store_value {
    const char *text; /* NULL: none */
    int64_t number;
    const unsigned char *hash; /* STORE_HASH_SIZE bytes */
};
struct store_table {
    const char *name, *types; /* a letter a column: text, int, bytes of a hash; n: text or none */
};
/* False ends it. */
typedef bool store_row_fn(void *ctx, const struct store_value *values);

struct store_driver_table {
    /* From 0, in an order in which what is referred to comes first; NULL past the end. */
    const struct store_table *(*at)(size_t table);
    /* Each row whose first column is at least `from`, in order. False also when `row` was. */
    bool (*each)(struct store *st, size_t table, const struct store_value *from, store_row_fn *row,
                 void *ctx, struct err *err);
    /* A row that is there already stays as it is. */
    bool (*put)(struct store *st, size_t table, const struct store_value *values, struct err *err);
    /* In a transaction: nobody is told of what it does. */
    bool (*quiet)(struct store *st, struct err *err);
    /* After the last row: numbers go on behind those that are there, indexes are made. */
    bool (*finish)(struct store *st, struct err *err);
};

struct store_driver {
    /* place->data lives until close has returned; store.c fills the struct store. */
    struct store *(*open)(const struct store_place *place, enum store_mode mode, struct err *err);
    void (*close)(struct store *st);
    bool (*exists)(const struct store_place *place);
    bool (*present)(struct store *st, struct err *err);
    /* NULL in a driver whose store has one server. */
    bool (*listen)(struct store *st, store_news_fn *fn, void *ctx, struct err *err);
    void (*hush)(struct store *st);
    bool (*report)(struct store *st, const struct store_news *news, struct err *err);
    bool (*leads)(struct store *st);
    bool (*begin)(struct store *st, struct err *err);
    bool (*commit)(struct store *st, struct err *err);
    void (*rollback)(struct store *st);
    bool (*option_get)(struct store *st, const char *name, char **value, struct err *err);
    bool (*option_set)(struct store *st, const char *name, const char *value, struct err *err);
    bool (*key_insert)(struct store *st, const struct key *key,
                       const unsigned char hash[STORE_HASH_SIZE], struct err *err);
    bool (*key_each)(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                     struct err *err);
    bool (*key_any)(struct store *st, bool *any, struct err *err);
    bool (*key_revoke)(struct store *st, const char *id, int64_t now_ms, struct err *err);
    bool (*key_set)(struct store *st, const char *id, const struct key_share *share,
                    struct err *err);
    bool (*key_share)(struct store *st, const char *id, struct key_share *out, struct err *err);
    const struct store_driver_job *job;
    const struct store_driver_image *image;
    const struct store_driver_aside *aside;
    const struct store_driver_record *record;
    const struct store_driver_mark *mark;
    const struct store_driver_once *once;
    const struct store_driver_webhook *webhook;
    const struct store_driver_usage *usage;
    const struct store_driver_worker *worker;
    const struct store_driver_check *check;
    const struct store_driver_table *table;
};

#endif

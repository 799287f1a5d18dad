/* sdapi_series.h: a request of txt2img or img2img from its first job to its answer.
 *
 * Most requests are one job. The SD WebUI's scripts, and several pictures to begin from, are
 * several that are painted one after another, of which a later one may begin from what an earlier
 * one painted; then, on a thread of http_work, grids or whole pictures are made of theirs. Nothing
 * is queued before all of them have been checked. When the client goes away, the job that is just
 * being painted is cancelled and there is no next one. */
#ifndef PICTOR_SERVER_SDAPI_SERIES_H
#define PICTOR_SERVER_SDAPI_SERIES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/io/image_grid.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/job/controls.h"
#include "server/job/job.h"

struct app;
struct cJSON;
struct http_request;

#define SDAPI_SERIES_RUNS 100  /* jobs of one request */
#define SDAPI_SERIES_LAST (-2) /* begin from the picture before */

struct sdapi_run {
    struct job_params params;
    int init;    /* which of `inits`, or SDAPI_SERIES_LAST; -1: none */
    bool hidden; /* painted only for the next one to begin from */
};

struct sdapi_file {
    void *data; /* malloc'd */
    size_t size;
};

/* What is made of the painted pictures, and put before them. */
enum sdapi_sheet {
    SDAPI_SHEET_NONE,
    SDAPI_SHEET_GRID, /* columns x rows, `deep` of them, and those beside each other */
    SDAPI_SHEET_TILES /* as many pictures as there are sets of `tiles` */
};

struct sdapi_series {
    atomic_int refs;
    const struct app *app;
    char key_id[JOB_ID_SIZE];

    /* To be painted. */
    char *tags; /* of all jobs; NULL: none */
    struct sdapi_run *runs;
    size_t run_count, at;
    struct sdapi_file inits[SDAPI_SERIES_RUNS], mask, leading[CONTROLS_INPUTS];

    /* To be answered. */
    struct cJSON *echo, *styles;
    char *ignored;
    int batch_size;
    bool send_images;
    struct sdapi_model model;
    char vae_sha256[65]; /* "": not known */
    enum sdapi_sheet sheet;
    int columns, rows, deep, margin;
    char **labels[3]; /* at the grids' sides: of columns, rows and sheets; NULL: none; owned */
    bool send_painted, send_sheets; /* the pictures themselves; the grids that make up the first */
    struct image_tiles tiles;

    /* Painted. */
    struct job_image *images;
    struct sdapi_reply_painted *painted; /* of each of them; the texts are owned */
    size_t painted_count;
    struct job_image last; /* of all jobs, also of those that are hidden */
    int64_t started_ms;
    struct cJSON *sheets; /* base64 texts */
    struct err err;
};

/* Of a request; NULL without memory. */
struct sdapi_series *sdapi_series_new(struct http_request *req);
void sdapi_series_free(struct sdapi_series *s); /* one reference; NULL is fine */

/* One more job, with params that become the series'. False without memory, or when there are as
 * many as there may be: `err`. */
bool sdapi_series_add(struct sdapi_series *s, struct job_params *params, int init, struct err *err);

/* Paints and answers. Takes the reference. Call it where http_wait is called. */
void sdapi_series_start(struct http_request *req, struct sdapi_series *s);

void sdapi_series_free_labels(char **labels, int count); /* NULL is fine */

#endif

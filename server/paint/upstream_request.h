/* upstream_request.h: a job as a request of OpenAI's images API.
 *
 * What every such server understands is sent: model, prompt, n, size; quality, style, user and the
 * like as the client said them, if it did (server/job/relay.h); seed, steps, guidance and the like
 * only to one that is said to take them. A job with a picture to paint over becomes an edit, or
 * variations where those were asked for: a form with the pictures and the mask as PNGs. */
#ifndef PICTOR_SERVER_UPSTREAM_REQUEST_H
#define PICTOR_SERVER_UPSTREAM_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/io/image.h"
#include "server/job/relay.h"
#include "server/paint/fetch.h"

struct codec;
struct job_params;

#define UPSTREAM_REQUEST_COUNT_MAX 10 /* pictures in one request, OpenAI's own limit */
#define UPSTREAM_REQUEST_PARTIALS 2   /* asked for when somebody looks on and said no number */

/* The encoded files that come with a job; size 0: none. */
struct upstream_pictures {
    void *init, *mask;
    size_t init_size, mask_size;
    struct upstream_picture {
        void *data;
        size_t size;
    } more[RELAY_IMAGES_MAX]; /* beside init */
    int more_count;
};
#define UPSTREAM_REQUEST_PARTS 60

struct upstream_request {
    const char *path; /* "/images/generations", "/images/edits" or "/images/variations" */
    char *json;                                      /* the body; or NULL, and */
    struct fetch_part parts[UPSTREAM_REQUEST_PARTS]; /* the form */
    size_t part_count;
    struct image_file image, mask; /* what the parts point to */
    struct image_file more[RELAY_IMAGES_MAX];
    struct cJSON *relay;           /* and this */
    char texts[UPSTREAM_REQUEST_PARTS][64];
};

/* For pictures `index` to `index` + `count` - 1. `partials` partial pictures are asked for, and the
 * answer is a stream; 0: none. Borrows params for as long as the request is used. */
bool upstream_request_make(struct upstream_request *r, struct codec *codec,
                           const struct job_params *params, int index, int count,
                           const char *remote_model, bool extensions, int partials,
                           const struct upstream_pictures *pictures, struct err *err);

/* The mask of a job as a grey PNG that is white where to repaint, whatever drew it. */
bool upstream_request_white(struct codec *codec, const void *data, size_t size, bool invert,
                            struct image_file *out, struct err *err);

/* How many partial pictures the job asks a model for, where it may know them; 0: none. */
int upstream_request_partials(const struct job_params *params, const char *remote_model,
                              bool extensions);
void upstream_request_free(struct upstream_request *r);

/* Whether a message of the server repeats the key, or enough of it to matter, or has asterisks as
 * they stand for the rest of one. */
bool upstream_request_leaks(const char *message, const char *key);

#endif

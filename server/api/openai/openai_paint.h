/* openai_paint.h: what all of this dialect's ways to ask for pictures share: a request that was
 * read becomes a job, the client waits (suspended, or reading a stream), the finished job becomes
 * the answer. What an answer looks like is its shape's matter: that of the images API
 * (openai_images.c), of the Responses API, of chat.
 *
 * What the answer needs of the request (struct openai_waiting) is made before the job is submitted
 * and belongs to the connection. A streamed answer notes previews as they are published and turns
 * them into complete pictures on a server thread when the client takes more; finished pictures are
 * read from the disk as the client reads them. */
#ifndef PICTOR_SERVER_OPENAI_PAINT_H
#define PICTOR_SERVER_OPENAI_PAINT_H

#include <pthread.h>

#include "server/api/openai/openai.h"
#include "server/api/openai/openai_request.h"

struct event;
struct http_stream;
struct openai_waiting;

/* Where an answer goes: a reply or a stream; with neither, pictures are read at once. */
struct openai_place {
    struct http_request *req;   /* or */
    struct http_stream *stream; /* the other is NULL */
};

/* How an answer is written. All run on one server thread at a time. Of what is sent to a stream in
 * one call, a picture must be the last. */
struct openai_shape {
    /* The answer as one JSON; owned. `job` is done. NULL: `err` says why. */
    struct cJSON *(*whole)(const struct openai_waiting *w, const struct job *job,
                           const struct openai_place *to, struct err *err);

    /* The rest: of streams. Each returns false when the stream is over. */

    /* At its start. May be NULL. */
    bool (*begin)(struct openai_waiting *w, const struct job *job, struct http_stream *stream);
    /* Before the first that is sent of picture w->next_image, which is being painted. May be NULL.
     */
    bool (*announce)(struct openai_waiting *w, const struct job *job, struct http_stream *stream);
    /* Partial picture `index` (from 0) of w->next_image, in base64. NULL: there are none. */
    bool (*partial)(struct openai_waiting *w, const struct job *job, const char *base64, int index,
                    struct http_stream *stream);
    /* A finished picture. */
    bool (*image)(struct openai_waiting *w, const struct job *job, const struct job_image *image,
                  struct http_stream *stream, struct err *err);
    /* All pictures were sent. May be NULL. */
    bool (*end)(struct openai_waiting *w, const struct job *job, struct http_stream *stream,
                struct err *err);
    /* It went wrong. `job` may be NULL. */
    void (*fault)(struct openai_waiting *w, const struct job *job, const struct openai_fault *f,
                  struct http_stream *stream);
};

struct openai_waiting {
    const struct app *app;
    const struct openai_shape *shape;
    void *own; /* of the shape, with its destructor */
    void (*own_free)(void *own);
    enum openai_kind kind;
    char *base_url, *safety_identifier, *size_text;
    enum image_format format;
    char quality[12], ignored[500];
    int compression; /* of partial pictures too */
    bool url, upstream;
    int input_tokens, input_image_tokens;
    char job_id[JOB_ID_SIZE];

    /* streams; private to openai_paint.c, but for next_image and sequence */
    int sequence;       /* for the shape to count its events by */
    int next_image;     /* producer only */
    int partials;       /* sent of next_image; producer only */
    int partial_images; /* wanted of each */
    bool begun, announced, ended, held;
    int64_t trouble_ms; /* producer only */
    bool finished;      /* the job needs no cancelling */
    struct subscription *subscription;
    pthread_mutex_t lock; /* what follows */
    struct http_stream *stream;
    struct openai_preview {
        int image;
        uint8_t *jpeg; /* or a file as an upstream sent it */
        size_t size;
        bool whole; /* it is that */
    } previews[8]; /* noted and not sent yet; more are dropped */
    size_t preview_count;
};

/* Makes the job and answers. Takes what is in `r`; `own` (may be NULL) is freed by `own_free`
 * whatever comes of it. Call it last in the handler. */
void openai_paint(struct http_request *req, const struct openai_shape *shape, enum openai_kind kind,
                  struct openai_request *r, void *own, void (*own_free)(void *own));

/* Makes a job that nobody waits for; frees `r`. False: `f` says why. */
bool openai_paint_later(const struct app *app, const char *key_id, int priority,
                        struct openai_request *r, char job_id[JOB_ID_SIZE],
                        struct openai_fault *f);

/* Why a final job has no pictures; `f` borrows from it. */
void openai_paint_fault(const struct job *job, struct openai_fault *f);

/* ---- parts of answers ---- */

/* Nothing is billed here; clients want numbers, so they are those of a plain rule: four bytes of
 * text, or 16 x 16 pixels, are a token. */
int openai_paint_text_tokens(const char *text);
int openai_paint_image_tokens(int width, int height);

/* Adds as revised_prompt what an upstream says that it painted, or else what was composed. */
void openai_paint_revised(struct cJSON *json, const struct job *job,
                          const struct job_image *image);

/* A string that is the picture's file in base64 behind `before` (may be ""), read from the disk
 * when the client reads; owned. */
struct cJSON *openai_paint_file(const struct app *app, const struct openai_place *to,
                                const struct job_image *image, const char *before,
                                struct err *err);
/* Where the picture can be fetched; malloc'd. NULL only without memory. */
char *openai_paint_link(const char *base_url, const struct job_image *image);

#endif

/* openai.h: the OpenAI dialect: its errors, its models, its pictures by URL. Painting is in
 * openai_images.h. Every path is in route.c, under /v1 and at the root. Thread-safe. */
#ifndef PICTOR_SERVER_OPENAI_H
#define PICTOR_SERVER_OPENAI_H

#include "engine/base/err.h"

struct app;
struct cJSON;
struct http_request;
struct http_problem;
struct registry_model;

#define OPENAI_INVALID "invalid_request_error"
#define OPENAI_QUOTA "insufficient_quota" /* a type and a code */

/* Why a request is answered with an error. `type` and `code` are borrowed. */
struct openai_fault {
    int status;
    const char *type;     /* NULL: by the status */
    const char *code;     /* or NULL */
    char param[64];       /* or "" */
    int retry_after;      /* seconds, for the header; 0: none */
    char moderation[512]; /* moderation_details as JSON, or "" */
    char message[400];
};

/* Fills it in; returns false. */
bool openai_fault(struct openai_fault *f, int status, const char *code, const char *param,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The server's own trouble, and a line in the log. Returns false. */
bool openai_fault_own(struct openai_fault *f, const struct err *err);

/* {"error": {"message", "type", "param", "code"}}; owned. */
struct cJSON *openai_fault_json(const struct openai_fault *f);
void openai_reply_fault(struct http_request *req, const struct openai_fault *f);

/* The headers of every answer: openai-version, openai-processing-ms, and how much more may come. */
void openai_headers(struct http_request *req);

/* What http.c, the queue and a failed job find wrong. */
void openai_error(struct http_request *req, const struct http_problem *problem);

/* The model that a request means by `name` (NULL or "": the default): the registry's, or, for
 * OpenAI's own names (dall-e-3, gpt-image-1) that nothing there has, the default. ERR_NOT_FOUND. */
bool openai_find_model(const struct app *app, const char *name, struct registry_model *out,
                       struct err *err);

/* Whether OpenAI would answer for the model of this name with links where nothing else was asked
 * for. */
bool openai_answers_links(const char *name);

void openai_models(struct http_request *req);       /* GET /v1/models */
void openai_model(struct http_request *req);        /* GET /v1/models/{model...} */
void openai_model_delete(struct http_request *req); /* DELETE: never */
void openai_file(struct http_request *req);         /* GET /v1/images/files/{file} */

#endif

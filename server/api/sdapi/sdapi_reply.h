/* sdapi_reply.h: answers in SD WebUI's shapes. Clients print `detail`, so every error has one. */
#ifndef PICTOR_SERVER_SDAPI_REPLY_H
#define PICTOR_SERVER_SDAPI_REPLY_H

#include <stdbool.h>

#include "engine/base/err.h"

struct cJSON;
struct http_request;
struct job;
struct json_field;
struct json_problem;
struct sdapi_request;

/* ---- errors ---- */

/* {"detail": [{"loc": ["body", name], "msg": msg, "type": type}], "message": ...}; `name` NULL: the
 * body itself. Owned, NULL only without memory. */
struct cJSON *sdapi_reply_fault(const char *name, const char *msg, const char *type);

/* Replies 422 for what json_fields found, in pydantic's words. */
struct cJSON *sdapi_reply_problem(const struct json_problem *problem);

/* 422 with such a body; takes it (NULL: 500). */
void sdapi_reply_unprocessable(struct http_request *req, struct cJSON *detail);

/* {"error": kind, "detail": detail, "body": "", "errors": errors, "message": ...}. What the WebUI
 * raises as HTTPException has its words in `detail`, other exceptions have them in `errors`. */
void sdapi_reply_exception(struct http_request *req, int status, const char *detail);
void sdapi_reply_crash(struct http_request *req, const char *kind, const char *message);

/* By err.code: 422 for what is wrong with the request (`param` may be NULL), else its status. */
void sdapi_reply_err(struct http_request *req, const struct err *err, const char *param);

/* 200; takes `json` (NULL: 500). Adds X-Process-Time. */
void sdapi_reply_json(struct http_request *req, struct cJSON *json);

/* 200 and the JSON text `null`. */
void sdapi_reply_null(struct http_request *req);

/* The body as a JSON object for handlers with a model: missing, not JSON and not an object are
 * answered with 422 and give NULL. Owned. */
struct cJSON *sdapi_reply_body(struct http_request *req);

/* ---- the finished picture ---- */

/* What the answer says about the model that painted. Strings may be NULL. */
struct sdapi_reply_model {
    const char *name;   /* file stem */
    const char *sha256; /* hex */
    const char *vae_sha256; /* of the VAE that the job names; NULL or "": not known */
};

/* Of a request that is more than one job. */
struct sdapi_reply_painted {
    const char *prompt, *negative;
};
struct sdapi_reply_more {
    int sheets; /* pictures made of the painted ones, which stand before them */
    bool alone; /* and without them */
    const struct sdapi_reply_painted *painted; /* of each of the job's images; NULL: they are one
                                                  job's */
};

/* The text of "info": JSON as Python prints it. `styles` may be NULL; `ignored` (sdapi_ignored.h)
 * may be NULL or ""; `more` may be NULL. malloc'd, NULL only without memory. */
char *sdapi_reply_info(const struct job *job, int batch_size, const struct cJSON *styles,
                       const char *ignored, const struct sdapi_reply_model *model,
                       const struct sdapi_reply_more *more);

#endif

/* openai_tool.h: the bodies of /v1/responses as requests of the images API: which tool with which
 * options, what the user said, and the pictures that it is about. Thread-safe; no state. */
#ifndef PICTOR_SERVER_OPENAI_TOOL_H
#define PICTOR_SERVER_OPENAI_TOOL_H

#include "server/api/openai/openai.h"
#include "server/api/openai/openai_request.h"

#define OPENAI_TOOL_ID_SIZE 48 /* of a call: "ig_JOB_INDEX" */

struct job;

/* The body, for the description of the API; owned. */
struct cJSON *openai_tool_schema(const struct settings *settings);

struct openai_tool_request {
    struct openai_request request;
    enum openai_kind kind;
    struct cJSON *base; /* what a response repeats of its request; owned */
    bool later;         /* answer at once: the client comes again */
};

/* Reads the request's body. openai_request_free and cJSON_Delete what comes of it. */
bool openai_tool_read(struct http_request *req, struct openai_tool_request *out,
                      struct openai_fault *f);

/* A response without id, time, status, error, output and usage. `body` NULL: nothing is known of
 * the request but its model. Owned. */
struct cJSON *openai_tool_base(const struct cJSON *body, const char *model);

/* The job of a response ("resp_..."), or of a call ("ig_..."). ERR_NOT_FOUND. */
bool openai_tool_find(const struct app *app, const char *visible_key, const char *id,
                      struct job *job, struct err *err);

#endif

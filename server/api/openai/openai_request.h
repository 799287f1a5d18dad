/* openai_request.h: the bodies of /v1/images/generations, edits and variations, as JSON or as a
 * form, as a job. Thread-safe; no state. */
#ifndef PICTOR_SERVER_OPENAI_REQUEST_H
#define PICTOR_SERVER_OPENAI_REQUEST_H

#include <stdbool.h>
#include "server/api/controls_given.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_pictures.h"
#include "server/job/job.h"

struct http_request;

enum openai_kind { OPENAI_GENERATION, OPENAI_EDIT, OPENAI_VARIATION };

struct openai_request {
    struct job_params params; /* complete and checked */
    struct openai_inputs inputs;
    int input_images; /* how many came */
    struct controls_given controls;
    char *tags; /* NULL: none */

    bool upstream; /* its model is another server's */
    bool url; /* answer links instead of base64 */
    bool stream;
    int partial_images;
    char quality[12];        /* for the answer: never "auto" */
    char *safety_identifier; /* echoed, or NULL; malloc'd */
    char ignored[500];       /* names of what changes nothing, "foo, style" */
};

/* Reads the request's body. */
bool openai_request_read(struct http_request *req, enum openai_kind kind,
                         struct openai_request *out, struct openai_fault *fault);

/* Who asks. */
struct openai_from {
    const struct app *app;
    const char *key_id;      /* as http_key_id */
    const char *visible_key; /* as http_visible_key */
    const char *deployment;  /* the model's name in the path; "": none is there */
};
struct openai_from openai_request_from(const struct http_request *req);

/* As openai_request_read, of a body in JSON that is parsed already, and changed. */
bool openai_request_make(const struct openai_from *from, enum openai_kind kind,
                         struct cJSON *object, struct openai_request *out,
                         struct openai_fault *fault);

/* Whether `name` is a field of pictor's own, which no API of OpenAI has. */
bool openai_request_is_own(const char *name);

/* Notes a field that was given and changes nothing. */
void openai_request_ignore(struct openai_request *out, const char *name);

/* Reads JSON, and no form, whatever its fields. Owned; NULL: `fault` says why. */
struct cJSON *openai_request_json(struct http_request *req, struct openai_fault *fault);
void openai_request_free(struct openai_request *r);

/* Of the JSON body of a request for pictures; owned. */
struct settings;
struct cJSON *openai_request_schema(const struct settings *settings);

#endif

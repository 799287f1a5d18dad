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
void openai_request_free(struct openai_request *r);

#endif

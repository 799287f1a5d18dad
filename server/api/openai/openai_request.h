/* openai_request.h: the bodies of /v1/images/generations, edits and variations, as JSON or as a
 * form, as a job. Thread-safe; no state. */
#ifndef PICTOR_SERVER_OPENAI_REQUEST_H
#define PICTOR_SERVER_OPENAI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api/openai/openai.h"
#include "server/job/job.h"

struct http_request;

enum openai_kind { OPENAI_GENERATION, OPENAI_EDIT, OPENAI_VARIATION };

struct openai_request {
    struct job_params params; /* complete and checked */
    uint8_t *init, *mask;     /* encoded files, malloc'd, or NULL */
    size_t init_size, mask_size;
    int input_images; /* how many came */

    bool url; /* answer links instead of base64 */
    bool stream;
    int partial_images;
    char quality[12];        /* for the answer: never "auto" */
    char *safety_identifier; /* echoed, or NULL; malloc'd */
};

/* Reads the request's body. */
bool openai_request_read(struct http_request *req, enum openai_kind kind,
                         struct openai_request *out, struct openai_fault *fault);
void openai_request_free(struct openai_request *r);

#endif

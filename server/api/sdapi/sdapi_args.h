/* sdapi_args.h: what the SD WebUI's scripts say of their `script_args`. */
#ifndef PICTOR_SERVER_SDAPI_ARGS_H
#define PICTOR_SERVER_SDAPI_ARGS_H

#include <stdbool.h>

#include "server/api/sdapi/sdapi_job.h"
#include "server/api/sdapi/sdapi_request.h"

/* False, and a fault of 422 with the message. */
bool sdapi_args_refuse(struct sdapi_fault *fault, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* False, and a fault of 500. */
bool sdapi_args_no_memory(struct sdapi_fault *fault);

/* The i-th argument as a number of least..most, or as a text of one; *out stays where there is
 * none. `name` is for the message. */
bool sdapi_args_number(const struct sdapi_request *r, int i, const char *name, double least,
                       double most, double *out, struct sdapi_fault *fault);

#endif

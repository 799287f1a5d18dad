/* sdapi_outpaint.h: the SD WebUI's scripts that extend pictures, by script_name and script_args. */
#ifndef PICTOR_SERVER_SDAPI_OUTPAINT_H
#define PICTOR_SERVER_SDAPI_OUTPAINT_H

#include "engine/io/image_extend.h"
#include "server/api/sdapi/sdapi_job.h"
#include "server/api/sdapi/sdapi_request.h"

#define SDAPI_OUTPAINT_MULTIPLE 64 /* the sides that come out are multiples of this */

struct cJSON;

/* Their titles, as `scripts` lists them. */
extern const char *const sdapi_outpaint_titles[];

/* Whether the request's script is one of them, which img2img has. */
bool sdapi_outpaint_is(const struct sdapi_request *r);

/* How its args extend the picture, and how the job is then painted. */
bool sdapi_outpaint_read(const struct sdapi_request *r, struct job_params *p,
                         struct image_margins *out, struct sdapi_fault *fault);

#endif

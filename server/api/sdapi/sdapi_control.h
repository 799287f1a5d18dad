/* sdapi_control.h: sd-webui-controlnet's part of the API: its units in alwayson_scripts, and what
 * ControlNets and modules there are. */
#ifndef PICTOR_SERVER_SDAPI_CONTROL_H
#define PICTOR_SERVER_SDAPI_CONTROL_H

#include <stddef.h>

#include "engine/pictor.h"
#include "server/api/sdapi/sdapi_request.h"
#include "server/job/controls.h"

struct app;
struct http_request;
struct job_params;

/* What the enabled units are shown, as it came; NULL: nothing. */
void sdapi_control_pictures(const struct sdapi_request *r, const char *out[CONTROLS_INPUTS]);

/* The enabled units as the job's `controls`. ERR_INVALID: too many, or one that cannot be honoured.
 */
bool sdapi_control_make(const struct app *app, const struct sdapi_request *r, bool upstream,
                        struct job_params *p, struct err *err);

void sdapi_control_version(struct http_request *req);
void sdapi_control_models(struct http_request *req);
void sdapi_control_modules(struct http_request *req);
void sdapi_control_detect(struct http_request *req); /* body: ROUTE_BODY_IMAGES */

/* GET /controlnet/control_types, settings */
void sdapi_control_types(struct http_request *req);
void sdapi_control_settings(struct http_request *req);

#endif

/* sdapi_axis.h: the axes of the SD WebUI's X/Y/Z plot: which there are, their values, and what a
 * value changes in a request. */
#ifndef PICTOR_SERVER_SDAPI_AXIS_H
#define PICTOR_SERVER_SDAPI_AXIS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/api/sdapi/sdapi_job.h"
#include "server/api/sdapi/sdapi_request.h"

struct app;
struct cJSON;
struct sdapi_axis_kind;

struct sdapi_axis {
    const struct sdapi_axis_kind *kind;
    char **values; /* owned; at least one */
    size_t count;
    size_t most; /* bytes of a prompt */
};

/* `type`: an index into the axes that this kind of request has, in the WebUI's order, or a label.
 * `values`: text with commas, where numbers may be ranges, "1-5", "1-10 (+3)", "0-1 [5]"; or `list`
 * of texts, where it has any. NULL is Nothing. On failure the axis may be freed. */
bool sdapi_axis_read(const struct app *app, const struct sdapi_request *r, const struct cJSON *type,
                     const struct cJSON *values, const struct cJSON *list, struct sdapi_axis *out,
                     struct sdapi_fault *fault);
void sdapi_axis_free(struct sdapi_axis *axis);

/* Value `i` in a request's body. */
bool sdapi_axis_apply(const struct sdapi_axis *axis, size_t i, struct cJSON *body,
                      struct sdapi_fault *fault);

/* What value `i` is called at the grid's side; owned, NULL without memory. NULL labels: Nothing. */
bool sdapi_axis_is_shown(const struct sdapi_axis *axis);
char *sdapi_axis_label(const struct sdapi_axis *axis, size_t i);

#endif

/* sdapi_script.h: the SD WebUI's scripts, by `script_name` and `script_args`.
 *
 * X/Y/Z plot, Prompt matrix and Loopback make several requests of one: each is a copy of its body
 * with some members changed, and is checked like a request of its own. The two scripts that extend
 * a picture are sdapi_outpaint.h's; SD upscale is sdapi_tiles.h's. */
#ifndef PICTOR_SERVER_SDAPI_SCRIPT_H
#define PICTOR_SERVER_SDAPI_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "server/api/sdapi/sdapi_job.h"
#include "server/api/sdapi/sdapi_request.h"

struct app;
struct cJSON;

enum sdapi_script {
    SDAPI_SCRIPT_NONE,
    SDAPI_SCRIPT_OUTPAINT,
    SDAPI_SCRIPT_UPSCALE,
    SDAPI_SCRIPT_XYZ,
    SDAPI_SCRIPT_MATRIX,
    SDAPI_SCRIPT_LOOPBACK,
    SDAPI_SCRIPT_UNKNOWN
};

/* In any case; "" and NULL are none. */
enum sdapi_script sdapi_script_of(const struct sdapi_request *r);

/* Lower-case titles of those that a kind of request has, by index, NULL past the end. */
const char *sdapi_script_title(enum sdapi_request_kind kind, int index);

/* A script's args, in order; NULL past the end. Texts are static. */
struct sdapi_script_arg {
    const char *label, *value; /* JSON */
    double least, most, step;  /* of a number, where they are not all 0 */
};
const struct sdapi_script_arg *sdapi_script_arg(const char *title, int index);

/* One picture of a script's. */
struct sdapi_cell {
    struct cJSON *body; /* owned; big members are the request's own */
    bool from_last;     /* begins from the picture before */
    bool hidden;        /* and is only there to be begun from */
};

struct sdapi_plan {
    char **labels[3]; /* of columns, rows and sheets; NULL: none */
    struct sdapi_cell *cells;
    size_t count;
    int columns, rows, deep, margin;      /* of the grid */
    bool grid, send_painted, send_sheets; /* what is answered with */
};

/* What a script of several pictures makes of a request's body, which outlives the plan. `seed` and
 * `subseed` are what its own came to. On failure the plan is empty. */
bool sdapi_script_plan(const struct app *app, const struct sdapi_request *r,
                       const struct cJSON *body, uint64_t seed, uint64_t subseed,
                       struct sdapi_plan *out, struct sdapi_fault *fault);
void sdapi_script_plan_free(struct sdapi_plan *plan);

#endif

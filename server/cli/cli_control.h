/* cli_control.h: the ControlNets of `pictor generate`: --control model=NAME,image=FILE,... */
#ifndef PICTOR_SERVER_CLI_CONTROL_H
#define PICTOR_SERVER_CLI_CONTROL_H

#include "engine/pictor.h"
#include "server/job/controls.h"

struct job_params;
struct settings;

/* Starts as {0}. */
struct cli_control {
    const char *flags[PICTOR_CONTROLS_MAX]; /* borrowed */
    size_t count;
    struct pictor_image images[CONTROLS_INPUTS];
    struct pictor_control at[PICTOR_CONTROLS_MAX];
};

/* Reads a picture file; for errors the path. */
typedef bool cli_control_read_fn(const char *path, size_t max_pixels, struct pictor_image *out,
                                 struct err *err);

/* One more flag's words. */
bool cli_control_add(struct cli_control *c, const char *words, struct err *err);

/* Reads their pictures, gives the model, and that of the second pass (or NULL), the networks and
 * the job its field; then `at` leads. */
bool cli_control_open(struct cli_control *c, const struct settings *settings,
                      cli_control_read_fn *read, struct pictor_model *model,
                      struct pictor_model *second, struct job_params *job, struct err *err);
void cli_control_free(struct cli_control *c);

#endif

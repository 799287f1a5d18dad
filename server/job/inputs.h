/* inputs.h: the pictures that come with a job, by the names under which they are kept: "init" to
 * begin from, its "mask", what its units are shown (server/job/controls.h), and those beside the
 * first (server/job/relay.h). No state. */
#ifndef PICTOR_SERVER_INPUTS_H
#define PICTOR_SERVER_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/job/controls.h"
#include "server/job/relay.h"

struct job_params;

#define INPUTS_MAX (2 + CONTROLS_INPUTS + RELAY_IMAGES_MAX)

const char *inputs_name(size_t i); /* of the one at i < INPUTS_MAX */
int inputs_index(const char *name); /* -1: none is called that */

/* Which of them a job says that it has. */
void inputs_wanted(const struct job_params *p, bool out[INPUTS_MAX]);

#endif

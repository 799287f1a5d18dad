/* cli_upscale.h: pictures enlarged by a command. */
#ifndef PICTOR_SERVER_CLI_UPSCALE_H
#define PICTOR_SERVER_CLI_UPSCALE_H

#include "engine/pictor.h"
#include "server/job/upscalers.h"

struct settings;

/* What enlarges; starts as {0}. */
struct cli_upscale {
    const char *name; /* of the upscaler; NULL: the one inside the binary */
    double scale;
    struct pictor_upscaler *network; /* once it is open; NULL: a filter */
    char said[UPSCALERS_NAME];       /* its name as lists have it */
};

/* "2", "1.5": 1..16. */
bool cli_upscale_scale(struct cli_upscale *u, const char *text, struct err *err);

bool cli_upscale_open(struct cli_upscale *u, const struct settings *settings,
                      struct pictor_engine *engine, struct err *err);
/* In place. */
bool cli_upscale_run(struct cli_upscale *u, const struct settings *settings,
                     struct pictor_image *image, struct err *err);
void cli_upscale_close(struct cli_upscale *u);

/* "Postprocess upscale by: 2.0, ..." as the SD WebUI writes it; owned. */
char *cli_upscale_text(const struct cli_upscale *u);

#endif

/* sdapi_tiles.h: the SD WebUI's script "SD upscale": the picture is enlarged and cut into tiles
 * that overlap, each is painted over by a job of its own, and they are joined again. */
#ifndef PICTOR_SERVER_SDAPI_TILES_H
#define PICTOR_SERVER_SDAPI_TILES_H

#include "server/api/sdapi/sdapi_request.h"
#include "server/api/sdapi/sdapi_series.h"

/* Reads the script's args; `s` holds the picture as its first one and takes `params`, whose size is
 * that of a tile. Enlarges on a thread, then paints and answers. Takes the reference. Call it where
 * http_wait is called. */
void sdapi_tiles_start(struct http_request *req, const struct sdapi_request *r,
                       struct job_params *params, struct sdapi_series *s);

#endif

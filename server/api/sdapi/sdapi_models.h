/* sdapi_models.h: the registry's models as SD WebUI clients know checkpoints: by a title that ends
 * in a hash, by file name, by stem, by hash. Thread-safe; no state. */
#ifndef PICTOR_SERVER_SDAPI_MODELS_H
#define PICTOR_SERVER_SDAPI_MODELS_H

#include <stdbool.h>

#include "server/job/registry.h"

struct app;
struct http_request;

#define SDAPI_MODELS_TITLE_SIZE (REGISTRY_NAME_SIZE + 32)

struct sdapi_model {
    char name[REGISTRY_NAME_SIZE];       /* in the registry: "anime/v2" */
    char title[SDAPI_MODELS_TITLE_SIZE]; /* "anime/v2.safetensors [6ce0161689]"; without the hash
                                            while it is not known */
    char file[SDAPI_MODELS_TITLE_SIZE];  /* "anime/v2.safetensors" */
    char flat[REGISTRY_NAME_SIZE];       /* "anime_v2": model_name of sd-models */
    char stem[REGISTRY_NAME_SIZE];       /* "v2": Model of an infotext */
    char sha256[65];                     /* hex, "" while it is not known */
    bool upstream;
};

/* By any of its names, case ignored; "" is the default model. False when there is none. */
bool sdapi_models_find(const struct app *app, const char *text, struct sdapi_model *out);

void sdapi_models_of(const struct registry_model *model, struct sdapi_model *out);

/* Whether `text` is a name of it; `loose`: also the bare stem. */
bool sdapi_models_match(const struct sdapi_model *model, const char *text, bool loose);

/* GET /sdapi/v1/sd-models */
void sdapi_models_list(struct http_request *req);

#endif

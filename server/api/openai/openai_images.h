/* openai_images.h: POST /v1/images/generations, edits, variations: a request becomes a job, the
 * client waits (suspended, or reading a stream), the finished job becomes the answer. */
#ifndef PICTOR_SERVER_OPENAI_IMAGES_H
#define PICTOR_SERVER_OPENAI_IMAGES_H

#include <stdbool.h>

#include "engine/base/err.h"

struct app;
struct cJSON;
struct http_request;
struct job;
struct settings;

void openai_images_generate(struct http_request *req);
void openai_images_edit(struct http_request *req);
void openai_images_vary(struct http_request *req);

/* Of a variation's body; owned. */
struct cJSON *openai_images_vary_schema(const struct settings *settings);

/* The answer for a done job that nobody has waited for; owned. `quality` is what it is said to
 * have; `base_url` is where links lead. */
struct cJSON *openai_images_answer(const struct app *app, const struct job *job,
                                   const char *quality, bool url, const char *base_url,
                                   struct err *err);

#endif

/* sdapi_options.h: the settings an SD WebUI client reads and changes.
 *
 * Every client of this server that has a key of its own has options of its own, so nobody changes
 * another's pictures; without keys there is one set. They are kept in the store. A set of options
 * is a JSON object with every known name; "sd_model_checkpoint" holds a model's name in it (null:
 * the server's default) and becomes a title only in the answer. Thread-safe. */
#ifndef PICTOR_SERVER_SDAPI_OPTIONS_H
#define PICTOR_SERVER_SDAPI_OPTIONS_H

#include <stdbool.h>

#include "engine/base/err.h"

struct app;
struct cJSON;
struct http_request;

void sdapi_options_get(struct http_request *req); /* GET /sdapi/v1/options */
void sdapi_options_set(struct http_request *req); /* POST /sdapi/v1/options, small body */

/* The defaults, and over them what this key has set. Owned. */
struct cJSON *sdapi_options_load(const struct app *app, const char *key_id, struct err *err);

/* Puts `changes` (a JSON object) into `options`. Unknown names and nulls are skipped; a checkpoint
 * is resolved by any of its names and skipped when unknown. ERR_INVALID for a value of the wrong
 * type, ERR_UNSUPPORTED for one that would change pictures in a way pictor cannot; *name (may be
 * NULL) is then the option's. */
bool sdapi_options_apply(const struct app *app, struct cJSON *options, const struct cJSON *changes,
                         const char **name, struct err *err);

/* Keeps what differs from the defaults. */
bool sdapi_options_save(const struct app *app, const char *key_id, const struct cJSON *options,
                        struct err *err);

/* Whether there is an option of this name. */
/* By index, NULL past the end. */
const char *sdapi_options_name(int index);

/* Of the body of POST options; owned. */
struct settings;
struct cJSON *sdapi_options_schema(const struct settings *settings);

bool sdapi_options_known(const char *name);

/* Values of a loaded set; the name is one of the table's. */
const char *sdapi_options_text(const struct cJSON *options, const char *name); /* "" for null */
double sdapi_options_number(const struct cJSON *options, const char *name);
bool sdapi_options_flag(const struct cJSON *options, const char *name);

#endif

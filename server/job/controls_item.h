/* controls_item.h: a ControlNet as requests have it, in JSON, in flags and in infotexts; what it
 * becomes is controls.h's. Thread-safe; no state. */
#ifndef PICTOR_SERVER_CONTROLS_ITEM_H
#define PICTOR_SERVER_CONTROLS_ITEM_H

#include <stddef.h>

#include "server/job/controls.h"

struct cJSON;
struct infotext;
struct pyjson;

/* The pictures are as the request has them (base64, a path); NULL: none. Borrowed from the JSON. */
struct controls_item {
    struct controls_unit unit;
    const char *shown[CONTROLS_PARTS];
};

/* One object {"model", "image", "preprocessor", "weight", ...} of `object`, whose members all have
 * to be known. `coerce`: numbers may be text. ERR_INVALID. */
bool controls_item_read(struct cJSON *object, bool coerce, struct controls_item *out,
                        struct err *err);

/* What requests call the pictures: "image", "mask", "region". */
const char *controls_item_part(enum controls_part part);

/* The job's `controls` as such a list, without pictures. Owned; NULL only without memory. */
struct cJSON *controls_item_list(const char *json);

/* JSON Schema of a list of them. Owned. */
struct cJSON *controls_item_schema(void);

/* What sd-webui-controlnet writes of a unit: "Module: canny, Model: edges, Weight: 1.0, ...". */
void controls_item_put(struct pyjson *out, const struct controls_unit *unit);

/* What such texts say, "ControlNet 0" to "ControlNet 3", as a job's field, owned: NULL: nothing, or
 * no memory. Masks are not known from them. */
char *controls_item_take(const struct infotext *t);

#endif

/* controls_given.h: ControlNets as a request brings them, in JSON with their pictures, for the
 * dialects that have no words of their own for them. */
#ifndef PICTOR_SERVER_CONTROLS_GIVEN_H
#define PICTOR_SERVER_CONTROLS_GIVEN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/job/controls.h"

struct app;
struct cJSON;
struct job_input;
struct job_params;

/* Starts as {0}. */
struct controls_given {
    struct {
        uint8_t *data; /* malloc'd; NULL: none */
        size_t size;
    } shown[CONTROLS_INPUTS];
};

/* The request's list `controls` (docs/api.md; NULL: none), and its pictures, into the job's field;
 * `upstream`: the job's model takes none. An image "job:ID/N" is what ControlNet N of that job was
 * shown, if `key_id` may see it (NULL: any). ERR_INVALID says which of them is wrong. On failure,
 * too, `out` is to be freed. */
bool controls_given_read(const struct app *app, const char *key_id, struct cJSON *list,
                         bool upstream, struct job_params *p, struct controls_given *out,
                         struct err *err);

/* As inputs of a job behind the `count` there are; returns how many there are then. They stay
 * borrowed from `given`. */
size_t controls_given_inputs(const struct controls_given *given, struct job_input *inputs,
                             size_t count);
void controls_given_free(struct controls_given *given);

#endif

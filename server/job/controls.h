/* controls.h: the ControlNets of a job: its field `controls`, a JSON list, and their files. The
 * picture of number I is the job's input "leadI". */
#ifndef PICTOR_SERVER_CONTROLS_H
#define PICTOR_SERVER_CONTROLS_H

#include <stdint.h>

#include "engine/pictor.h"
#include "server/job/files.h"

struct cJSON;

struct controls_unit {
    char model[REGISTRY_NAME_SIZE]; /* of FOLDERS_CONTROLNET */
    char module[48];                /* engine/io/image_detect.h; "": none */
    double a, b;                    /* its thresholds; NAN: the usual ones */
    double weight, start, end;
    int fit; /* enum pictor_fit */
};

struct controls {
    struct controls_unit at[PICTOR_CONTROLS_MAX];
    size_t count;
};

/* "lead0" ...; which one a name is, -1: none. */
const char *controls_input(size_t i);
int controls_input_of(const char *name);

/* Of a job's field; NULL and "" are none. ERR_INVALID. */
bool controls_read(const char *json, struct controls *out, struct err *err);
char *controls_write(const struct controls *c); /* owned; NULL: no memory */
size_t controls_count(const char *json);        /* 0 where it cannot be read */

/* Whether each is within range, its module and its file there; names become the files'. */
bool controls_check(struct controls *c, struct files *files, struct err *err);

/* Their files, opened. */
struct controls_files {
    struct files_open at[PICTOR_CONTROLS_MAX];
    size_t count;
};
bool controls_open(const struct controls *c, struct files *files, struct controls_files *out,
                   struct err *err);
void controls_close(struct controls_files *files);

#endif

/* controls.h: the ControlNets of a job: its field `controls`, a JSON list, and their files. What
 * they are shown are inputs of the job, of which each unit has up to three. */
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
    int fit;  /* enum pictor_fit */
    int say;  /* enum pictor_say */
    int side; /* the shorter side that its module works at; 0: the picture's; CONTROLS_PERFECT */
    bool hidden, region; /* whether there are such masks (struct pictor_control) */
};

#define CONTROLS_PERFECT -1 /* the side that the picture has as it is painted */
#define CONTROLS_SIDE_MAX 4096

struct controls {
    struct controls_unit at[PICTOR_CONTROLS_MAX];
    size_t count;
};

/* What a unit is shown. Input `part * PICTOR_CONTROLS_MAX + unit` is called "lead0", "hide0" or
 * "area0", with the unit's number. */
enum controls_part { CONTROLS_PICTURE, CONTROLS_HIDDEN, CONTROLS_REGION, CONTROLS_PARTS };
#define CONTROLS_INPUTS (CONTROLS_PARTS * PICTOR_CONTROLS_MAX)
const char *controls_input(size_t i);

/* Which of them these have, and those of a job's field, which are none where it cannot be read. */
bool controls_has(const struct controls *c, size_t i);
void controls_inputs(const char *json, bool out[CONTROLS_INPUTS]);

/* How large the shorter side of a unit's picture is made, which is `width` x `height`, for a job of
 * `across` x `down`; 0: it stays. */
int controls_side(const struct controls_unit *u, int width, int height, int across, int down);

/* Of a job's field; NULL and "" are none. ERR_INVALID. */
bool controls_read(const char *json, struct controls *out, struct err *err);
char *controls_write(const struct controls *c); /* owned; NULL: no memory */

/* Whether each is within range, its module and its file there, and has a mask exactly where its
 * module wants one; names become the files' and the modules'. */
bool controls_check(struct controls *c, struct files *files, struct err *err);

/* In the place of each unit's picture what its module makes of it, for a job of `across` x `down`;
 * then what they lead by, which borrows `images`, by number of the inputs. */
bool controls_see(const struct controls *c, int across, int down,
                  struct pictor_image images[CONTROLS_INPUTS], struct pictor_control *out,
                  struct err *err);

/* Their files, opened. */
struct controls_files {
    struct files_open at[PICTOR_CONTROLS_MAX];
    size_t count;
};
bool controls_open(const struct controls *c, struct files *files, struct controls_files *out,
                   struct err *err);
void controls_close(struct controls_files *files);

#endif

/* companions.h: the models of a job beside its own: the one that refines its pictures, and the one
 * that paints their second pass. Both are models of the registry by name, and of this machine. */
#ifndef PICTOR_SERVER_COMPANIONS_H
#define PICTOR_SERVER_COMPANIONS_H

#include "engine/pictor.h"
#include "server/job/registry.h"
#include "server/job/vaes.h"

struct intake_model;
struct job_params;

enum companions_role { COMPANIONS_REFINER, COMPANIONS_HIRES };
#define COMPANIONS 2

/* The field of a job that names it: "refiner", "hires_model". */
const char *companions_field(enum companions_role role);

/* What it names; NULL where the job has no use for it, whatever it says. */
const char *companions_name(const struct job_params *p, enum companions_role role);

/* Whether there are those that the job names, and of which it makes the registry's names; and
 * whether they go on with each other's latents, as far as names of families tell. On failure *param
 * (may be NULL) is the field. */
bool companions_check(struct registry *registry, const struct intake_model *own,
                      struct job_params *p, const char **param, struct err *err);

/* One of them, its files open. */
struct companion {
    struct registry_model model; /* of no name: the job has none */
    struct pictor_files files;
    struct vaes_version vae; /* among them */
};

/* Opens them. `vae` is what the job says of its VAE, which those that share the latents of `own`
 * have, too. On failure nothing is open. */
bool companions_open(struct registry *registry, const struct job_params *p,
                     const struct registry_model *own, const char *vae,
                     struct companion out[COMPANIONS], struct err *err);
void companions_close(struct companion list[COMPANIONS]); /* zeroed is fine */

#endif

#include "server/job/companions.h"

#include <string.h>
#include <strings.h>

#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/upscalers.h"

const char *companions_field(enum companions_role role)
{
    return role == COMPANIONS_REFINER ? "refiner" : "hires_model";
}

const char *companions_name(const struct job_params *p, enum companions_role role)
{
    bool used = role == COMPANIONS_REFINER ? p->refiner_at < 1 : p->hires_width > 0;
    const char *name = role == COMPANIONS_REFINER ? p->refiner : p->hires_model;
    return used && name && *name ? name : NULL;
}

/* The registry's model of that name, which is of this machine. */
static bool resolve(struct registry *registry, const char *name, struct registry_model *out,
                    struct err *err)
{
    if (!registry_resolve(registry, name, out, err)) {
        if (err->code == ERR_NOT_FOUND) /* it is no route that was not found */
            err->code = ERR_INVALID;
        return false;
    }
    return out->kind == REGISTRY_LOCAL ||
           err_set(err, ERR_INVALID,
                   "%s is painted by the upstream %s: wanted a model of this machine", out->name,
                   out->upstream);
}

static bool check_one(struct registry *registry, const struct intake_model *own,
                      struct job_params *p, enum companions_role role, struct registry_model *out,
                      struct err *err)
{
    const char *name = companions_name(p, role);
    *out = (struct registry_model){.name = ""};
    if (!name)
        return true;
    if (own->upstream)
        return err_set(err, ERR_INVALID, "%s is painted elsewhere, by one model", own->name);
    return resolve(registry, name, out, err) &&
           job_field_set_text(job_field_find(&job_table, companions_field(role)), p, out->name,
                              err);
}

/* `other` after `first`. */
static bool check_follows(const struct registry_model *first, const struct registry_model *other,
                          struct err *err)
{
    return pictor_latents_alike(first->architecture, other->architecture) ||
           err_set(err, ERR_INVALID,
                   "%s is of the family %s, which cannot go on with the latents of %s, of the "
                   "family %s",
                   other->name, other->architecture, first->name, first->architecture);
}

/* Which of the passes is refined. */
static bool is_refined(const struct job_params *p, bool second)
{
    return p->hires_width <= 0 || p->refiner_pass == PICTOR_REFINE_BOTH ||
           (p->refiner_pass == PICTOR_REFINE_SECOND) == second;
}

bool companions_check(struct registry *registry, const struct intake_model *own,
                      struct job_params *p, const char **param, struct err *err)
{
    struct registry_model all[COMPANIONS], base;
    const struct registry_model *refiner = &all[COMPANIONS_REFINER],
                                *hires = &all[COMPANIONS_HIRES];
    enum companions_role role;
    for (role = 0; role < COMPANIONS; role++)
        if (!check_one(registry, own, p, role, &all[role], err))
            goto fail;
    if (!*refiner->name && !*hires->name)
        return true;
    if (!registry_resolve(registry, own->name, &base, err))
        return false;
    const char *upscaler = upscalers_canonical(p->hires_upscaler ? p->hires_upscaler : "Latent");
    bool latent = upscaler && strncmp(upscaler, "Latent", 6) == 0;
    role = COMPANIONS_HIRES;
    if (*hires->name && latent && !check_follows(&base, hires, err)) {
        err_prefix(err, "by an upscaler of latents");
        goto fail;
    }
    role = COMPANIONS_REFINER;
    const struct registry_model *second = *hires->name ? hires : &base;
    if (*refiner->name &&
        ((is_refined(p, false) && !check_follows(&base, refiner, err)) ||
         (p->hires_width > 0 && is_refined(p, true) && !check_follows(second, refiner, err))))
        goto fail;
    return true;
fail:
    if (param)
        *param = companions_field(role);
    return err_prefix(err, "%s", companions_field(role));
}

static bool open_one(struct registry *registry, const char *name, const struct registry_model *own,
                     const char *vae, struct companion *out, struct err *err)
{
    struct vaes_choice choice;
    if (!resolve(registry, name, &out->model, err))
        return false;
    const struct registry_model *m = &out->model;
    bool plain = !vae || !*vae || strcasecmp(vae, "automatic") == 0;
    if (!plain && !pictor_latents_alike(own->architecture, m->architecture))
        vae = NULL;
    bool done = registry_open(registry, m, &out->files, err) &&
                vaes_choose(registry_files(registry, FOLDERS_VAE), m->name, vae, &choice, err);
    if (done && out->files.count == 0)
        choice = (struct vaes_choice){.name = ""}; /* the built-in model has its own */
    return done && vaes_add(&choice, &out->files, &out->vae, err);
}

bool companions_open(struct registry *registry, const struct job_params *p,
                     const struct registry_model *own, const char *vae,
                     struct companion out[COMPANIONS], struct err *err)
{
    memset(out, 0, COMPANIONS * sizeof *out);
    for (enum companions_role role = 0; role < COMPANIONS; role++) {
        const char *name = companions_name(p, role);
        if (name && !open_one(registry, name, own, vae, &out[role], err)) {
            companions_close(out);
            return err_prefix(err, "%s", companions_field(role));
        }
    }
    return true;
}

void companions_close(struct companion list[COMPANIONS])
{
    for (size_t i = 0; i < COMPANIONS; i++) {
        pictor_files_close(&list[i].files);
        list[i] = (struct companion){.files = {.count = 0}};
    }
}

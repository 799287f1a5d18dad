/* upscalers.c: names that are the engine's and names of files are looked for in this order: a file
 * cannot take the place of what everybody knows. */
#include "server/job/upscalers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/pictor.h"
#include "server/job/files.h"
#include "server/job/job.h"

static const char *const known[] = {"Latent",
                                    "Lanczos",
                                    "Nearest",
                                    PICTOR_UPSCALER,
                                    "Latent (antialiased)",
                                    "Latent (bicubic)",
                                    "Latent (bicubic antialiased)",
                                    "Latent (nearest)",
                                    "Latent (nearest-exact)"};
#define KNOWN ((int)(sizeof known / sizeof *known))

const char *upscalers_known(int index)
{
    return index >= 0 && index < KNOWN ? known[index] : NULL;
}

const char *upscalers_canonical(const char *name)
{
    for (int i = 0; i < KNOWN; i++)
        if (strcasecmp(known[i], name) == 0)
            return known[i];
    return NULL;
}

bool upscalers_open(struct files *f, const char *name, struct upscaler_file *out, struct err *err)
{
    struct files_open open;
    *out = (struct upscaler_file){.fd = -1};
    if (upscalers_canonical(name))
        return true;
    if (strlen(name) >= sizeof out->name)
        return err_set(err, ERR_NOT_FOUND, "there is no upscaler of such a long name");
    if (!files_open(f, name, &open, err))
        return false;
    *out = (struct upscaler_file){.fd = open.fd, .size = open.size, .mtime_ms = open.mtime_ms};
    snprintf(out->name, sizeof out->name, "%s", name);
    return true;
}

void upscalers_close(struct upscaler_file *file)
{
    if (*file->name)
        close(file->fd);
    *file = (struct upscaler_file){.fd = -1};
}

bool upscalers_open_job(struct files *f, const struct job_params *job, struct upscaler_file *out,
                        struct err *err)
{
    *out = (struct upscaler_file){.fd = -1};
    return job->hires_width <= 0 || !job->hires_upscaler ||
           upscalers_open(f, job->hires_upscaler, out, err);
}

bool upscalers_check(struct files *f, const char *name, struct err *err)
{
    char path[PATH_MAX], text[256];
    struct err why;
    size_t used = 0;
    if (upscalers_canonical(name) || files_find(f, name, path, &why))
        return true;
    if (why.code != ERR_NOT_FOUND)
        return err_copy(err, &why);
    for (int i = 0; i < KNOWN && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s, ", known[i]);
    return err_set(err, ERR_INVALID, "wanted one of %.180sor a file of the upscalers' folder",
                   text);
}

bool upscalers_check_pictures(struct files *f, const char *name, const char **own,
                              struct err *err)
{
    const char *canonical = upscalers_canonical(name);
    if (own)
        *own = canonical;
    if (canonical && strncmp(canonical, "Latent", 6) == 0)
        return err_set(err, ERR_INVALID, "the upscaler %s is for latents, not for pictures",
                       canonical);
    if (canonical || (*name && strlen(name) < UPSCALERS_NAME && upscalers_check(f, name, err)))
        return true;
    return (*name && strlen(name) < UPSCALERS_NAME && err->code != ERR_INVALID)
               ? false
               : err_set(err, ERR_INVALID,
                         "there is no upscaler '%.60s': wanted %s, Lanczos, Nearest or a file of "
                         "the upscalers' folder",
                         name, PICTOR_UPSCALER);
}

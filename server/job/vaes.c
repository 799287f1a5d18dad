#include "server/job/vaes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/pictor.h"

bool vaes_choose(struct files *f, const char *model, const char *choice, struct vaes_choice *out,
                 struct err *err)
{
    char name[NAME_MAX + 1];
    bool automatic = !choice || !*choice || strcasecmp(choice, "automatic") == 0;
    *out = (struct vaes_choice){.name = ""};
    if (!automatic && strcasecmp(choice, "none") == 0)
        return true;
    if (automatic) {
        const char *slash = strrchr(model, '/');
        int n = snprintf(name, sizeof name, "%s.vae", slash ? slash + 1 : model);
        choice = name;
        if (n >= (int)sizeof name)
            return true;
    }
    if (!files_find_file(f, choice, out->path, err)) {
        *out->path = '\0';
        return automatic && err->code == ERR_NOT_FOUND ? true
                                                       : err_prefix(err, "VAE '%.100s'", choice);
    }
    const char *slash = strrchr(out->path, '/');
    snprintf(out->name, sizeof out->name, "%.255s", slash ? slash + 1 : out->path);
    return true;
}

bool vaes_add(const struct vaes_choice *choice, struct pictor_files *files,
              struct vaes_version *out, struct err *err)
{
    struct stat st;
    struct registry_entry now = {0};
    *out = (struct vaes_version){.name = ""};
    if (!*choice->name)
        return true;
    if (files->count == 0)
        return err_set(err, ERR_INVALID, "VAE %s: the built-in model has its own", choice->name);
    if (!pictor_files_add(files, "vae", choice->path, err))
        return err_prefix(err, "VAE %s", choice->name);
    if (fstat(files->items[files->count - 1].fd, &st) != 0)
        return err_at(err, choice->path, ERR_IO, "VAE %s: %s", choice->name, strerror(errno));
    registry_scan_measure(&now, &st);
    snprintf(out->name, sizeof out->name, "%s", choice->name);
    out->size = now.model.size;
    out->mtime_ms = now.model.mtime_ms;
    return true;
}

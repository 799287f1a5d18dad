/* model_files.c: which files a model at some path is made of, opened and not read: pictor_files_*
 * of pictor.h. Reading them is checkpoint.c's, perhaps in another process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/io/names.h"
#include "engine/pictor.h"

/* How willingly a file of a folder is taken: 0 model.safetensors, 1 model.fp16.safetensors, 2 some
 * other *.safetensors, 3 PyTorch's, if `torch`; -1 not at all: another kind, one of several, or the
 * unaveraged weights. */
static int preference(const char *file, bool torch)
{
    const char *dot = strchr(file, '.'), *end = strrchr(file, '.');
    if (torch && end && !strstr(file, "-of-") && !strstr(file, "optimizer") &&
        (strcmp(end, ".bin") == 0 || strcmp(end, ".pth") == 0 || strcmp(end, ".pt") == 0))
        return 3;
    if (!dot || strcmp(end, ".safetensors") != 0 || strstr(file, "-of-") || strstr(file, "non_ema"))
        return -1;
    if (dot == end)
        return 0;
    return strncmp(dot, ".fp16.", 6) == 0 ? 1 : 2;
}

static enum err_code code_of(int why)
{
    return why == ENOENT ? ERR_NOT_FOUND : why == EMFILE || why == ENFILE ? ERR_BUSY : ERR_IO;
}

/* Adds `path` under `name`. */
static bool add(struct pictor_files *files, const char *path, const char *name, struct err *err)
{
    struct stat info;
    struct pictor_file *file = &files->items[files->count];
    if (files->count == PICTOR_FILES_MAX)
        return err_at(err, path, ERR_INVALID, "more than %d files", PICTOR_FILES_MAX);
    /* Not blocking: it could be a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0)
        err_at(err, path, code_of(errno), "%s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        err_at(err, path, ERR_INVALID, "not a file");
    else if ((size_t)snprintf(file->name, sizeof file->name, "%s", name) >= sizeof file->name)
        err_at(err, path, ERR_INVALID, "its name is too long");
    else {
        file->fd = fd;
        files->count++;
        return true;
    }
    if (fd >= 0)
        close(fd);
    return false;
}

/* Whether a file may be added under this name of pictor_files_add. */
static bool is_role(const char *role)
{
    const char *folder;
    for (int part = 0; (folder = names_folder(part)); part++)
        if (strcmp(folder, role) == 0)
            return true;
    return strcmp(role, "model") == 0 || strcmp(role, "scheduler") == 0 ||
           strcmp(role, "config") == 0;
}

bool pictor_files_add(struct pictor_files *files, const char *role, const char *path,
                      struct err *err)
{
    char name[2 * NAME_MAX];
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    if (!is_role(role))
        return err_set(err, ERR_INVALID,
                       "part '%.32s' of a model: wanted model, unet, vae, text_encoder, "
                       "text_encoder_2, scheduler or config",
                       role);
    if (strcmp(role, "model") == 0)
        return add(files, path, file, err);
    snprintf(name, sizeof name, "%s/%s", role, file);
    return add(files, path, name, err);
}

/* The file of weights in `folder`/`part`, as the network `role`; PyTorch's too, if `torch`. */
static bool add_weights(struct pictor_files *files, const char *folder, const char *part,
                        const char *role, bool torch, struct err *err)
{
    char path[PATH_MAX], best[NAME_MAX + 1] = "";
    int best_preference = INT_MAX;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, part) >= sizeof path)
        return err_at(err, folder, ERR_INVALID, "the path is too long");
    DIR *dir = opendir(path);
    if (!dir)
        return err_at(err, path, code_of(errno),
                      "%s: %s (a diffusers folder holds unet, vae and text_encoder)", role,
                      strerror(errno));
    for (const struct dirent *d; (d = readdir(dir));) {
        int p = preference(d->d_name, torch);
        if (p >= 0 &&
            (p < best_preference || (p == best_preference && strcmp(d->d_name, best) < 0))) {
            best_preference = p;
            snprintf(best, sizeof best, "%s", d->d_name);
        }
    }
    closedir(dir);
    if (!*best)
        return err_at(err, path, ERR_NOT_FOUND, "%s: wanted a .safetensors file, found none", role);
    if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", folder, part, best) >= sizeof path)
        return err_at(err, folder, ERR_INVALID, "the path is too long");
    return pictor_files_add(files, role, path, err);
}

static bool add_part(struct pictor_files *files, const char *folder, const char *part,
                     struct err *err)
{
    return add_weights(files, folder, part, part, false, err);
}

static bool has_part(const char *folder, const char *part)
{
    char path[PATH_MAX];
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, part) < sizeof path &&
           access(path, F_OK) == 0;
}

/* SDXL has two text encoders, its refiner the second alone, others the first. */
static bool needs_part(const char *folder, int part)
{
    bool second = has_part(folder, names_folder(NAMES_TEXT_2));
    return part == NAMES_TEXT_2 ? second
           : part == NAMES_TEXT ? !second || has_part(folder, names_folder(part))
                                : true;
}

/* A UNet that needs no words and no autoencoder: in "unet" of a folder of little else, or alone in
 * the folder, beside its configuration. */
static bool is_pixels(const char *folder, bool *alone)
{
    *alone = !has_part(folder, "unet");
    return *alone ? has_part(folder, "config.json")
                  : has_part(folder, "unet/config.json") && !has_part(folder, "vae") &&
                        !has_part(folder, names_folder(NAMES_TEXT)) &&
                        !has_part(folder, names_folder(NAMES_TEXT_2));
}

static bool add_named(struct pictor_files *files, const char *role, const char *folder,
                      const char *file, struct err *err)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, file) >= sizeof path)
        return err_at(err, folder, ERR_INVALID, "the path is too long");
    return pictor_files_add(files, role, path, err);
}

static bool add_pixels(struct pictor_files *files, const char *folder, bool alone, struct err *err)
{
    if (!alone)
        return add_weights(files, folder, "unet", "unet", true, err) &&
               add_named(files, "config", folder, "unet/config.json", err);
    return add_weights(files, folder, "", "unet", true, err) &&
           add_named(files, "config", folder, "config.json", err) &&
           (!has_part(folder, "scheduler_config.json") ||
            add_named(files, "scheduler", folder, "scheduler_config.json", err));
}

/* How the network was trained; a folder that does not say is no error. */
static bool add_scheduler(struct pictor_files *files, const char *folder, struct err *err)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", folder) >=
            sizeof path ||
        (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)))
        return true;
    return pictor_files_add(files, "scheduler", path, err);
}

bool pictor_files_open(const char *path, struct pictor_files *out, struct err *err)
{
    const char *folder;
    struct stat info;
    bool ok = true;
    out->count = 0;
    if (strcmp(path, "builtin") == 0)
        return true;
    bool alone;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode) && is_pixels(path, &alone)) {
        ok = add_pixels(out, path, alone, err) && add_scheduler(out, path, err);
    } else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        for (int part = 0; ok && (folder = names_folder(part)); part++)
            ok = !needs_part(path, part) || add_part(out, path, folder, err);
        ok = ok && add_scheduler(out, path, err);
    } else {
        ok = pictor_files_add(out, "model", path, err);
    }
    if (!ok)
        pictor_files_close(out);
    return ok;
}

void pictor_files_close(struct pictor_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        close(files->items[i].fd);
    files->count = 0;
}

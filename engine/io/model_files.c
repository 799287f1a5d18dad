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

#define SHARD_DIGITS 5 /* as diffusers and transformers write them */

/* A file of a network's folder that may hold its weights, or the first of several that do. */
struct choice {
    char name[NAME_MAX + 1]; /* "": none was found */
    int preference;          /* the less, the better */
    int shards;              /* files; 1: it is whole */
};

/* "NAME-00001-of-00003.ENDING": which file of how many, and where its number stands; 1 of 1 where
 * the name says nothing. False: it says something that cannot be. */
static bool read_shard(const char *file, int *index, int *count, size_t *at)
{
    const char *of = strstr(file, "-of-");
    size_t from = of ? (size_t)(of - file) : 0, digits = 0;
    *index = *count = 1;
    *at = 0;
    if (!of)
        return true;
    while (from > 0 && file[from - 1] >= '0' && file[from - 1] <= '9') {
        from--;
        digits++;
    }
    if (digits != SHARD_DIGITS || strspn(of + 4, "0123456789") != SHARD_DIGITS)
        return false;
    *at = from;
    *index = atoi(file + from);
    *count = atoi(of + 4);
    return *index >= 1 && *index <= *count;
}

/* How willingly a file is taken: model.safetensors before model.fp16.safetensors before some other
 * *.safetensors, all of these before the same in shards, and all of those before what PyTorch
 * pickled, of which files of weights are called pytorch_model.bin; if `torch`, any other of
 * PyTorch's last. -1: not at all: another kind, or the unaveraged weights. */
static int preference(const char *file, int shards, bool torch)
{
    const char *dot = strchr(file, '.'), *end = strrchr(file, '.');
    bool pickle = dot && strcmp(end, ".bin") == 0;
    bool known = pickle && (strncmp(file, "pytorch_model", 13) == 0 ||
                            strncmp(file, "diffusion_pytorch_model", 23) == 0);
    if (torch && dot && !known && shards == 1 && !strstr(file, "optimizer") &&
        (pickle || strcmp(end, ".pth") == 0 || strcmp(end, ".pt") == 0))
        return 12;
    if (!dot || (strcmp(end, ".safetensors") != 0 && !known) || strstr(file, "non_ema"))
        return -1;
    int variant = dot == end ? 0 : strncmp(dot, ".fp16", 5) == 0 ? 1 : 2;
    return 6 * pickle + 3 * (shards > 1) + variant;
}

/* Takes the file if it is better than what was found. */
static void consider(struct choice *best, const char *file, bool torch)
{
    int index, count;
    size_t at;
    if (!read_shard(file, &index, &count, &at) || index != 1)
        return;
    int p = preference(file, count, torch);
    if (p < 0 || (*best->name && (p > best->preference ||
                                  (p == best->preference && strcmp(file, best->name) >= 0))))
        return;
    *best = (struct choice){.preference = p, .shards = count};
    snprintf(best->name, sizeof best->name, "%s", file);
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
           strcmp(role, "config") == 0 || strcmp(role, "pipeline") == 0 ||
           strcmp(role, "tokenizer") == 0;
}

bool pictor_files_add(struct pictor_files *files, const char *role, const char *path,
                      struct err *err)
{
    char name[2 * NAME_MAX];
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    if (!is_role(role))
        return err_set(err, ERR_INVALID,
                       "part '%.32s' of a model: wanted model, unet, vae, text_encoder, "
                       "text_encoder_2, text_encoder_3, tokenizer, scheduler, config or pipeline",
                       role);
    if (strcmp(role, "model") == 0)
        return add(files, path, file, err);
    snprintf(name, sizeof name, "%s/%s", role, file);
    return add(files, path, name, err);
}

/* The files that hold the weights, as the network `role`: which they are is in their names, so the
 * index that lies beside them (which tensor is in which) is not wanted. */
static bool add_chosen(struct pictor_files *files, const char *folder, const char *part,
                       const char *role, const struct choice *c, struct err *err)
{
    char path[PATH_MAX], file[NAME_MAX + 1];
    int index, count;
    size_t at = 0;
    snprintf(file, sizeof file, "%s", c->name);
    read_shard(file, &index, &count, &at);
    for (int i = 1; i <= c->shards; i++) {
        char digits[16];
        snprintf(digits, sizeof digits, "%0*d", SHARD_DIGITS, i);
        if (c->shards > 1)
            memcpy(file + at, digits, SHARD_DIGITS);
        if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", folder, part, file) >= sizeof path)
            return err_at(err, folder, ERR_INVALID, "the path is too long");
        if (!pictor_files_add(files, role, path, err))
            return c->shards == 1 ? false
                                  : err_prefix(err, "%s/%s (one of %d)", role, file, c->shards);
    }
    return true;
}

/* The best that is in `folder`/`part`, as the network `role`; any of PyTorch's, if `torch`. */
static bool add_weights(struct pictor_files *files, const char *folder, const char *part,
                        const char *role, bool torch, struct err *err)
{
    char path[PATH_MAX];
    struct choice best = {.name = ""};
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, part) >= sizeof path)
        return err_at(err, folder, ERR_INVALID, "the path is too long");
    DIR *dir = opendir(path);
    if (!dir)
        return err_at(err, path, code_of(errno),
                      "%s: %s (a diffusers folder holds unet, vae and text_encoder)", role,
                      strerror(errno));
    for (const struct dirent *d; (d = readdir(dir));)
        consider(&best, d->d_name, torch);
    closedir(dir);
    return *best.name ? add_chosen(files, folder, part, role, &best, err)
                      : err_at(err, path, ERR_NOT_FOUND,
                               "%s: wanted a .safetensors file or a pytorch_model.bin, found none",
                               role);
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

/* SDXL has two text encoders, its refiner the second alone, others the first; no UNet has three. */
static bool needs_part(const char *folder, int part)
{
    if (part == NAMES_TEXT_3)
        return false;
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

/* The text encoders behind the first, and the vocabulary of T5, which is the last of them. */
static bool add_more_words(struct pictor_files *files, const char *folder, struct err *err)
{
    char name[64], path[64] = "";
    bool ok = true;
    for (int i = 2; ok && i <= 3; i++) {
        snprintf(name, sizeof name, "text_encoder_%d", i);
        ok = !has_part(folder, name) || add_part(files, folder, name, err);
        snprintf(name, sizeof name, "tokenizer_%d/spiece.model", i);
        if (has_part(folder, name))
            snprintf(path, sizeof path, "%s", name);
    }
    return ok && (!*path || add_named(files, "tokenizer", folder, path, err));
}

/* Of a flow transformer, which stands where a UNet does: the folder of its network is called so,
 * and model_index.json says how it was trained. */
static bool add_transformer(struct pictor_files *files, const char *folder, struct err *err)
{
    return add_weights(files, folder, "transformer", "unet", false, err) &&
           add_part(files, folder, "vae", err) && add_part(files, folder, "text_encoder", err) &&
           add_more_words(files, folder, err) &&
           (!has_part(folder, "model_index.json") ||
            add_named(files, "pipeline", folder, "model_index.json", err));
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
    out->variant = PICTOR_VARIANT_UNSAID;
    if (strcmp(path, "builtin") == 0)
        return true;
    bool alone;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode) && is_pixels(path, &alone)) {
        ok = add_pixels(out, path, alone, err) && add_scheduler(out, path, err);
    } else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode) && !has_part(path, "unet") &&
               has_part(path, "transformer")) {
        ok = add_transformer(out, path, err) && add_scheduler(out, path, err);
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

#include "server/job/tiny.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/settings.h"
#include "server/job/extra_paths.h"
#include "server/job/registry_scan.h"

/* Latents of one space have one decoder. */
static const char *stem_of(const char *architecture)
{
    if (strcmp(architecture, "sd1") == 0 || strcmp(architecture, "sd2") == 0)
        return "taesd_decoder";
    return strcmp(architecture, "sdxl") == 0 ? "taesdxl_decoder" : NULL;
}

static bool open_in(const char *folder, const char *below, const char *stem, struct tiny_file *out)
{
    static const char *const endings[] = {".safetensors", ".pth", ".pt"};
    char path[PATH_MAX];
    struct stat st;
    struct registry_entry now = {0};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s%s%s", folder, below, stem, endings[i]) >=
            sizeof path)
            return false;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe */
        if (fd < 0)
            continue;
        if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
            close(fd);
            continue;
        }
        registry_scan_measure(&now, &st);
        snprintf(out->name, sizeof out->name, "%s%s", stem, endings[i]);
        out->fd = fd;
        out->size = now.model.size;
        out->mtime_ms = now.model.mtime_ms;
        return true;
    }
    return false;
}

struct search {
    const char *stem;
    struct tiny_file *out;
};

/* False: it is found. */
static bool look(void *ctx, const char *name, const char *folder)
{
    const struct search *s = ctx;
    bool fits = strcasecmp(name, "vae_approx") == 0 || strcasecmp(name, "VAE-approx") == 0;
    return !fits || !open_in(folder, "", s->stem, s->out);
}

/* What ComfyUI's list of folders says; `root` is the file, or the folder that it lies in. */
static bool open_listed(const char *root, const char *stem, struct tiny_file *out)
{
    struct search s = {stem, out};
    char path[PATH_MAX];
    size_t n = strlen(root);
    bool file = (n > 5 && strcasecmp(root + n - 5, ".yaml") == 0) ||
                (n > 4 && strcasecmp(root + n - 4, ".yml") == 0);
    if ((size_t)snprintf(path, sizeof path, "%s%s", root, file ? "" : "/extra_model_paths.yaml") <
        sizeof path)
        extra_paths_read(path, look, &s, NULL); /* what is wrong with it, who lists models says */
    return *out->name;
}

void tiny_open(const struct settings *settings, const char *architecture, struct tiny_file *out)
{
    static const char *const folders[] = {"VAE-approx/", "vae_approx/", "models/VAE-approx/",
                                          "models/vae_approx/"};
    const char *stem = stem_of(architecture);
    *out = (struct tiny_file){.name = "", .fd = -1};
    if (strcmp(settings->previews, "taesd") != 0 || !stem ||
        open_in(settings->vaes, "", stem, out))
        return;
    for (size_t i = 0; i < settings->model_paths.count; i++) {
        for (size_t k = 0; k < sizeof folders / sizeof *folders; k++)
            if (open_in(settings->model_paths.items[i], folders[k], stem, out))
                return;
        if (open_listed(settings->model_paths.items[i], stem, out))
            return;
    }
}

void tiny_close(struct tiny_file *file)
{
    if (*file->name)
        close(file->fd);
    *file->name = '\0';
}

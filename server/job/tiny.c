#include "server/job/tiny.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/settings.h"
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

void tiny_open(const struct settings *settings, const char *architecture, struct tiny_file *out)
{
    static const char *const folders[] = {"VAE-approx/", "vae_approx/", "models/VAE-approx/",
                                          "models/vae_approx/"};
    const char *stem = stem_of(architecture);
    *out = (struct tiny_file){.name = "", .fd = -1};
    if (strcmp(settings->previews, "taesd") != 0 || !stem ||
        open_in(settings->vaes, "", stem, out))
        return;
    for (size_t i = 0; i < settings->model_paths.count; i++)
        for (size_t k = 0; k < sizeof folders / sizeof *folders; k++)
            if (open_in(settings->model_paths.items[i], folders[k], stem, out))
                return;
}

void tiny_close(struct tiny_file *file)
{
    if (*file->name)
        close(file->fd);
    *file->name = '\0';
}

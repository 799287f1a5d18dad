#include "engine/family/stable_tiny.h"

#include <stdio.h>

/* A tiny autoencoder's file stands for a VAE. */
static bool open_tiny(struct stable_tiny *t, struct device *dev, int channels, int factor,
                      const struct pictor_control_file *file, struct err *err)
{
    struct weights weights = {0};
    struct tae_config config;
    struct pictor_files files = {.count = 1};
    snprintf(files.items[0].name, sizeof files.items[0].name, "vae/"); /* the error has its name */
    files.items[0].fd = file->fd;
    if (!(t->cp = checkpoint_open_files(&files, err)))
        return false;
    if (!tae_is_there(t->cp))
        return err_set(err, ERR_INVALID, "wanted a tiny autoencoder (TAESD), found something else");
    if (!tae_read(t->cp, &config, err))
        return false;
    if (!config.decoder.count || config.channels != channels || config.factor != factor)
        return err_set(err, ERR_INVALID,
                       "wanted a decoder of latents with %d channels to %d times the size, found "
                       "%s of %d and %d",
                       channels, factor, config.decoder.count ? "one" : "an encoder",
                       config.channels, config.factor);
    t->tae = tae_load(dev, t->cp, &config, &weights, err);
    t->bytes = weights.bytes;
    weights_free(&weights);
    return t->tae;
}

bool stable_tiny_load(struct stable_tiny *t, struct device *dev, int channels, int factor,
                      const struct pictor_control_file *file, struct err *err)
{
    stable_tiny_free(t);
    if (!file || open_tiny(t, dev, channels, factor, file, err))
        return true;
    stable_tiny_free(t);
    return err_prefix(err, "%s", file->name);
}

void stable_tiny_free(struct stable_tiny *t)
{
    tae_free(t->tae);
    checkpoint_free(t->cp);
    *t = (struct stable_tiny){0};
}

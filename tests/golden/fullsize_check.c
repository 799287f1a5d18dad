/* fullsize_check.c: the engine against diffusers at the full size of SD 1.5 (fullsize.py made the
 * folder). Not a test of CI: 2 GB and minutes. `make fullsize DIR=FOLDER`; exit status 1 when F32
 * is further than 1e-4 away anywhere. BF16's distance is printed for the record. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/stable.h"
#include "engine/io/safetensors.h"
#include "tests/unit/nchw.h"

static int failures;

static void die(const char *what)
{
    fprintf(stderr, "fullsize: %s\n", what);
    exit(2);
}

static struct safetensors *open_golden(const char *dir, const char *name)
{
    struct err err;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct safetensors *st = safetensors_open(path, &err);
    if (!st)
        die(err.msg);
    return st;
}

/* Pictures and latents as the engine has them, channels-last. */
static float *read_tensor(const struct safetensors *st, const char *name, size_t *n)
{
    const struct raw_tensor *t = safetensors_find(st, name);
    float *f = t ? malloc(t->bytes) : NULL;
    if (!f)
        die(name);
    memcpy(f, t->data, t->bytes);
    *n = t->bytes / sizeof *f;
    if (t->ndim != 4)
        return f;
    float *last = malloc(t->bytes);
    if (!last)
        die(name);
    nchw_to_last(last, f, (int)t->shape[0], (int)t->shape[1], t->shape[2] * t->shape[3]);
    free(f);
    return last;
}

static void check(const struct device *dev, const char *name, const float *got,
                  const struct safetensors *st)
{
    size_t n;
    float *want = read_tensor(st, name, &n);
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    double e = sqrt(diff / norm);
    bool f32 = device_dtype(dev) == DTYPE_F32;
    printf("%-7s %s %-20s %.2e\n", device_level(dev), f32 ? "f32 " : "bf16", name, e);
    fflush(stdout);
    failures += f32 && !(e <= 1e-4);
    free(want);
}

/* Runs the statements twice: over a planning arena, then for real. */
#define RUN(dev, ...)                                                                              \
    do {                                                                                           \
        struct err err_;                                                                           \
        struct arena arena_;                                                                       \
        struct ops o = {dev, &arena_};                                                             \
        arena_plan(&arena_);                                                                       \
        __VA_ARGS__;                                                                               \
        if (!arena_init(&arena_, arena_.peak, &err_))                                              \
            die(err_.msg);                                                                         \
        __VA_ARGS__;                                                                               \
        arena_free(&arena_);                                                                       \
    } while (0)

static void text(struct device *dev, const struct checkpoint *cp,
                 const struct stable_config *config, const char *dir)
{
    static const char *const names[] = {"empty", "prompt", "full"};
    struct err err;
    size_t n;
    struct safetensors *st = open_golden(dir, "text.safetensors");
    struct clip *clip = clip_load(dev, cp, &config->clip[0], NULL, &err);
    if (!clip)
        die(err.msg);
    float *out = malloc((size_t)77 * (size_t)config->clip[0].width * sizeof *out);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.ids", names[i]);
        float *floats = read_tensor(st, name, &n);
        int ids[77];
        for (int j = 0; j < 77; j++)
            ids[j] = (int)floats[j];
        free(floats);
        for (int skip = 1; skip <= 2; skip++) {
            snprintf(name, sizeof name, "%s.skip%d", names[i], skip);
            RUN(dev, clip_encode(&o, clip, ids, 77, NULL, skip, out, NULL));
            check(dev, name, out, st);
        }
    }
    free(out);
    clip_free(clip);
    safetensors_close(st);
}

static void unet(struct device *dev, const struct checkpoint *cp,
                 const struct stable_config *config, const char *dir)
{
    static const struct {
        const char *latent, *eps;
        int b, h, w;
        float t;
    } cases[] = {{"latent", "t999.eps", 2, 64, 64, 999},
                 {"latent", "t500.5.eps", 2, 64, 64, 500.5f},
                 {"small.latent", "small.t20.25.eps", 1, 24, 32, 20.25f}};
    struct err err;
    size_t n;
    struct safetensors *st = open_golden(dir, "unet.safetensors");
    struct unet *u = unet_load(dev, cp, &config->unet, NULL, &err);
    if (!u)
        die(err.msg);
    float *context = read_tensor(st, "c77", &n);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *x = read_tensor(st, cases[i].latent, &n);
        struct unet_prompt *p;
        RUN(dev, p = unet_prompt_new(&o, u, cases[i].b, 77, context, NULL);
            unet_forward(&o, u, p, x, cases[i].h, cases[i].w, cases[i].t, NULL, NULL, x);
            unet_prompt_free(p));
        check(dev, cases[i].eps, x, st);
        free(x);
    }
    free(context);
    unet_free(u);
    safetensors_close(st);
}

static void vae(struct device *dev, const struct checkpoint *cp, const struct stable_config *config,
                const char *dir)
{
    struct err err;
    size_t n;
    struct safetensors *st = open_golden(dir, "vae.safetensors");
    struct vae *v = vae_load(dev, cp, &config->vae, NULL, &err);
    if (!v)
        die(err.msg);
    for (int side = 256; side <= 512; side *= 2) {
        char name[64];
        int small = side / 8;
        snprintf(name, sizeof name, "%dx%d.image", side, side);
        float *picture = read_tensor(st, name, &n);
        snprintf(name, sizeof name, "%dx%d.latent", side, side);
        float *latent = read_tensor(st, name, &n), *encoded = malloc(n * sizeof *encoded);
        RUN(dev, vae_encode(&o, v, picture, small, small, encoded));
        snprintf(name, sizeof name, "%dx%d.scaled", side, side);
        check(dev, name, encoded, st);
        RUN(dev, vae_decode(&o, v, latent, small, small, picture));
        snprintf(name, sizeof name, "%dx%d.decoded", side, side);
        check(dev, name, picture, st);
        free(picture);
        free(latent);
        free(encoded);
    }
    vae_free(v);
    safetensors_close(st);
}

int main(int argc, char **argv)
{
    struct err err;
    struct stable_config config;
    char path[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: fullsize_check FOLDER   (made by tests/golden/fullsize.py)\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/full-ldm.safetensors", argv[1]);
    struct checkpoint *cp = checkpoint_open(path, &err);
    static const char *const roots[] = {CLIP_FIRST, NULL};
    if (!cp || !stable_read(cp, "SD 1.x", roots, &config, &err))
        die(err.msg);
    config.clip[0].act = ACT_QUICK_GELU;
    config.unet.heads = 8;
    config.vae.scale = 0.18215f;
    for (int bf16 = 1; bf16 >= 0; bf16--) {
        struct device_options options = {.bf16 = bf16};
        struct device *dev = device_new(&options, &err);
        if (!dev)
            die(err.msg);
        text(dev, cp, &config, argv[1]);
        unet(dev, cp, &config, argv[1]);
        vae(dev, cp, &config, argv[1]);
        device_free(dev);
    }
    checkpoint_free(cp);
    printf("%s\n", failures ? "FAILED" : "F32 is within 1e-4 everywhere");
    return failures != 0;
}

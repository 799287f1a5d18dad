/* cli_generate.c: `pictor generate`: a picture from the command line, by the engine in this
 * process, with a progress bar where stderr is a terminal. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/json_number.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/job/infotext.h"
#include "server/job/intake.h"
#include "server/job/job_engine.h"
#include "server/job/registry.h"

#define BAR 24 /* characters of the progress bar */

static const char *const help_settings[] = {
    "config",          "data",         "models",        "threads",     "precision",     "cpu",
    "memory_limit_mb", "guidance_low", "guidance_high", "reuse_every", "token_merging", NULL};

static void help(FILE *out)
{
    fputs(
        "usage: pictor generate --prompt TEXT -o FILE [options]\n"
        "\n"
        "  -p, --prompt TEXT      what to paint; (word:1.2) and [word] weigh, BREAK splits\n"
        "  -n, --negative TEXT    what to keep away from\n"
        "  -m, --model NAME|PATH  a model of `pictor models`, a .safetensors file or a diffusers\n"
        "                         folder; default: the built-in model\n"
        "  -o, --output FILE      .png, .jpg or .webp; with --count, FILE-1.png and so on\n"
        "      --width N --height N   pixels, multiples of 8; default: the model's own size\n"
        "      --steps N          denoising steps\n"
        "      --cfg X            guidance scale; 1 is none\n"
        "      --sampler NAME     Euler a, Euler, DPM++ 2M, DDIM, LCM, ...\n"
        "      --scheduler NAME   automatic, uniform, karras, ...\n"
        "      --seed N           default: a random one, which is printed\n"
        "      --rng nv|cpu       whose random numbers: CUDA's or torch's on a CPU\n"
        "      --eta X            noise that ancestral samplers and DDIM add\n"
        "      --clip-skip N      1 is the text encoder's last layer\n"
        "      --count N          pictures, with seeds N, N + 1, ...\n"
        "      --init FILE        paint over this picture (PNG, JPEG, WebP)\n"
        "      --strength X       how much of it to change, 0..1; default 0.75\n"
        "      --mask FILE        repaint only where this is white\n"
        "      --mask-blur X      pixels by which the mask's edge is softened; default 4\n"
        "      --hires WxH        paint again at this size\n"
        "      --quality N        of JPEG and WebP, 1..100; default 90\n"
        "  -q, --quiet            no progress\n",
        out);
    settings_help(out, help_settings);
}

struct options {
    struct job_params job;
    const char *model, *output, *init, *mask;
    const char *wrong; /* the parameter that an error is about; NULL: no single one */
    bool has_width, has_height, has_steps, has_guidance, has_seed, quiet;
};

enum {
    OPT_WIDTH = 256,
    OPT_HEIGHT,
    OPT_STEPS,
    OPT_CFG,
    OPT_SAMPLER,
    OPT_SCHEDULER,
    OPT_SEED,
    OPT_RNG,
    OPT_ETA,
    OPT_CLIP_SKIP,
    OPT_COUNT,
    OPT_INIT,
    OPT_STRENGTH,
    OPT_MASK,
    OPT_MASK_BLUR,
    OPT_HIRES,
    OPT_QUALITY,
    OPT_HELP
};

static const struct option long_options[] = {
    {"prompt", required_argument, NULL, 'p'},
    {"negative", required_argument, NULL, 'n'},
    {"model", required_argument, NULL, 'm'},
    {"output", required_argument, NULL, 'o'},
    {"width", required_argument, NULL, OPT_WIDTH},
    {"height", required_argument, NULL, OPT_HEIGHT},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"cfg", required_argument, NULL, OPT_CFG},
    {"sampler", required_argument, NULL, OPT_SAMPLER},
    {"scheduler", required_argument, NULL, OPT_SCHEDULER},
    {"seed", required_argument, NULL, OPT_SEED},
    {"rng", required_argument, NULL, OPT_RNG},
    {"eta", required_argument, NULL, OPT_ETA},
    {"clip-skip", required_argument, NULL, OPT_CLIP_SKIP},
    {"count", required_argument, NULL, OPT_COUNT},
    {"init", required_argument, NULL, OPT_INIT},
    {"strength", required_argument, NULL, OPT_STRENGTH},
    {"mask", required_argument, NULL, OPT_MASK},
    {"mask-blur", required_argument, NULL, OPT_MASK_BLUR},
    {"hires", required_argument, NULL, OPT_HIRES},
    {"quality", required_argument, NULL, OPT_QUALITY},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* The options of `generate` as settings_load wants to know them. */
static const char *const own_flags[] = {
    "-p=",          "-n=",        "-m=",          "-o=",         "-q",        "--prompt=",
    "--negative=",  "--model=",   "--output=",    "--width=",    "--height=", "--steps=",
    "--cfg=",       "--sampler=", "--scheduler=", "--seed=",     "--rng=",    "--eta=",
    "--clip-skip=", "--count=",   "--init=",      "--strength=", "--mask=",   "--mask-blur=",
    "--hires=",     "--quality=", "--quiet",      NULL};

static bool whole(const char *name, const char *text, long long low, long long high, long long *out,
                  struct err *err)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno || end == text || *end || *out < low || *out > high)
        return err_set(err, ERR_INVALID, "--%s must be a whole number %lld..%lld, got '%.64s'",
                       name, low, high, text);
    return true;
}

/* Whether it is in its range is said where the others' are. */
static bool whole_int(const char *name, const char *text, int *out, struct err *err)
{
    long long v;
    if (!whole(name, text, INT_MIN, INT_MAX, &v, NULL))
        return err_set(err, ERR_INVALID, "--%s must be a whole number, got '%.64s'", name, text);
    *out = (int)v;
    return true;
}

static bool real(const char *name, const char *text, double *out, struct err *err)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out))
        return err_set(err, ERR_INVALID, "--%s must be a number, got '%.64s'", name, text);
    return true;
}

static bool replace(char **field, const char *text, struct err *err)
{
    char *copy = strdup(text);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory");
    free(*field);
    *field = copy;
    return true;
}

static bool take_option(struct options *o, int option, const char *name, const char *value,
                        struct err *err)
{
    struct job_params *j = &o->job;
    struct json_whole seed;
    switch (option) {
    case 'p':
        return replace(&j->prompt, value, err);
    case 'n':
        return replace(&j->negative_prompt, value, err);
    case 'm':
        o->model = value;
        return true;
    case 'o':
        o->output = value;
        return true;
    case 'q':
        o->quiet = true;
        return true;
    case OPT_WIDTH:
        o->has_width = true;
        return whole_int(name, value, &j->width, err);
    case OPT_HEIGHT:
        o->has_height = true;
        return whole_int(name, value, &j->height, err);
    case OPT_STEPS:
        o->has_steps = true;
        return whole_int(name, value, &j->steps, err);
    case OPT_CFG:
        o->has_guidance = true;
        return real(name, value, &j->guidance, err);
    case OPT_SAMPLER:
        return replace(&j->sampler, value, err);
    case OPT_SCHEDULER:
        return replace(&j->scheduler, value, err);
    case OPT_SEED:
        if (!json_number_parse(value, &seed) || (seed.negative && seed.magnitude != 1))
            return err_set(err, ERR_INVALID,
                           "--seed must be a whole number 0..%" PRIu64 ", or -1 for a random one, "
                           "got '%.64s'",
                           UINT64_MAX, value);
        o->has_seed = !seed.negative;
        j->seed = seed.magnitude;
        return true;
    case OPT_RNG:
        return replace(&j->rng, value, err);
    case OPT_ETA:
        return real(name, value, &j->eta, err);
    case OPT_CLIP_SKIP:
        return whole_int(name, value, &j->clip_skip, err);
    case OPT_COUNT:
        return whole_int(name, value, &j->count, err);
    case OPT_INIT:
        o->init = value;
        return true;
    case OPT_STRENGTH:
        return real(name, value, &j->strength, err);
    case OPT_MASK:
        o->mask = value;
        return true;
    case OPT_MASK_BLUR:
        return real(name, value, &j->mask_blur, err);
    case OPT_HIRES: {
        char rest;
        if (sscanf(value, "%dx%d%c", &j->hires_width, &j->hires_height, &rest) != 2)
            return err_set(err, ERR_INVALID, "--hires must be WxH, got '%.64s'", value);
        return true;
    }
    case OPT_QUALITY:
        return whole_int(name, value, &j->quality, err);
    }
    return err_set(err, ERR_INVALID, "unknown option");
}

/* By the output file's ending. */
static bool take_format(struct options *o, struct err *err)
{
    if (!o->output)
        return err_set(err, ERR_INVALID,
                       "-o FILE is missing: the .png, .jpg or .webp file to write");
    const char *dot = strrchr(o->output, '.');
    for (int i = 0; dot && image_formats[i]; i++) {
        o->job.format = i;
        if (strcasecmp(dot + 1, image_formats[i]) == 0 ||
            strcasecmp(dot + 1, image_extension((enum image_format)i)) == 0)
            return true;
    }
    return err_set(err, ERR_INVALID, "-o must name a .png, .jpg or .webp file, got '%.128s'",
                   o->output);
}

/* Before minutes are spent on a picture that could not be written. */
static bool check_folder(const struct options *o, struct err *err)
{
    const char *slash = strrchr(o->output, '/');
    char folder[4096] = ".";
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - o->output) + 1, o->output);
    if (access(folder, W_OK) != 0)
        return err_set(err, ERR_IO, "cannot write %.128s: %s", o->output, strerror(errno));
    return true;
}

static bool find_model(const struct settings *settings, const char *name,
                       struct registry_model *out, struct err *err)
{
    struct stat st;
    if (name && (strchr(name, '/') || strstr(name, ".safetensors")) && stat(name, &st) == 0) {
        *out = (struct registry_model){.kind = REGISTRY_LOCAL};
        snprintf(out->path, sizeof out->path, "%s", name);
        const char *base = strrchr(name, '/');
        snprintf(out->name, sizeof out->name, "%s", base && base[1] ? base + 1 : name);
        char *dot = strstr(out->name, ".safetensors");
        if (dot)
            *dot = '\0';
        return true;
    }
    struct registry *reg = registry_new(settings, NULL, err);
    bool ok = reg && registry_resolve(reg, name, out, err);
    registry_free(reg);
    if (ok && out->kind != REGISTRY_LOCAL)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s is a model of the upstream %s: generate paints on this machine only; "
                       "send the request to `pictor serve`",
                       out->name, out->upstream);
    return ok;
}

static bool read_picture(const char *path, size_t max_pixels, struct pictor_image *out,
                         struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_NOT_FOUND, "%.128s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    size_t size = (size_t)st.st_size, got = 0;
    uint8_t *data = S_ISREG(st.st_mode) && size < (1u << 30) ? malloc(size + 1) : NULL;
    bool ok = data || err_set(err, ERR_INVALID, "%.128s is not a picture file", path);
    while (ok && got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n <= 0)
            ok = err_set(err, ERR_IO, "%.128s: could not be read", path);
        else
            got += (size_t)n;
    }
    close(fd);
    ok = ok && image_decode(data, size, max_pixels, out, err);
    if (!ok && data)
        err_prefix(err, "%.128s", path);
    free(data);
    return ok;
}

struct bar {
    int index, count;
    bool shown;
};

static struct pictor_engine *interrupted_engine; /* for the signal handler alone */

static void on_signal(int sig)
{
    pictor_engine_cancel(interrupted_engine);
}

static bool show_progress(void *ctx, const struct pictor_progress *p)
{
    struct bar *bar = ctx;
    if (!bar->shown)
        return true;
    char line[BAR + 1];
    int full = p->steps ? p->step * BAR / p->steps : 0;
    for (int i = 0; i < BAR; i++)
        line[i] = i < full ? '#' : '.';
    line[BAR] = '\0';
    fprintf(stderr, "\r");
    if (bar->count > 1)
        fprintf(stderr, "%d/%d ", bar->index + 1, bar->count);
    fprintf(stderr, "[%s] step %d/%d  %.2f s/step  %.0f s left \033[K", line, p->step, p->steps,
            p->step ? p->elapsed / p->step : 0.0,
            p->step ? p->elapsed / p->step * (p->steps - p->step) : 0.0);
    return true;
}

/* "out.png", or "out-2.png" for the second of several. */
static void output_name(const struct options *o, int index, char *buf, size_t size)
{
    const char *dot = strrchr(o->output, '.');
    if (o->job.count == 1)
        snprintf(buf, size, "%s", o->output);
    else
        snprintf(buf, size, "%.*s-%d%s", (int)(dot - o->output), o->output, index + 1, dot);
}

static bool write_picture(const struct options *o, const struct registry_model *model, int index,
                          const struct pictor_image *image, struct err *err)
{
    char path[4200];
    struct image_file file = {0};
    struct infotext_picture about = {.model_name = model->name, .model_hash = model->sha256};
    about.seed = job_seed(&o->job, index);
    about.subseed = job_subseed(&o->job, index);
    char *text = infotext_write(&o->job, &about);
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for the infotext");
    struct image_text item = {.key = (char[]){"parameters"}, .value = text};
    struct image_texts texts = {.items = &item, .count = 1};
    bool ok =
        image_encode(image, (enum image_format)o->job.format, o->job.quality, &texts, &file, err);
    if (ok) {
        output_name(o, index, path, sizeof path);
        FILE *out = fopen(path, "wb");
        size_t written = out ? fwrite(file.data, 1, file.size, out) : 0;
        if (!out || (fclose(out) != 0) + (written != file.size))
            ok = err_set(err, ERR_IO, "%.128s: %s", path, strerror(errno));
    }
    image_file_free(&file);
    free(text);
    return ok;
}

static bool paint(struct options *o, const struct settings *settings, struct err *err)
{
    struct registry_model found;
    struct pictor_image init = {0}, mask = {0}, out = {0};
    struct pictor_engine *engine = NULL;
    struct pictor_model *model = NULL;
    bool ok = false;
    if (!find_model(settings, o->model, &found, err)) {
        o->wrong = err->code == ERR_NOT_FOUND ? "model" : NULL;
        goto done;
    }
    if ((o->init && !read_picture(o->init, (size_t)settings->max_pixels, &init, err)) ||
        (o->mask && !read_picture(o->mask, (size_t)settings->max_pixels, &mask, err)))
        goto done;
    struct pictor_engine_options options;
    job_engine_options(settings->threads, settings->cpu, settings->precision,
                       (size_t)settings->memory_limit_mb << 20, &options);
    struct bar bar = {.count = o->job.count, .shown = !o->quiet && isatty(STDERR_FILENO)};
    if (bar.shown)
        fprintf(stderr, "loading %s ...", found.name);
    if (!(engine = pictor_engine_new(&options, err)) ||
        !(model = pictor_model_open(engine, found.path, err)))
        goto done;
    const struct pictor_model_info *info = pictor_model_info(model);
    struct job_params *j = &o->job;
    if (!o->has_width)
        j->width = info->native_width;
    if (!o->has_height)
        j->height = info->native_height;
    if (!o->has_steps)
        j->steps = info->default_steps;
    if (!o->has_guidance)
        j->guidance = info->default_guidance;
    if (!o->has_seed) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
            err_set(err, ERR_INTERNAL, "no random seed: %s", strerror(errno));
            goto done;
        }
        j->seed = random;
    }
    j->has_init = o->init != NULL;
    j->has_mask = o->mask != NULL;
    intake_speed(settings, j);
    if (!replace(&j->model, found.name, err) || !job_params_check(j, settings, &o->wrong, err))
        goto done;
    interrupted_engine = engine;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    for (bar.index = 0; bar.index < j->count; bar.index++) {
        struct pictor_params p;
        job_engine_params(j, bar.index, &p);
        p.init = o->init ? &init : NULL;
        p.mask = o->mask ? &mask : NULL;
        p.on_progress = show_progress;
        p.ctx = &bar;
        p.preview_every = 0;
        if (!pictor_generate(model, &p, &out, err) ||
            !write_picture(o, &found, bar.index, &out, err))
            goto done;
        pictor_image_free(&out);
        char path[4200];
        output_name(o, bar.index, path, sizeof path);
        if (bar.shown)
            fprintf(stderr, "\r\033[K");
        if (!o->quiet)
            fprintf(stderr, "%s  %dx%d  seed %llu\n", path, j->width, j->height,
                    (unsigned long long)p.seed);
    }
    ok = true;
done:
    if (!ok && bar.shown)
        fprintf(stderr, "\r\033[K");
    pictor_image_free(&out);
    pictor_image_free(&init);
    pictor_image_free(&mask);
    pictor_model_free(model);
    pictor_engine_free(engine);
    return ok;
}

static void say_model_names(const struct settings *settings)
{
    struct registry *reg = registry_new(settings, NULL, NULL);
    struct registry_model *models = NULL;
    size_t count = 0, said = 0;
    if (reg && registry_list(reg, &models, &count, NULL))
        for (size_t i = 0; i < count; i++)
            if (models[i].kind == REGISTRY_LOCAL)
                fprintf(stderr, "%s%s", said++ ? ", " : "there are: ", models[i].name);
    if (said)
        fputc('\n', stderr);
    free(models);
    registry_free(reg);
}

/* After an error about `param`, one of a few names: which ones there are. */
static void say_choices(const char *param, const struct settings *settings)
{
    const struct pictor_sampler_info *sampler;
    const struct pictor_scheduler_info *scheduler;
    if (strcmp(param, "sampler") == 0) {
        for (int i = 0; (sampler = pictor_sampler_at(i)); i++)
            fprintf(stderr, "%s%s", i ? ", " : "there are: ", sampler->name);
        fputc('\n', stderr);
    } else if (strcmp(param, "scheduler") == 0) {
        for (int i = 0; (scheduler = pictor_scheduler_at(i)); i++)
            fprintf(stderr, "%s%s", i ? ", " : "there are: ", scheduler->name);
        fputc('\n', stderr);
    } else if (strcmp(param, "model") == 0) {
        say_model_names(settings);
    }
}

int generate_main(int argc, char **argv)
{
    struct err err = {0};
    struct options o = {0};
    int status = 2, option, index;
    job_params_init(&o.job);
    log_set_level(LOG_WARN);
    struct settings *settings = settings_load(&argc, argv, own_flags, &err);
    if (!settings || !replace(&o.job.prompt, "", &err) ||
        !replace(&o.job.negative_prompt, "", &err) || !replace(&o.job.sampler, "Euler a", &err) ||
        !replace(&o.job.scheduler, "automatic", &err) || !replace(&o.job.rng, "nv", &err))
        goto fail;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "p:n:m:o:qh", long_options, &index)) != -1) {
        if (option == 'h') {
            help(stdout);
            status = 0;
            goto done;
        }
        const char *name = "option";
        for (const struct option *l = long_options; l->name; l++)
            if (l->val == option)
                name = l->name;
        if (option == '?' || option == ':') {
            err_set(&err, ERR_INVALID, "unknown option or missing value: %.64s", argv[optind - 1]);
            goto fail;
        }
        if (!take_option(&o, option, name, optarg, &err))
            goto fail;
    }
    if (optind < argc) {
        err_set(&err, ERR_INVALID, "unexpected word '%.64s'; is the prompt in quotes?",
                argv[optind]);
        goto fail;
    }
    if (!take_format(&o, &err))
        goto fail;
    status = 1;
    if (!check_folder(&o, &err) || !paint(&o, settings, &err))
        goto fail;
    status = 0;
    goto done;
fail:
    fprintf(stderr, "pictor generate: %s\n", err.msg);
    if (o.wrong)
        say_choices(o.wrong, settings);
    if (status == 2)
        fputs("see pictor generate --help\n", stderr);
done:
    job_params_free(&o.job);
    settings_free(settings);
    return status;
}

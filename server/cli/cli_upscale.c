/* cli_upscale.c: `pictor upscale`: a picture's file enlarged by the engine in this process. */
#include "server/cli/cli_upscale.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/io/image_mark.h"
#include "server/base/pyjson.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/cli/cli_picture.h"
#include "server/cli/cli_signal.h"
#include "server/job/files.h"
#include "server/job/job_engine.h"

#define MOST 16

bool cli_upscale_scale(struct cli_upscale *u, const char *text, struct err *err)
{
    char *end;
    u->scale = strtod(text, &end);
    return (end != text && !*end && u->scale >= 1 && u->scale <= MOST) ||
           err_set(err, ERR_INVALID, "wanted a scale of 1..%d, got '%.64s'", MOST, text);
}

static bool open_file(struct cli_upscale *u, const struct settings *settings,
                      struct pictor_engine *engine, struct err *err)
{
    struct upscaler_file file = {.fd = -1};
    struct pictor_files list = {.count = 1};
    struct folders *folders = folders_new(settings, err);
    struct files *files = folders ? files_new(folders, FOLDERS_UPSCALER, NULL, err) : NULL;
    bool ok = files && upscalers_check_pictures(files, u->name, NULL, err) &&
              upscalers_open(files, u->name, &file, err);
    files_free(files);
    folders_free(folders);
    if (ok) {
        const char *slash = strrchr(file.name, '/'); /* folders would be parts of a model */
        snprintf(list.items[0].name, sizeof list.items[0].name, "%s",
                 slash ? slash + 1 : file.name);
        snprintf(u->said, sizeof u->said, "%s", file.name);
        list.items[0].fd = file.fd;
        ok = (u->network = pictor_upscaler_open_files(engine, &list, err));
        upscalers_close(&file);
    }
    return ok;
}

bool cli_upscale_open(struct cli_upscale *u, const struct settings *settings,
                      struct pictor_engine *engine, struct err *err)
{
    static const struct pictor_files none = {.count = 0};
    const char *known = upscalers_canonical(u->name ? u->name : PICTOR_UPSCALER);
    if (!known)
        return open_file(u, settings, engine, err);
    if (!upscalers_check_pictures(NULL, known, NULL, err))
        return false;
    snprintf(u->said, sizeof u->said, "%s", known);
    return strcmp(known, PICTOR_UPSCALER) != 0 ||
           (u->network = pictor_upscaler_open_files(engine, &none, err));
}

bool cli_upscale_run(struct cli_upscale *u, const struct settings *settings,
                     struct pictor_image *image, struct err *err)
{
    struct pictor_image rgb, larger;
    double width = round(image->width * u->scale), height = round(image->height * u->scale);
    if (width > settings->max_side || height > settings->max_side ||
        width * height > settings->max_pixels)
        return err_set(err, ERR_TOO_LARGE,
                       "the result must be at most %d pixels and %d on a side, got %.0fx%.0f",
                       settings->max_pixels, settings->max_side, width, height);
    if (!image_convert(image, 3, &rgb, err))
        return false;
    enum image_filter filter = strcmp(u->said, "Nearest") == 0 ? IMAGE_NEAREST : IMAGE_LANCZOS;
    bool ok = u->network ? pictor_upscale(u->network, &rgb, (int)width, (int)height, NULL, NULL,
                                          &larger, err)
                         : image_resize(&rgb, (int)width, (int)height, filter, &larger, err);
    pictor_image_free(&rgb);
    if (!ok)
        return false;
    pictor_image_free(image);
    *image = larger;
    return true;
}

void cli_upscale_close(struct cli_upscale *u)
{
    pictor_upscaler_free(u->network);
    u->network = NULL;
}

char *cli_upscale_text(const struct cli_upscale *u)
{
    struct pyjson out = {0};
    char scale[PYJSON_FLOAT_SIZE];
    pyjson_printf(&out, "Postprocess upscale by: %s, Postprocess upscaler: %s",
                  pyjson_float(scale, u->scale), u->said);
    if (!out.failed)
        return out.text;
    free(out.text);
    return NULL;
}

/* ---- the command ---- */

static const char *const help_settings[] = {"config",    "data", "upscalers",       "threads",
                                            "precision", "cpu",  "memory_limit_mb", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor upscale FILE -o FILE [--scale N] [--upscaler NAME] [settings]\n"
          "\n"
          "Enlarges a picture (PNG, JPEG, WebP, GIF, BMP).\n"
          "\n"
          "  -o, --output FILE   .png, .jpg or .webp\n"
          "  --scale N           how many times, 1..16 [2]\n"
          "  --upscaler NAME     realesr-animevideov3, Lanczos, Nearest, or a file of the folder\n"
          "                      of upscalers [realesr-animevideov3]\n"
          "  --quality N         of JPEG and WebP, 0..100 [90]\n"
          "\n",
          out);
    settings_help(out, help_settings);
}

static bool write_larger(const struct cli_upscale *u, const char *from, const char *to,
                         const struct pictor_image *image, enum image_format format, int quality,
                         struct err *err)
{
    struct image_texts kept = {0};
    struct image_text items[1 + IMAGE_MARK_KEPT];
    struct image_texts texts = {items, 0};
    struct err ignored;
    char *said = cli_upscale_text(u);
    if (said)
        items[texts.count++] = (struct image_text){"postprocessing", said};
    if (cli_picture_texts(from, &kept, &ignored))
        texts.count += image_mark_keep(&kept, items + texts.count);
    bool ok = cli_picture_write(to, image, format, quality, &texts, err);
    image_texts_free(&kept);
    free(said);
    return ok;
}

static bool upscale(struct cli_upscale *u, const struct settings *settings, const char *from,
                    const char *to, enum image_format format, int quality, struct err *err)
{
    struct pictor_image image = {0};
    struct pictor_engine_options options;
    job_engine_options(settings->threads, settings->cpu, settings->precision,
                       (size_t)settings->memory_limit_mb << 20, &options);
    struct pictor_engine *engine = pictor_engine_new(&options, err);
    bool ok = engine && cli_picture_read(from, (size_t)settings->max_pixels, &image, err) &&
              cli_upscale_open(u, settings, engine, err);
    if (ok)
        cli_signal_cancels(engine);
    ok = ok && cli_upscale_run(u, settings, &image, err) &&
         write_larger(u, from, to, &image, format, quality, err);
    if (ok)
        fprintf(stderr, "%s  %dx%d\n", to, image.width, image.height);
    cli_signal_cancels(NULL);
    pictor_image_free(&image);
    cli_upscale_close(u);
    pictor_engine_free(engine);
    return ok;
}

static bool read_quality(const char *text, int *out, struct err *err)
{
    char *end;
    long value = strtol(text, &end, 10);
    *out = (int)value;
    return (end != text && !*end && value >= 0 && value <= 100) ||
           err_set(err, ERR_INVALID, "wanted a quality of 0..100, got '%.64s'", text);
}

int upscale_main(int argc, char **argv)
{
    static const char *const own[] = {"-o=", "--output=", "--scale=", "--upscaler=", "--quality=",
                                      NULL};
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},   {"scale", required_argument, NULL, 's'},
        {"upscaler", required_argument, NULL, 'u'}, {"quality", required_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    struct cli_upscale u = {.scale = 2};
    struct err err = {0};
    enum image_format format = IMAGE_PNG;
    const char *output = NULL;
    int status = 2, option, quality = 90;
    log_set_level(LOG_WARN);
    opterr = 0;
    struct settings *settings = settings_load(&argc, argv, own, &err);
    if (!settings)
        goto fail;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        bool ok = true;
        if (option == 'o')
            output = optarg;
        else if (option == 'u')
            u.name = optarg;
        else if (option == 's')
            ok = cli_upscale_scale(&u, optarg, &err);
        else if (option == 'q')
            ok = read_quality(optarg, &quality, &err);
        else if (option == 'h')
            status = 0;
        else
            ok = err_set(&err, ERR_INVALID, "unknown option or missing value: %.64s",
                         argv[optind - 1]);
        if (!ok)
            goto fail;
    }
    if (status == 0) {
        help(stdout);
        goto done;
    }
    if (optind != argc - 1) {
        err_set(&err, ERR_INVALID, "wanted one picture's file, got %d", argc - optind);
        goto fail;
    }
    if (!cli_picture_format(output, "-o", &format, &err))
        goto fail;
    status = 1;
    if (!cli_picture_writable(output, &err) ||
        !upscale(&u, settings, argv[optind], output, format, quality, &err))
        goto fail;
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor upscale");
    if (status == 2)
        fputs("see pictor upscale --help\n", stderr);
done:
    settings_free(settings);
    return status;
}

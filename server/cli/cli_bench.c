/* cli_bench.c: `pictor bench`: this machine's figures as a table, or as JSON for scripts. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/base/log.h"
#include "engine/bench.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/job/job_engine.h"

static const char *const help_settings[] = {"threads", "precision", "cpu", NULL};
static const char *const own_flags[] = {
    "--json", "--side=", "--model=", "--sizes=", "--steps=", "--no-operations", NULL};

#define MAX_SIZES 8

struct bench_options {
    bool json, operations;
    const char *model;
    int side;             /* of the operations */
    int sizes[MAX_SIZES]; /* sides of whole pictures; none: by the model's own size */
    int size_count;
    int steps; /* 0: the model's own */
};

static void help(FILE *out)
{
    fputs(
        "usage: pictor bench [options]\n"
        "\n"
        "Times every operation of a guided Stable Diffusion 1.5 step and of a decode, with random\n"
        "weights, against the peak of this CPU measured in the same run, and whole pictures.\n"
        "\n"
        "  --side N            pixels a side for the operations; default 512\n"
        "  --model PATH        whole pictures of this .safetensors file or folder instead of the\n"
        "                      built-in model\n"
        "  --sizes N,N,...     pixels a side for whole pictures; default: half the model's own\n"
        "                      size, its own, and double, or 768 where double is more\n"
        "  --steps N           steps of a whole picture; default: the model's own\n"
        "  --no-operations     whole pictures only\n"
        "  --json              as JSON\n",
        out);
    settings_help(out, help_settings);
}

struct results {
    bool json;
    cJSON *rows;
    double unet, vae; /* seconds: the sum of what was measured */
    char engine[128]; /* what it ran on */
};

static void print_row(void *ctx, const struct bench_row *r)
{
    struct results *t = ctx;
    *(strcmp(r->part, "vae") == 0 ? &t->vae : &t->unet) += r->seconds * r->count;
    if (t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "part", r->part);
        cJSON_AddStringToObject(o, "operation", r->name);
        cJSON_AddNumberToObject(o, "side", r->width);
        cJSON_AddNumberToObject(o, "count", r->count);
        cJSON_AddNumberToObject(o, "seconds", r->seconds);
        cJSON_AddNumberToObject(o, "flops", r->flops);
        cJSON_AddNumberToObject(o, "share_of_peak", r->share);
        cJSON_AddItemToArray(t->rows, o);
        return;
    }
    printf("%-4s %-28s %4dx%-4d %3d  %9.3f ms  ", r->part, r->name, r->width, r->height, r->count,
           r->seconds * 1e3);
    if (r->flops > 0)
        printf("%7.3f TFLOP/s  %5.1f%%\n", r->flops / r->seconds / 1e12, r->share * 100);
    else
        printf("%15s  %6s\n", "-", "-");
    fflush(stdout);
}

struct steps {
    double first_start, last_end, sum;
    int count;
};

static bool on_progress(void *ctx, const struct pictor_progress *p)
{
    struct steps *s = ctx;
    if (p->step == 0) {
        s->first_start = p->elapsed;
    } else {
        s->sum += p->step_seconds;
        s->count++;
    }
    s->last_end = p->elapsed;
    return true;
}

/* The most memory this process has held since the last call, in bytes; Linux counts from anew when
 * told, elsewhere it is the most since the start. */
static double peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    long kilobytes = usage.ru_maxrss;
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmHWM: %ld", &kilobytes);
    if (f)
        fclose(f);
    f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
    return (double)kilobytes * 1024;
}

/* A picture after one of a single step that does not count, as a server that runs has had one. */
static bool whole_picture(struct pictor_model *model, const char *path, int index, int side,
                          int steps, double load, struct results *t, struct err *err)
{
    struct steps s = {0};
    struct pictor_image image;
    struct pictor_params p;
    size_t bytes;
    char prompt[64], negative[64]; /* never twice the same: what was encoded is kept */
    snprintf(prompt, sizeof prompt, "a red circle on a blue background, %d", index);
    snprintf(negative, sizeof negative, "blurry, %d", index);
    pictor_params_init(&p, model);
    steps = steps ? steps : p.steps;
    p.sampler = "Euler";
    p.width = p.height = side;
    p.steps = 1;
    if (!pictor_check(model, &p, &bytes, err) || !pictor_generate(model, &p, &image, err))
        return false;
    pictor_image_free(&image);
    p.prompt = prompt;
    p.negative_prompt = negative;
    p.steps = steps;
    p.on_progress = on_progress;
    p.ctx = &s;
    peak_memory();
    double began = bench_now();
    if (!pictor_generate(model, &p, &image, err))
        return false;
    double whole = bench_now() - began, decode = whole - s.last_end, peak = peak_memory();
    pictor_image_free(&image);
    if (t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "part", "picture");
        cJSON_AddStringToObject(o, "model", path);
        cJSON_AddNumberToObject(o, "width", p.width);
        cJSON_AddNumberToObject(o, "height", p.height);
        cJSON_AddNumberToObject(o, "steps", p.steps);
        cJSON_AddNumberToObject(o, "guidance", (double)p.guidance);
        cJSON_AddNumberToObject(o, "load_seconds", load);
        cJSON_AddNumberToObject(o, "text_seconds", s.first_start);
        cJSON_AddNumberToObject(o, "step_seconds", s.sum / s.count);
        cJSON_AddNumberToObject(o, "decode_seconds", decode);
        cJSON_AddNumberToObject(o, "seconds", whole);
        cJSON_AddNumberToObject(o, "activation_bytes", (double)bytes);
        cJSON_AddNumberToObject(o, "peak_bytes", peak);
        cJSON_AddItemToArray(t->rows, o);
        return true;
    }
    printf("%4dx%-4d %4d  %8.1f ms %8.1f ms %8.1f ms %8.2f s  %7.0f MB %7.0f MB\n", p.width,
           p.height, p.steps, s.first_start * 1e3, s.sum / s.count * 1e3, decode * 1e3, whole,
           (double)bytes / 1e6, peak / 1e6);
    fflush(stdout);
    return true;
}

static bool whole_pictures(const struct pictor_engine_options *options,
                           const struct bench_options *o, struct results *t, struct err *err)
{
    bool ok = false;
    double began = bench_now();
    const char *path = o->model ? o->model : "builtin";
    struct pictor_engine *engine = pictor_engine_new(options, err);
    struct pictor_model *model = engine ? pictor_model_open(engine, path, err) : NULL;
    if (!model)
        goto done;
    double load = bench_now() - began;
    snprintf(t->engine, sizeof t->engine, "%s", pictor_engine_description(engine));
    const struct pictor_model_info *info = pictor_model_info(model);
    int own = info->native_width, most = own < 768 ? 768 : own;
    int sizes[MAX_SIZES] = {own / 2, own, 2 * own < most ? 2 * own : most};
    int count = o->size_count ? o->size_count : 3;
    if (o->size_count)
        memcpy(sizes, o->sizes, sizeof sizes);
    if (!t->json)
        printf("\n%s (%s), load %.2f s, weights %zu MB\n%-9s %4s  %11s %11s %11s %10s  %10s %10s\n",
               path, t->engine, load, info->weight_bytes / 1000000, "size", "n", "text", "step",
               "decode", "picture", "activations", "peak");
    for (int i = 0; i < count; i++)
        if (!whole_picture(model, path, i, sizes[i], o->steps, load, t, err))
            goto done;
    ok = true;
done:
    pictor_model_free(model);
    pictor_engine_free(engine);
    return ok;
}

static bool whole_number(const char *text, int *out, const char **rest)
{
    char *end;
    long v = strtol(text, &end, 10);
    *out = (int)v;
    *rest = end;
    return end != text && v > 0 && v <= 4096;
}

static bool take_option(struct bench_options *o, int option, const char *value, struct err *err)
{
    const char *rest = value;
    switch (option) {
    case 'j':
        return o->json = true;
    case 'n':
        return !(o->operations = false);
    case 'm':
        return (o->model = value) != NULL;
    case 'k':
        return (whole_number(value, &o->steps, &rest) && !*rest && o->steps <= 1000) ||
               err_set(err, ERR_INVALID, "--steps must be 1..1000, got '%.64s'", value);
    case 's':
        return (whole_number(value, &o->side, &rest) && !*rest && o->side % 64 == 0 &&
                o->side <= 2048) ||
               err_set(err, ERR_INVALID, "--side must be 64..2048, a multiple of 64, got '%.64s'",
                       value);
    case 'z': {
        bool ok = true;
        for (o->size_count = 0; ok && o->size_count < MAX_SIZES; rest++) {
            ok = whole_number(rest, &o->sizes[o->size_count++], &rest);
            if (*rest != ',')
                break;
        }
        return (ok && !*rest) ||
               err_set(err, ERR_INVALID, "--sizes must be up to %d numbers, got '%.64s'", MAX_SIZES,
                       value);
    }
    }
    return err_set(err, ERR_INVALID, "unknown option or missing value");
}

int bench_main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'},        {"no-operations", no_argument, NULL, 'n'},
        {"model", required_argument, NULL, 'm'}, {"side", required_argument, NULL, 's'},
        {"sizes", required_argument, NULL, 'z'}, {"steps", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    struct err err;
    struct results t = {0};
    struct bench_options o = {.operations = true, .side = 512};
    int status = 2, option;
    double peak = 0;
    log_set_level(LOG_WARN);
    struct settings *s = settings_load(&argc, argv, own_flags, &err);
    if (!s)
        goto fail;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h') {
            help(stdout);
            status = 0;
            goto done;
        }
        if (!take_option(&o, option, optarg, &err))
            goto fail;
    }
    if (optind < argc) {
        err_set(&err, ERR_INVALID, "unexpected word '%.64s'", argv[optind]);
        goto fail;
    }
    status = 1;
    struct pictor_engine_options options;
    job_engine_options(s->threads, s->cpu, s->precision, 0, &options);
    t.json = o.json;
    t.rows = cJSON_CreateArray();
    if (o.operations) {
        if (!t.json)
            printf("%-4s %-28s %-9s %3s  %12s  %15s  %6s\n", "part", "operation", "size", "n",
                   "one", "speed", "peak");
        if (!bench_operations(&options, o.side, print_row, &t, &peak, &err))
            goto fail;
        if (!t.json)
            printf("\npeak %.3f TFLOP/s; sum of the operations of a guided step at %dx%d: %.2f s, "
                   "of a decode: %.2f s\n",
                   peak / 1e12, o.side, o.side, t.unet, t.vae);
    }
    if (!whole_pictures(&options, &o, &t, &err))
        goto fail;
    if (t.json) {
        cJSON *all = cJSON_CreateObject();
        cJSON_AddStringToObject(all, "engine", t.engine);
        cJSON_AddNumberToObject(all, "peak_flops", peak);
        cJSON_AddItemToObject(all, "rows", t.rows);
        char *text = cJSON_Print(all);
        puts(text ? text : "{}");
        free(text);
        cJSON_Delete(all);
        t.rows = NULL;
    }
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor bench");
done:
    cJSON_Delete(t.rows);
    settings_free(s);
    return status;
}

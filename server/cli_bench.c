/* cli_bench.c: `pictor bench`: this machine's figures as a table, or as JSON for scripts. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/base/log.h"
#include "engine/bench.h"
#include "server/cli.h"
#include "server/settings.h"

static const char *const help_settings[] = {"threads", "precision", "cpu", NULL};
static const char *const own_flags[] = {"--json", "--side=", "--model=", "--no-operations", NULL};

static void help(FILE *out)
{
    fputs(
        "usage: pictor bench [options]\n"
        "\n"
        "Times every operation of a guided Stable Diffusion 1.5 step and of a decode, with random\n"
        "weights, against the peak of this CPU measured in the same run, and whole pictures.\n"
        "\n"
        "  --side N            pixels a side for the operations; default 512\n"
        "  --model PATH        whole pictures of this model too (a .safetensors file or a folder)\n"
        "  --no-operations     whole pictures only\n"
        "  --json              as JSON\n",
        out);
    settings_help(out, help_settings);
}

struct table {
    bool json;
    cJSON *rows;
    double unet, vae; /* seconds: the sum of what was measured */
};

static void print_row(void *ctx, const struct bench_row *r)
{
    struct table *t = ctx;
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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct steps {
    double last_end, sum, first;
    int count;
};

static bool on_progress(void *ctx, const struct pictor_progress *p)
{
    struct steps *s = ctx;
    if (p->step == 0) {
        s->first = p->elapsed;
    } else {
        s->sum += p->step_seconds;
        s->count++;
    }
    s->last_end = p->elapsed;
    return true;
}

/* One picture of each size: load, a step, what comes after the steps, the whole, memory. */
static bool whole_pictures(const struct pictor_engine_options *options, const char *path,
                           struct table *t, struct err *err)
{
    bool ok = false;
    double began = now();
    struct pictor_engine *engine = pictor_engine_new(options, err);
    struct pictor_model *model = engine ? pictor_model_open(engine, path, err) : NULL;
    if (!model)
        goto done;
    double load = now() - began;
    const struct pictor_model_info *info = pictor_model_info(model);
    if (!t->json)
        printf("\n%s (%s), load %.2f s, weights %zu MB\n", path, pictor_engine_description(engine),
               load, info->weight_bytes / 1000000);
    for (int scale = 1; scale <= 2; scale++) {
        struct steps s = {0};
        struct pictor_image image;
        struct pictor_params p;
        size_t bytes;
        pictor_params_init(&p, model);
        p.prompt = "a red circle on a blue background";
        p.width = info->native_width * scale / 2 / 8 * 8;
        p.height = info->native_height * scale / 2 / 8 * 8;
        p.on_progress = on_progress;
        p.ctx = &s;
        began = now();
        if (!pictor_check(model, &p, &bytes, err) || !pictor_generate(model, &p, &image, err))
            goto done;
        double whole = now() - began;
        pictor_image_free(&image);
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        if (t->json) {
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "part", "picture");
            cJSON_AddStringToObject(o, "model", path);
            cJSON_AddNumberToObject(o, "width", p.width);
            cJSON_AddNumberToObject(o, "height", p.height);
            cJSON_AddNumberToObject(o, "steps", p.steps);
            cJSON_AddNumberToObject(o, "load_seconds", load);
            cJSON_AddNumberToObject(o, "step_seconds", s.sum / s.count);
            cJSON_AddNumberToObject(o, "decode_seconds", whole - s.last_end);
            cJSON_AddNumberToObject(o, "seconds", whole);
            cJSON_AddNumberToObject(o, "activation_bytes", (double)bytes);
            cJSON_AddItemToArray(t->rows, o);
        } else {
            printf("  %4dx%-4d %d steps: %.3f s a step, decode %.3f s, whole picture %.2f s, "
                   "activations %zu MB, peak %ld MB\n",
                   p.width, p.height, p.steps, s.sum / s.count, whole - s.last_end, whole,
                   bytes / 1000000, usage.ru_maxrss / 1000);
            fflush(stdout);
        }
    }
    ok = true;
done:
    pictor_model_free(model);
    pictor_engine_free(engine);
    return ok;
}

int bench_main(int argc, char **argv)
{
    struct err err;
    struct table t = {0};
    const char *model = NULL;
    int side = 512, status = 1;
    bool operations = true;
    double peak = 0;
    log_set_level(LOG_WARN);
    struct settings *s = settings_load(&argc, argv, own_flags, &err);
    if (!s) {
        fprintf(stderr, "pictor bench: %s\n", err.msg);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=') ? strchr(argv[i], '=') + 1 : argv[i + 1];
        bool joined = strchr(argv[i], '=') != NULL;
        if (strcmp(argv[i], "--json") == 0) {
            t.json = true;
        } else if (strcmp(argv[i], "--no-operations") == 0) {
            operations = false;
        } else if (strncmp(argv[i], "--side", 6) == 0 && value) {
            side = atoi(value) / 64 * 64;
            i += !joined;
        } else if (strncmp(argv[i], "--model", 7) == 0 && value) {
            model = value;
            i += !joined;
        } else {
            bool asked = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
            help(asked ? stdout : stderr);
            settings_free(s);
            return asked ? 0 : 2;
        }
    }
    if (side < 64 || side > 2048) {
        fprintf(stderr, "pictor bench: --side must be 64..2048, a multiple of 64\n");
        settings_free(s);
        return 2;
    }
    struct pictor_engine_options options = {
        .threads = s->threads,
        .cpu = strcmp(s->cpu, "auto") == 0 ? NULL : s->cpu,
        .precision = strcmp(s->precision, "f32") == 0    ? PICTOR_PRECISION_F32
                     : strcmp(s->precision, "bf16") == 0 ? PICTOR_PRECISION_BF16
                                                         : PICTOR_PRECISION_AUTO,
    };
    t.rows = cJSON_CreateArray();
    if (operations) {
        if (!t.json)
            printf("%-4s %-28s %-9s %3s  %12s  %15s  %6s\n", "part", "operation", "size", "n",
                   "one", "speed", "peak");
        if (!bench_operations(&options, side, print_row, &t, &peak, &err))
            goto fail;
        if (!t.json)
            printf("\npeak %.3f TFLOP/s; sum of the operations of a guided step at %dx%d: %.2f s, "
                   "of a decode: %.2f s\n",
                   peak / 1e12, side, side, t.unet, t.vae);
    }
    if (!whole_pictures(&options, "builtin", &t, &err) ||
        (model && !whole_pictures(&options, model, &t, &err)))
        goto fail;
    if (t.json) {
        cJSON *all = cJSON_CreateObject();
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
    fprintf(stderr, "pictor bench: %s\n", err.msg);
done:
    cJSON_Delete(t.rows);
    settings_free(s);
    return status;
}

/* cli_models.c: `pictor models`: what can be named in a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/job/registry.h"

static const char *const help_settings[] = {"config", "data", "models", "default_model", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor models     the models there are, the default one first\n"
          "\n"
          "Put checkpoints (.safetensors, .ckpt: Stable Diffusion 1.x, 2.x, XL) or diffusers\n"
          "folders into the models folder, or fetch them with `pictor pull`.\n"
          "\n",
          out);
    settings_help(out, help_settings);
}

static void print_model(const struct registry *reg, const struct registry_model *m)
{
    char size[32] = "-", path[PATH_MAX];
    if (m->size)
        snprintf(size, sizeof size, "%.1f MB", (double)m->size / 1e6);
    registry_path(reg, m, path);
    bool local = m->kind == REGISTRY_LOCAL;
    const char *kind = !local ? "upstream" : m->fault ? "-" : m->architecture;
    printf("%-32s %-9s %10s  %s%s\n", m->name, kind, size, local ? path : m->upstream,
           m->is_default ? "  (default)" : "");
    if (m->fault)
        printf("%-32s %s\n", "", m->problem);
}

static bool print_models(const struct settings *s, struct err *err)
{
    struct registry_model *list;
    size_t count;
    struct registry *reg = registry_new(s, NULL, err);
    if (!reg)
        return false;
    registry_await(reg, INT_MAX);
    bool done = registry_list(reg, &list, &count, err);
    if (done) {
        printf("%-32s %-9s %10s  %s\n", "name", "kind", "size", "from");
        for (size_t i = 0; i < count; i++)
            print_model(reg, &list[i]);
        free(list);
    }
    registry_free(reg);
    return done;
}

int models_main(int argc, char **argv)
{
    struct err err;
    int status = 1;
    log_set_level(LOG_WARN);
    struct settings *s = settings_load(&argc, argv, NULL, &err);
    if (!s) {
        err_print(&err, "pictor models");
        return 2;
    }
    if (argc > 1) {
        bool asked = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        help(asked ? stdout : stderr);
        status = asked ? 0 : 2;
    } else if (print_models(s, &err)) {
        status = 0;
    } else {
        err_print(&err, "pictor models");
    }
    settings_free(s);
    return status;
}

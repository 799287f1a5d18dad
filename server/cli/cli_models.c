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
          "Put .safetensors checkpoints (Stable Diffusion 1.x, 2.x) or diffusers folders into the\n"
          "models folder, or fetch them with `pictor pull`.\n"
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
    printf("%-32s %-9s %10s  %s%s\n", m->name, m->kind == REGISTRY_LOCAL ? "local" : "upstream",
           size, m->kind == REGISTRY_LOCAL ? path : m->upstream,
           m->is_default ? "  (default)" : "");
}

int models_main(int argc, char **argv)
{
    struct err err;
    struct registry *reg = NULL;
    struct registry_model *list = NULL;
    size_t count = 0;
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
    } else if ((reg = registry_new(s, NULL, &err)) && registry_list(reg, &list, &count, &err)) {
        printf("%-32s %-9s %10s  %s\n", "name", "kind", "size", "from");
        for (size_t i = 0; i < count; i++)
            print_model(reg, &list[i]);
        status = 0;
    } else {
        err_print(&err, "pictor models");
    }
    free(list);
    registry_free(reg);
    settings_free(s);
    return status;
}

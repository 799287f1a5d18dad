/* cli_pull.c: `pictor pull`: server/pull with a bar. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/pull/pull_set.h"

#define BAR_MS 200

static const char *const help_settings[] = {"config", "data", "models", NULL};

static void help(FILE *out)
{
    fputs(
        "usage: pictor pull                        what there is under a short name\n"
        "       pictor pull REF [--name NAME] [--sha256 HEX] [settings]\n"
        "\n"
        "Fetches a model, LoRA, VAE, upscaler, embedding or ControlNet into the folder of its\n"
        "kind: .safetensors, .gguf, or what PyTorch writes (.ckpt, .pt, .pth, .bin), which is\n"
        "read and never executed. A call that was interrupted goes on.\n"
        "\n"
        "  sd15, flux2-klein, ...              a short name; what the model wants beside it\n"
        "                                      comes with it\n"
        "  https://HOST/FILE\n"
        "  hf:OWNER/REPO/FILE                  Hugging Face; @REVISION after REPO for another\n"
        "                                      than main (a slash in it is %2F); HF_TOKEN for\n"
        "                                      what needs a login\n"
        "  hf:OWNER/REPO                       all of it that makes a model: a folder of what its\n"
        "                                      model_index.json names, or its one file\n"
        "  civitai:VERSION                     CivitAI, the number of a model version;\n"
        "                                      CIVITAI_TOKEN for what needs a login\n"
        "  https://civitai.com/models/NUMBER   the newest version of a model, or the one that\n"
        "                                      ?modelVersionId=VERSION says\n"
        "\n"
        "  --name NAME    what the model is called here\n"
        "  --sha256 HEX   what the file must hash to; Hugging Face and CivitAI say it themselves\n"
        "\n",
        out);
    settings_help(out, help_settings);
}

struct bar {
    bool terminal;
    int64_t drawn;
};

static void draw(void *ctx, uint64_t done, uint64_t total)
{
    struct bar *b = ctx;
    int64_t now = now_ms();
    if (!b->terminal || (now - b->drawn < BAR_MS && done != total))
        return;
    b->drawn = now;
    enum { WIDTH = 40 };
    int filled = total ? (int)(done * WIDTH / total) : 0;
    fprintf(stderr, "\r[%.*s%.*s] %8.1f MB", filled > WIDTH ? WIDTH : filled,
            "########################################", filled > WIDTH ? 0 : WIDTH - filled,
            "                                        ", (double)done / 1e6);
    if (total)
        fprintf(stderr, " of %.1f MB", (double)total / 1e6);
}

/* What comes with what, before anything does: sizes as the hub says them, and licences. */
static void announce(const struct pull_set *set)
{
    for (size_t i = 0; i < set->count && set->count > 1; i++)
        printf("%-40s %8.1f MB  %s\n", set->items[i].name, (double)set->items[i].size / 1e6,
               set->known[i]->licence);
    if (set->count > 1)
        printf("%-40s %8.1f MB\n", "all of it", (double)set->size / 1e6);
    fflush(stdout);
}

static bool fetch(const struct settings *settings, const struct pull_set *set, struct err *err)
{
    const struct pull_source *s = &set->items[0];
    struct bar bar = {.terminal = isatty(STDERR_FILENO)};
    struct pull_watch watch = {.progress = draw, .ctx = &bar};
    struct pull_result r;
    announce(set);
    bool done = pull_set_run(settings, set, &watch, &r, err);
    if (bar.drawn)
        fputc('\n', stderr);
    if (!done)
        return false;
    if (r.was_there)
        printf("%s is there already\n", r.path);
    else if (s->file_count)
        printf("%s\n%zu files, %.1f MB\n", r.path, s->file_count, (double)s->size / 1e6);
    else
        printf("%s\nsha256 %s%s\n", r.path, r.sha256, *s->sha256 ? " (as promised)" : "");
    if (r.problem.code != ERR_NONE)
        return err_copy(err, &r.problem);
    size_t stem;
    const char *slash = strrchr(r.path, '/'), *name = slash ? slash + 1 : r.path;
    pull_form_of(name, &stem);
    if (!r.was_there)
        printf("%s %.*s\n", pictor_kind_name(r.kind), (int)stem, name);
    return true;
}

int pull_main(int argc, char **argv)
{
    static const char *const own[] = {"--name=", "--sha256=", NULL};
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},
        {"sha256", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct pull_set set = {.count = 1};
    struct err err = {0};
    const char *name = NULL, *sha256 = NULL;
    int status = 2, option;
    log_set_level(LOG_WARN);
    struct settings *settings = settings_load(&argc, argv, own, &err);
    if (!settings)
        goto fail;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'n') {
            name = optarg;
        } else if (option == 's') {
            sha256 = optarg;
        } else {
            help(option == 'h' ? stdout : stderr);
            status = option == 'h' ? 0 : 2;
            goto done;
        }
    }
    if (argc == 1) {
        pull_catalogue_print(stdout);
        status = 0;
        goto done;
    }
    if (optind != argc - 1) {
        help(stderr);
        goto done;
    }
    status = 1;
    const char *ref = argv[optind];
    if ((name && !pull_source_set_name(&set.items[0], name, &err)) ||
        (sha256 && !pull_source_set_sha256(&set.items[0], sha256, &err)) ||
        !pull_set_find(&set, settings, ref, &err) || !fetch(settings, &set, &err))
        goto fail;
    status = 0;
    goto done;

fail:
    err_print(&err, "pictor pull");
done:
    pull_set_free(&set);
    settings_free(settings);
    return status;
}

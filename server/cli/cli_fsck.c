/* cli_fsck.c: `pictor fsck`: the store against the disk. */
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/store/blobs.h"
#include "server/store/fsck.h"
#include "server/store/store.h"

#define IN_THE_MAKING_SECONDS 60 /* longer than any picture takes to be written */

static const char *const help_settings[] = {"config", "data", "database", "blobs", "bucket_key",
                                            "bucket_secret", "bucket_timeout", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor fsck [--repair]   compare the store with the files in its folder\n"
          "\n"
          "Exit status 0: all is well; 1: something was found, or it could not look.\n"
          "\n"
          "  --repair                           remove unfinished files and rows whose file is\n"
          "                                     gone, move files that no row knows to DATA/lost\n"
          "                                     or, in a bucket, to lost/;\n"
          "                                     the server must not be running\n"
          "  --all-lost                         repair although no picture of many is there\n",
          out);
    settings_help(out, help_settings);
}

/* Alone when it can be had; beside a server only to look. */
static struct store *open_store(const struct settings *s, struct fsck_options *options,
                                struct err *err)
{
    char name[STORE_NAME_SIZE];
    const struct store_place place = store_place_of(s, name);
    if (!store_exists(&place)) {
        err_at(err, s->data, ERR_NOT_FOUND, "there is no store");
        return NULL;
    }
    struct store *store = store_open(&place, STORE_ALONE, err);
    if (store || err->code != ERR_BUSY || options->repair)
        return store;
    err_print(err, "pictor fsck");
    fprintf(stderr, "files of the last %d seconds are left out\n", IN_THE_MAKING_SECONDS);
    options->ignore_seconds = IN_THE_MAKING_SECONDS;
    return store_open(&place, STORE_SHARED, err);
}

int fsck_main(int argc, char **argv)
{
    static const char *const own[] = {"--repair", "--all-lost", NULL};
    struct fsck_options options = {0};
    struct fsck_result result;
    struct err err;
    struct settings *s = NULL;
    struct store *store = NULL;
    struct blobs *blobs = NULL;
    int status = 1;
    log_set_level(LOG_WARN);
    if (!(s = settings_load(&argc, argv, own, &err)))
        goto fail;
    for (int i = 1; i < argc; i++) {
        bool repair = strcmp(argv[i], "--repair") == 0;
        bool lost = strcmp(argv[i], "--all-lost") == 0;
        bool helps = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        options.repair |= repair;
        options.all_lost |= lost;
        if (repair || lost)
            continue;
        help(helps ? stdout : stderr);
        status = helps ? 0 : 2;
        goto done;
    }
    if (!(store = open_store(s, &options, &err)) || !(blobs = blobs_new(s->data, s, &err)) ||
        !fsck_run(store, blobs, &options, stdout, &result, &err))
        goto fail;
    printf("%zu pictures, %zu inputs and %zu files of clients looked at, %zu findings",
           result.images, result.inputs, result.files, result.findings);
    if (result.findings && options.repair)
        printf(", %zu repaired", result.repaired);
    else if (result.findings)
        printf("; --repair would act on them");
    printf("\n");
    status = result.findings ? 1 : 0;
    goto done;
fail:
    err_print(&err, "pictor fsck");
done:
    blobs_free(blobs);
    store_close(store);
    settings_free(s);
    return status;
}

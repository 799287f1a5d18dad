/* cli_migrate_blobs.c: `pictor migrate-blobs`: the data folder's files to the bucket, and back. */
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/store/blobs_move.h"

static const char *const help_settings[] = {
    "config", "data", "blobs", "bucket_key", "bucket_secret", "bucket_timeout", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor migrate-blobs [--back] [--remove]\n"
          "\n"
          "Copies pictures, inputs, thumbnails and files of clients from the data folder to\n"
          "the bucket of the settings. Each is compared by its SHA-256; what is there already is\n"
          "left, so a call that was interrupted goes on. A server may run meanwhile.\n"
          "\n"
          "  --back                             from the bucket to the folder\n"
          "  --remove                           remove each where it was, once it is on the other\n"
          "                                     side\n",
          out);
    settings_help(out, help_settings);
}

int migrate_blobs_main(int argc, char **argv)
{
    static const char *const own[] = {"--back", "--remove", NULL};
    struct blobs_move_options options = {0};
    struct blobs_moved moved;
    struct err err;
    struct blobs *blobs = NULL;
    int status = 1;
    log_set_level(LOG_WARN);
    struct settings *s = settings_load(&argc, argv, own, &err);
    if (!s)
        goto fail;
    for (int i = 1; i < argc; i++) {
        bool helps = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        if (strcmp(argv[i], "--back") == 0) {
            options.back = true;
        } else if (strcmp(argv[i], "--remove") == 0) {
            options.remove = true;
        } else {
            help(helps ? stdout : stderr);
            status = helps ? 0 : 2;
            goto done;
        }
    }
    if (!(blobs = blobs_new(s->data, s, &err)) ||
        !blobs_move(blobs, &options, stdout, &moved, &err))
        goto fail;
    printf("%zu files moved, %zu were there, %zu failed; %llu bytes\n", moved.moved, moved.there,
           moved.failed, moved.bytes);
    status = moved.failed ? 1 : 0;
    goto done;
fail:
    err_print(&err, "pictor migrate-blobs");
done:
    blobs_free(blobs);
    settings_free(s);
    return status;
}

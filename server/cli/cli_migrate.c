/* cli_migrate.c: `pictor migrate-store`: the rows of a store into another database. */
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/store/move.h"
#include "server/store/store.h"

static const char *const help_settings[] = {"config", "data", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor migrate-store FROM TO   move jobs, keys and all else that is in a "
          "database\n"
          "                                      into another one\n"
          "\n"
          "FROM and TO are data folders, whose pictor.db is meant, or addresses that begin with\n"
          "postgresql://. No server may run on either. TO must be empty, or what an earlier try\n"
          "has left: then it goes on. FROM stays as it is. In the end the rows of both are\n"
          "counted and hashed. Pictures stay in the data folder.\n"
          "\n",
          out);
    settings_help(out, help_settings);
}

static struct store *open_one(const char *word, const struct settings *s, struct err *err)
{
    bool address = strstr(word, "://") != NULL;
    const struct store_place place = {.data = address ? s->data : word,
                                      .database = address ? word : NULL};
    return store_open(&place, STORE_ALONE, err);
}

int migrate_main(int argc, char **argv)
{
    struct err err = {0};
    struct settings *s = NULL;
    struct store *from = NULL, *to = NULL;
    int status = 1;
    log_set_level(LOG_WARN);
    if (!(s = settings_load(&argc, argv, NULL, &err)))
        goto fail;
    bool helps = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc != 3) {
        help(helps ? stdout : stderr);
        status = helps ? 0 : 2;
        goto done;
    }
    const struct store_place place = {.data = argv[1]};
    if (!strstr(argv[1], "://") && !store_exists(&place)) {
        err_at(&err, argv[1], ERR_NOT_FOUND, "there is no store");
        goto fail;
    }
    if (!(from = open_one(argv[1], s, &err)) || !(to = open_one(argv[2], s, &err)) ||
        !move_rows(from, to, stdout, &err))
        goto fail;
    printf("moved; FROM is as it was\n");
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor migrate-store");
done:
    store_close(to);
    store_close(from);
    settings_free(s);
    return status;
}

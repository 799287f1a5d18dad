/* cli_keys.c: `pictor keys`: make, list and revoke API keys, also while the server runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/store/keys.h"
#include "server/store/store.h"

static const char *const help_settings[] = {"config", "data", "database", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor keys add NAME [--admin|--worker] [LIMITS]\n"
          "                                        make a key and show it, this once\n"
          "       pictor keys set ID|NAME LIMITS   change what it may use\n"
          "       pictor keys list                 all keys, without their secrets\n"
          "       pictor keys revoke ID|NAME       a key is no longer accepted\n"
          "\n"
          "A running server knows of it at once. As soon as there is a key, every request needs\n"
          "one, also after the last one was revoked.\n"
          "\n"
          "  --admin                            may also see and manage everybody's jobs\n"
          "  --worker                           may paint for this server from another machine\n"
          "                                     (pictor worker --server URL), and nothing else\n"
          "  --weight=N                         its share of the painters beside others' (1)\n"
          "  --pictures-per-day=N, --pictures-per-month=N\n"
          "  --megapixel-steps-per-day=N, --megapixel-steps-per-month=N\n"
          "                                     most of a day and of a month, UTC; 0: no limit\n"
          "                                     (512x512, 20 steps: 5 megapixel-steps)\n"
          "  --money-per-day=X, --money-per-month=X\n"
          "                                     spent at upstreams, by the settings' prices\n",
          out);
    settings_help(out, help_settings);
}

#define SHARE_MOST 8 /* numbers of a share */

/* "pictures_per_day" as people write it: "--pictures-per-day=" */
static void flag_of(size_t i, char *flag, size_t size)
{
    snprintf(flag, size, "--%s=", keys_share_name(i));
    for (char *p = flag; *p; p++)
        if (*p == '_')
            *p = '-';
}

/* Takes those flags out of argv into `given`; whether there are any. */
static bool take_share(int *argc, char **argv, char *given[SHARE_MOST])
{
    bool any = false;
    char flag[64];
    for (size_t k = 0; keys_share_name(k); k++) {
        flag_of(k, flag, sizeof flag);
        for (int i = 1; i < *argc; i++) {
            size_t n = strlen(flag);
            bool joined = strncmp(argv[i], flag, n) == 0;
            bool apart = strncmp(argv[i], flag, n - 1) == 0 && !argv[i][n - 1] && i + 1 < *argc;
            if (!joined && !apart)
                continue;
            given[k] = joined ? argv[i] + n : argv[i + 1];
            any = true;
            int words = joined ? 1 : 2;
            memmove(&argv[i], &argv[i + words], (size_t)(*argc - i - words + 1) * sizeof *argv);
            *argc -= words;
            i--;
        }
    }
    return any;
}

static bool set_share(char **given, struct key_share *share, struct err *err)
{
    for (size_t i = 0; keys_share_name(i); i++) {
        char *end = given[i];
        double value = given[i] ? strtod(given[i], &end) : 0;
        if (given[i] && (end == given[i] || *end))
            return err_set(err, ERR_INVALID, "%s must be a number, got \"%.20s\"",
                           keys_share_name(i), given[i]);
        if (given[i] && !keys_share_set(share, i, value, err))
            return false;
    }
    return true;
}

static bool set(struct keys *keys, const char *id_or_name, char **given, struct err *err)
{
    struct key key;
    return keys_find(keys, id_or_name, &key, err) && set_share(given, &key.share, err) &&
           keys_set_share(keys, key.id, &key.share, err);
}

static bool add(struct keys *keys, const char *name, enum keys_scope scope, char **given,
                struct err *err)
{
    char plain[KEYS_PLAIN_SIZE];
    struct key key;
    struct key_share share = KEYS_SHARE_USUAL;
    if (!set_share(given, &share, err) ||
        !keys_create_with(keys, name, scope, &share, plain, &key, err))
        return false;
    /* Only the key on stdout, so that a script can keep it: KEY=$(pictor keys add ci). */
    fprintf(stderr, "key %s (%s) made; it is not shown again:\n", key.id, key.name);
    printf("%s\n", plain);
    return true;
}

static void print_day(int64_t ms, char *out, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (ms == 0 || !gmtime_r(&seconds, &utc) || !strftime(out, size, "%Y-%m-%d", &utc))
        snprintf(out, size, "-");
}

static bool list(struct keys *keys, struct err *err)
{
    struct key *all;
    size_t count;
    if (!keys_list(keys, &all, &count, err))
        return false;
    printf("%-18s %-10s %-11s %-11s %s\n", "id", "scope", "made", "revoked", "name");
    for (size_t i = 0; i < count; i++) {
        char made[16], revoked[16];
        print_day(all[i].created_ms, made, sizeof made);
        print_day(all[i].revoked_ms, revoked, sizeof revoked);
        const char *scope = all[i].admin ? "admin" : all[i].worker ? "worker" : "generate";
        printf("%-18s %-10s %-11s %-11s %s\n", all[i].id, scope, made, revoked, all[i].name);
        for (size_t k = 0; !all[i].revoked_ms && keys_share_name(k); k++)
            if (keys_share_get(&all[i].share, k) != (k == 0))
                printf("%18s %s=%.15g\n", "", keys_share_name(k), keys_share_get(&all[i].share, k));
    }
    free(all);
    return true;
}

/* Takes a word out of argv; whether it was there. */
static bool take_word(int *argc, char **argv, const char *word)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], word) == 0) {
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof *argv);
            --*argc;
            return true;
        }
    }
    return false;
}

int keys_main(int argc, char **argv)
{
    static const char *const own[] = {"--admin",
                                      "--worker",
                                      "--weight=",
                                      "--pictures-per-day=",
                                      "--pictures-per-month=",
                                      "--megapixel-steps-per-day=",
                                      "--megapixel-steps-per-month=",
                                      "--money-per-day=",
                                      "--money-per-month=",
                                      NULL};
    char *given[SHARE_MOST] = {NULL};
    struct err err;
    struct settings *s = NULL;
    struct store *store = NULL;
    struct keys *keys = NULL;
    struct store_place place;
    char name[STORE_NAME_SIZE];
    int status = 1;
    log_set_level(LOG_WARN);
    if (!(s = settings_load(&argc, argv, own, &err)))
        goto fail;
    if (take_word(&argc, argv, "--help") || take_word(&argc, argv, "-h")) {
        help(stdout);
        status = 0;
        goto done;
    }
    bool admin = take_word(&argc, argv, "--admin"), worker = take_word(&argc, argv, "--worker");
    enum keys_scope scope = admin ? KEYS_ADMIN : worker ? KEYS_WORKER : KEYS_PAINT;
    bool limits = take_share(&argc, argv, given);
    const char *verb = argc > 1 ? argv[1] : "";
    bool adds = strcmp(verb, "add") == 0 && argc == 3 && !(admin && worker);
    bool lists = strcmp(verb, "list") == 0 && argc == 2 && scope == KEYS_PAINT && !limits;
    bool revokes = strcmp(verb, "revoke") == 0 && argc == 3 && scope == KEYS_PAINT && !limits;
    bool sets = strcmp(verb, "set") == 0 && argc == 3 && scope == KEYS_PAINT && limits;
    if (!adds && !lists && !revokes && !sets) {
        help(stderr);
        status = 2;
        goto done;
    }
    place = store_place_of(s, name);
    if (!adds && !store_exists(&place)) { /* it would be made, and found to be empty */
        err_set(&err, ERR_NOT_FOUND, "there is no store in %.160s", s->data);
        goto fail;
    }
    if (!(store = store_open(&place, STORE_SHARED, &err)) || !(keys = keys_new(store, &err)))
        goto fail;
    bool done = adds    ? add(keys, argv[2], scope, given, &err)
                : sets  ? set(keys, argv[2], given, &err)
                : lists ? list(keys, &err)
                        : keys_revoke(keys, argv[2], &err);
    if (!done)
        goto fail;
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor keys");
done:
    keys_free(keys);
    store_close(store);
    settings_free(s);
    return status;
}

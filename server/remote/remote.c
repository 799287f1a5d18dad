/* remote.c: the command line of `pictor worker`. */
#include "server/remote/remote.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/settings.h"
#include "server/remote/remote_files.h"
#include "server/remote/remote_keeper.h"
#include "server/remote/remote_link.h"
#include "server/worker/sandbox.h"

#define KEY_MOST 1024

static const char *const own[] = {"--server=", "--key=", "--key-file=", "--name=", NULL};
static const char *const help_settings[] = {
    "config",  "data",         "worker_files",        "worker_files_limit", "threads", "precision",
    "cpu",     "memory_limit_mb", "idle_unload_seconds", "max_pixels",         "log_level",
    "allow_unconfined", NULL};

static void help(FILE *out)
{
    fputs("usage: pictor worker --server URL [--key KEY] [settings]\n"
          "\n"
          "Paints for a server on another machine, which keeps the jobs, the models and the\n"
          "pictures: fetches what it needs from there and sends what it painted.\n"
          "\n"
          "  --server URL      where the server is [PICTOR_URL]\n"
          "  --key KEY         made there by `pictor keys add NAME --worker`; better in\n"
          "                    PICTOR_KEY or a file, as others can see a program's flags\n"
          "  --key-file FILE   a file that holds the key\n"
          "  --name NAME       what the server calls this worker [this machine and a number]\n"
          "\n",
          out);
    settings_help(out, help_settings);
}

struct words {
    const char *server, *key, *key_file, *name;
};

/* Takes "--server=URL" or "--server URL" out of what is left of the flags. */
static bool read_words(int argc, char **argv, struct words *w, struct err *err)
{
    const char **const places[] = {&w->server, &w->key, &w->key_file, &w->name};
    for (int i = 1; i < argc; i++) {
        bool found = false;
        for (size_t j = 0; own[j] && !found; j++) {
            size_t n = strlen(own[j]) - 1;
            if (strncmp(argv[i], own[j], n) != 0 || (argv[i][n] != '=' && argv[i][n] != '\0'))
                continue;
            found = true;
            if (argv[i][n] == '\0' && i + 1 == argc)
                return err_set(err, ERR_INVALID, "%s: wanted a value behind it", argv[i]);
            *places[j] = argv[i][n] == '=' ? argv[i] + n + 1 : argv[++i];
        }
        if (!found)
            return err_set(err, ERR_INVALID, "unknown word '%.80s'", argv[i]);
    }
    return true;
}

/* The key in a file, without the line's end. malloc'd. */
static char *read_key(const char *path, struct err *err)
{
    FILE *f = fopen(path, "re");
    char *text = calloc(1, KEY_MOST + 2);
    size_t n = f && text ? fread(text, 1, KEY_MOST + 1, f) : 0;
    bool good = f && text && !ferror(f) && n <= KEY_MOST;
    if (!good)
        err_at(err, path, ERR_IO, "%s", n > KEY_MOST ? "this is no key" : strerror(errno));
    if (f)
        fclose(f);
    if (good) {
        text[strcspn(text, "\r\n")] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

static int catch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool run(const struct settings *s, const struct words *w, const char *key, struct err *err)
{
    char folder[PATH_MAX];
    struct remote_link link;
    struct remote_files files = {folder, s->worker_files_limit};
    struct err open;
    if (!sandbox_possible(&open)) {
        if (!sandbox_may_stay_open(s))
            return err_copy(err, &open);
        log_err(LOG_WARN, "sandbox_open", &open, " ");
    }
    if (!remote_link_init(&link, w->server, key, w->name, err))
        return false;
    if (remote_link_is_open(&link))
        log_event(LOG_WARN, "key_in_the_clear", "server=%s hint=\"https, or a tunnel\"", link.base);
    if (*s->worker_files) {
        snprintf(folder, sizeof folder, "%s", s->worker_files);
    } else {
        mkdir(s->data, 0700);
        snprintf(folder, sizeof folder, "%s/worker-files", s->data);
    }
    int signals = catch_signals();
    if (signals < 0)
        return err_set(err, ERR_IO, "no signalfd: %s", strerror(errno));
    fprintf(stderr, "pictor %s paints for %s as %s\n", PICTOR_VERSION, link.base, link.name);
    bool done = remote_keeper_run(s, &link, &files, signals, err);
    close(signals);
    return done;
}

int remote_main(int argc, char **argv)
{
    struct err err;
    enum log_level level;
    struct words w = {getenv("PICTOR_URL"), getenv("PICTOR_KEY"), NULL, NULL};
    char *read = NULL;
    int status = 2;
    struct settings *s = settings_load(&argc, argv, own, &err);
    if (!s)
        goto fail;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(stdout);
            status = 0;
            goto done;
        }
    }
    if (!read_words(argc, argv, &w, &err))
        goto fail;
    if (!w.server || !*w.server) {
        help(stderr);
        goto done;
    }
    if (log_level_of(s->log_level, &level))
        log_set_level(level);
    status = 1;
    if (w.key_file && !(w.key = read = read_key(w.key_file, &err)))
        goto fail;
    if (!run(s, &w, w.key, &err))
        goto fail;
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor worker");
done:
    free(read);
    settings_free(s);
    return status;
}

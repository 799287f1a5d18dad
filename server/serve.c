/* serve.c: `pictor serve`: puts the parts of the server together, waits for a signal, takes them
 * apart again in the opposite order. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/mcp/mcp_session.h"
#include "server/api/native/native_feed.h"
#include "server/api/native/native_teller.h"
#include "server/api/openai/openai_batches.h"
#include "server/base/settings.h"
#include "server/cli/cli.h"
#include "server/descriptors.h"
#include "server/exposure.h"
#include "server/http/http.h"
#include "server/job/intake.h"
#include "server/job/job_engine.h"
#include "server/job/registry.h"
#include "server/paint/dispatch.h"
#include "server/paint/tally.h"
#include "server/pull/pulls.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/queue/quota.h"
#include "server/queue/roster.h"
#include "server/routes.h"
#include "server/store/blobs.h"
#include "server/store/keys.h"
#include "server/store/store.h"
#include "server/worker/codec.h"
#include "server/worker/sandbox.h"

#define LARGE_BLOCK (256 << 10) /* bytes */
#define DRAIN_MS 10000 /* a picture that is nearly done may end; service managers wait longer */

static void help(FILE *out)
{
    fputs("usage: pictor serve [settings]\n"
          "\n"
          "Serves the page and the APIs until SIGINT or SIGTERM. SIGHUP reads the models folder\n"
          "again. Every setting is a flag, an environment variable (--max-steps is\n"
          "PICTOR_MAX_STEPS) and a line of the configuration file.\n"
          "\n",
          out);
    settings_help(out, NULL);
}

/* For people, beside the log: where to click. */
static void greet(const struct settings *settings, int port)
{
    char host[256];
    snprintf(host, sizeof host, "%s", settings->listen);
    char *colon = strrchr(host, ':');
    if (colon)
        *colon = '\0';
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0;
    fprintf(stderr, "pictor %s is painting at http://%s:%d\n", PICTOR_VERSION,
            any ? "127.0.0.1" : host, port);
}

static void wait_for_signals(const sigset_t *signals, struct registry *registry)
{
    for (;;) {
        struct err err;
        int sig;
        if (sigwait(signals, &sig) != 0 || sig != SIGHUP) {
            log_event(LOG_INFO, "stopping", "signal=%d", sig);
            return;
        }
        if (registry_refresh(registry, &err)) {
            log_event(LOG_INFO, "models_refreshed", " ");
        } else {
            log_err(LOG_WARN, "models_refresh_failed", &err, " ");
        }
    }
}

/* The hashes of model files, as options of the store. */
static char *recall_hash(void *ctx, const char *name)
{
    char *value;
    return store_option_get(ctx, name, &value, NULL) ? value : NULL;
}

static bool remember_hash(void *ctx, const char *name, const char *value, struct err *err)
{
    return store_option_set(ctx, name, value, err);
}

static bool start_painting(struct app *app, struct err *err)
{
    struct registry_hashes hashes = {app->store, recall_hash, remember_hash};
    if (!(app->tally = tally_new(err)) ||
        !(app->registry = registry_new(app->settings, &hashes, err)) ||
        !(app->codec = codec_new(sandbox_may_stay_open(app->settings),
                                 intake_pixels_max(app->settings), app->settings->threads, err)))
        return false;
    struct dispatch_parts parts = {.settings = app->settings,
                                   .queue = app->queue,
                                   .events = app->events,
                                   .registry = app->registry,
                                   .codec = app->codec,
                                   .memory = hashes,
                                   .tally = app->tally,
                                   .roster = app->roster};
    if (!(app->dispatch = dispatch_new(&parts, err)))
        return false;
    quota_set_prices(app->queue, dispatch_price, app->dispatch);
    return true;
}

static bool run(const struct settings *settings, struct err *err)
{
    struct app app = {.settings = settings};
    struct http *http = NULL;
    sigset_t signals;
    bool ok = false;
    char name[STORE_NAME_SIZE];
    const struct store_place place = store_place_of(settings, name);
    /* Blocked before any thread exists, so that only the sigwait below ever gets them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!exposure_check_sandbox(settings, err) ||
        !(app.store = store_open(&place, STORE_SERVE, err)) ||
        !(app.keys = keys_new(app.store, err)) || !exposure_check_keys(settings, app.keys, err))
        goto done;
    exposure_warn(settings, app.keys);
    if (!(app.blobs = blobs_new(settings->data, settings, err)) ||
        !(app.events = events_new(err)) ||
        !(app.queue = queue_new(app.store, app.blobs, app.events, settings, err)) ||
        !(app.roster = roster_new(app.store, store_tells(app.store) ? place.name : "", err)) ||
        !(app.feed = native_feed_new(app.queue, app.events, err)) || !start_painting(&app, err) ||
        !(app.pulls = pulls_new(settings, app.registry, err)) ||
        !(app.batches = openai_batches_new(&app, err)) ||
        !(app.teller = native_teller_new(&app, err)) ||
        !(app.mcp_sessions = mcp_session_new(err)) || !(http = routes_serve(&app, err)))
        goto done;
    greet(settings, http_port(http));
    wait_for_signals(&signals, app.registry);
    ok = true;
    /* Asked a second time it goes at once: whatever is lost by that is done again at the next
     * start, as after a crash. */
    signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
done:
    if (app.queue)
        queue_hurry(app.queue);
    dispatch_stop(app.dispatch, DRAIN_MS); /* who waits for what is being painted gets it */
    registry_stop(app.registry);           /* a thread of http's may read a model */
    http_stop(http);
    mcp_session_free(app.mcp_sessions);
    native_teller_free(app.teller);
    openai_batches_free(app.batches);
    pulls_free(app.pulls);
    dispatch_free(app.dispatch);
    tally_free(app.tally);
    codec_free(app.codec);
    registry_free(app.registry);
    native_feed_free(app.feed);
    roster_free(app.roster);
    queue_free(app.queue);
    events_free(app.events);
    keys_free(app.keys);
    blobs_free(app.blobs);
    store_close(app.store);
    return ok;
}

/* What no worker could start with is said now, not when the first client waits. */
static bool check_engine(const struct settings *s, struct err *err)
{
    struct pictor_engine_options options;
    job_engine_options(1, s->cpu, s->precision, 0, &options);
    struct pictor_engine *engine = pictor_engine_new(&options, err);
    pictor_engine_free(engine);
    return engine != NULL;
}

/* What bodies and answers needed for a moment goes back to the system when it is freed. By itself
 * the C library learns from the first large block to keep those that follow. */
static void return_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, 4 * LARGE_BLOCK);
    mallopt(M_ARENA_MAX, 4); /* each keeps so much for its threads, and there are dozens of those */
}

int serve_main(int argc, char **argv)
{
    struct err err = {0};
    enum log_level level;
    int status = 2;
    struct settings *settings = settings_load(&argc, argv, NULL, &err);
    if (!settings)
        goto fail;
    if (argc > 1) {
        bool asked = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        help(asked ? stdout : stderr);
        status = asked ? 0 : 2;
        goto done;
    }
    if (log_level_of(settings->log_level, &level))
        log_set_level(level);
    if (!descriptors_check(settings, &err) || !check_engine(settings, &err))
        goto fail;
    return_memory();
    status = 1;
    if (!run(settings, &err))
        goto fail;
    status = 0;
    goto done;
fail:
    err_print(&err, "pictor serve");
done:
    settings_free(settings);
    return status;
}

#include "server/cli/cli_signal.h"

#include <signal.h>

#include "engine/pictor.h"

static struct pictor_engine *cancelled; /* for the signal handler alone */

static void on_signal(int sig)
{
    (void)sig;
    pictor_engine_cancel(cancelled);
}

void cli_signal_cancels(struct pictor_engine *engine)
{
    if (engine)
        cancelled = engine;
    signal(SIGINT, engine ? on_signal : SIG_DFL);
    signal(SIGTERM, engine ? on_signal : SIG_DFL);
}

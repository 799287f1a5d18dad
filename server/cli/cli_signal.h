/* cli_signal.h: Ctrl-C while a command paints. */
#ifndef PICTOR_CLI_SIGNAL_H
#define PICTOR_CLI_SIGNAL_H

struct pictor_engine;

/* SIGINT and SIGTERM cancel what `engine` does from now on. NULL, before it is freed: they end the
 * program again. */
void cli_signal_cancels(struct pictor_engine *engine);

#endif

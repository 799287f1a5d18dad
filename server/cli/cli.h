/* cli.h: the subcommands of `pictor`. argv[0] is the word of the subcommand; each returns the exit
 * status: 0 done, 1 failed (said why on stderr), 2 used wrongly (printed its usage). All know
 * --help. keys_main is in keys.h, fsck_main in fsck.h. */
#ifndef PICTOR_SERVER_CLI_H
#define PICTOR_SERVER_CLI_H

int serve_main(int argc, char **argv);    /* serve.c */
int worker_main(int argc, char **argv);   /* worker.c: started by serve, not by people */
int generate_main(int argc, char **argv); /* cli_generate.c */
int models_main(int argc, char **argv);   /* cli_models.c */
int bench_main(int argc, char **argv);    /* cli_bench.c */
int pull_main(int argc, char **argv);     /* cli_pull.c */

#endif

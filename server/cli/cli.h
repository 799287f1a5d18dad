/* cli.h: the subcommands of `pictor`. argv[0] is the word of the subcommand; each returns the exit
 * status: 0 done, 1 failed (said why on stderr), 2 used wrongly (printed its usage). All know
 * --help. */
#ifndef PICTOR_SERVER_CLI_H
#define PICTOR_SERVER_CLI_H

int serve_main(int argc, char **argv);    /* serve.c */
int generate_main(int argc, char **argv); /* cli_generate.c */
int upscale_main(int argc, char **argv);  /* cli_upscale.c */
int models_main(int argc, char **argv);   /* cli_models.c */
int bench_main(int argc, char **argv);    /* cli_bench.c */
int mcp_main(int argc, char **argv);      /* cli_mcp.c */
int pull_main(int argc, char **argv);     /* cli_pull.c */
int keys_main(int argc, char **argv);     /* cli_keys.c */
int migrate_main(int argc, char **argv);  /* cli_migrate.c */
int migrate_blobs_main(int argc, char **argv); /* cli_migrate_blobs.c */
int fsck_main(int argc, char **argv);     /* cli_fsck.c: 1 also for findings, repaired or not */

#endif

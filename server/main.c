/* main.c: one binary, a word for each thing it does. */
#include <stdio.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/cli/cli.h"
#include "server/remote/remote.h"
#include "server/worker/worker.h"

/* A server's own process, or one that a person starts for a server elsewhere. */
static int work(int argc, char **argv)
{
    int status = worker_main(argc, argv);
    return status == WORKER_NOT_STARTED ? remote_main(argc, argv) : status;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: not for people */
} commands[] = {
    {"serve", serve_main, "serve the page and the APIs (also what `pictor` alone does)"},
    {"generate", generate_main, "paint a picture into a file"},
    {"upscale", upscale_main, "enlarge a picture's file"},
    {"models", models_main, "list the models there are"},
    {"pull", pull_main, "fetch a model"},
    {"keys", keys_main, "make, list and revoke API keys"},
    {"mcp", mcp_main, "let a desktop agent paint, by a running server"},
    {"bench", bench_main, "measure this machine"},
    {"fsck", fsck_main, "hold the database against the disk"},
    {"migrate-store", migrate_main, "move jobs and keys into another database"},
    {"migrate-blobs", migrate_blobs_main, "move pictures to a bucket, or back"},
    {"worker", work, "paint for a server on another machine"},
};

#define COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *out)
{
    fputs("usage: pictor [command] [options]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].help)
            fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].help);
    fputs("\n`pictor COMMAND --help` says more; `pictor --version` which one this is.\n", out);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "serve";
    if (strcmp(word, "--version") == 0) {
        printf("pictor %s\n", PICTOR_VERSION);
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (word[0] == '-') /* `pictor --listen ...` is `pictor serve --listen ...` */
        return serve_main(argc, argv);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "pictor: there is no command '%s'\n\n", word);
    usage(stderr);
    return 2;
}

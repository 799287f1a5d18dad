/* process.h: a sandboxed process, as the server sees it.
 *
 * Started by fork and exec of this very program (`pictor worker`), with a socket to the server as
 * descriptor 3, a pipe that the server reads as its output, and almost no environment: the server's
 * may hold keys. What it writes to the pipe goes into the server's log, marked `by=worker`, because
 * it may have been taken over: it must not be able to write into the log itself, and not without
 * end. Nothing here waits. Not thread-safe; the thread that starts the process must outlive it,
 * because the kernel kills it when that thread ends. */
#ifndef PICTOR_SERVER_PROCESS_H
#define PICTOR_SERVER_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "server/worker/wire.h"

#define PROCESS_LINE 2048 /* a longer one is cut */

/* Zero-initialise pid and fds to -1 with PROCESS_NONE. */
struct process {
    pid_t pid;
    int fd;  /* of the socket, which never blocks */
    int log; /* of the pipe */
    struct wire_reader reader;
    char line[PROCESS_LINE]; /* of its output, so far */
    size_t length;
    int64_t second; /* the last one in which something was passed on, and how much in it */
    size_t passed;
    char about[40]; /* the job that it works on, for its lines in the log; "": none */
};
#define PROCESS_NONE ((struct process){.pid = -1, .fd = -1, .log = -1})

/* `word`: what the process is told on its command line, after "worker"; NULL: nothing. `limits` are
 * those of what it may say. One that runs already is ended. */
bool process_start(struct process *p, const char *word, struct wire_limits limits, struct err *err);

#define PROCESS_WAS_KILLED "was killed by signal 9"

/* Kills and reaps. `how` (may be NULL) gets "was killed by signal 9 (Killed)", "ended with status
 * 1"; what it died of, if it had died before. */
void process_end(struct process *p, char how[64]);

/* Passes on what it has written so far. */
void process_relay(struct process *p);

#endif

/* sandbox.h: what a worker may no longer do.
 *
 * A worker parses model files and pictures that strangers made. Should one of them take it over, it
 * finds a process that cannot open sockets, start programs, look into other processes, signal
 * them or write to any file; it can read files and talk to the server that started it. The server
 * in turn trusts nothing that the worker says (server/worker/wire.h).
 *
 * seccomp (a list of refused system calls: they fail with EPERM) and Landlock (no access that
 * writes), both where the kernel has them. */
#ifndef PICTOR_SERVER_SANDBOX_H
#define PICTOR_SERVER_SANDBOX_H

#include <stddef.h>

/* For good and for every thread started later: call it before there is a second thread.
 * `memory_limit` bytes (0: none) is the engine's own limit; the process is held to it with some
 * slack. What the kernel does not offer is logged and left out. */
void sandbox_enter(size_t memory_limit);

#endif

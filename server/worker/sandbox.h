/* sandbox.h: what a process that reads strangers' files may still do.
 *
 * A worker parses model files and pictures that strangers made. Should one of them take it over, it
 * finds a process that can compute, and talk to the server that started it: no system call is left
 * that opens a file, reaches the network, starts a program, or touches another process. Files reach
 * it as descriptors. The server in turn trusts nothing that it says (server/worker/wire.h).
 *
 * What holds is seccomp: a list of what is allowed (sandbox_calls.h), everything else kills the
 * process. No capabilities, no new privileges and no core dumps go with it anywhere; Landlock and
 * namespaces stand behind it where the kernel and the container have them. */
#ifndef PICTOR_SERVER_SANDBOX_H
#define PICTOR_SERVER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct settings;

/* Whether sandbox_close will work on this machine: the kernel has seccomp filters. */
bool sandbox_possible(struct err *err);

/* Whether a process may go on where it does not: when only this machine is served, or the operator
 * says so. serve.c has refused to start, or warned, by then. */
bool sandbox_may_stay_open(const struct settings *settings);

/* Gives up what has to be given up before there is a second thread: privileges, memory beyond
 * `memory_limit` bytes (0: no limit; the engine's own limit, the process gets some slack), paths,
 * the network. Files can no longer be opened where the kernel has Landlock, and threads can be
 * started still. What the kernel does not offer is left out. */
void sandbox_enter(size_t memory_limit);

/* Closes the door, for all threads there are: from now on only what sandbox_calls.h lists. */
bool sandbox_close(struct err *err);

/* The names of what is allowed, for tests: index from 0, NULL past the end. */
const char *sandbox_call_at(size_t index, const char **reason);

#endif

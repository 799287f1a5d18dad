/* remote.h: `pictor worker --server URL`: paints for a server on another machine.
 *
 * The keeper, this process, speaks HTTP(S) to the server (docs/operations.md; the routes are
 * server/api/native/native_worker.h) and reads no file that it gets. What parses files and paints
 * is its child, the very process that a server has beside it, in the same sandbox, told the same
 * messages over the same socket (server/worker/worker.h): the keeper plays the server's part.
 *
 * It claims a job, fetches what it lacks of its files by their SHA-256 (remote_files.h), has the
 * picture painted and sends it as a PNG. While the server cannot be reached it goes on painting,
 * and offers what it has until the server takes it or says that the job is not its any more. */
#ifndef PICTOR_SERVER_REMOTE_H
#define PICTOR_SERVER_REMOTE_H

/* Returns the exit status. */
int remote_main(int argc, char **argv);

#endif

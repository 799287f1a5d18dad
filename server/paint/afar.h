/* afar.h: a claimed job for a worker on another machine (server/remote/remote.h).
 *
 * Nothing of it is remembered here between requests: who holds what is in the store (the claim's
 * token and owner), and all else follows from the job. So any server answers for a job, whichever
 * gave it out, and a server that starts again goes on. */
#ifndef PICTOR_SERVER_AFAR_H
#define PICTOR_SERVER_AFAR_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;
struct claim;
struct dispatch_parts;
struct job;
struct pictor_image;
struct task;

/* Grows when what is said to workers, or by them, changes (server/worker/worker.h, too). Those of 1
 * say nothing of themselves. */
#define AFAR_PROTOCOL 2
#define AFAR_PROTOCOL_LEAST 1

/* The name of such a claim's owner, of the worker's key and what it calls itself. */
#define AFAR_NAME_MAX 64
#define AFAR_OWNER_SIZE 128
bool afar_owner(char out[AFAR_OWNER_SIZE], const char *key_id, const char *name, struct err *err);

/* Makes a task of a job that is held, which it takes, and opens what picture `index` needs; -1: the
 * first that is missing, or none (task->index is -1 then). Reads inputs. task_free. */
struct task *afar_open(const struct dispatch_parts *parts, const struct claim *claim,
                       struct job *job, int index, struct err *err);

/* What the worker is told of picture task->index: {"job", "token", "index", "attempt",
 * "lease_seconds", "generate" (server/worker/worker.h), "files" [{"sha256", "size"}] in the order
 * of its descriptors, "inputs" (how many bytes)}. Owned. NULL with ERR_BUSY: a file's SHA-256 is
 * not known yet (afar_hash). */
struct cJSON *afar_order(const struct dispatch_parts *parts, const struct task *task,
                         struct err *err);

/* Reads those of the task's files whose SHA-256 is not known, one of them a call: whether there are
 * more. It takes seconds for a large one. */
bool afar_hash(const struct dispatch_parts *parts, const struct task *task, struct err *err);

/* Whether one of them could not be read a moment ago: then the job fails, with `err`, as it would
 * otherwise be given out and put back for ever. */
bool afar_unreadable(const struct dispatch_parts *parts, const struct task *task, struct err *err);

/* All inputs of the picture, malloc'd, one after the other as the worker's own process wants them.
 */
bool afar_inputs(const struct task *task, void **data, size_t *size, struct err *err);

/* A descriptor of the task's file with that SHA-256, and its size; -1: it has none. */
int afar_file(const struct dispatch_parts *parts, const struct task *task, const char *sha256,
              size_t *size, struct err *err);

#endif

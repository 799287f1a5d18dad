/* child.h: the worker process, as the painter sees it: a sandboxed process
 * (server/worker/process.h) and what it is told (server/worker/worker.h has the messages). It can
 * open nothing: the files of a model go along with each request. Nothing here waits: the caller
 * polls child_fd and child_log_fd. Not thread-safe; the thread that starts the process must outlive
 * it. */
#ifndef PICTOR_SERVER_CHILD_H
#define PICTOR_SERVER_CHILD_H

#include <sys/types.h>

#include "server/worker/wire.h"

struct child;
struct child_order;
struct companion;
struct job_params;
struct loras;
struct upscaler_file;
struct controls_files;
struct embeddings;
struct tiny_file;
struct vaes_version;
struct pictor_files;
struct pictor_image;
struct registry;
struct registry_model;
struct settings;

struct child *child_new(const struct settings *settings, struct err *err);
void child_free(struct child *c); /* kills it; NULL is fine */

/* Starts the process and tells it how to be. One that runs already is killed. */
bool child_start(struct child *c, struct err *err);
/* Kills and reaps. `how` (may be NULL) gets "was killed by signal 9 (Killed)", "ended with status
 * 1"; what it died of, if it had died before. */
void child_kill(struct child *c, char how[64]);

int child_fd(const struct child *c);     /* -1: no process */
int child_log_fd(const struct child *c); /* -1: no process */
pid_t child_pid(const struct child *c);  /* -1: no process */

/* Passes on what it has written to its log; from now on it is about this job ("": none). */
void child_relay_log(struct child *c);
void child_about(struct child *c, const char *job_id);

/* Resident bytes of a worker; 0 when it is gone. Any thread. */
size_t child_memory(pid_t pid);

/* What a worker is told. A failure of these and of
 * child_read means that the process is of no use any more: child_kill. */
/* `name` NULL: the default model. False with ERR_NONE: there is none such here, or it cannot be
 * opened, which is logged; the process is as good as before. */
bool child_load(struct child *c, struct registry *registry, const char *name, struct err *err);
bool child_unload(struct child *c, struct err *err);
bool child_ask(struct child *c, struct err *err); /* whether it is alive */
bool child_cancel(struct child *c, int64_t serial, struct err *err);
bool child_interrupt(struct child *c, int64_t serial, struct err *err);

/* Requests picture `index` of a job; init and mask are the inputs' bytes, size 0: none. */
struct child_request {
    int64_t serial;
    int index;
    const struct job_params *params;
    const struct registry_model *model;
    const struct pictor_files *files; /* of the model; stay the caller's, as the LoRAs' do */
    const struct vaes_version *vae;   /* among the files */
    const struct companion *others;   /* [COMPANIONS] */
    const struct loras *loras;
    const struct embeddings *embeddings;
    const struct upscaler_file *upscaler;
    const struct controls_files *controls;
    const struct tiny_file *tiny;
    void *const *leading; /* CONTROLS_INPUTS of them, of which NULL are none */
    const size_t *leading_size;
    void *const *shown; /* RELAY_IMAGES_MAX of them, of which those of size 0 are none */
    const size_t *shown_size;
    const void *init, *mask;
    size_t init_size, mask_size;
};
bool child_generate(struct child *c, const struct child_request *request, struct err *err);
/* The same of a message that is made already. */
bool child_send(struct child *c, const struct child_order *order, struct err *err);

enum wire_result child_read(struct child *c, struct wire_message *out, struct err *err);

/* RGB of width x height in the binary part, taken out of the message; false when it is not so. */
bool child_take_pixels(struct wire_message *m, struct pictor_image *out);

#endif

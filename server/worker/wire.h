/* wire.h: messages between serve and its worker, over a socket pair.
 *
 *     u32 length of the JSON | u32 length of the binary part | JSON object | binary part
 *
 * in the machine's byte order: both ends are the same program. The other end may be anything (the
 * worker parses strangers' model files), so lengths are held against limits before memory is taken,
 * and JSON is checked before it is parsed. A reader keeps what it has of a message between calls,
 * so a non-blocking socket never holds up its thread in the middle of one. Descriptors may travel
 * with a message; only a reader that says so takes them (the worker: serve takes none).
 *
 * Reading and writing may happen on different threads; two threads that write share a lock of
 * theirs. */
#ifndef PICTOR_SERVER_WIRE_H
#define PICTOR_SERVER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct cJSON;

/* Files of three models, a picture's LoRAs, embeddings, ControlNets, and two more. */
#define WIRE_FDS_MAX 126

struct wire_message {
    struct cJSON *json; /* an object */
    uint8_t *binary;    /* NULL when there is none */
    size_t binary_size;
    int fds[WIRE_FDS_MAX];
    size_t fd_count;
};
void wire_message_free(struct wire_message *m); /* closes its descriptors, zeroes it */

/* The member "type", or "" when it has none. */
const char *wire_type(const struct wire_message *m);
/* A number of the JSON as an integer in [least, most], both within +-2^53; `fallback` when it is
 * not there or not so. */
int64_t wire_integer(const struct wire_message *m, const char *name, int64_t least, int64_t most,
                     int64_t fallback);
double wire_number(const struct wire_message *m, const char *name, double fallback);
const char *wire_string(const struct wire_message *m, const char *name); /* "" when absent */

/* Adds a string member; what is not UTF-8 (a name out of a model file, cut in the middle) is
 * replaced, because the reader takes nothing else. */
void wire_add_text(struct cJSON *json, const char *name, const char *text);

struct wire_limits {
    uint32_t json, binary; /* bytes */
};

/* Fill with wire_reader_init; borrows the descriptor. */
struct wire_reader {
    int fd;
    struct wire_limits limits;
    bool takes_fds; /* false after wire_reader_init */
    int fds[WIRE_FDS_MAX];
    size_t fd_count;
    uint32_t header[2];
    uint8_t *body;
    size_t have; /* bytes of header and body so far */
};
void wire_reader_init(struct wire_reader *r, int fd, struct wire_limits limits);
void wire_reader_free(struct wire_reader *r);

enum wire_result {
    WIRE_MESSAGE, /* *out is filled, owned by the caller */
    WIRE_AGAIN,   /* non-blocking socket: nothing more for now */
    WIRE_CLOSED,  /* the other end is gone, between messages */
    WIRE_FAILED   /* err: broken in the middle, over a limit, not JSON; nothing more can be read */
};
enum wire_result wire_read(struct wire_reader *r, struct wire_message *out, struct err *err);

/* Sends one message; `json` stays the caller's. Waits while a non-blocking socket is full, up to
 * `timeout_ms` (negative: for ever), then ERR_IO. After a failure the stream is broken. Never
 * raises SIGPIPE. */
bool wire_write(int fd, struct cJSON *json, const void *binary, size_t binary_size, int timeout_ms,
                struct err *err);

/* The same with copies of up to WIRE_FDS_MAX descriptors, which stay the caller's. */
bool wire_write_fds(int fd, struct cJSON *json, const void *binary, size_t binary_size,
                    const int *fds, size_t fd_count, int timeout_ms, struct err *err);

#endif

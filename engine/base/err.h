/* err.h: how every part of pictor reports what went wrong.
 *
 * A function that can fail takes a `struct err *` last, returns false or NULL, and
 * says in `msg` what was wanted and what came. The caller owns the struct; passing NULL
 * is allowed where the reason does not matter. Codes are few and map to an HTTP status in
 * one table (server/http/http_error.c).
 *
 * `msg` is for everybody: it is answered to clients and stored with jobs. Which file or folder of
 * this machine it is about stands apart, in `where`, for the log and the operator's terminal:
 * whoever has a path to tell calls err_at (`make lint` looks for paths in messages). */
#ifndef PICTOR_ENGINE_BASE_ERR_H
#define PICTOR_ENGINE_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID,     /* the request or the file is not what it should be */
    ERR_TOO_LARGE,   /* over a limit: pixels, bytes, memory, count */
    ERR_NOT_FOUND,   /* no such model, job, file */
    ERR_UNSUPPORTED, /* understood, but not something pictor does */
    ERR_CANCELLED,   /* stopped on request */
    ERR_BUSY,        /* queue full, rate limit; try again later */
    ERR_QUOTA,       /* a quota of a day or a month is used up */
    ERR_DENIED,      /* key missing, wrong, or without the right */
    ERR_IO,          /* disk, socket, child process */
    ERR_NO_ROOM,     /* the disk is full: nothing can be stored for now */
    ERR_UNAVAILABLE, /* this machine cannot do it for now: descriptors, memory, a folder is gone */
    ERR_UPSTREAM,    /* a server that pictor forwards to failed */
    ERR_INTERNAL     /* our own bug or an exhausted resource */
};

struct err {
    enum err_code code;
    char msg[256];
    char where[256]; /* a path, or ""; only with a code */
};

#define ERR_TEXT_SIZE 520 /* where and msg */

/* Sets `e` (may be NULL) and returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same about the file or folder `where`. */
bool err_at(struct err *e, const char *where, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Says which file or folder an error is about that came without one. Returns false. */
bool err_about(struct err *e, const char *where);

/* Both may be NULL. Returns false. */
bool err_copy(struct err *to, const struct err *from);

/* Puts "prefix: " before the message already there. Returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Trouble of the machine's own, which is nobody's fault and passes: the two codes above. */
static inline bool err_is_passing(enum err_code code)
{
    return code == ERR_NO_ROOM || code == ERR_UNAVAILABLE;
}

/* "where: msg", or msg alone: for the operator. Returns buf. */
const char *err_text(const struct err *e, char buf[ERR_TEXT_SIZE]);

/* "who: where: msg" as a line on stderr. */
void err_print(const struct err *e, const char *who);

/* Name of a code for logs and the wire: "invalid", "too_large", ... */
const char *err_name(enum err_code code);

/* The code of a name; ERR_INTERNAL for an unknown one. */
enum err_code err_code_of(const char *name);

#endif

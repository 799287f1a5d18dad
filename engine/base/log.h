/* log.h: logfmt lines on stderr, one an event: `ts=... level=info event=job_done job=... ms=...`.
 *
 * `event` is a constant word; the rest is a printf format of key=value pairs written by the caller.
 * Values that come from outside go through log_quote. Prompts and keys are never logged at info. */
#ifndef PICTOR_ENGINE_BASE_LOG_H
#define PICTOR_ENGINE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

struct err;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
bool log_level_of(const char *name, enum log_level *out); /* "debug" "info" "warn" "error" */

/* Thread-safe; one write(2) a line. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with what went wrong before it: code=io where=/srv/models reason="...". Nothing to add
 * is " ". */
void log_err(enum log_level level, const char *event, const struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Writes `s` into `buf` as a logfmt value: quoted when it must be, control bytes escaped,
 * cut at the buffer's size. Returns buf. */
const char *log_quote(char *buf, size_t size, const char *s);

#endif

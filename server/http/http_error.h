/* http_error.h: the one table from err_code to HTTP status, and what a failed request is before a
 * dialect gives it its shape. */
#ifndef PICTOR_SERVER_HTTP_ERROR_H
#define PICTOR_SERVER_HTTP_ERROR_H

#include "engine/base/err.h"

/* 400, 404, 409, 429 ... A dialect may differ where its clients expect another number. */
int http_error_status(enum err_code code);

/* "Not Found" for 404; "Error" for a number without a name. */
const char *http_error_phrase(int status);

/* `status` is usually http_error_status(code), but 401, 403, 405, 413 and 503 come from the server
 * itself. Strings are borrowed. */
struct http_problem {
    int status;
    enum err_code code;
    const char *message;
    const char *param; /* the field to blame, or NULL */
};

#endif

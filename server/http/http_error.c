/* http_error.c: the table of statuses, and their phrases. */
#include "server/http/http_error.h"

#include <stddef.h>

int http_error_status(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return 200;
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
        return 400;
    case ERR_DENIED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CANCELLED:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_BUSY:
    case ERR_QUOTA:
        return 429;
    case ERR_IO:
    case ERR_INTERNAL:
        return 500;
    case ERR_UNAVAILABLE:
        return 503;
    case ERR_NO_ROOM:
        return 507;
    case ERR_UPSTREAM:
        return 502;
    }
    return 500;
}

const char *http_error_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Error";
}

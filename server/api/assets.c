/* assets.c: the Makefile lists the files of web/ in web_files.h, one line each: WEB_FILE(number,
 * "index.html"), and writes each of them, as it is sent, and X.gz beside it into WEB_FOLDER.
 *
 * The page asks for web/@RELEASE/app.js and whatever that imports from beside it: RELEASE is
 * another one when any file is, so what has the right one may be kept for ever. Without it, the
 * file is the same and is asked about each time. */
#include "server/api/assets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/incbin.h"
#include "server/http/gzip.h"
#include "server/http/http.h"
#include "server/http/http_error.h"

#define WEB_FILE(number, path)                                                                     \
    INCBIN(assets_file_##number, WEB_FOLDER path);                                                 \
    INCBIN(assets_packed_##number, WEB_FOLDER path ".gz");
#include "server/web_files.h"
#undef WEB_FILE

static const struct asset {
    const char *name;
    const unsigned char *data, *end, *packed, *packed_end;
} assets[] = {
#define WEB_FILE(number, path)                                                                     \
    {path, assets_file_##number, assets_file_##number##_end, assets_packed_##number,               \
     assets_packed_##number##_end},
#include "server/web_files.h"
#undef WEB_FILE
    {NULL, NULL, NULL, NULL, NULL},
};

static const char PAGE_POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const struct asset *find(const char *name)
{
    for (const struct asset *a = assets; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

static const char *mime_of(const char *name)
{
    static const struct {
        const char *ending, *mime;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/plain; charset=utf-8"},
    };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].ending, ending) == 0)
            return types[i].mime;
    return "application/octet-stream";
}

/* FNV-1a: names a version of a file, guards nothing. */
static uint64_t hash(const unsigned char *data, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* *lasts: the address says which version it wants, and has it. */
static const char *name_of(const struct http_request *req, bool *lasts)
{
    static const char release[] = "@" WEB_RELEASE "/";
    *lasts = false;
    if (strcmp(http_path(req), "/favicon.ico") == 0)
        return find("favicon.ico") ? "favicon.ico" : "favicon.svg";
    if (strcmp(http_path(req), "/docs") == 0)
        return "docs.html";
    const char *name = http_param(req, "name"), *slash = strchr(name, '/');
    if (*name != '@' || !slash)
        return *name ? name : "index.html";
    *lasts = strncmp(name, release, sizeof release - 1) == 0;
    return slash + 1;
}

void assets_serve(struct http_request *req)
{
    bool lasts, packed = gzip_taken(http_header(req, "Accept-Encoding"));
    const char *name = name_of(req, &lasts), *match = http_header(req, "If-None-Match");
    const struct asset *a = find(name);
    if (!a) {
        struct http_problem problem = {404, ERR_NOT_FOUND, "there is no such page", NULL};
        assets_error(req, &problem);
        return;
    }
    packed = packed && a->packed_end - a->packed < a->end - a->data;
    const unsigned char *data = packed ? a->packed : a->data;
    size_t size = (size_t)((packed ? a->packed_end : a->end) - data);
    char etag[24];
    snprintf(etag, sizeof etag, "\"%016" PRIx64 "\"", hash(data, size));
    http_reply_header(req, "ETag", etag);
    http_reply_header(req, "Vary", "Accept-Encoding");
    http_reply_header(req, "Cache-Control",
                      lasts ? "public, max-age=31536000, immutable" : "no-cache");
    http_reply_header(req, "Content-Security-Policy", PAGE_POLICY);
    if (strcmp(name, "sw.js") == 0) /* it is for the page, which lies above it */
        http_reply_header(req, "Service-Worker-Allowed", "../");
    if (match && strstr(match, etag)) {
        http_reply_empty(req, 304);
        return;
    }
    if (packed)
        http_reply_header(req, "Content-Encoding", "gzip");
    http_reply_data(req, 200, mime_of(name), (void *)data, size, NULL);
}

void assets_error(struct http_request *req, const struct http_problem *problem)
{
    char text[400];
    snprintf(text, sizeof text, "%d %s: %s\n", problem->status, http_error_phrase(problem->status),
             problem->message);
    http_reply_text(req, problem->status, "text/plain; charset=utf-8", text);
}

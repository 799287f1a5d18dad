/* openai_files.h: /v1/files: what clients send once and name later: pictures to edit ("file_id"),
 * and the requests and answers of batches. Files are a key's own, have an end, and count together
 * (files_days, max_files_bytes_per_key). Thread-safe. */
#ifndef PICTOR_SERVER_OPENAI_FILES_H
#define PICTOR_SERVER_OPENAI_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server/api/openai/openai.h"

struct http_request;
struct app;

#define OPENAI_FILES_ID_SIZE 40 /* "file-" and 32 hex digits */
#define OPENAI_FILES_EXPIRES_LEAST 3600 /* seconds that a client may ask for, as OpenAI has it */
#define OPENAI_FILES_EXPIRES_MOST 2592000

void openai_files_add(struct http_request *req);     /* POST /v1/files */
void openai_files_list(struct http_request *req);    /* GET /v1/files */
void openai_files_get(struct http_request *req);     /* GET /v1/files/{id} */
void openai_files_content(struct http_request *req); /* GET /v1/files/{id}/content */
void openai_files_delete(struct http_request *req);  /* DELETE /v1/files/{id} */

/* The bytes of a file (malloc'd), at most `most`. `purpose` NULL: any; ERR_INVALID when it has
 * another one, or too many bytes. ERR_NOT_FOUND. */
bool openai_files_read(const struct app *app, const char *visible_key, const char *id,
                       const char *purpose, size_t most, void **data, size_t *size,
                       struct err *err);

/* A file that the server makes, text by text. Zero is none. */
struct openai_files_writer {
    FILE *out;
    char *path; /* until it is whole */
    char id[OPENAI_FILES_ID_SIZE];
    size_t size;
};
bool openai_files_begin(const struct app *app, struct openai_files_writer *w, struct err *err);
/* A line. */
bool openai_files_write(struct openai_files_writer *w, const char *text, struct err *err);
bool openai_files_is_empty(const struct openai_files_writer *w);
/* Keeps it as the key's, for so many seconds (0, or more than files_days: as any); fills `id`. The
 * writer is then none, as after openai_files_abort. */
bool openai_files_commit(const struct app *app, struct openai_files_writer *w, const char *key_id,
                         const char *name, const char *purpose, int seconds,
                         char id[OPENAI_FILES_ID_SIZE], struct err *err);
void openai_files_abort(struct openai_files_writer *w);

/* Removes what has come to its end. */
void openai_files_sweep(const struct app *app);

/* Removes what a server that died while it wrote has left: no record knows it. */
void openai_files_tidy(const struct app *app);

#endif

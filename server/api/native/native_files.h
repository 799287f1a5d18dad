/* native_files.h: model files of every kind, and what lies beside them: docs/api.md.
 * Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_FILES_H
#define PICTOR_SERVER_NATIVE_FILES_H

struct http_request;

void native_files_list(struct http_request *req);    /* GET /api/files */
void native_files_preview(struct http_request *req); /* GET /api/files/preview */

#endif

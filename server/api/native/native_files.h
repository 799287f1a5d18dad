/* native_files.h: model files of every kind, and what lies beside them: docs/api.md.
 * Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_FILES_H
#define PICTOR_SERVER_NATIVE_FILES_H

struct cJSON;
struct http_request;
struct registry;
struct registry_model;

void native_files_list(struct http_request *req);    /* GET /api/files */
void native_files_preview(struct http_request *req); /* GET /api/files/preview */

/* Adds to a model or file what lies beside it: trigger, description, base, weight, preview;
 * and what the file is: format. */
void native_files_describe(struct cJSON *json, const struct registry *registry,
                           const struct registry_model *model);

#endif

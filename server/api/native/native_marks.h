/* native_marks.h: what is done to many jobs and pictures at once: tags, favourites, removal. */
#ifndef PICTOR_SERVER_NATIVE_MARKS_H
#define PICTOR_SERVER_NATIVE_MARKS_H

struct cJSON;
struct http_request;
struct settings;

void native_marks_change(struct http_request *req); /* POST /api/marks */
void native_marks_tags(struct http_request *req);   /* GET /api/tags */
void native_marks_delete(struct http_request *req); /* POST /api/delete */
void native_marks_restore(struct http_request *req); /* POST /api/restore */

/* Of the bodies; owned. */
struct cJSON *native_marks_change_schema(const struct settings *settings);
struct cJSON *native_marks_delete_schema(const struct settings *settings);
struct cJSON *native_marks_restore_schema(const struct settings *settings);

#endif

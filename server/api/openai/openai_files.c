/* openai_files.c: a file is DATA/files/ID and a record of the store, in this order, so that what
 * has a record is whole. */
#include "server/api/openai/openai_files.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/api/app.h"
#include "server/api/stored.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/multipart.h"
#include "server/store/blobs.h"
#include "server/store/store.h"

#define KIND "file"
#define PREFIX "file-"
#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)
#define NAME_MAX_BYTES 255
#define FILES_MAX 10000 /* of a key */
#define LIST_MAX 1000
#define TIDY_S 3600 /* as long as writing one may take */

static const char *const purposes[] = {"assistants",   "batch",     "fine-tune", "vision",
                                       "batch_output", "user_data", "evals",     NULL};

static bool is_purpose(const char *text)
{
    for (size_t i = 0; purposes[i]; i++)
        if (strcmp(purposes[i], text) == 0)
            return true;
    return false;
}

/* "" when it is none. */
static const char *record_id(const char *id)
{
    size_t n = strlen(PREFIX);
    return strncmp(id, PREFIX, n) == 0 && ids_valid(id + n) ? id + n : "";
}

/* ---- records ---- */

static cJSON *body_of(const struct store_record *r)
{
    return json_text_parse(r->body, strlen(r->body), 8, NULL);
}

static const char *member(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return text ? text : "";
}

static cJSON *file_json(const struct store_record *r)
{
    cJSON *json = cJSON_CreateObject(), *body = body_of(r);
    char id[OPENAI_FILES_ID_SIZE];
    snprintf(id, sizeof id, PREFIX "%s", r->id);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "object", "file");
    cJSON_AddNumberToObject(json, "bytes", (double)r->bytes);
    cJSON_AddNumberToObject(json, "created_at", (double)(r->created_ms / 1000));
    cJSON_AddNumberToObject(json, "expires_at", (double)(r->expires_ms / 1000));
    cJSON_AddStringToObject(json, "filename", member(body, "filename"));
    cJSON_AddStringToObject(json, "purpose", member(body, "purpose"));
    cJSON_AddStringToObject(json, "status", "processed");
    cJSON_AddNullToObject(json, "status_details");
    cJSON_Delete(body);
    return json;
}

static void remove_file(const struct app *app, const char *id)
{
    char path[BLOBS_PATH_SIZE];
    if (blobs_file_path(path, store_data(app->store), id, NULL))
        blobs_remove(app->blobs, path);
}

/* Whether the key may keep so many bytes more. */
static bool check_room(const struct app *app, const char *key_id, size_t size, struct err *err)
{
    int64_t count;
    size_t bytes, most = app->settings->max_files_bytes_per_key;
    if (!store_record_total(app->store, KIND, key_id, &count, &bytes, err))
        return false;
    if (count >= FILES_MAX)
        return err_set(err, ERR_TOO_LARGE, "there are %d files already, which is the most: delete "
                                           "some of them",
                       FILES_MAX);
    return (bytes <= most && size <= most - bytes) ||
           err_set(err, ERR_TOO_LARGE,
                   "all files together may have %zu bytes, and have %zu already: delete some of "
                   "them",
                   most, bytes);
}

static bool add_record(const struct app *app, const char *name, const char *purpose,
                       struct store_record *r, struct err *err)
{
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "filename", name);
    cJSON_AddStringToObject(body, "purpose", purpose);
    r->body = json_text_print(body);
    cJSON_Delete(body);
    if (r->body ? store_record_put(app->store, r, err)
                : err_set(err, ERR_INTERNAL, "no memory for a file"))
        return true;
    remove_file(app, r->id);
    free(r->body);
    r->body = NULL;
    return false;
}

static struct store_record new_record(const struct app *app, const char *key_id, size_t size)
{
    int64_t now = now_unix_ms();
    struct store_record r = {.kind = KIND,
                             .created_ms = now,
                             .expires_ms = now + app->settings->files_days * DAY_MS,
                             .bytes = size};
    snprintf(r.key_id, sizeof r.key_id, "%s", key_id);
    return r;
}

static bool keep(const struct app *app, const char *key_id, const char *name, const char *purpose,
                 int64_t expires_ms, const void *data, size_t size, struct store_record *r,
                 struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    *r = new_record(app, key_id, size);
    r->expires_ms = expires_ms;
    return check_room(app, key_id, size, err) && ids_random(r->id, JOB_ID_SIZE - 1, err) &&
           blobs_file_path(path, store_data(app->store), r->id, err) &&
           blobs_write(app->blobs, path, data, size, err) && add_record(app, name, purpose, r, err);
}

/* ---- files of the server's own ---- */

bool openai_files_begin(const struct app *app, struct openai_files_writer *w, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    *w = (struct openai_files_writer){0};
    if (!ids_random(w->id, JOB_ID_SIZE - 1, err) ||
        !blobs_file_path(path, store_data(app->store), w->id, err))
        return false;
    if (asprintf(&w->path, "%s.tmp", path) < 0)
        w->path = NULL;
    w->out = w->path ? fopen(w->path, "wxe") : NULL;
    return w->out || err_set(err, ERR_UNAVAILABLE, "a file cannot be written: %s", strerror(errno));
}

bool openai_files_write(struct openai_files_writer *w, const char *text, struct err *err)
{
    size_t n = strlen(text);
    if (fwrite(text, 1, n, w->out) != n || fputc('\n', w->out) == EOF)
        return err_set(err, errno == ENOSPC ? ERR_NO_ROOM : ERR_UNAVAILABLE,
                       "a file cannot be written: %s", strerror(errno));
    w->size += n + 1;
    return true;
}

bool openai_files_is_empty(const struct openai_files_writer *w)
{
    return w->size == 0;
}

void openai_files_abort(struct openai_files_writer *w)
{
    if (w->out)
        fclose(w->out);
    if (w->path)
        blobs_remove_here(w->path);
    free(w->path);
    *w = (struct openai_files_writer){0};
}

bool openai_files_commit(const struct app *app, struct openai_files_writer *w, const char *key_id,
                         const char *name, const char *purpose, int seconds,
                         char id[OPENAI_FILES_ID_SIZE], struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    struct store_record r = new_record(app, key_id, w->size);
    if (seconds > 0 && r.created_ms + seconds * (int64_t)1000 < r.expires_ms)
        r.expires_ms = r.created_ms + seconds * (int64_t)1000;
    snprintf(r.id, sizeof r.id, "%.32s", w->id);
    bool written = fflush(w->out) == 0 && fsync(fileno(w->out)) == 0;
    if (!written)
        err_set(err, errno == ENOSPC ? ERR_NO_ROOM : ERR_UNAVAILABLE,
                "a file cannot be written: %s", strerror(errno));
    bool ok = written && check_room(app, key_id, w->size, err) &&
              blobs_file_path(path, store_data(app->store), r.id, err) &&
              blobs_adopt(app->blobs, w->path, path, w->size, err);
    if (ok) { /* under its name, where abort does not look */
        snprintf(id, OPENAI_FILES_ID_SIZE, PREFIX "%s", r.id);
        ok = add_record(app, name, purpose, &r, err);
        free(r.body);
    }
    openai_files_abort(w);
    return ok;
}

static bool find(const struct app *app, const char *visible_key, const char *id,
                 struct store_record *r, struct err *err)
{
    if (!store_record_get(app->store, KIND, record_id(id), visible_key, r, err))
        return err->code == ERR_NOT_FOUND &&
               err_set(err, ERR_NOT_FOUND, "No such File object: %.60s", id);
    if (r->expires_ms > now_unix_ms())
        return true;
    free(r->body);
    return err_set(err, ERR_NOT_FOUND, "No such File object: %.60s", id);
}

bool openai_files_read(const struct app *app, const char *visible_key, const char *id,
                       const char *purpose, size_t most, void **data, size_t *size,
                       struct err *err)
{
    struct store_record r;
    char path[BLOBS_PATH_SIZE];
    if (!find(app, visible_key, id, &r, err))
        return false;
    cJSON *body = body_of(&r);
    bool ok = !purpose || strcmp(member(body, "purpose"), purpose) == 0 ||
              err_set(err, ERR_INVALID, "the file's purpose must be '%s', but is '%.40s'", purpose,
                      member(body, "purpose"));
    ok = ok && (r.bytes <= most ||
                err_set(err, ERR_INVALID, "the file has %zu bytes, and may have %zu here", r.bytes,
                        most));
    cJSON_Delete(body);
    free(r.body);
    *size = r.bytes;
    return ok && blobs_file_path(path, store_data(app->store), r.id, err) &&
           blobs_read(app->blobs, path, r.bytes, data, err);
}

void openai_files_sweep(const struct app *app)
{
    struct store_record_filter filter = {
        .kind = KIND, .oldest_first = true, .expired_ms = now_unix_ms(), .limit = 100};
    struct store_record *rows;
    size_t count;
    do {
        if (!store_record_list(app->store, &filter, &rows, &count, NULL))
            return;
        bool ok = true;
        for (size_t i = 0; i < count; i++) {
            ok = ok && store_record_delete(app->store, rows[i].id, NULL);
            if (ok)
                remove_file(app, rows[i].id);
            free(rows[i].body);
        }
        free(rows);
        if (!ok)
            return;
    } while (count > 0);
}

/* Whether the file has a record, or might get one still. */
static bool is_wanted(const struct app *app, const char *name, const struct stat *info)
{
    struct store_record r;
    struct err err;
    if (!S_ISREG(info->st_mode) || now_unix_ms() / 1000 - (int64_t)info->st_mtime < TIDY_S)
        return true;
    if (!ids_valid(name)) /* or it is one that is being written */
        return !blobs_is_unfinished(name);
    if (!store_record_get(app->store, KIND, name, NULL, &r, &err))
        return err.code != ERR_NOT_FOUND;
    free(r.body);
    return true;
}

void openai_files_tidy(const struct app *app)
{
    char path[BLOBS_PATH_SIZE];
    snprintf(path, sizeof path, "%s/files", store_data(app->store));
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat info;
        if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            !is_wanted(app, entry->d_name, &info))
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder)
        closedir(folder);
}

/* ---- requests ---- */

static void reply_fault(struct http_request *req, const struct err *err, const char *param)
{
    struct openai_fault f;
    if (err->code == ERR_NOT_FOUND)
        openai_fault(&f, 404, NULL, "id", "%s", err->msg);
    else if (err->code == ERR_TOO_LARGE || err->code == ERR_INVALID)
        openai_fault(&f, 400, "invalid_value", param, "%s", err->msg);
    else
        openai_fault_own(&f, err);
    openai_reply_fault(req, &f);
}

struct upload {
    const struct multipart_part *file;
    char purpose[20], anchor[20], seconds[20];
};

static void copy_part(char *out, size_t size, const struct multipart_part *part)
{
    snprintf(out, size, "%.*s", part->size < size ? (int)part->size : (int)size, part->data);
}

static void sort_parts(const struct multipart *form, struct upload *u)
{
    for (size_t i = 0; i < form->count; i++) {
        const struct multipart_part *part = &form->parts[i];
        if (strcmp(part->name, "file") == 0 && part->filename)
            u->file = part;
        else if (strcmp(part->name, "purpose") == 0)
            copy_part(u->purpose, sizeof u->purpose, part);
        else if (strcmp(part->name, "expires_after[anchor]") == 0)
            copy_part(u->anchor, sizeof u->anchor, part);
        else if (strcmp(part->name, "expires_after[seconds]") == 0)
            copy_part(u->seconds, sizeof u->seconds, part);
    }
}

static bool check_upload(const struct app *app, const struct upload *u, int64_t *expires_ms,
                         struct openai_fault *f)
{
    char *end;
    long seconds = strtol(u->seconds, &end, 10);
    int64_t most = app->settings->files_days * DAY_MS;
    *expires_ms = now_unix_ms() + most;
    if (!u->file)
        return openai_fault(f, 400, "missing_required_parameter", "file",
                            "Missing required parameter: 'file'.");
    if (!*u->purpose)
        return openai_fault(f, 400, "missing_required_parameter", "purpose",
                            "Missing required parameter: 'purpose'.");
    if (!is_purpose(u->purpose) || strcmp(u->purpose, "batch_output") == 0)
        return openai_fault(f, 400, "invalid_value", "purpose",
                            "Invalid value: '%.40s'. Supported values are: 'vision', 'user_data', "
                            "'batch', 'assistants', 'fine-tune', and 'evals'.",
                            u->purpose);
    if (!*u->anchor && !*u->seconds)
        return true;
    if (strcmp(u->anchor, "created_at") != 0)
        return openai_fault(f, 400, "invalid_value", "expires_after.anchor",
                            "Invalid value: '%.40s'. Supported values are: 'created_at'.",
                            u->anchor);
    if (*end || seconds < OPENAI_FILES_EXPIRES_LEAST || seconds > OPENAI_FILES_EXPIRES_MOST)
        return openai_fault(f, 400, "invalid_value", "expires_after.seconds",
                            "Invalid value: '%.20s'. Expected an integer from %d to %d.",
                            u->seconds, OPENAI_FILES_EXPIRES_LEAST, OPENAI_FILES_EXPIRES_MOST);
    if (seconds * (int64_t)1000 < most)
        *expires_ms = now_unix_ms() + seconds * (int64_t)1000;
    return true;
}

/* A name to show, whatever the client's was. */
static void clean_name(char out[NAME_MAX_BYTES + 1], const char *name)
{
    const char *slash = strrchr(name, '/');
    snprintf(out, NAME_MAX_BYTES + 1, "%s", slash ? slash + 1 : name);
    json_text_mend(out);
    for (char *at = out; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
}

void openai_files_add(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct multipart form;
    struct upload u = {0};
    struct store_record r;
    struct openai_fault f;
    struct err err;
    size_t size;
    int64_t expires_ms;
    char name[NAME_MAX_BYTES + 1];
    const char *body = http_body(req, &size);
    if (!http_content_type_is(req, "multipart/form-data")) {
        openai_fault(&f, 400, "unsupported_content_type", NULL,
                     "Unsupported content type: wanted 'multipart/form-data'.");
        openai_reply_fault(req, &f);
        return;
    }
    if (!multipart_parse(&form, http_header(req, "Content-Type"), body, size, &err)) {
        openai_fault(&f, 400, NULL, NULL, "We could not parse the form of your request: %s.",
                     err.msg);
        openai_reply_fault(req, &f);
        return;
    }
    sort_parts(&form, &u);
    if (!check_upload(app, &u, &expires_ms, &f)) {
        openai_reply_fault(req, &f);
    } else {
        clean_name(name, u.file->filename);
        if (keep(app, http_key_id(req), name, u.purpose, expires_ms, u.file->data, u.file->size,
                 &r, &err)) {
            openai_headers(req);
            http_reply_json(req, 200, file_json(&r));
            free(r.body);
        } else {
            reply_fault(req, &err, "file");
        }
    }
    multipart_free(&form);
}

/* ---- lists ---- */

struct page {
    int limit;
    bool oldest_first;
    const char *purpose; /* or NULL */
    struct store_record after; /* id "": from the beginning */
};

static bool read_page(struct http_request *req, struct page *p, struct openai_fault *f)
{
    const char *limit = http_query(req, "limit"), *order = http_query(req, "order");
    const char *after = http_query(req, "after");
    int64_t number;
    struct err err;
    *p = (struct page){.limit = LIST_MAX, .purpose = http_query(req, "purpose")};
    if (!http_query_number(req, "limit", 1, 10000, LIST_MAX, &number, &err))
        return openai_fault(f, 400, "invalid_value", "limit",
                            "Invalid value: '%.40s'. Expected an integer from 1 to 10000.", limit);
    p->limit = number < LIST_MAX ? (int)number : LIST_MAX;
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
        return openai_fault(f, 400, "invalid_value", "order",
                            "Invalid value: '%.40s'. Supported values are: 'asc' and 'desc'.",
                            order);
    p->oldest_first = order && strcmp(order, "asc") == 0;
    if (after && !find(http_app(req), http_visible_key(req), after, &p->after, &err))
        return err.code == ERR_NOT_FOUND
                   ? openai_fault(f, 400, "invalid_value", "after", "%s", err.msg)
                   : openai_fault_own(f, &err);
    free(p->after.body);
    p->after.body = NULL;
    return true;
}

static void add_ends(cJSON *json, const cJSON *data)
{
    int count = cJSON_GetArraySize(data);
    const cJSON *first = cJSON_GetArrayItem(data, 0), *last = cJSON_GetArrayItem(data, count - 1);
    cJSON_AddItemToObject(json, "first_id",
                          count ? cJSON_CreateString(member(first, "id")) : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "last_id",
                          count ? cJSON_CreateString(member(last, "id")) : cJSON_CreateNull());
}

/* Adds the next records to the list until it is full; *more says that there are others. */
static bool collect(const struct app *app, const char *visible_key, struct page *p, cJSON *data,
                    bool *more, struct err *err)
{
    struct store_record_filter filter = {.kind = KIND,
                                         .key_id = visible_key,
                                         .oldest_first = p->oldest_first,
                                         .after_ms = p->after.created_ms,
                                         .after_id = p->after.id,
                                         .limit = p->limit + 1};
    struct store_record *rows;
    size_t count;
    int64_t now = now_unix_ms();
    *more = false;
    for (bool end = false; !end && !*more;) {
        if (!store_record_list(app->store, &filter, &rows, &count, err))
            return false;
        end = count < (size_t)filter.limit;
        for (size_t i = 0; i < count; i++) {
            cJSON *json = file_json(&rows[i]);
            bool wanted = rows[i].expires_ms > now &&
                          (!p->purpose || strcmp(member(json, "purpose"), p->purpose) == 0);
            bool full = cJSON_GetArraySize(data) == p->limit;
            *more = *more || (wanted && full);
            if (wanted && !full)
                cJSON_AddItemToArray(data, json);
            else
                cJSON_Delete(json);
            free(rows[i].body);
        }
        if (count > 0) {
            p->after = rows[count - 1];
            filter.after_ms = p->after.created_ms;
        }
        free(rows);
    }
    return true;
}

void openai_files_list(struct http_request *req)
{
    struct page page;
    struct openai_fault f;
    struct err err;
    bool more;
    if (!read_page(req, &page, &f)) {
        openai_reply_fault(req, &f);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "object", "list");
    cJSON *data = cJSON_AddArrayToObject(json, "data");
    if (!collect(http_app(req), http_visible_key(req), &page, data, &more, &err)) {
        cJSON_Delete(json);
        reply_fault(req, &err, NULL);
        return;
    }
    add_ends(json, data);
    cJSON_AddBoolToObject(json, "has_more", more);
    openai_headers(req);
    http_reply_json(req, 200, json);
}

/* ---- one ---- */

/* The file in the path; else replies. */
static bool find_asked(struct http_request *req, struct store_record *r)
{
    struct err err;
    if (find(http_app(req), http_visible_key(req), http_param(req, "id"), r, &err))
        return true;
    reply_fault(req, &err, NULL);
    return false;
}

void openai_files_get(struct http_request *req)
{
    struct store_record r;
    if (!find_asked(req, &r))
        return;
    openai_headers(req);
    http_reply_json(req, 200, file_json(&r));
    free(r.body);
}

/* What it is called and what it says it is are a stranger's: it is data to everybody. */
void openai_files_content(struct http_request *req)
{
    struct store_record r;
    struct err err;
    char path[BLOBS_PATH_SIZE], etag[80];
    if (!find_asked(req, &r))
        return;
    free(r.body);
    snprintf(etag, sizeof etag, "\"%.70s\"", r.id);
    if (!blobs_file_path(path, store_data(http_app(req)->store), r.id, &err)) {
        reply_fault(req, &err, NULL);
        return;
    }
    openai_headers(req);
    struct stored stored = {.path = path,
                            .mime = "application/octet-stream",
                            .size = r.bytes,
                            .headers = {{"ETag", etag}, {"Content-Disposition", "attachment"}}};
    stored_reply(req, &stored);
}

void openai_files_delete(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct store_record r;
    struct err err;
    if (!find_asked(req, &r))
        return;
    free(r.body);
    if (!store_record_delete(app->store, r.id, &err)) {
        reply_fault(req, &err, NULL);
        return;
    }
    remove_file(app, r.id);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", http_param(req, "id"));
    cJSON_AddStringToObject(json, "object", "file");
    cJSON_AddBoolToObject(json, "deleted", true);
    openai_headers(req);
    http_reply_json(req, 200, json);
}

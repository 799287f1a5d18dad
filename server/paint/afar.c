/* afar.c: what a worker process beside the server is told, for one that is elsewhere: its files go
 * by what is in them. */
#include "server/paint/afar.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "server/base/settings.h"
#include "server/job/registry.h"
#include "server/paint/child.h"
#include "server/paint/child_order.h"
#include "server/paint/result.h"
#include "server/paint/task.h"
#include "server/queue/queue.h"

#define OWNER "worker:" /* STORE_OWNER_AFAR */

bool afar_owner(char out[AFAR_OWNER_SIZE], const char *key_id, const char *name, struct err *err)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= AFAR_NAME_MAX;
    for (const char *p = name; *p; p++)
        good = good && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        (*p >= '0' && *p <= '9') || strchr("._-", *p));
    if (!good)
        return err_set(err, ERR_INVALID,
                       "a worker's name must be 1..%d letters, digits, '.', '_' and '-'",
                       AFAR_NAME_MAX);
    snprintf(out, AFAR_OWNER_SIZE, OWNER "%s:%s", key_id, name);
    return true;
}

struct task *afar_open(const struct dispatch_parts *parts, const struct claim *claim,
                       struct job *job, int index, struct err *err)
{
    struct task *t = calloc(1, sizeof *t);
    if (!t) {
        job_free(job);
        err_set(err, ERR_UNAVAILABLE, "no memory for a job");
        return NULL;
    }
    t->job = *job;
    *job = (struct job){0};
    t->claim = *claim;
    if (!result_check(&t->job, err))
        goto fail;
    t->index = index < 0 ? result_missing(&t->job, 0) : index;
    if (t->index >= t->job.params.count) {
        err_set(err, ERR_NOT_FOUND, "the job has no picture %d", t->index);
        goto fail;
    }
    if (t->index < 0 || (task_open(t, parts, err) && task_choose(t, parts, t->index, err)))
        return t;
fail:
    task_free(t);
    return NULL;
}

/* ---- files ---- */

static bool order_of(const struct task *t, struct child_order *o, struct err *err)
{
    struct child_request r;
    task_request(t, 0, t->index, &r);
    return child_order_make(o, &r, err);
}

/* Where the open file lies; false: nowhere any more. */
static bool path_of(int fd, char path[PATH_MAX])
{
    char name[64];
    struct stat open, there;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, PATH_MAX - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return fstat(fd, &open) == 0 && stat(path, &there) == 0 && open.st_dev == there.st_dev &&
           open.st_ino == there.st_ino;
}

static bool known(const struct dispatch_parts *parts, int fd, char sha256[65])
{
    char path[PATH_MAX];
    return path_of(fd, path) && registry_recall_file(parts->registry, path, sha256);
}

bool afar_hash(const struct dispatch_parts *parts, const struct task *task, struct err *err)
{
    struct child_order o;
    char path[PATH_MAX], sha256[65];
    bool read = false, more = false;
    err->code = ERR_NONE;
    if (!order_of(task, &o, err)) {
        child_order_free(&o);
        return false;
    }
    for (size_t i = 0; i < o.fd_count && err->code == ERR_NONE; i++) {
        if (known(parts, o.fds[i], sha256))
            continue;
        more = read;
        if (read)
            break;
        read = true;
        if (!path_of(o.fds[i], path) || !registry_hash_file(parts->registry, path, sha256))
            err_set(err, ERR_UNAVAILABLE, "a file of the model cannot be read");
    }
    child_order_free(&o);
    return more;
}

bool afar_unreadable(const struct dispatch_parts *parts, const struct task *task, struct err *err)
{
    struct child_order o;
    struct err why;
    char path[PATH_MAX];
    bool bad = false;
    if (order_of(task, &o, &why))
        for (size_t i = 0; i < o.fd_count && !bad; i++)
            bad = path_of(o.fds[i], path) && registry_unreadable(parts->registry, path, err);
    child_order_free(&o);
    return bad;
}

static cJSON *file_json(const struct dispatch_parts *parts, int fd)
{
    char sha256[65];
    struct stat st;
    if (fstat(fd, &st) != 0 || !known(parts, fd, sha256))
        return NULL;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "sha256", sha256);
    cJSON_AddNumberToObject(json, "size", (double)st.st_size);
    return json;
}

struct cJSON *afar_order(const struct dispatch_parts *parts, const struct task *task,
                         struct err *err)
{
    struct child_order o;
    cJSON *json = cJSON_CreateObject(), *files = cJSON_AddArrayToObject(json, "files");
    bool done = order_of(task, &o, err) &&
                (files || err_set(err, ERR_UNAVAILABLE, "no memory for an answer"));
    cJSON_AddStringToObject(json, "job", task->job.id);
    cJSON_AddNumberToObject(json, "token", (double)task->claim.token);
    cJSON_AddNumberToObject(json, "index", task->index);
    cJSON_AddNumberToObject(json, "attempt", task->job.attempts);
    cJSON_AddNumberToObject(json, "lease_seconds", parts->settings->lease_seconds);
    cJSON_AddNumberToObject(json, "inputs", (double)o.size);
    for (size_t i = 0; done && i < o.fd_count; i++) {
        cJSON *file = file_json(parts, o.fds[i]);
        done = file || err_set(err, ERR_BUSY, "a file of the model is being read");
        if (file)
            cJSON_AddItemToArray(files, file);
    }
    cJSON_AddItemToObject(json, "generate", o.json);
    o.json = NULL;
    child_order_free(&o);
    if (!done) {
        cJSON_Delete(json);
        json = NULL;
    }
    return json;
}

bool afar_inputs(const struct task *task, void **data, size_t *size, struct err *err)
{
    struct child_order o;
    bool done = order_of(task, &o, err);
    *data = o.inputs;
    *size = o.size;
    o.inputs = NULL;
    child_order_free(&o);
    return done;
}

int afar_file(const struct dispatch_parts *parts, const struct task *task, const char *sha256,
              size_t *size, struct err *err)
{
    struct child_order o;
    char its[65];
    struct stat st;
    int found = -1;
    bool done = order_of(task, &o, err);
    for (size_t i = 0; done && found < 0 && i < o.fd_count; i++) {
        if (!known(parts, o.fds[i], its) || strcmp(its, sha256) != 0)
            continue;
        /* Its own place in the file: others read it, too. */
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", o.fds[i]);
        found = open(name, O_RDONLY | O_CLOEXEC);
        if (found >= 0 && fstat(found, &st) == 0)
            *size = (size_t)st.st_size;
    }
    child_order_free(&o);
    if (done && found < 0)
        err_set(err, ERR_NOT_FOUND, "no file of this picture has that SHA-256");
    return found;
}

/* child.c: see child.h. */
#include "server/paint/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/registry.h"
#include "server/worker/worker.h"

#define SEND_MS 10000    /* a worker always reads; one that does not is stuck */
#define JSON_BYTES 65536 /* of what a worker says */
#define ENVIRONMENT_MAX 16

struct child {
    const struct settings *settings;
    pid_t pid;
    int fd;
    struct wire_reader reader;
};

struct child *child_new(const struct settings *settings, struct err *err)
{
    struct child *c = calloc(1, sizeof *c);
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for a worker");
        return NULL;
    }
    c->settings = settings;
    c->pid = -1;
    c->fd = -1;
    return c;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    child_kill(c, NULL);
    free(c);
}

int child_fd(const struct child *c)
{
    return c->fd;
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

size_t child_memory(pid_t pid)
{
    char path[64];
    size_t size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%zu %zu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* What a worker may know: where libraries lie, and how to run under a sanitizer. */
static void pick_environment(char *out[ENVIRONMENT_MAX + 1])
{
    static const char *const names[] = {"PICTOR_CPU",   "LD_LIBRARY_PATH", "GLIBC_TUNABLES",
                                        "ASAN_OPTIONS", "UBSAN_OPTIONS",   "LSAN_OPTIONS",
                                        "TSAN_OPTIONS"};
    size_t count = 0;
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < sizeof names / sizeof *names && count < ENVIRONMENT_MAX; i++) {
            size_t n = strlen(names[i]);
            if (strncmp(*e, names[i], n) == 0 && (*e)[n] == '=')
                out[count++] = *e;
        }
    out[count] = NULL;
}

/* Between fork and exec, in a copy of a process with many threads: system calls only. */
static void become_worker(int fd, char *const environment[])
{
    char *const argv[] = {"pictor", "worker", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(127);
    if (fd == WORKER_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, WORKER_FD) < 0)
        _exit(127);
    close_range(WORKER_FD + 1, ~0U, 0);
    execve("/proc/self/exe", argv, environment);
    _exit(127);
}

/* ---- what it is told ---- */

/* Takes json, which is NULL without memory. */
static bool tell(struct child *c, cJSON *json, const void *binary, size_t size, struct err *err)
{
    bool done = json ? c->fd >= 0 || err_set(err, ERR_IO, "the worker is not running")
                     : err_set(err, ERR_INTERNAL, "no memory for a message");
    done = done && wire_write(c->fd, json, binary, size, SEND_MS, err);
    cJSON_Delete(json);
    return done;
}

static cJSON *message(const char *type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    return json;
}

static cJSON *message_serial(const char *type, int64_t serial)
{
    cJSON *json = message(type);
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    return json;
}

static void add_model(cJSON *json, const struct registry_model *m)
{
    cJSON *model = cJSON_AddObjectToObject(json, "model");
    cJSON_AddStringToObject(model, "name", m->name);
    cJSON_AddStringToObject(model, "path", m->path);
    cJSON_AddNumberToObject(model, "size", (double)m->size);
    cJSON_AddNumberToObject(model, "mtime_ms", (double)m->mtime_ms);
}

bool child_load(struct child *c, const struct registry_model *model, struct err *err)
{
    cJSON *json = message("load");
    add_model(json, model);
    return tell(c, json, NULL, 0, err);
}

bool child_unload(struct child *c, struct err *err)
{
    return tell(c, message("unload"), NULL, 0, err);
}

bool child_cancel(struct child *c, int64_t serial, struct err *err)
{
    return tell(c, message_serial("cancel", serial), NULL, 0, err);
}

bool child_interrupt(struct child *c, int64_t serial, struct err *err)
{
    return tell(c, message_serial("interrupt", serial), NULL, 0, err);
}

bool child_generate(struct child *c, const struct child_request *r, struct err *err)
{
    size_t size = r->init_size + r->mask_size;
    uint8_t *inputs = size ? malloc(size) : NULL;
    if (size && !inputs)
        return err_set(err, ERR_INTERNAL, "no memory for %zu bytes of inputs", size);
    if (r->init_size)
        memcpy(inputs, r->init, r->init_size);
    if (r->mask_size)
        memcpy(inputs + r->init_size, r->mask, r->mask_size);
    cJSON *json = message_serial("generate", r->serial);
    cJSON_AddNumberToObject(json, "index", r->index);
    cJSON_AddNumberToObject(json, "init_size", (double)r->init_size);
    cJSON_AddNumberToObject(json, "mask_size", (double)r->mask_size);
    add_model(json, r->model);
    cJSON_AddItemToObject(json, "params", job_params_to_json(r->params));
    bool done = tell(c, json, inputs, size, err);
    free(inputs);
    return done;
}

/* ---- its life ---- */

static bool send_start(struct child *c, struct err *err)
{
    const struct settings *s = c->settings;
    cJSON *json = message("start");
    cJSON_AddNumberToObject(json, "threads", s->threads);
    cJSON_AddStringToObject(json, "precision", s->precision);
    cJSON_AddStringToObject(json, "cpu", s->cpu);
    cJSON_AddNumberToObject(json, "memory_limit", (double)s->memory_limit_mb * 1048576);
    cJSON_AddNumberToObject(json, "idle_unload_seconds", s->idle_unload_seconds);
    cJSON_AddNumberToObject(json, "max_input_pixels", (double)intake_pixels_max(s));
    cJSON_AddStringToObject(json, "log_level", s->log_level);
    return tell(c, json, NULL, 0, err);
}

bool child_start(struct child *c, struct err *err)
{
    char *environment[ENVIRONMENT_MAX + 1];
    int ends[2];
    child_kill(c, NULL);
    pick_environment(environment);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set(err, ERR_IO, "no socket for a worker: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become_worker(ends[1], environment);
    int why = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_set(err, ERR_IO, "no process for a worker: %s", strerror(why));
    }
    /* A picture that is painted over another one may be as large as that. */
    size_t bytes = intake_pixels_max(c->settings) * 3;
    struct wire_limits limits = {.json = JSON_BYTES,
                                 .binary = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX};
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    c->pid = pid;
    c->fd = ends[0];
    wire_reader_init(&c->reader, c->fd, limits);
    if (send_start(c, err))
        return true;
    child_kill(c, NULL);
    return false;
}

void child_kill(struct child *c, char how[64])
{
    int status = 0;
    if (how)
        snprintf(how, 64, "did not run");
    if (c->pid < 0)
        return;
    /* If it ended by itself, that is how it ended. */
    if (waitpid(c->pid, &status, WNOHANG) == 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (how && WIFSIGNALED(status))
        snprintf(how, 64, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (how)
        snprintf(how, 64, "ended with status %d", WEXITSTATUS(status));
    wire_reader_free(&c->reader);
    close(c->fd);
    c->pid = -1;
    c->fd = -1;
}

enum wire_result child_read(struct child *c, struct wire_message *out, struct err *err)
{
    if (c->fd < 0)
        return WIRE_CLOSED;
    return wire_read(&c->reader, out, err);
}

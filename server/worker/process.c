#include "server/worker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/worker/worker.h"

#define ENVIRONMENT_MAX 16
#define LOG_BYTES_A_SECOND 65536 /* a sanitizer's report has a tenth of this */

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
static void become_worker(int fd, int log, const char *word, char *const environment[])
{
    char *const argv[] = {"pictor", "worker", (char *)word, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    /* Out of the way of the numbers that are given out below. */
    fd = fcntl(fd, F_DUPFD, WORKER_FD + 1);
    log = fcntl(log, F_DUPFD, WORKER_FD + 1);
    if (null < 0 || fd < 0 || log < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(fd, WORKER_FD) < 0)
        _exit(127);
    close_range(WORKER_FD + 1, ~0U, 0);
    execve("/proc/self/exe", argv, environment);
    _exit(127);
}

bool process_start(struct process *p, const char *word, struct wire_limits limits, struct err *err)
{
    char *environment[ENVIRONMENT_MAX + 1];
    int ends[2] = {-1, -1}, log[2] = {-1, -1};
    pid_t pid = -1;
    process_end(p, NULL);
    pick_environment(environment);
    /* A process that cannot get rid of its lines goes on without them. */
    bool ok = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 &&
              pipe2(log, O_CLOEXEC | O_NONBLOCK) == 0 && (pid = fork()) >= 0;
    if (pid == 0)
        become_worker(ends[1], log[1], word, environment);
    if (!ok)
        err_set(err, errno == EMFILE || errno == ENFILE ? ERR_BUSY : ERR_IO,
                "cannot start a worker: %s", strerror(errno));
    for (int i = ok ? 1 : 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
        if (log[i] >= 0)
            close(log[i]);
    }
    if (!ok)
        return false;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    p->pid = pid;
    p->fd = ends[0];
    p->log = log[0];
    p->length = 0;
    wire_reader_init(&p->reader, p->fd, limits);
    return true;
}

void process_end(struct process *p, char how[64])
{
    int status = 0;
    if (how)
        snprintf(how, 64, "did not run");
    if (p->pid < 0)
        return;
    /* If it ended by itself, that is how it ended. */
    if (waitpid(p->pid, &status, WNOHANG) == 0) {
        kill(p->pid, SIGKILL);
        while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (how && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        snprintf(how, 64, "made a system call that its sandbox forbids");
    else if (how && WIFSIGNALED(status))
        snprintf(how, 64, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (how)
        snprintf(how, 64, "ended with status %d", WEXITSTATUS(status));
    process_relay(p);
    wire_reader_free(&p->reader);
    close(p->fd);
    if (p->log >= 0)
        close(p->log);
    p->pid = p->fd = p->log = -1;
}

/* ---- its log ---- */

/* A line of our own log keeps its form and says who wrote it; anything else is quoted. */
static void pass_line(struct process *p)
{
    char text[PROCESS_LINE + 80], quoted[PROCESS_LINE];
    int64_t second = now_ms() / 1000;
    if (second != p->second) {
        p->second = second;
        p->passed = 0;
    }
    bool quiet = p->passed > LOG_BYTES_A_SECOND;
    p->passed += p->length + 1;
    if (quiet || p->length == 0)
        return;
    if (p->passed > LOG_BYTES_A_SECOND)
        log_event(LOG_WARN, "worker_log_cut", "pid=%d bytes_a_second=%d", (int)p->pid,
                  LOG_BYTES_A_SECOND);
    for (size_t i = 0; i < p->length; i++)
        if ((unsigned char)p->line[i] < ' ' || p->line[i] == 0x7f)
            p->line[i] = '?';
    if (p->length > 3 && memcmp(p->line, "ts=", 3) == 0) {
        int n = snprintf(text, sizeof text, "%.*s by=worker%s%s\n", (int)p->length, p->line,
                         *p->about ? " job=" : "", p->about);
        ssize_t ignored = write(STDERR_FILENO, text, (size_t)n);
        (void)ignored;
    } else {
        snprintf(text, sizeof text, "%.*s", (int)p->length, p->line);
        log_event(LOG_WARN, "worker_output", "job=%s text=%s", *p->about ? p->about : "none",
                  log_quote(quoted, sizeof quoted / 2, text));
    }
}

void process_relay(struct process *p)
{
    char bytes[4096];
    /* Not for ever: it may write faster than this reads. */
    for (int i = 0; i < 16 && p->log >= 0; i++) {
        ssize_t n = read(p->log, bytes, sizeof bytes);
        if (n < 0)
            return;
        if (n == 0) { /* closed: nobody shall be woken by it for ever */
            close(p->log);
            p->log = -1;
        }
        for (ssize_t k = 0; k < n; k++) {
            if (bytes[k] != '\n' && p->length < sizeof p->line)
                p->line[p->length++] = bytes[k];
            if (bytes[k] == '\n') {
                pass_line(p);
                p->length = 0;
            }
        }
    }
}

/* sandbox_test.c: what a process in the sandbox can and cannot do; each case in a process of its
 * own, because there is no way back. */
#include "server/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The sanitizers' own memory does not fit under any limit. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_LIMIT 0
#else
#define MEMORY_LIMIT ((size_t)1 << 30)
#endif

static char folder[64], file[128];

/* 0 when `doing` fails as it should. */
static int refused(bool done)
{
    return done ? 1 : errno == EPERM || errno == EACCES ? 0 : 2;
}

static int open_socket(void)
{
    return refused(socket(AF_INET, SOCK_STREAM, 0) >= 0) ||
           refused(socket(AF_UNIX, SOCK_DGRAM, 0) >= 0);
}

static int start_program(void)
{
    return refused(execl("/bin/true", "true", NULL) == 0);
}

static int start_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return refused(pid > 0);
}

static int signal_parent(void)
{
    return refused(kill(getppid(), 0) == 0);
}

static int trace_parent(void)
{
    return refused(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0);
}

static int write_file(void)
{
    return refused(open(file, O_WRONLY) >= 0) || refused(open(file, O_RDWR | O_APPEND) >= 0);
}

static int create_file(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/new", folder);
    return refused(open(path, O_WRONLY | O_CREAT, 0600) >= 0) || refused(mkdir(path, 0700) == 0);
}

static int remove_file(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/moved", folder);
    return refused(unlink(file) == 0) || refused(rename(file, path) == 0) ||
           refused(truncate(file, 0) == 0) || refused(chmod(file, 0777) == 0);
}

static int type_into_the_terminal(void)
{
    return refused(ioctl(STDERR_FILENO, TIOCSTI, "x") == 0);
}

static int limit_parent(void)
{
    struct rlimit limit = {0, 0};
    return refused(prlimit(getppid(), RLIMIT_NOFILE, &limit, NULL) == 0);
}

static void *count(void *arg)
{
    ++*(int *)arg;
    return NULL;
}

/* What the engine needs goes on working. */
static int live(void)
{
    pthread_t thread;
    int counted = 0, fd = open(file, O_RDONLY);
    char text[4] = "";
    if (fd < 0 || read(fd, text, 4) != 4 || memcmp(text, "abcd", 4) != 0)
        return 1;
    if (mmap(NULL, 4, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        return 2;
    if (pthread_create(&thread, NULL, count, &counted) != 0 || pthread_join(thread, NULL) != 0 ||
        counted != 1)
        return 3;
    char *memory = malloc(64 << 20);
    if (!memory)
        return 4;
    memset(memory, 1, 64 << 20);
    free(memory);
    return fputs("", stderr) < 0 ? 5 : 0;
}

static int fall(void)
{
    abort();
}

static int run(int (*doing)(void))
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);
        open("/dev/null", O_WRONLY);
        sandbox_enter(MEMORY_LIMIT);
        _exit(doing());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Kernels before 5.13, and some containers, have no Landlock: files are then not protected. */
static bool has_landlock(void)
{
    return syscall(__NR_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static void cannot(void **state)
{
    static const struct {
        const char *name;
        int (*doing)(void);
    } cases[] = {
        {"open_socket", open_socket},     {"start_program", start_program},
        {"start_process", start_process}, {"signal_parent", signal_parent},
        {"trace_parent", trace_parent},   {"write_file", write_file},
        {"create_file", create_file},     {"remove_file", remove_file},
        {"limit_parent", limit_parent},   {"type_into_the_terminal", type_into_the_terminal},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool files = strstr(cases[i].name, "_file") != NULL;
        if (files && !has_landlock()) {
            print_message("no Landlock here: %s is left out\n", cases[i].name);
            continue;
        }
        int status = run(cases[i].doing);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("%s: status 0x%x", cases[i].name, status);
    }
}

static void can(void **state)
{
    int status = run(live);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    status = run(fall); /* dies of its own signal, and leaves no core */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_false(WCOREDUMP(status));
}

static int setup(void **state)
{
    strcpy(folder, "/tmp/sandbox_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/file", folder);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("abcd", f);
    fclose(f);
    return 0;
}

static int teardown(void **state)
{
    unlink(file);
    rmdir(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot),
        cmocka_unit_test(can),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* sandbox_test.c: what a process in the sandbox can and cannot do; each case in a process of its
 * own, because there is no way back. tests/chaos/test_sandbox.py does so with the real worker. */
#include "server/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/worker/sandbox_calls.h"

/* The sanitizers' own memory does not fit under any limit. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_LIMIT 0
#else
#define MEMORY_LIMIT ((size_t)1 << 30)
#endif

#define NUMBERS 512 /* more than any kernel has so far */
#define X32 0x40000000L

/* Its wait status. */
static int run(void (*before)(void), int (*doing)(long), long argument)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        close(STDERR_FILENO);
        open("/dev/null", O_WRONLY);
        if (before)
            before();
        /* As sandbox_enter has it: without, the kernel takes a filter of root alone. */
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (!sandbox_close(&err))
            _exit(99);
        _exit(doing(argument));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_forbidden(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static int call(long number)
{
    syscall(number, -1, 0, 0, 0, 0, 0);
    return 0;
}

#define CALL(name, rule, reason) __NR_##name,
static const int allowed[] = {SANDBOX_CALLS(CALL) SANDBOX_CALLS_SANITIZER(CALL) - 1};
#undef CALL

/* Linux 6.11 and later let these two pass every filter: they are what a probe jumps to, and refuse
 * whoever calls them from anywhere else (kernel/seccomp.c, seccomp_uprobe_exception). */
static bool passes_all_filters(long number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return false;
#endif
}

static void only_what_is_listed(void **state)
{
    for (long n = -1; n < NUMBERS; n++) {
        bool listed = passes_all_filters(n);
        for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
            listed = listed || (n >= 0 && allowed[i] == n);
        if (!listed && !is_forbidden(run(NULL, call, n)))
            fail_msg("call %ld is allowed", n);
    }
#ifdef __x86_64__
    for (long n = 0; n < 4; n++)
        assert_true(is_forbidden(run(NULL, call, X32 + n)));
#endif
}

/* ---- arguments ---- */

static int other;

static int with(long which)
{
    switch (which) {
    case 0:
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == NULL;
    case 1:
        return mprotect((void *)((uintptr_t)&with & ~(uintptr_t)4095), 4096,
                        PROT_READ | PROT_WRITE | PROT_EXEC);
    case 2:
        return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
    case 3:
        return (int)write(other, "x", 1);
    case 4:
        return (int)sendto(3, "x", 1, 0, (struct sockaddr *)"x", 1);
    case 5:
        return (int)read(other, &which, 1);
    case 6:
        return (int)syscall(SYS_tgkill, -1, getpid(), SIGKILL);
    }
    return 0;
}

static void open_another(void)
{
    other = fcntl(STDERR_FILENO, F_DUPFD, 10);
}

static void arguments_are_looked_at(void **state)
{
    for (long i = 0; i < 7; i++)
        if (!is_forbidden(run(open_another, with, i)))
            fail_msg("case %ld is allowed", i);
    assert_int_equal(run(open_another, with, 7), 0);
}

/* ---- what goes on working ---- */

static atomic_int stage;
static pthread_t thread;
static int file;

static void *count(void *arg)
{
    while (stage == 0)
        sched_yield();
    stage = 2;
    return NULL;
}

static void prepare(void)
{
    file = open("/proc/self/exe", O_RDONLY);
    sandbox_enter(MEMORY_LIMIT);
    pthread_create(&thread, NULL, count, NULL);
}

static int live(long unused)
{
    off_t size = lseek(file, 0, SEEK_END);
    const char *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED || memcmp(data, "\177ELF", 4) != 0)
        return 1;
    stage = 1;
    if (pthread_join(thread, NULL) != 0 || stage != 2)
        return 2;
    char *memory = malloc(64 << 20);
    if (!memory)
        return 3;
    memset(memory, 1, 64 << 20);
    free(memory);
    struct timespec pause = {0, 1000};
    return nanosleep(&pause, NULL) != 0 ? 4 : fputs("", stderr) < 0 ? 5 : 0;
}

static int fall(long unused)
{
    abort();
}

static void what_it_needs_works(void **state)
{
    int status = run(prepare, live, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    status = run(prepare, fall, 0); /* dies of its own signal, and leaves no core */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_false(WCOREDUMP(status));
}

/* ---- sandbox_enter, by itself ---- */

static void privileges_are_gone(void **state)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char line[256];
        unsigned long long sets = 1, set;
        sandbox_enter(0);
        int code = prctl(PR_GET_DUMPABLE) != 0 ? 1 : prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
        for (int cap = 0; cap < 38 && code == 0 && getuid() == 0; cap++)
            code = prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 ? 3 : 0;
        FILE *f = fopen("/proc/self/status", "re"); /* where there is no Landlock */
        for (sets = 0; f && fgets(line, sizeof line, f);)
            if (sscanf(line, "CapEff: %llx", &set) == 1 || sscanf(line, "CapPrm: %llx", &set) == 1)
                sets |= set;
        _exit(code ? code : sets ? 4 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- the page that says so ---- */

static void documented(void **state)
{
    char *text = NULL, line[300];
    size_t room = 0, count = 0, rows = 0;
    const char *name, *reason;
    FILE *f = fopen("docs/security.md", "r");
    assert_non_null(f);
    assert_true(getdelim(&text, &room, '\0', f) > 0);
    fclose(f);
    for (; (name = sandbox_call_at(count, &reason)); count++) {
        snprintf(line, sizeof line, "\n| `%s` | %s |", name, reason);
        if (!strstr(text, line))
            fail_msg("docs/security.md has no line \"%s\"", line + 1);
    }
    char *table = strstr(text, "\n| call | why |\n"), *end = table ? strstr(table, "\n\n") : NULL;
    assert_non_null(end);
    *end = '\0'; /* there are other tables */
    for (const char *at = table; (at = strstr(at, "\n| `")); at++)
        rows++;
    assert_int_equal(rows, count);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_listed), cmocka_unit_test(arguments_are_looked_at),
        cmocka_unit_test(what_it_needs_works), cmocka_unit_test(privileges_are_gone),
        cmocka_unit_test(documented),
    };
    struct err err;
    if (!sandbox_possible(&err)) {
        print_message("left out: %s\n", err.msg);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

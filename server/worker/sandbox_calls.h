/* sandbox_calls.h: every system call that a sandboxed process may still make, and why.
 *
 * CALL(name, rule, reason). What is not here kills the process. docs/security.md repeats the list;
 * a test compares the two, and another one makes every call that the kernel has. None of these
 * opens, connects, signals or changes anything outside of the process. */
#ifndef PICTOR_SERVER_SANDBOX_CALLS_H
#define PICTOR_SERVER_SANDBOX_CALLS_H

#define SANDBOX_CALLS(CALL)                                                                        \
    CALL(read, OWN_END, "requests from the server")                                                \
    CALL(recvmsg, OWN_END, "requests from the server, with the files of a model")                  \
    CALL(sendto, NO_ADDRESS, "answers to the server")                                              \
    CALL(write, OWN_END, "log lines, to a pipe that the server reads")                             \
    CALL(writev, OWN_END, "last words of the C library, to that pipe")                             \
    CALL(ppoll, ANY, "waiting for the server to read")                                             \
    CALL(lseek, ANY, "the size of a model's file")                                                 \
    CALL(close, ANY, "a model's file, once it is mapped")                                          \
    CALL(mmap, NOT_EXECUTABLE, "memory, and the files of models")                                  \
    CALL(mprotect, NOT_EXECUTABLE, "memory of malloc")                                             \
    CALL(munmap, ANY, "memory")                                                                    \
    CALL(mremap, ANY, "memory")                                                                    \
    CALL(madvise, ANY, "memory given back")                                                        \
    CALL(brk, ANY, "memory")                                                                       \
    CALL(futex, ANY, "locks; threads that wait for work")                                          \
    CALL(sched_yield, ANY, "threads that wait for the last of them")                               \
    CALL(clock_gettime, ANY, "clocks, where the kernel has no faster way")                         \
    CALL(gettimeofday, ANY, "clocks, where the kernel has no faster way")                          \
    CALL(clock_nanosleep, ANY, "pauses")                                                           \
    CALL(nanosleep, ANY, "pauses")                                                                 \
    CALL(getrandom, ANY, "malloc's secret")                                                        \
    CALL(getpid, ANY, "its own number, to abort")                                                  \
    CALL(gettid, ANY, "its own number, to abort")                                                  \
    CALL(tgkill, ITSELF, "to abort")                                                               \
    CALL(rt_sigprocmask, ANY, "to abort")                                                          \
    CALL(rt_sigaction, ANY, "to abort")                                                            \
    CALL(rt_sigreturn, ANY, "the way back from a signal")                                          \
    CALL(set_robust_list, ANY, "a thread that is just starting")                                   \
    CALL(rseq, ANY, "a thread that is just starting")                                              \
    CALL(restart_syscall, ANY, "a wait that was stopped goes on")                                  \
    CALL(sysinfo, ANY, "how much memory there is, for qsort")                                      \
    CALL(exit, ANY, "the end of a thread")                                                         \
    CALL(exit_group, ANY, "the end")                                                               \
    SANDBOX_CALLS_OLD(CALL)

/* Numbers that newer architectures do without. */
#ifdef __x86_64__
#define SANDBOX_CALLS_OLD(CALL)                                                                    \
    CALL(poll, ANY, "waiting for the server to read")                                              \
    CALL(time, ANY, "clocks, where the kernel has no faster way")
#else
#define SANDBOX_CALLS_OLD(CALL)
#endif

/* What the sanitizers' runtimes ask for, in builds with them and in no other: they report through
 * files in /proc, keep threads of their own and want to know about their stacks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_CALLS_SANITIZER(CALL)                                                              \
    CALL(openat, READ_ONLY, "")                                                                    \
    CALL(fstat, ANY, "")                                                                           \
    CALL(newfstatat, ANY, "")                                                                      \
    CALL(readlinkat, ANY, "")                                                                      \
    CALL(getdents64, ANY, "")                                                                      \
    CALL(pread64, ANY, "")                                                                         \
    CALL(pipe2, ANY, "")                                                                           \
    CALL(sigaltstack, ANY, "")                                                                     \
    CALL(prctl, ANY, "")                                                                           \
    CALL(prlimit64, ITS_LIMITS, "")                                                                \
    CALL(sched_getaffinity, ANY, "")                                                               \
    CALL(getrusage, ANY, "")                                                                       \
    CALL(mincore, ANY, "")                                                                         \
    CALL(uname, ANY, "")                                                                           \
    SANDBOX_CALLS_SANITIZER_OLD(CALL)
#ifdef __x86_64__
#define SANDBOX_CALLS_SANITIZER_OLD(CALL)                                                          \
    CALL(open, READ_ONLY_OLD, "")                                                                  \
    CALL(readlink, ANY, "")                                                                        \
    CALL(stat, ANY, "")                                                                            \
    CALL(lstat, ANY, "")                                                                           \
    CALL(pipe, ANY, "")
#else
#define SANDBOX_CALLS_SANITIZER_OLD(CALL)
#endif
#else
#define SANDBOX_CALLS_SANITIZER(CALL)
#endif

#endif

/* sandbox.c: see sandbox.h. */
#include "server/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/log.h"

/* Beside weights and activations: pictures, messages, stacks of threads. */
#define MEMORY_SLACK ((size_t)1 << 30)

static void complain(const char *what)
{
    log_event(LOG_WARN, "sandbox_incomplete", "without=%s reason=\"%s\"", what, strerror(errno));
}

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define IF_CALL(call, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, yes, no)
#define DENY(call) IF_CALL(call, 0, 1), REFUSE(EPERM)
/* Low half of an argument; both architectures are little-endian. */
#define ARG(n) LOAD(args[n])

static bool refuse_calls(void)
{
    uint32_t self = (uint32_t)getpid();
    struct sock_filter code[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
#ifdef __x86_64__
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* the x32 numbers */
        REFUSE(ENOSYS),
        DENY(fork),
        DENY(vfork),
        DENY(chmod),
        DENY(chown),
        DENY(lchown),
        DENY(utime),
        DENY(utimes),
        DENY(futimesat),
#endif
        /* Threads are fine, processes are not. clone3 hides its flags in memory; without it libc
         * takes clone. */
        IF_CALL(clone3, 0, 1),
        REFUSE(ENOSYS),
        IF_CALL(clone, 0, 4),
        ARG(0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
        REFUSE(EPERM),
        RETURN(SECCOMP_RET_ALLOW),
        /* Signals to itself: abort() is one. */
        IF_CALL(tgkill, 0, 4),
        ARG(0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 1, 0),
        REFUSE(EPERM),
        RETURN(SECCOMP_RET_ALLOW),
        /* Its own limits may be read; those of others may not be touched. */
        IF_CALL(prlimit64, 0, 4),
        ARG(0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        REFUSE(EPERM),
        RETURN(SECCOMP_RET_ALLOW),
        /* Programs. */
        DENY(execve),
        DENY(execveat),
        /* The network. The pair to the server is open already. */
        DENY(socket),
        DENY(socketpair),
        DENY(connect),
        DENY(bind),
        DENY(listen),
        DENY(accept),
        DENY(accept4),
        /* Other processes. */
        DENY(kill),
        DENY(tkill),
        DENY(rt_sigqueueinfo),
        DENY(rt_tgsigqueueinfo),
        DENY(pidfd_open),
        DENY(pidfd_send_signal),
        DENY(pidfd_getfd),
        DENY(ptrace),
        DENY(process_vm_readv),
        DENY(process_vm_writev),
        DENY(process_madvise),
        DENY(kcmp),
        DENY(shmget),
        DENY(shmat),
        DENY(msgget),
        DENY(semget),
        DENY(mq_open),
        /* A terminal that the server was started from (TIOCSTI types into it). */
        DENY(ioctl),
        /* Doors into the kernel that nothing here needs. */
        DENY(io_uring_setup),
        DENY(io_uring_enter),
        DENY(io_uring_register),
        DENY(bpf),
        DENY(perf_event_open),
        DENY(userfaultfd),
        DENY(keyctl),
        DENY(add_key),
        DENY(request_key),
        DENY(unshare),
        DENY(setns),
        DENY(mount),
        DENY(umount2),
        DENY(chroot),
        DENY(pivot_root),
        DENY(move_mount),
        DENY(open_tree),
        DENY(fsopen),
        DENY(fsconfig),
        DENY(fsmount),
        DENY(open_by_handle_at),
        DENY(init_module),
        DENY(finit_module),
        DENY(delete_module),
        DENY(kexec_load),
        DENY(kexec_file_load),
        DENY(swapon),
        DENY(swapoff),
        DENY(reboot),
        DENY(quotactl),
        DENY(acct),
        DENY(settimeofday),
        DENY(clock_settime),
        DENY(adjtimex),
        DENY(clock_adjtime),
        DENY(sethostname),
        DENY(setdomainname),
        DENY(syslog),
        DENY(personality),
        DENY(fanotify_init),
        /* Landlock does not cover these. */
        DENY(fchmod),
        DENY(fchmodat),
        DENY(fchown),
        DENY(fchownat),
        DENY(utimensat),
        DENY(truncate),
        DENY(setxattr),
        DENY(lsetxattr),
        DENY(fsetxattr),
        DENY(removexattr),
        DENY(lremovexattr),
        DENY(fremovexattr),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#else

static bool refuse_calls(void)
{
    errno = ENOSYS;
    return false;
}

#endif

/* ---- Landlock ---- */

/* Every right that changes something is claimed and none is given: reading stays as it was. */
static bool refuse_writing(void)
{
    struct landlock_ruleset_attr rules = {
        .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                             LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                             LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                             LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                             LANDLOCK_ACCESS_FS_MAKE_SYM};
    int fd = (int)syscall(__NR_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (fd < 0)
        return false;
    bool done = syscall(__NR_landlock_restrict_self, fd, 0) == 0;
    close(fd);
    return done;
}

/* ---- limits ---- */

static void lower(int resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}

/* When memory runs out, the kernel shall take this process and not the server. */
static void be_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "800", 3) != 3)
        complain("oom_score_adj");
    if (fd >= 0)
        close(fd);
}

void sandbox_enter(size_t memory_limit)
{
    be_first_to_go();
    lower(RLIMIT_CORE, 0); /* a core would hold prompts and pictures */
    if (memory_limit > 0 && memory_limit < SIZE_MAX - MEMORY_SLACK)
        lower(RLIMIT_DATA, memory_limit + MEMORY_SLACK);
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        complain("no_new_privs"); /* which the other two need */
        return;
    }
    if (!refuse_writing())
        complain("landlock");
    if (!refuse_calls())
        complain("seccomp");
}

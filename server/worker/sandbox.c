#include "server/worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/worker/sandbox_calls.h"

/* Beside weights and activations: pictures, messages, stacks of threads. */
#define MEMORY_SLACK ((size_t)1 << 30)

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* none that this file knows the numbers of */
#endif

#define ENDS 4 /* descriptors 0 to 3: input, log, log, server */

enum rule {
    ANY,
    OWN_END,        /* the first argument is one of the ENDS */
    NO_ADDRESS,     /* that, and no address to send to */
    NOT_EXECUTABLE, /* the third argument is a protection without PROT_EXEC */
    ITSELF,         /* the first argument is this process */
    READ_ONLY,      /* the third argument is flags that change nothing */
    READ_ONLY_OLD,  /* so is the second */
    ITS_LIMITS      /* of this process, and read */
};

struct call {
    int number;
    enum rule rule;
    const char *name, *reason;
};

#define CALL(name, rule, reason) {__NR_##name, rule, #name, reason},
static const struct call calls[] = {SANDBOX_CALLS(CALL)};
static const struct call more_calls[] = {SANDBOX_CALLS_SANITIZER(CALL){__NR_exit, ANY, "exit", ""}};
#undef CALL

const char *sandbox_call_at(size_t index, const char **reason)
{
    if (index >= sizeof calls / sizeof *calls)
        return NULL;
    *reason = calls[index].reason;
    return calls[index].name;
}

/* A filter under construction. Arguments are looked at in halves of 32 bits; both architectures are
 * little-endian. */
struct program {
    struct sock_filter code[512];
    size_t length;
};

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define IF_EQUAL (BPF_JMP | BPF_JEQ | BPF_K)
#define IF_LESS (BPF_JMP | BPF_JGE | BPF_K) /* with the ways exchanged */
#define IF_BITS (BPF_JMP | BPF_JSET | BPF_K)
#define RETURN (BPF_RET | BPF_K)

static void add(struct program *p, uint16_t code, uint32_t k, int yes, int no)
{
    if (p->length < sizeof p->code / sizeof *p->code)
        p->code[p->length] = (struct sock_filter){code, (uint8_t)yes, (uint8_t)no, k};
    p->length++;
}

/* Goes on when the half of argument `n` fits, else kills. */
static void check(struct program *p, int n, bool high, uint16_t test, uint32_t k, bool wanted)
{
    add(p, LOAD, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)n + (high ? 4 : 0)),
        0, 0);
    add(p, test, k, wanted ? 1 : 0, wanted ? 0 : 1);
    add(p, RETURN, SECCOMP_RET_KILL_PROCESS, 0, 0);
}

static void add_call(struct program *p, const struct call *c)
{
    size_t start = p->length;
    add(p, IF_EQUAL, (uint32_t)c->number, 0, 0); /* where to when not is known at the end */
    switch (c->rule) {
    case ANY:
        break;
    case NO_ADDRESS:
        check(p, 4, false, IF_EQUAL, 0, true);
        check(p, 4, true, IF_EQUAL, 0, true);
        check(p, 0, false, IF_LESS, ENDS, false);
        break;
    case OWN_END:
        check(p, 0, false, IF_LESS, ENDS, false);
        break;
    case NOT_EXECUTABLE:
        check(p, 2, false, IF_BITS, PROT_EXEC, false);
        break;
    case ITSELF:
        check(p, 0, false, IF_EQUAL, (uint32_t)getpid(), true);
        break;
    case READ_ONLY:
        check(p, 2, false, IF_BITS, O_ACCMODE | O_CREAT | O_TRUNC, false);
        break;
    case READ_ONLY_OLD:
        check(p, 1, false, IF_BITS, O_ACCMODE | O_CREAT | O_TRUNC, false);
        break;
    case ITS_LIMITS:
        check(p, 0, false, IF_EQUAL, 0, true);
        check(p, 2, false, IF_EQUAL, 0, true);
        check(p, 2, true, IF_EQUAL, 0, true);
        break;
    }
    add(p, RETURN, SECCOMP_RET_ALLOW, 0, 0);
    if (start < sizeof p->code / sizeof *p->code)
        p->code[start].jf = (uint8_t)(p->length - start - 1);
}

bool sandbox_close(struct err *err)
{
    struct program p = {.length = 0};
    add(&p, LOAD, offsetof(struct seccomp_data, arch), 0, 0);
    add(&p, IF_EQUAL, ARCH, 1, 0);
    add(&p, RETURN, SECCOMP_RET_KILL_PROCESS, 0, 0);
    /* The numbers of x32 have a bit of their own, so none of them is in the list. */
    add(&p, LOAD, offsetof(struct seccomp_data, nr), 0, 0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        add_call(&p, &calls[i]);
    for (size_t i = 0; i < sizeof more_calls / sizeof *more_calls; i++)
        add_call(&p, &more_calls[i]);
    add(&p, RETURN, SECCOMP_RET_KILL_PROCESS, 0, 0);
    if (ARCH == 0 || p.length > sizeof p.code / sizeof *p.code)
        return err_set(err, ERR_UNSUPPORTED, "no sandbox for this architecture");
    struct sock_fprog filter = {.len = (unsigned short)p.length, .filter = p.code};
    if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
        return err_set(err, ERR_UNSUPPORTED, "the kernel takes no seccomp filter: %s",
                       strerror(errno));
    return true;
}

bool sandbox_possible(struct err *err)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (ARCH == 0)
        return err_set(err, ERR_UNSUPPORTED, "no sandbox for this architecture");
    return syscall(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ||
           err_set(err, ERR_UNSUPPORTED, "the kernel takes no seccomp filter: %s", strerror(errno));
}

bool sandbox_may_stay_open(const struct settings *settings)
{
    struct sockaddr_storage address;
    socklen_t size;
    return settings->allow_unconfined ||
           (settings_listen_address(settings, &address, &size, NULL) &&
            settings_is_loopback(&address));
}

/* ---- Landlock ---- */

/* Of <linux/landlock.h>, which may be older than the kernel: rights by the version they came with.
 * All that the kernel knows are claimed, and none is given to anybody. */
struct landlock_rules {
    uint64_t files, network, scoped;
};
static const struct {
    int version;
    size_t size; /* of the rules in that version */
    struct landlock_rules rules;
} landlock_rights[] = {
    {6, 24, {0xffff, 0x3, 0x3}}, /* no signals and no abstract sockets out of here */
    {5, 16, {0xffff, 0x3, 0}},   /* ioctl */
    {4, 16, {0x7fff, 0x3, 0}},   /* TCP */
    {3, 8, {0x7fff, 0, 0}},      /* truncate */
    {2, 8, {0x3fff, 0, 0}},      /* moving between folders */
    {1, 8, {0x1fff, 0, 0}},
};

static bool enter_landlock(void)
{
    enum { VERSION = 1 };
    int version = (int)syscall(__NR_landlock_create_ruleset, NULL, 0, VERSION), fd = -1;
    for (size_t i = 0; i < sizeof landlock_rights / sizeof *landlock_rights && fd < 0; i++)
        if (version >= landlock_rights[i].version)
            fd = (int)syscall(__NR_landlock_create_ruleset, &landlock_rights[i].rules,
                              landlock_rights[i].size, 0);
    if (fd < 0)
        return false;
    bool done = syscall(__NR_landlock_restrict_self, fd, 0) == 0;
    close(fd);
    return done;
}

/* ---- privileges ---- */

/* An empty network, no shared memory of others; and no capability in either world. */
static void drop_privileges(bool *namespaces)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    *namespaces = unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0;
    for (int cap = 0; cap < 64; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(__NR_capset, &head, none) != 0)
        log_event(LOG_WARN, "sandbox_incomplete", "without=capset reason=\"%s\"", strerror(errno));
}

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
        log_event(LOG_WARN, "sandbox_incomplete", "without=oom_score_adj reason=\"%s\"",
                  strerror(errno));
    if (fd >= 0)
        close(fd);
}

void sandbox_enter(size_t memory_limit)
{
    bool namespaces, landlock;
    be_first_to_go();
    lower(RLIMIT_CORE, 0); /* a core would hold prompts and pictures */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* whose own is larger */
    if (memory_limit > 0 && memory_limit < SIZE_MAX - MEMORY_SLACK)
        lower(RLIMIT_DATA, memory_limit + MEMORY_SLACK);
#endif
    drop_privileges(&namespaces);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        log_event(LOG_WARN, "sandbox_incomplete", "without=no_new_privs reason=\"%s\"",
                  strerror(errno));
    landlock = enter_landlock();
    /* Changed privileges have undone both. */
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_event(LOG_DEBUG, "sandbox", "namespaces=%d landlock=%d", namespaces, landlock);
}

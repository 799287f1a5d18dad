/* descriptors.c: the account of descriptors: what each part of the server may hold at most. */
#include "server/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/pictor.h"
#include "server/base/settings.h"

/* The socket, and the file that is being sent through it. */
#define A_CONNECTION 2
/* The socket, and what looks up its address meanwhile. */
#define AN_ORDER 4
/* How far an order is, that nobody waits for it (server/paint/upstream_sdapi.h), and the list of
 * models. */
#define BESIDE_ORDERS 3

/* Of the rest, rounded up; tests/chaos/test_descriptors.py counts what is really open. */
enum {
    STORE = 40, /* six connections to a database, its log, its lock, journals */
    HTTP = 40,  /* eight threads with two each; what comes beyond the limit */
    PROBES = 9 * PICTOR_FILES_MAX, /* each of those and the registry may read a model's headers */
    /* The ends of a socket pair and a pipe, and the files of a job. */
    WORKERS =
        3 * PICTOR_FILES_MAX + PICTOR_LORAS_MAX + PICTOR_EMBEDDINGS_MAX + PICTOR_CONTROLS_MAX + 8,
    CODECS = 4 * 2 + 8, /* as many as codec.c starts, and one that is being replaced */
    FILES = 64,         /* what handlers, the painter and the sweeper open */
    BUCKET = 48, /* calls at a time: http_apart.c, what http_work.c has for it, the painters */
    UPSTREAMS = 8 /* what the loop around all transfers waits with */
};

int descriptors_reserved(const struct settings *s)
{
    int count = STORE + HTTP + PROBES + WORKERS + CODECS + FILES + UPSTREAMS;
    if (strncmp(s->blobs, "s3://", 5) == 0)
        count += BUCKET * AN_ORDER;
    for (size_t i = 0; i < s->upstream_count; i++) {
        /* ComfyUI tells of each order over a socket of its own. */
        int each = s->upstreams[i].workflow ? 2 : 1;
        count += (each * s->upstreams[i].concurrency + BESIDE_ORDERS) * AN_ORDER;
    }
    return count;
}

/* What whoever started us left open, too. */
static int count_open(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

bool descriptors_check(const struct settings *s, struct err *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_set(err, ERR_IO, "cannot ask for the limit of descriptors: %s", strerror(errno));
    if (limit.rlim_cur != limit.rlim_max) {
        rlim_t was = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = was; /* nobody forbids that; if so, we live with what we have */
    }
    long long rest = descriptors_reserved(s) + count_open();
    long long need = rest + (long long)A_CONNECTION * s->max_connections;
    if (limit.rlim_cur == RLIM_INFINITY || (unsigned long long)need <= limit.rlim_cur)
        return true;
    long long fit = ((long long)limit.rlim_cur - rest) / A_CONNECTION;
    err_set(err, ERR_INVALID,
            "max_connections = %d needs %lld descriptors (%d each, and %lld for the rest), the "
            "limit is %lld: raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=)",
            s->max_connections, need, A_CONNECTION, rest, (long long)limit.rlim_cur);
    size_t n = strlen(err->msg);
    if (fit > 0)
        snprintf(err->msg + n, sizeof err->msg - n, ", or say --max-connections %lld", fit);
    return false;
}

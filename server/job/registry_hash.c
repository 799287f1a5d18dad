/* registry_hash.c: see registry_hash.h. */
#include "server/job/registry_hash.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "server/base/now.h"
#include "server/job/registry_scan.h"

static void option_name(char *buf, size_t size, const char *path)
{
    snprintf(buf, size, "sha256:%s", path);
}

bool registry_hash_recall(const struct registry_hashes *hashes, struct registry_model *m,
                          const char *path)
{
    char name[PATH_MAX + 8];
    unsigned long long size;
    long long mtime;
    char hex[65];
    bool known = false;
    option_name(name, sizeof name, path);
    char *value = hashes->recall ? hashes->recall(hashes->ctx, name) : NULL;
    if (value && sscanf(value, "%llu:%lld:%64[0-9a-f]", &size, &mtime, hex) == 3 &&
        size == m->size && mtime == m->mtime_ms && strlen(hex) == 64) {
        memcpy(m->sha256, hex, sizeof hex);
        known = true;
    }
    free(value);
    return known;
}

static void remember(const struct registry_hashes *hashes, const struct registry_model *m,
                     const char *path)
{
    char name[PATH_MAX + 8], value[128];
    struct err err;
    option_name(name, sizeof name, path);
    snprintf(value, sizeof value, "%llu:%lld:%s", (unsigned long long)m->size,
             (long long)m->mtime_ms, m->sha256);
    if (hashes->remember && !hashes->remember(hashes->ctx, name, value, &err))
        log_err(LOG_WARN, "hash_not_kept", &err, " ");
}

/* FNV-1a, 64 bits (Fowler, Noll and Vo): of two that are alike by chance a job fails that would
 * have waited. */
static uint64_t hash_of(const char *path)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *p = path; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return hash;
}

/* In place of what was noted of it, or of the one of the longest ago. */
static void note(struct registry_hash_bad *bad, const char *path, const struct err *why)
{
    uint64_t hash = hash_of(path);
    size_t at = 0;
    pthread_mutex_lock(&bad->lock);
    for (size_t i = 1; i < REGISTRY_HASH_BAD && bad->files[at].path != hash; i++)
        if (bad->files[i].path == hash || bad->files[i].at_ms < bad->files[at].at_ms)
            at = i;
    bad->files[at].path = hash;
    bad->files[at].at_ms = now_ms();
    bad->files[at].why = *why;
    pthread_mutex_unlock(&bad->lock);
}

bool registry_hash_is_bad(struct registry_hash_bad *bad, const char *path, struct err *err)
{
    uint64_t hash = hash_of(path);
    bool found = false;
    pthread_mutex_lock(&bad->lock);
    for (size_t i = 0; i < REGISTRY_HASH_BAD && !found; i++) {
        found = bad->files[i].path == hash && bad->files[i].at_ms > 0 &&
                now_ms() < bad->files[i].at_ms + REGISTRY_HASH_BAD_MS;
        if (found)
            err_set(err, ERR_INTERNAL, "a file of the model cannot be read: %.150s",
                    bad->files[i].why.msg);
    }
    pthread_mutex_unlock(&bad->lock);
    return found;
}

bool registry_hash_read(const struct registry_hashes *hashes, struct registry_model *m,
                        const char *path, const atomic_bool *stop, struct registry_hash_bad *bad)
{
    unsigned char digest[SHA256_SIZE];
    struct stat st;
    struct registry_entry now = {0};
    struct err err;
    if (!sha256_file(path, stop, digest, &err)) {
        if (err.code != ERR_CANCELLED) {
            log_err(LOG_WARN, "hash_failed", &err, " ");
            note(bad, path, &err);
        }
        return false;
    }
    if (stat(path, &st) != 0)
        return false;
    registry_scan_measure(&now, &st);
    if (now.model.size != m->size || now.model.mtime_ms != m->mtime_ms)
        return false;
    sha256_hex(digest, m->sha256);
    remember(hashes, m, path);
    return true;
}

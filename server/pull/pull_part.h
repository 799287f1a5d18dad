/* pull_part.h: one file that is being fetched: a part, its lock and its promise.
 *
 * It grows as NAME.part. Beside it lies NAME.part.etag: which version of which address the part is
 * of, so that a second call goes on where the first one stopped and never glues two files
 * together. What is fetched is data; it is only read by the engine's checked readers.
 * No state; any thread. */
#ifndef PICTOR_SERVER_PULL_PART_H
#define PICTOR_SERVER_PULL_PART_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/err.h"
#include "server/pull/pull_form.h"
#include "server/pull/pull_source.h"

struct pull_watch {
    /* May be NULL. `total` 0: unknown. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    const atomic_bool *stop; /* once true it ends with ERR_CANCELLED; may be NULL */
};

struct pull_part {
    const struct pull_source *source;
    const struct pull_watch *watch;
    uint64_t before, all; /* bytes of files that came before it, and of all of them; 0: it is one */
    enum pull_form form;  /* as the name says; of a name that was guessed, as the content says */
    char path[PATH_MAX];  /* what it is to be called */
    char part[PATH_MAX], etag_path[PATH_MAX];
    FILE *out;
    char etag[200];
    bool locked, sniffed;
    struct err problem; /* why a callback stopped the transfer */
};

/* Sets the paths for `name` in `folder`, and zero else. ERR_INVALID: too long. */
bool pull_part_init(struct pull_part *p, const struct pull_source *source,
                    const struct pull_watch *watch, const char *folder, const char *name,
                    struct err *err);

/* Opens what is there of it, or begins it. ERR_BUSY while another pull writes it. */
bool pull_part_open(struct pull_part *p, struct err *err);

/* Opens it, fetches what is missing and checks it against what was promised; *sha256 is its hash.
 * What came so far is kept where the transfer broke or was stopped, and goes where it is not what
 * was promised. */
bool pull_part_fetch(struct pull_part *p, char sha256[SHA256_HEX_SIZE], struct err *err);

void pull_part_remove(const struct pull_part *p);

/* Lets it go, the lock too; what holds nothing is removed. */
void pull_part_close(struct pull_part *p);

/* The SHA-256 of a file; ERR_CANCELLED when *stop (which may be NULL) became true. */
bool pull_part_hash(const char *path, const atomic_bool *stop, char hex[SHA256_HEX_SIZE],
                    struct err *err);

#endif

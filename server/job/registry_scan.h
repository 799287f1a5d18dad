/* registry_scan.h: a table of models or other files by name, and what a folder adds to it.
 *
 * A table is filled in any order, its first entry of a name being the one that counts, and sorted
 * once. No state, no threads. */
#ifndef PICTOR_SERVER_REGISTRY_SCAN_H
#define PICTOR_SERVER_REGISTRY_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/job/registry.h"

#define REGISTRY_SCAN_DEPTH 16      /* folders below the models folder */
#define REGISTRY_SCAN_MODELS 100000 /* more than this is somebody's mistake */
#define REGISTRY_SCAN_ITEMS 2000000 /* looked at: a link may lead to a whole disk */

struct registry_entry {
    struct registry_model model;
    uint64_t device, inode; /* of the file or folder; 0: there is none */
    bool linked;            /* a link led here */
    bool quiet;             /* listed only if something is known of it: a cache holds anything */
    bool was_read;  /* the model's header, or there is none: what it says is in `model` */
    bool being_read; /* now, by some thread */
    bool hash_wanted;
    size_t rank; /* which came first */
    int place, preference; /* of two of one name: the smaller place, then the smaller ending */
    size_t same; /* in a sorted table: the entry under which this file is listed, itself unless
                    the file has several names */
};

/* Zero is an empty table. */
struct registry_table {
    struct registry_entry *entries; /* sorted: by name */
    size_t count, room;
};

/* A new entry, valid until the next; NULL: it cannot be a name (logged), or err, which must not be
 * NULL, is set. */
struct registry_entry *registry_scan_add(struct registry_table *t, const char *name, size_t length,
                                         enum registry_kind kind, struct err *err);

/* A copy of an entry of another table. */
bool registry_scan_copy(struct registry_table *t, const struct registry_entry *e, struct err *err);

/* A folder, an absolute path, of files of one kind. Borrowed for a call. */
struct registry_scan_place {
    const char *path;
    const char *prefix;         /* of names, without the slash that follows; "": none */
    const char *const *endings; /* what files are taken; NULL-terminated */
    bool models;                /* folders in the diffusers layout are taken, too */
    bool flat;                  /* the folders in it are left alone */
    bool quiet;                 /* of the entries */
    int order;                  /* the smaller, the more a name is its file's */
    struct folders *folders;    /* keeps the paths of what is found */
};

/* Adds what is below the place. A folder is entered once, by its own name rather than by a link's.
 * What is too deep or too much is left out, and logged. Fails when the folder itself cannot be read
 * (ERR_UNAVAILABLE), or without memory. */
bool registry_scan_folder(struct registry_table *t, const struct registry_scan_place *place,
                          struct err *err);

/* Sorts, and finds out which entries are other names of a file. Of two files of one place that
 * differ in their endings alone the less wanted is called by its whole name, "v1-5.ckpt". */
bool registry_scan_sort(struct registry_table *t, struct err *err);

/* When a scan that nobody asked for may follow one that begun at `begun` (now_ms) and ends now: a
 * second later, or more where scans take long. */
int64_t registry_scan_again_ms(int64_t begun);

/* In a sorted table; NULL when there is none. */
struct registry_entry *registry_scan_find(const struct registry_table *t, const char *name);

/* Adds a file's size and time to the model's. */
struct stat;
void registry_scan_measure(struct registry_entry *e, const struct stat *st);

void registry_scan_free(struct registry_table *t);

#endif

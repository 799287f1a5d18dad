/* files.c: one table under a lock of its own; who scans holds another one meanwhile, so that names
 * that are known are found without waiting for it. */
#include "server/job/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/job/facts.h"
#include "server/job/registry.h"

#define STRAY_PLACE 1000000 /* behind every folder of the kind */
#define READ_MS 300         /* how long a list reads headers */
#define STRAYS_MS 500       /* how long a name waits for those of the models to be read */

struct files {
    struct folders *folders;
    enum folders_kind kind;
    struct registry *registry; /* or NULL */
    pthread_mutex_t scanning; /* held over a whole scan; taken before `lock`; of these two: */
    int64_t rescan_ms;        /* unless it is asked for, there is no scan before that */
    struct err trouble;       /* why the last scan failed; ERR_NONE */
    pthread_mutex_t lock;     /* the table */
    struct registry_table table;
};

struct files *files_new(struct folders *folders, enum folders_kind kind, struct registry *registry,
                        struct err *err)
{
    struct files *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(err, ERR_INTERNAL, "no memory for a list of files");
        return NULL;
    }
    f->folders = folders;
    f->kind = kind;
    f->registry = registry;
    pthread_mutex_init(&f->scanning, NULL);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void files_free(struct files *f)
{
    if (!f)
        return;
    pthread_mutex_destroy(&f->scanning);
    pthread_mutex_destroy(&f->lock);
    registry_scan_free(&f->table);
    free(f);
}

/* ---- the table ---- */

static bool scan_place(struct files *f, const struct folders_place *at, int order,
                       struct registry_table *out, struct err *err)
{
    char folder[PATH_MAX];
    if (!realpath(at->path, folder))
        return errno == ENOENT || err_at(err, at->path, ERR_UNAVAILABLE, "the folder of %ss: %s",
                                         folders_kind_name(f->kind), strerror(errno));
    struct registry_scan_place place = {.path = folder,
                                        .prefix = at->prefix,
                                        .endings = folders_endings(f->kind),
                                        .flat = at->flat,
                                        .quiet = at->quiet,
                                        .order = order,
                                        .folders = f->folders};
    return registry_scan_folder(out, &place, err);
}

/* Another program's folder that cannot be read now is no reason to have none of the others. */
static bool is_away(struct files *f, const struct err *err)
{
    if (err->code == ERR_UNAVAILABLE)
        log_err(LOG_WARN, "folder_away", err, "kind=%s", folders_kind_name(f->kind));
    return err->code == ERR_UNAVAILABLE;
}

static bool scan(struct files *f, struct registry_table *out, struct err *err)
{
    struct folders_list list;
    bool ok = folders_of(f->folders, f->kind, &list, err);
    for (size_t i = 0; ok && i < list.count; i++)
        ok = scan_place(f, &list.at[i], (int)i, out, err) || (i > 0 && is_away(f, err));
    folders_list_free(&list);
    size_t own = out->count;
    ok = ok && (!f->registry || registry_strays(f->registry, f->kind, out, err));
    for (size_t i = own; ok && i < out->count; i++)
        out->entries[i].place += STRAY_PLACE;
    return ok && registry_scan_sort(out, err);
}

/* Scans; with `spare` only if the last scan is old enough, or else says what that one said. */
static bool refresh(struct files *f, bool spare, struct err *err)
{
    struct registry_table fresh = {0};
    pthread_mutex_lock(&f->scanning);
    int64_t begun = now_ms();
    if (!spare || begun >= f->rescan_ms) {
        if (scan(f, &fresh, &f->trouble)) {
            f->trouble.code = ERR_NONE;
            pthread_mutex_lock(&f->lock);
            struct registry_table old = f->table;
            f->table = fresh;
            fresh = old;
            pthread_mutex_unlock(&f->lock);
        }
        f->rescan_ms = registry_scan_again_ms(begun);
    }
    registry_scan_free(&fresh);
    struct err trouble = f->trouble;
    pthread_mutex_unlock(&f->scanning);
    return trouble.code == ERR_NONE || err_copy(err, &trouble);
}

bool files_refresh(struct files *f, struct err *err)
{
    return refresh(f, false, err);
}

/* What is known of a file, into its entry. */
static void learn(const struct files *f, struct registry_model *m, const struct facts *known)
{
    const struct pictor_file_info *info = &known->info;
    m->holds = info->kind;
    memcpy(m->title, info->title, sizeof m->title);
    memcpy(m->architecture, info->family, sizeof m->architecture);
    memcpy(m->trigger, info->trigger, sizeof m->trigger);
    memcpy(m->alias, info->alias, sizeof m->alias);
    m->embedding = info->embedding;
    m->fault = ERR_NONE;
    if (!info->readable) {
        m->fault = known->fault;
        memcpy(m->problem, known->problem, sizeof m->problem);
    } else if (info->kind != PICTOR_KIND_UNKNOWN && (int)info->kind != (int)f->kind) {
        m->fault = ERR_INVALID;
        snprintf(m->problem, sizeof m->problem, "this is a file of kind %s",
                 pictor_kind_name(info->kind));
    }
}

static void read_headers(struct files *f, struct registry_table *t)
{
    int64_t until = now_ms() + READ_MS;
    struct facts_store *store = f->registry ? registry_facts(f->registry) : NULL;
    bool fresh = false;
    for (size_t i = 0; store && i < t->count; i++) {
        struct registry_model *m = &t->entries[i].model;
        struct facts_version version = {m->size, t->entries[i].inode, m->mtime_ms};
        struct facts known;
        struct err err;
        bool is = facts_known(store, m->path, version, &known);
        if (!is && t->entries[i].same == i && now_ms() < until) {
            is = facts_of(store, m->path, version, &known, &err);
            fresh = fresh || is;
        }
        if (is)
            learn(f, m, &known);
        t->entries[i].was_read = is;
    }
    if (fresh)
        facts_save(store);
}

bool files_list(struct files *f, struct registry_table *out, struct err *err)
{
    *out = (struct registry_table){0};
    if (!refresh(f, true, err))
        return false;
    pthread_mutex_lock(&f->lock);
    size_t count = f->table.count;
    out->entries = malloc((count + 1) * sizeof *out->entries);
    if (out->entries && count) {
        memcpy(out->entries, f->table.entries, count * sizeof *out->entries);
        out->count = out->room = count;
    }
    pthread_mutex_unlock(&f->lock);
    if (out->entries)
        read_headers(f, out);
    return out->entries || err_set(err, ERR_INTERNAL, "no memory for %zu %ss", count,
                                   folders_kind_name(f->kind));
}

const char *files_stem(const struct registry_entry *entry)
{
    const char *slash = strrchr(entry->model.name, '/');
    return slash ? slash + 1 : entry->model.name;
}

/* Where the file of this name is, if that is known. */
static bool find(struct files *f, const char *name, char path[PATH_MAX])
{
    pthread_mutex_lock(&f->lock);
    const struct registry_table *t = &f->table;
    const struct registry_entry *e = registry_scan_find(t, name);
    for (size_t i = 0; i < t->count && !e; i++)
        if (strcmp(files_stem(&t->entries[i]), name) == 0)
            e = &t->entries[i];
    if (e)
        snprintf(path, PATH_MAX, "%s", e->model.path);
    pthread_mutex_unlock(&f->lock);
    return e;
}

/* The only file with this alias, as far as headers are known; without a registry all are read. One
 * that two have is nobody's, as in the SD WebUI. */
static bool find_alias(struct files *f, const char *name, char path[PATH_MAX])
{
    struct registry_table table;
    struct err unused;
    size_t times = 0;
    if (f->kind != FOLDERS_LORA || !*name || !files_list(f, &table, &unused))
        return false;
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_model *m = &table.entries[i].model;
        struct pictor_file_info info = {.alias = ""};
        if (!f->registry)
            pictor_file_probe(m->path, &info, &unused);
        if (table.entries[i].same == i && (!strcmp(m->alias, name) || !strcmp(info.alias, name)) &&
            !times++)
            snprintf(path, PATH_MAX, "%s", m->path);
    }
    registry_scan_free(&table);
    return times == 1;
}

bool files_find(struct files *f, const char *name, char path[PATH_MAX], struct err *err)
{
    bool known = find(f, name, path);
    if (known && (access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)))
        return true;
    if (!known && f->registry)
        registry_await(f->registry, STRAYS_MS);
    /* A name whose file is gone costs one scan: it is not known any more then. */
    return refresh(f, !known, err) &&
           (find(f, name, path) || find_alias(f, name, path) ||
            err_set(err, ERR_NOT_FOUND, "there is no such %s", folders_kind_name(f->kind)));
}

bool files_find_file(struct files *f, const char *name, char path[PATH_MAX], struct err *err)
{
    char bare[NAME_MAX + 1];
    size_t size = strlen(name);
    if (files_find(f, name, path, err))
        return true;
    if (err->code != ERR_NOT_FOUND)
        return false;
    for (const char *const *e = folders_endings(f->kind); *e; e++) {
        size_t n = strlen(*e);
        if (size > n && size < sizeof bare && strcasecmp(name + size - n, *e) == 0) {
            snprintf(bare, sizeof bare, "%.*s", (int)(size - n), name);
            return files_find(f, bare, path, err);
        }
    }
    return false;
}

bool files_open(struct files *f, const char *name, struct files_open *out, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    struct registry_entry now = {0};
    if (!files_find(f, name, path, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_at(err, path, errno == EMFILE || errno == ENFILE ? ERR_BUSY : ERR_IO, "%s %s: %s",
               folders_kind_name(f->kind), name, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    registry_scan_measure(&now, &st);
    *out = (struct files_open){fd, now.model.size, now.model.mtime_ms};
    return true;
}

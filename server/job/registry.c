/* registry.c: one table, sorted by name, under one lock; a scan builds a new table and takes over
 * what is known of files that did not change. A second thread reads the headers of files, then
 * hashes those that are used, one at a time; who cannot wait for it reads a header itself. */
#include "server/job/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/log.h"
#include "engine/builtin/builtin.h"
#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/facts.h"
#include "server/job/sidecars.h"
#include "server/job/files.h"
#include "server/job/folders.h"
#include "server/job/parts.h"
#include "server/job/registry_hash.h"
#include "server/job/registry_remote.h"
#include "server/job/registry_scan.h"
#include "server/job/vocabularies.h"

#define DEFAULT_KEPT "default_model" /* the name that it is kept under */

struct registry {
    const struct settings *settings;
    struct registry_hashes hashes; /* zero: none */
    struct registry_hash_bad bad;
    struct folders *folders;
    struct facts_store *facts;
    struct sidecars *sidecars;
    struct vocabularies *vocabularies;
    struct files *files[FOLDERS_KINDS]; /* but of models */
    struct pictor_model_info builtin;
    size_t builtin_size;
    char folder[PATH_MAX];    /* absolute; of local models */
    pthread_mutex_t scanning; /* held over a whole scan; taken before `lock`; of these: */
    struct registry_remote_lists listed;
    int64_t rescan_ms;    /* unknown names cause no scan before that */
    struct err trouble;   /* why the last scan failed; ERR_NONE */
    bool away, said_away; /* some folder of model_paths is; the log says so */
    pthread_mutex_t lock; /* the fields below */
    pthread_cond_t work;  /* a new table, a hash is wanted, or stop */
    pthread_cond_t done;  /* a header was read, or all of the table */
    char chosen[REGISTRY_NAME_SIZE]; /* the default model, chosen by hand; "": the settings' */
    struct registry_table table;
    size_t unread; /* entries before this one were read, but for the one that is being read */
    bool reading;
    atomic_bool stop;
    pthread_t reader;
};

/* ---- scanning ---- */

/* Cut between characters: it goes into JSON. */
static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
    json_text_mend(to);
}

static void learn(struct registry_model *m, const struct pictor_model_info *info)
{
    copy_text(m->title, sizeof m->title, info->title);
    copy_text(m->architecture, sizeof m->architecture, info->architecture);
    m->native_width = info->native_width;
    m->native_height = info->native_height;
    m->default_guidance = (double)info->default_guidance;
    m->default_steps = info->default_steps;
    copy_text(m->default_sampler, sizeof m->default_sampler, info->default_sampler);
    copy_text(m->default_scheduler, sizeof m->default_scheduler, info->default_scheduler);
    m->default_image_guidance = (double)info->default_image_guidance;
    m->masked = info->masked;
    m->references = info->references;
    m->takes_more = info->references > 1;
    m->flow = info->flow;
    m->guide = info->guide;
    memcpy(m->text_widths, info->text_widths, sizeof m->text_widths);
    if (info->clip_skips)
        m->clip_skips = info->clip_skips;
}

/* A folder of another program, unless it is away. */
static bool scan_other(struct registry *reg, struct registry_table *t, const char *path,
                       struct registry_scan_place *place, struct err *err)
{
    char folder[PATH_MAX];
    struct err why;
    place->path = folder;
    if (!realpath(path, folder))
        err_at(&why, path, ERR_UNAVAILABLE, "%s", strerror(errno));
    else if (registry_scan_folder(t, place, &why))
        return true;
    if (why.code != ERR_UNAVAILABLE)
        return err_copy(err, &why);
    if (!reg->said_away)
        log_err(LOG_WARN, "models_away", &why, " ");
    return reg->away = true;
}

/* The models folder has to be there. */
static bool scan_places(struct registry *reg, struct registry_table *t, struct err *err)
{
    struct folders_list list;
    bool ok = folders_of(reg->folders, FOLDERS_MODEL, &list, err);
    reg->away = false;
    for (size_t i = 0; ok && i < list.count; i++) {
        struct registry_scan_place place = {.path = reg->folder,
                                            .prefix = list.at[i].prefix,
                                            .endings = folders_endings(FOLDERS_MODEL),
                                            .models = true,
                                            .flat = list.at[i].flat,
                                            .quiet = list.at[i].quiet,
                                            .order = (int)i,
                                            .folders = reg->folders};
        ok = i ? scan_other(reg, t, list.at[i].path, &place, err)
               : registry_scan_folder(t, &place, err);
    }
    reg->said_away = reg->away;
    folders_list_free(&list);
    return ok;
}

static bool scan(struct registry *reg, struct registry_table *t, struct err *err)
{
    const struct settings *s = reg->settings;
    struct registry_entry *e =
        registry_scan_add(t, REGISTRY_BUILTIN, strlen(REGISTRY_BUILTIN), REGISTRY_LOCAL, err);
    if (!e)
        return false;
    strcpy(e->model.sha256, builtin_sha256());
    e->model.path = "builtin";
    e->model.size = reg->builtin_size;
    learn(&e->model, &reg->builtin);
    e->was_read = true;
    for (size_t i = 0; i < s->upstream_count; i++)
        if (!registry_remote_named(t, &s->upstreams[i], err))
            return false;
    return scan_places(reg, t, err) && registry_remote_listed(t, s, &reg->listed, err) &&
           registry_scan_sort(t, err);
}

static bool same_file(const struct registry_entry *a, const struct registry_entry *b)
{
    const struct registry_model *x = &a->model, *y = &b->model;
    return x->kind == y->kind && x->size == y->size && x->mtime_ms == y->mtime_ms &&
           a->device == b->device && a->inode == b->inode && strcmp(x->ending, y->ending) == 0 &&
           (x->path == y->path || (x->path && y->path && strcmp(x->path, y->path) == 0)) &&
           strcmp(x->upstream, y->upstream) == 0;
}

/* What is known of the files that did not change. */
static void take_over(struct registry_table *fresh, const struct registry_table *table)
{
    for (size_t i = 0; i < fresh->count; i++) {
        struct registry_entry *e = &fresh->entries[i];
        const struct registry_entry *old = registry_scan_find(table, e->model.name);
        if (old && same_file(old, e)) {
            e->model = old->model;
            e->was_read = old->was_read;
            e->being_read = old->being_read;
            e->hash_wanted = old->hash_wanted;
        }
    }
}

/* Scans; with `spare` only if the last scan is old enough, or else says what that one said. */
static bool refresh(struct registry *reg, bool spare, struct err *err)
{
    struct registry_table fresh = {0};
    pthread_mutex_lock(&reg->scanning);
    int64_t begun = now_ms();
    bool due = !spare || begun >= reg->rescan_ms;
    if (due && scan(reg, &fresh, &reg->trouble)) {
        reg->trouble.code = ERR_NONE;
        pthread_mutex_lock(&reg->lock);
        take_over(&fresh, &reg->table);
        struct registry_table old = reg->table;
        reg->table = fresh;
        fresh = old;
        reg->unread = 0;
        pthread_cond_signal(&reg->work);
        log_event(spare ? LOG_DEBUG : LOG_INFO, "models_scanned", "count=%zu ms=%lld",
                  reg->table.count, (long long)(now_ms() - begun));
        pthread_mutex_unlock(&reg->lock);
    }
    if (due)
        reg->rescan_ms = registry_scan_again_ms(begun);
    registry_scan_free(&fresh);
    struct err trouble = reg->trouble;
    pthread_mutex_unlock(&reg->scanning);
    return trouble.code == ERR_NONE || err_copy(err, &trouble);
}

bool registry_refresh(struct registry *reg, struct err *err)
{
    return refresh(reg, false, err);
}

bool registry_set_listed(struct registry *reg, const struct settings_upstream *upstream,
                         const char *const *names, size_t count, struct err *err)
{
    bool changed;
    pthread_mutex_lock(&reg->scanning);
    bool done =
        registry_remote_set(&reg->listed, reg->settings, upstream, names, count, &changed, err);
    pthread_mutex_unlock(&reg->scanning);
    return done && (!changed || refresh(reg, false, err));
}

struct files *registry_files(const struct registry *reg, enum folders_kind kind)
{
    return reg->files[kind];
}

/* ---- files ---- */

void registry_path(const struct registry *reg, const struct registry_model *m, char path[PATH_MAX])
{
    (void)reg;
    snprintf(path, PATH_MAX, "%s", m->path ? m->path : "");
}

static struct parts_places places_of(const struct registry *reg)
{
    return (struct parts_places){reg->settings, reg->files[FOLDERS_TEXT_ENCODER],
                                 reg->files[FOLDERS_VAE], reg->folders};
}

/* What a UNet alone wants besides becomes part of its size and time, or its fault. Not under the
 * lock: looking for them may want it. */
static void add_parts(const struct registry *reg, struct registry_model *m)
{
    struct parts_places places = places_of(reg);
    struct err err;
    char path[PATH_MAX];
    if (!m->lone || m->fault != ERR_NONE)
        return;
    registry_path(reg, m, path);
    if (parts_measure(&places, m->name, path, m->architecture, &m->size, &m->mtime_ms, &err))
        return;
    m->fault = err.code;
    copy_text(m->problem, sizeof m->problem, err.msg);
}

bool registry_open(const struct registry *reg, const struct registry_model *m,
                   struct pictor_files *files, struct err *err)
{
    char path[PATH_MAX];
    struct parts_places places = places_of(reg);
    registry_path(reg, m, path);
    bool ok = m->lone ? parts_open(&places, m->name, path, m->architecture, files, err)
                      : pictor_files_open(path, files, err);
    if (ok && !m->lone && !parts_complete(&places, path, m->architecture, files, err)) {
        pictor_files_close(files);
        ok = false;
    }
    files->variant = parts_variant(reg->settings, m->name);
    return ok || err_prefix(err, "%s", m->name);
}

/* ---- hashing ---- */

static bool hash(struct registry *reg, struct registry_model *m, const char *path)
{
    return registry_hash_recall(&reg->hashes, m, path) ||
           registry_hash_read(&reg->hashes, m, path, &reg->stop, &reg->bad);
}

bool registry_unreadable(struct registry *reg, const char *path, struct err *err)
{
    return registry_hash_is_bad(&reg->bad, path, err);
}

bool registry_recall_file(struct registry *reg, const char *path, char sha256[65])
{
    struct registry_entry e = {0};
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    registry_scan_measure(&e, &st);
    if (!registry_hash_recall(&reg->hashes, &e.model, path))
        return false;
    memcpy(sha256, e.model.sha256, sizeof e.model.sha256);
    return true;
}

bool registry_hash_file(struct registry *reg, const char *path, char sha256[65])
{
    struct registry_entry e = {0};
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    registry_scan_measure(&e, &st);
    if (!hash(reg, &e.model, path))
        return false;
    memcpy(sha256, e.model.sha256, sizeof e.model.sha256);
    return true;
}

/* ---- headers ---- */

/* What is no model is no broken one: it is used from where it lies. */
static void refuse_stray(struct registry_model *m)
{
    m->fault = ERR_UNSUPPORTED;
    snprintf(m->problem, sizeof m->problem, "this is no model but a file of kind %s%s",
             pictor_kind_name(m->holds),
             m->holds == PICTOR_KIND_LORA ? ": it is named in prompts" : "");
}

/* Fills in what the file says, also when that is nothing good. Fails when it cannot be said now. */
static bool read_header(struct registry *reg, struct registry_entry *e, struct err *err)
{
    struct registry_model *m = &e->model;
    struct facts_version version = {m->size, e->inode, m->mtime_ms};
    struct facts f;
    struct err why;
    if (*m->ending && !*m->sha256)
        registry_hash_recall(&reg->hashes, m, m->path);
    if (!facts_of(reg->facts, m->path, version, &f, &why)) {
        log_err(LOG_WARN, "model_not_read", &why, " ");
        return err_copy(err, &why) || err_prefix(err, "%s", m->name);
    }
    m->holds = f.info.kind;
    m->fault = f.fault;
    copy_text(m->problem, sizeof m->problem, f.problem);
    if (f.fault == ERR_NONE && m->holds == PICTOR_KIND_MODEL) {
        pictor_model_vary(&f.info.model, parts_variant(reg->settings, m->name));
        learn(m, &f.info.model);
        m->lone = f.info.lone;
        return true;
    }
    copy_text(m->title, sizeof m->title, f.info.title);
    copy_text(m->architecture, sizeof m->architecture, f.info.family);
    copy_text(m->trigger, sizeof m->trigger, f.info.trigger);
    if (m->holds < PICTOR_KIND_UNKNOWN && m->holds != PICTOR_KIND_MODEL)
        refuse_stray(m);
    return true;
}

/* Reads the header of what `e` is, or waits for who does that already, without the lock, which is
 * held before and after. Returns the entry of this name in what may be another table by then; NULL
 * with an error. */
static struct registry_entry *read_entry(struct registry *reg, struct registry_entry *e,
                                         struct err *err)
{
    struct registry_entry was = *e;
    while (e && !e->was_read && e->being_read) {
        pthread_cond_wait(&reg->done, &reg->lock);
        e = registry_scan_find(&reg->table, was.model.name);
    }
    if (!e)
        err_set(err, ERR_UNAVAILABLE, "%s: its file is gone", was.model.name);
    if (!e || e->was_read)
        return e;
    e->being_read = true;
    was = *e;
    pthread_mutex_unlock(&reg->lock);
    was.was_read = read_header(reg, &was, err);
    pthread_mutex_lock(&reg->lock);
    struct registry_entry *now = registry_scan_find(&reg->table, was.model.name);
    if (now && same_file(now, &was))
        now->being_read = false;
    pthread_cond_broadcast(&reg->done);
    if (!was.was_read)
        return NULL;
    if (now && !now->was_read && same_file(now, &was)) {
        was.model.loaded = now->model.loaded;
        now->model = was.model;
        now->was_read = true;
    }
    if (!now || !now->was_read)
        err_set(err, ERR_UNAVAILABLE, "%s: its file changed while it was read", was.model.name);
    return now && now->was_read ? now : NULL;
}

/* Under the lock. */
static void hash_entry(struct registry *reg, const struct registry_entry *e)
{
    char path[PATH_MAX];
    struct registry_entry was = *e;
    struct registry_model *m = &was.model;
    pthread_mutex_unlock(&reg->lock);
    registry_path(reg, m, path);
    bool done = hash(reg, m, path);
    pthread_mutex_lock(&reg->lock);
    struct registry_entry *now = registry_scan_find(&reg->table, m->name);
    if (now && same_file(now, &was)) {
        now->hash_wanted = false;
        if (done)
            memcpy(now->model.sha256, m->sha256, sizeof m->sha256);
    }
    pthread_cond_broadcast(&reg->done);
}

static struct registry_entry *next_hash(const struct registry *reg)
{
    for (size_t i = 0; i < reg->table.count; i++)
        if (reg->table.entries[i].hash_wanted)
            return &reg->table.entries[i];
    return NULL;
}

static void *read_files(void *arg)
{
    struct registry *reg = arg;
    pthread_mutex_lock(&reg->lock);
    while (!reg->stop) {
        struct registry_entry *e;
        if (reg->unread < reg->table.count) {
            size_t i = reg->unread++; /* meanwhile a new table may begin again at 0 */
            e = &reg->table.entries[i];
            reg->reading = true;
            if (!e->was_read && e->same == i)
                read_entry(reg, e, NULL);
            reg->reading = false;
            if (reg->unread == reg->table.count) {
                pthread_cond_broadcast(&reg->done);
                pthread_mutex_unlock(&reg->lock);
                facts_save(reg->facts);
                pthread_mutex_lock(&reg->lock);
            }
        } else if ((e = next_hash(reg))) {
            hash_entry(reg, e);
        } else {
            pthread_cond_wait(&reg->work, &reg->lock);
        }
    }
    pthread_mutex_unlock(&reg->lock);
    return NULL;
}

static struct timespec in_ms(int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

bool registry_await(struct registry *reg, int ms)
{
    struct timespec until = in_ms(ms);
    pthread_mutex_lock(&reg->lock);
    bool read;
    while (!(read = reg->unread >= reg->table.count && !reg->reading) &&
           pthread_cond_timedwait(&reg->done, &reg->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&reg->lock);
    return read;
}

void registry_await_hash(struct registry *reg, const char *name, int ms)
{
    struct timespec until = in_ms(ms);
    const struct registry_entry *e;
    pthread_mutex_lock(&reg->lock);
    while ((e = registry_scan_find(&reg->table, name)) && e->hash_wanted &&
           pthread_cond_timedwait(&reg->done, &reg->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&reg->lock);
}

/* Under the lock. */
static void want_hash(struct registry *reg, struct registry_entry *e)
{
    const struct registry_model *m = &e->model;
    if (*m->ending && !m->sha256[0] && !e->hash_wanted) {
        e->hash_wanted = true;
        pthread_cond_signal(&reg->work);
    }
}

/* ---- looking up ---- */

static const char *behind_alias(const struct registry *reg, const char *name)
{
    for (size_t i = 0; i < reg->settings->alias_count; i++)
        if (strcmp(reg->settings->aliases[i].name, name) == 0)
            return reg->settings->aliases[i].model;
    return NULL;
}

/* The entry under which it is listed. Under the lock. */
static struct registry_entry *find(const struct registry *reg, const char *name)
{
    struct registry_entry *e = registry_scan_find(&reg->table, name);
    return e ? &reg->table.entries[e->same] : NULL;
}

/* By name, then by alias (of a name: aliases do not chain). Under the lock. */
static struct registry_entry *look_up(const struct registry *reg, const char *name)
{
    struct registry_entry *e = find(reg, name);
    const char *model = e ? NULL : behind_alias(reg, name);
    return model ? find(reg, model) : e;
}

/* Under the lock. What was chosen and is gone is not missed. */
static const char *default_name(const struct registry *reg)
{
    if (*reg->chosen && look_up(reg, reg->chosen))
        return reg->chosen;
    return *reg->settings->default_model ? reg->settings->default_model : REGISTRY_BUILTIN;
}

/* By name or alias or "*", what is listed in the models folder now; a file that could not be
 * painted with may be whole by now. Returns under the lock. */
static struct registry_entry *find_and_lock(struct registry *reg, const char *name, struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    struct registry_entry *e = look_up(reg, name);
    if (e && e->model.fault == ERR_NONE)
        return e;
    pthread_mutex_unlock(&reg->lock);
    bool scanned = refresh(reg, true, err);
    pthread_mutex_lock(&reg->lock);
    if (!scanned)
        return NULL;
    const char *any = behind_alias(reg, "*");
    char text[REGISTRY_NAME_SIZE];
    if (!(e = look_up(reg, name)) && (!any || !(e = find(reg, any))))
        err_set(err, ERR_NOT_FOUND, "there is no model %s", log_quote(text, sizeof text, name));
    return e;
}

bool registry_resolve(struct registry *reg, const char *name, struct registry_model *out,
                      struct err *err)
{
    char path[PATH_MAX], usual[REGISTRY_NAME_SIZE];
    if (!name || !*name) {
        pthread_mutex_lock(&reg->lock);
        snprintf(usual, sizeof usual, "%s", default_name(reg));
        pthread_mutex_unlock(&reg->lock);
        name = usual;
    }
    struct registry_entry *e = find_and_lock(reg, name, err);
    if (e && !e->was_read)
        e = read_entry(reg, e, err);
    if (e) {
        if (e->model.fault == ERR_NONE)
            want_hash(reg, e);
        *out = e->model;
        out->is_default = e == look_up(reg, default_name(reg));
    }
    pthread_mutex_unlock(&reg->lock);
    if (e)
        add_parts(reg, out);
    if (!e || out->fault == ERR_NONE)
        return e;
    struct err why;
    registry_path(reg, out, path);
    err_at(&why, path, out->fault, "%s: %s", out->name, out->problem);
    log_err(LOG_WARN, "model_refused", &why, " ");
    return err_copy(err, &why);
}

/* Whether entry `i` is listed: it is no other name of another one, and no file of another kind. */
static bool is_listed(const struct registry_table *t, size_t i)
{
    const struct registry_entry *e = &t->entries[i];
    if (e->model.holds == PICTOR_KIND_UNKNOWN)
        return e->same == i && !e->quiet;
    return e->same == i && e->model.holds == PICTOR_KIND_MODEL;
}

bool registry_strays(struct registry *reg, enum folders_kind kind, struct registry_table *out,
                     struct err *err)
{
    bool ok = true;
    pthread_mutex_lock(&reg->lock);
    for (size_t i = 0; ok && i < reg->table.count; i++) {
        const struct registry_entry *e = &reg->table.entries[i];
        if (e->was_read && (int)e->model.holds == (int)kind && e->same == i && e->inode)
            ok = registry_scan_copy(out, e, err);
    }
    pthread_mutex_unlock(&reg->lock);
    return ok;
}

struct vocabularies *registry_vocabularies(const struct registry *reg)
{
    return reg->vocabularies;
}

struct sidecars *registry_sidecars(const struct registry *reg)
{
    return reg->sidecars;
}

struct facts_store *registry_facts(const struct registry *reg)
{
    return reg->facts;
}

bool registry_set_default(struct registry *reg, const char *name, struct err *err)
{
    if (reg->hashes.remember && !reg->hashes.remember(reg->hashes.ctx, DEFAULT_KEPT, name, err))
        return false;
    pthread_mutex_lock(&reg->lock);
    snprintf(reg->chosen, sizeof reg->chosen, "%s", name);
    pthread_mutex_unlock(&reg->lock);
    return true;
}

static void recall_default(struct registry *reg)
{
    char *name = reg->hashes.recall ? reg->hashes.recall(reg->hashes.ctx, DEFAULT_KEPT) : NULL;
    if (name)
        snprintf(reg->chosen, sizeof reg->chosen, "%s", name);
    free(name);
}

bool registry_list(struct registry *reg, struct registry_model **list, size_t *count,
                   struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    const struct registry_table *t = &reg->table;
    const struct registry_entry *first = look_up(reg, default_name(reg));
    struct registry_model *models = malloc((t->count + 1) * sizeof *models);
    size_t n = 0;
    if (models && first) {
        models[n] = first->model;
        models[n++].is_default = true;
    }
    for (size_t i = 0; models && i < t->count; i++)
        if (is_listed(t, i) && &t->entries[i] != first)
            models[n++] = t->entries[i].model;
    pthread_mutex_unlock(&reg->lock);
    if (!models)
        return err_set(err, ERR_INTERNAL, "no memory for the models");
    for (size_t i = 0; i < n; i++)
        add_parts(reg, &models[i]);
    *list = models;
    *count = n;
    return true;
}

bool registry_names(struct registry *reg, enum registry_kind kind, const char ***names,
                    size_t *count, struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    const struct registry_table *t = &reg->table;
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->entries[i].model.kind == kind && is_listed(t, i)) {
            n++;
            bytes += strlen(t->entries[i].model.name) + 1;
        }
    }
    const char **block = malloc((n + 1) * sizeof *block + bytes);
    if (block) {
        char *text = (char *)(block + n + 1);
        size_t at = 0;
        for (size_t i = 0; i < t->count; i++) {
            if (t->entries[i].model.kind == kind && is_listed(t, i)) {
                block[at++] = text;
                text = stpcpy(text, t->entries[i].model.name) + 1;
            }
        }
        block[at] = NULL;
    }
    pthread_mutex_unlock(&reg->lock);
    if (!block)
        return err_set(err, ERR_INTERNAL, "no memory for the models' names");
    *names = block;
    *count = n;
    return true;
}

/* ---- the dispatcher's side ---- */

void registry_set_loaded(struct registry *reg, const char *name, bool loaded)
{
    pthread_mutex_lock(&reg->lock);
    struct registry_entry *e = find(reg, name);
    if (e)
        e->model.loaded = loaded;
    pthread_mutex_unlock(&reg->lock);
}

void registry_set_unloaded(struct registry *reg)
{
    pthread_mutex_lock(&reg->lock);
    for (size_t i = 0; i < reg->table.count; i++)
        reg->table.entries[i].model.loaded = false;
    pthread_mutex_unlock(&reg->lock);
}

/* ---- life ---- */

/* The models folder, made if it is missing, as an absolute path without links: the worker's view of
 * the disk is limited to it. */
static bool find_folder(struct registry *reg, struct err *err)
{
    const struct settings *s = reg->settings;
    char path[PATH_MAX];
    int n = *s->models ? snprintf(path, sizeof path, "%s", s->models)
                       : snprintf(path, sizeof path, "%s/models", s->data);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_INVALID, "the path of the models folder is too long");
    /* Also before the first serve has made the data folder: `pictor generate`, `pictor models`. */
    mkdir(s->data, 0700);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_at(err, path, ERR_IO, "cannot make the models folder: %s", strerror(errno));
    if (!realpath(path, reg->folder))
        return err_at(err, path, ERR_IO, "cannot open the models folder: %s", strerror(errno));
    return true;
}

static bool open_facts(struct registry *reg, struct err *err)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/model-facts", reg->settings->data) >= sizeof path)
        return err_set(err, ERR_INVALID, "the path of the data folder is too long");
    reg->facts = facts_new(path, err);
    return reg->facts;
}

static void free_parts(struct registry *reg)
{
    pthread_cond_destroy(&reg->work);
    pthread_cond_destroy(&reg->done);
    pthread_mutex_destroy(&reg->lock);
    pthread_mutex_destroy(&reg->scanning);
    registry_scan_free(&reg->table);
    registry_remote_free(&reg->listed, reg->settings);
    for (int kind = 0; kind < FOLDERS_KINDS; kind++)
        files_free(reg->files[kind]);
    folders_free(reg->folders);
    facts_free(reg->facts);
    sidecars_free(reg->sidecars);
    vocabularies_free(reg->vocabularies);
    free(reg);
}

struct registry *registry_new(const struct settings *settings, const struct registry_hashes *hashes,
                              struct err *err)
{
    struct registry *reg = calloc(1, sizeof *reg);
    if (!reg) {
        err_set(err, ERR_INTERNAL, "no memory for the registry");
        return NULL;
    }
    reg->settings = settings;
    if (hashes)
        reg->hashes = *hashes;
    pthread_mutex_init(&reg->scanning, NULL);
    pthread_mutex_init(&reg->bad.lock, NULL);
    pthread_mutex_init(&reg->lock, NULL);
    pthread_cond_init(&reg->work, NULL);
    now_cond_init(&reg->done);
    recall_default(reg);
    builtin_model(&reg->builtin_size);
    bool done = (reg->folders = folders_new(settings, err)) && find_folder(reg, err) &&
                open_facts(reg, err) && (reg->sidecars = sidecars_new(err)) &&
                (reg->vocabularies = vocabularies_new(err)) &&
                pictor_model_probe("builtin", &reg->builtin, err) && registry_refresh(reg, err);
    for (int kind = FOLDERS_MODEL + 1; done && kind < FOLDERS_KINDS; kind++)
        done = (reg->files[kind] = files_new(reg->folders, kind, reg, err)) != NULL;
    if (done && pthread_create(&reg->reader, NULL, read_files, reg) != 0)
        done = err_set(err, ERR_INTERNAL, "no thread for the registry");
    if (done)
        return reg;
    free_parts(reg);
    return NULL;
}

void registry_stop(struct registry *reg)
{
    if (reg)
        atomic_store(&reg->stop, true);
}

void registry_free(struct registry *reg)
{
    if (!reg)
        return;
    pthread_mutex_lock(&reg->lock);
    reg->stop = true;
    pthread_cond_signal(&reg->work);
    pthread_mutex_unlock(&reg->lock);
    pthread_join(reg->reader, NULL);
    free_parts(reg);
}

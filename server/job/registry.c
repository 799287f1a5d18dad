/* registry.c: one table, sorted by name, under one lock; a scan builds a new table and takes over
 * what is known of files that did not change. A second thread hashes files, one at a time. */
#include "server/job/registry.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "engine/builtin/builtin.h"
#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"

#define SCAN_DEPTH 4      /* folders below the models folder */
#define SCAN_MODELS 10000 /* a table larger than this is somebody's mistake */
#define RESCAN_MS 1000    /* least time between scans caused by unknown names */
#define ENDING ".safetensors"

struct entry {
    struct registry_model model;
    bool hash_wanted;
};

struct table {
    struct entry *entries; /* sorted by name */
    size_t count;
};

struct registry {
    const struct settings *settings;
    struct registry_hashes hashes; /* zero: none */
    struct pictor_model_info builtin;
    size_t builtin_size;
    char folder[PATH_MAX];    /* absolute; of local models */
    pthread_mutex_t scanning; /* held over a whole scan; taken before `lock`; of these two: */
    int64_t scanned_ms;
    struct err trouble;   /* why the last scan failed; ERR_NONE */
    pthread_mutex_t lock; /* the fields below */
    pthread_cond_t work;  /* a hash is wanted, or stop */
    struct table table;
    atomic_bool stop;
    pthread_t hasher;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->model.name, ((const struct entry *)b)->model.name);
}

/* Before the table is sorted, too: linear, the tables are short. */
static struct entry *find(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->entries[i].model.name, name) == 0)
            return &t->entries[i];
    return NULL;
}

/* ---- scanning ---- */

static void skip(const char *name, const char *why)
{
    char text[256];
    log_event(LOG_WARN, "model_skipped", "name=%s reason=\"%s\"",
              log_quote(text, sizeof text, name), why);
}

/* A new entry, or NULL: the name is taken or cannot be one (logged), or no memory (err). */
static struct registry_model *add(struct table *t, const char *name, size_t length,
                                  enum registry_kind kind, struct err *err)
{
    struct registry_model model = {.kind = kind};
    err->code = ERR_NONE;
    if (length == 0 || length >= sizeof model.name) {
        skip(name, "a name is 1..199 bytes");
        return NULL;
    }
    memcpy(model.name, name, length);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) {
            skip(name, "control characters in its name");
            return NULL;
        }
    }
    if (!json_text_is_utf8(name, length, NULL)) {
        skip(name, "its name is not UTF-8");
        return NULL;
    }
    if (find(t, model.name)) {
        skip(model.name, "there is another model of this name");
        return NULL;
    }
    if (t->count >= SCAN_MODELS) {
        err_set(err, ERR_TOO_LARGE, "more than %d models", SCAN_MODELS);
        return NULL;
    }
    struct entry *entries = realloc(t->entries, (t->count + 1) * sizeof *entries);
    if (!entries) {
        err_set(err, ERR_INTERNAL, "no memory for the models");
        return NULL;
    }
    t->entries = entries;
    entries[t->count] = (struct entry){.model = model};
    return &entries[t->count++].model;
}

static void add_file(struct registry_model *m, const struct stat *st)
{
    int64_t mtime = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
    m->size += (uint64_t)st->st_size;
    if (mtime > m->mtime_ms)
        m->mtime_ms = mtime;
}

/* Size and time of the parts of a diffusers folder. */
static void measure_folder(struct registry_model *m)
{
    static const char *const parts[] = {"unet", "vae", "text_encoder"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int n = snprintf(path, sizeof path, "%s/%s", m->path, parts[i]);
        DIR *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
        struct dirent *item;
        struct stat st;
        while (dir && (item = readdir(dir)))
            if (fstatat(dirfd(dir), item->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
                add_file(m, &st);
        if (dir)
            closedir(dir);
    }
}

/* The stem's length, or 0 when the name has another ending. */
static size_t stem(const char *name)
{
    size_t n = strlen(name), ending = sizeof ENDING - 1;
    return n > ending && strcasecmp(name + n - ending, ENDING) == 0 ? n - ending : 0;
}

/* `path` is a folder; `name` is its place below the models folder, "" or with a slash at the end.
 * False only when the table cannot hold more. Links are followed: people keep models elsewhere. */
static bool scan_folder(struct table *t, const char *path, const char *name, int depth,
                        struct err *err)
{
    DIR *dir = opendir(path);
    struct dirent *item;
    bool done = true;
    if (!dir && depth == 1) /* a disk that is away must not look like an empty folder */
        return err_at(err, path, ERR_IO, "cannot open the models folder: %s", strerror(errno));
    if (!dir) {
        skip(name, strerror(errno));
        return true;
    }
    while (done && (item = readdir(dir))) {
        char item_path[PATH_MAX], item_name[PATH_MAX], unet[PATH_MAX + 8];
        struct stat st, unet_st;
        if (item->d_name[0] == '.')
            continue;
        int n = snprintf(item_path, sizeof item_path, "%s/%s", path, item->d_name);
        int m = snprintf(item_name, sizeof item_name, "%s%s/", name, item->d_name);
        if (n < 0 || (size_t)n >= sizeof item_path || m < 0 || (size_t)m >= sizeof item_name ||
            stat(item_path, &st) != 0)
            continue;
        size_t length = (size_t)m - 1;
        bool folder = S_ISDIR(st.st_mode);
        snprintf(unet, sizeof unet, "%s/unet", item_path);
        if (folder && (stat(unet, &unet_st) != 0 || !S_ISDIR(unet_st.st_mode))) {
            if (depth < SCAN_DEPTH)
                done = scan_folder(t, item_path, item_name, depth + 1, err);
            continue;
        }
        item_name[length] = '\0';
        if (!folder) {
            length = stem(item_name);
            if (length == 0 || !S_ISREG(st.st_mode))
                continue;
        }
        struct registry_model *model = add(t, item_name, length, REGISTRY_LOCAL, err);
        if (!model) {
            done = err->code == ERR_NONE;
            continue;
        }
        memcpy(model->path, item_path, (size_t)n + 1);
        if (folder)
            measure_folder(model);
        else
            add_file(model, &st);
    }
    closedir(dir);
    return done;
}

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
}

/* The built-in model and what the settings name come first: a file in a folder must not take the
 * place of something that the operator wrote down. */
static bool scan(const struct registry *reg, struct table *t, struct err *err)
{
    const struct settings *s = reg->settings;
    struct registry_model *m =
        add(t, REGISTRY_BUILTIN, strlen(REGISTRY_BUILTIN), REGISTRY_LOCAL, err);
    if (!m)
        return false;
    strcpy(m->path, "builtin");
    strcpy(m->sha256, builtin_sha256());
    m->size = reg->builtin_size;
    learn(m, &reg->builtin);
    for (size_t i = 0; i < s->upstream_count; i++) {
        const struct settings_upstream *u = &s->upstreams[i];
        for (size_t j = 0; j < u->model_count; j++) {
            const char *local = u->models[j].local;
            m = add(t, local, strlen(local), REGISTRY_UPSTREAM, err);
            if (!m && err->code != ERR_NONE)
                return false;
            if (m) {
                snprintf(m->upstream, sizeof m->upstream, "%s", u->name);
                snprintf(m->remote, sizeof m->remote, "%s", u->models[j].remote);
            }
        }
    }
    if (!scan_folder(t, reg->folder, "", 1, err))
        return false;
    qsort(t->entries, t->count, sizeof *t->entries, compare);
    return true;
}

static bool same_file(const struct registry_model *a, const struct registry_model *b)
{
    return a->kind == b->kind && a->size == b->size && a->mtime_ms == b->mtime_ms &&
           strcmp(a->path, b->path) == 0 && strcmp(a->upstream, b->upstream) == 0;
}

/* Scans; with `spare` only if the last scan is old enough, or else says what that one said. */
static bool refresh(struct registry *reg, bool spare, struct err *err)
{
    struct table fresh = {0};
    pthread_mutex_lock(&reg->scanning);
    bool due = !spare || now_ms() - reg->scanned_ms >= RESCAN_MS;
    if (due && scan(reg, &fresh, &reg->trouble)) {
        reg->trouble.code = ERR_NONE;
        pthread_mutex_lock(&reg->lock);
        for (size_t i = 0; i < fresh.count; i++) {
            const struct entry *old = find(&reg->table, fresh.entries[i].model.name);
            if (old && same_file(&old->model, &fresh.entries[i].model))
                fresh.entries[i] = *old;
        }
        struct table old = reg->table;
        reg->table = fresh;
        fresh = old;
        log_event(spare ? LOG_DEBUG : LOG_INFO, "models_scanned", "count=%zu", reg->table.count);
        pthread_mutex_unlock(&reg->lock);
    }
    if (due)
        reg->scanned_ms = now_ms();
    free(fresh.entries);
    struct err trouble = reg->trouble;
    pthread_mutex_unlock(&reg->scanning);
    return trouble.code == ERR_NONE || err_copy(err, &trouble);
}

bool registry_refresh(struct registry *reg, struct err *err)
{
    return refresh(reg, false, err);
}

/* ---- hashing ---- */

static void option_name(char *buf, size_t size, const char *path)
{
    snprintf(buf, size, "sha256:%s", path);
}

/* The hash that was remembered, if it is of this very file. */
static bool recall_hash(struct registry *reg, struct registry_model *m)
{
    char name[PATH_MAX + 8];
    unsigned long long size;
    long long mtime;
    char hex[65];
    bool known = false;
    option_name(name, sizeof name, m->path);
    char *value = reg->hashes.recall ? reg->hashes.recall(reg->hashes.ctx, name) : NULL;
    if (value && sscanf(value, "%llu:%lld:%64[0-9a-f]", &size, &mtime, hex) == 3 &&
        size == m->size && mtime == m->mtime_ms && strlen(hex) == 64) {
        memcpy(m->sha256, hex, sizeof hex);
        known = true;
    }
    free(value);
    return known;
}

static void remember_hash(struct registry *reg, const struct registry_model *m)
{
    char name[PATH_MAX + 8], value[128];
    struct err err;
    option_name(name, sizeof name, m->path);
    snprintf(value, sizeof value, "%llu:%lld:%s", (unsigned long long)m->size,
             (long long)m->mtime_ms, m->sha256);
    if (reg->hashes.remember && !reg->hashes.remember(reg->hashes.ctx, name, value, &err))
        log_err(LOG_WARN, "hash_not_kept", &err, " ");
}

/* False when the file cannot be read, changed since the scan, or the registry is being
 * freed. */
static bool hash_file(struct registry *reg, struct registry_model *m)
{
    unsigned char digest[SHA256_SIZE];
    struct stat st;
    struct registry_model now = {0};
    struct err err;
    if (!sha256_file(m->path, &reg->stop, digest, &err)) {
        if (err.code != ERR_CANCELLED)
            log_err(LOG_WARN, "hash_failed", &err, " ");
        return false;
    }
    if (stat(m->path, &st) != 0)
        return false;
    add_file(&now, &st);
    if (now.size != m->size || now.mtime_ms != m->mtime_ms)
        return false;
    sha256_hex(digest, m->sha256);
    remember_hash(reg, m);
    return true;
}

static void *hash_files(void *arg)
{
    struct registry *reg = arg;
    pthread_mutex_lock(&reg->lock);
    while (!reg->stop) {
        struct entry *e = NULL;
        for (size_t i = 0; i < reg->table.count && !e; i++)
            if (reg->table.entries[i].hash_wanted)
                e = &reg->table.entries[i];
        if (!e) {
            pthread_cond_wait(&reg->work, &reg->lock);
            continue;
        }
        struct registry_model m = e->model;
        pthread_mutex_unlock(&reg->lock);
        bool done = recall_hash(reg, &m) || hash_file(reg, &m);
        pthread_mutex_lock(&reg->lock);
        e = find(&reg->table, m.name); /* the table may be another one by now */
        if (e && same_file(&e->model, &m)) {
            e->hash_wanted = false;
            if (done)
                memcpy(e->model.sha256, m.sha256, sizeof m.sha256);
        }
    }
    pthread_mutex_unlock(&reg->lock);
    return NULL;
}

/* Under the lock. */
static void want_hash(struct registry *reg, struct entry *e)
{
    const struct registry_model *m = &e->model;
    bool has_hash = m->kind == REGISTRY_LOCAL && stem(m->path);
    if (has_hash && !m->sha256[0] && !e->hash_wanted) {
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

static const char *default_name(const struct registry *reg)
{
    return *reg->settings->default_model ? reg->settings->default_model : REGISTRY_BUILTIN;
}

/* By name, then by alias (of a name: aliases do not chain). Under the lock. */
static struct entry *look_up(const struct registry *reg, const char *name)
{
    struct entry *e = find(&reg->table, name);
    const char *model = e ? NULL : behind_alias(reg, name);
    return model ? find(&reg->table, model) : e;
}

static void copy_out(const struct registry *reg, const struct entry *e, struct registry_model *out)
{
    *out = e->model;
    out->is_default = e == look_up(reg, default_name(reg));
}

bool registry_resolve(struct registry *reg, const char *name, struct registry_model *out,
                      struct err *err)
{
    char text[REGISTRY_NAME_SIZE];
    if (!name || !*name)
        name = default_name(reg);
    pthread_mutex_lock(&reg->lock);
    struct entry *e = look_up(reg, name);
    if (!e) {
        pthread_mutex_unlock(&reg->lock);
        if (!refresh(reg, true, err))
            return false;
        pthread_mutex_lock(&reg->lock);
        e = look_up(reg, name);
    }
    const char *any = e ? NULL : behind_alias(reg, "*");
    if (any)
        e = find(&reg->table, any);
    if (e) {
        want_hash(reg, e);
        copy_out(reg, e, out);
    }
    pthread_mutex_unlock(&reg->lock);
    if (!e)
        return err_set(err, ERR_NOT_FOUND, "there is no model %s",
                       log_quote(text, sizeof text, name));
    return true;
}

bool registry_list(struct registry *reg, struct registry_model **list, size_t *count,
                   struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    size_t n = reg->table.count;
    const struct entry *first = look_up(reg, default_name(reg));
    struct registry_model *models = calloc(n ? n : 1, sizeof *models);
    size_t at = 0;
    if (models && first)
        copy_out(reg, first, &models[at++]);
    for (size_t i = 0; models && i < n; i++)
        if (&reg->table.entries[i] != first)
            copy_out(reg, &reg->table.entries[i], &models[at++]);
    pthread_mutex_unlock(&reg->lock);
    if (!models)
        return err_set(err, ERR_INTERNAL, "no memory for %zu models", n);
    *list = models;
    *count = n;
    return true;
}

bool registry_names(struct registry *reg, enum registry_kind kind, const char ***names,
                    size_t *count, struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < reg->table.count; i++) {
        const struct registry_model *m = &reg->table.entries[i].model;
        if (m->kind == kind) {
            n++;
            bytes += strlen(m->name) + 1;
        }
    }
    const char **block = malloc((n + 1) * sizeof *block + bytes);
    if (block) {
        char *text = (char *)(block + n + 1);
        size_t at = 0;
        for (size_t i = 0; i < reg->table.count; i++) {
            const struct registry_model *m = &reg->table.entries[i].model;
            if (m->kind == kind) {
                block[at++] = text;
                text = stpcpy(text, m->name) + 1;
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

void registry_set_loaded(struct registry *reg, const char *name,
                         const struct pictor_model_info *info)
{
    pthread_mutex_lock(&reg->lock);
    struct entry *e = find(&reg->table, name);
    if (e && info)
        learn(&e->model, info);
    if (e)
        e->model.loaded = info != NULL;
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
    pthread_mutex_init(&reg->lock, NULL);
    pthread_cond_init(&reg->work, NULL);
    builtin_model(&reg->builtin_size);
    bool done = find_folder(reg, err) && pictor_model_probe("builtin", &reg->builtin, err) &&
                registry_refresh(reg, err);
    if (done && pthread_create(&reg->hasher, NULL, hash_files, reg) != 0)
        done = err_set(err, ERR_INTERNAL, "no thread for the registry");
    if (done)
        return reg;
    free(reg->table.entries);
    free(reg);
    return NULL;
}

void registry_free(struct registry *reg)
{
    if (!reg)
        return;
    pthread_mutex_lock(&reg->lock);
    reg->stop = true;
    pthread_cond_signal(&reg->work);
    pthread_mutex_unlock(&reg->lock);
    pthread_join(reg->hasher, NULL);
    pthread_cond_destroy(&reg->work);
    pthread_mutex_destroy(&reg->lock);
    pthread_mutex_destroy(&reg->scanning);
    free(reg->table.entries);
    free(reg);
}

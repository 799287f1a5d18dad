/* loras.c: one table under a lock of its own; who scans holds another one meanwhile, so that names
 * that are known are found without waiting for it. */
#include "server/job/loras.h"

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
#include "server/base/settings.h"

struct loras_folder {
    const struct settings *settings;
    pthread_mutex_t scanning; /* held over a whole scan; taken before `lock`; of these two: */
    int64_t rescan_ms;        /* unless it is asked for, there is no scan before that */
    struct err trouble;       /* why the last scan failed; ERR_NONE */
    pthread_mutex_t lock;     /* the table */
    struct registry_table table;
};

struct loras_folder *loras_folder_new(const struct settings *settings, struct err *err)
{
    struct loras_folder *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(err, ERR_INTERNAL, "no memory for the LoRAs");
        return NULL;
    }
    f->settings = settings;
    pthread_mutex_init(&f->scanning, NULL);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void loras_folder_free(struct loras_folder *f)
{
    if (!f)
        return;
    pthread_mutex_destroy(&f->scanning);
    pthread_mutex_destroy(&f->lock);
    registry_scan_free(&f->table);
    free(f);
}

/* ---- the table ---- */

static bool scan(const struct settings *settings, struct registry_table *out, struct err *err)
{
    char folder[PATH_MAX];
    if (!realpath(settings->loras, folder))
        return errno == ENOENT || err_at(err, settings->loras, ERR_UNAVAILABLE,
                                         "the LoRAs' folder: %s", strerror(errno));
    return registry_scan_folder(out, folder, err) && registry_scan_sort(out, err);
}

/* Scans; with `spare` only if the last scan is old enough, or else says what that one said. */
static bool refresh(struct loras_folder *f, bool spare, struct err *err)
{
    struct registry_table fresh = {0};
    pthread_mutex_lock(&f->scanning);
    int64_t begun = now_ms();
    if (!spare || begun >= f->rescan_ms) {
        if (scan(f->settings, &fresh, &f->trouble)) {
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

bool loras_refresh(struct loras_folder *f, struct err *err)
{
    return refresh(f, false, err);
}

bool loras_list(struct loras_folder *f, struct registry_table *out, struct err *err)
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
    return out->entries || err_set(err, ERR_INTERNAL, "no memory for %zu LoRAs", count);
}

const char *loras_stem(const struct registry_entry *entry)
{
    const char *slash = strrchr(entry->model.name, '/');
    return slash ? slash + 1 : entry->model.name;
}

/* Where the file of this name is, if that is known. */
static bool find(struct loras_folder *f, const char *name, char path[PATH_MAX])
{
    pthread_mutex_lock(&f->lock);
    const struct registry_table *t = &f->table;
    const struct registry_entry *e = registry_scan_find(t, name);
    for (size_t i = 0; i < t->count && !e; i++)
        if (strcmp(loras_stem(&t->entries[i]), name) == 0)
            e = &t->entries[i];
    bool found = e && *e->model.ending && /* no folder is a LoRA */
                 snprintf(path, PATH_MAX, "%s/%s%s", f->settings->loras, e->model.name,
                          e->model.ending) < PATH_MAX;
    pthread_mutex_unlock(&f->lock);
    return found;
}

static bool look_up(struct loras_folder *f, const char *name, char path[PATH_MAX], struct err *err)
{
    bool known = find(f, name, path);
    if (known && (access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)))
        return true;
    /* A name whose file is gone costs one scan: it is not known any more then. */
    return refresh(f, !known, err) &&
           (find(f, name, path) || err_set(err, ERR_NOT_FOUND, "there is no such LoRA"));
}

bool loras_has(struct loras_folder *f, const char *name, struct err *err)
{
    char path[PATH_MAX];
    return look_up(f, name, path, err);
}

/* ---- of a prompt ---- */

static bool open_one(const char *path, const struct lora_tag *tag, struct loras *out,
                     struct err *err)
{
    struct stat st;
    struct registry_entry now = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_at(err, path, errno == EMFILE || errno == ENFILE ? ERR_BUSY : ERR_IO, "LoRA %s: %s",
               tag->name, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    registry_scan_measure(&now, &st);
    out->at[out->count++] = (struct lora_file){*tag, fd, now.model.size, now.model.mtime_ms};
    return true;
}

static bool open_tag(struct loras_folder *f, const struct lora_tag *tag, struct loras *out,
                     struct err *err)
{
    char path[PATH_MAX], text[300];
    struct err why;
    if (look_up(f, tag->name, path, &why))
        return open_one(path, tag, out, err);
    if (why.code != ERR_NOT_FOUND)
        return err_copy(err, &why);
    log_event(LOG_WARN, "lora_unknown", "name=%s", log_quote(text, sizeof text, tag->name));
    return true;
}

bool loras_open(struct loras_folder *f, const char *prompt, struct loras *out, struct err *err)
{
    struct lora_tags tags;
    char *words = lora_tags_take(prompt ? prompt : "", &tags, err);
    bool ok = words;
    *out = (struct loras){.count = 0};
    for (size_t i = 0; ok && i < tags.count; i++)
        ok = open_tag(f, &tags.at[i], out, err);
    if (!ok)
        loras_close(out);
    free(words);
    return ok;
}

void loras_close(struct loras *l)
{
    for (size_t i = 0; i < l->count; i++)
        close(l->at[i].fd);
    l->count = 0;
}

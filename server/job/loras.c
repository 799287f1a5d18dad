#include "server/job/loras.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/settings.h"

bool loras_scan(const struct settings *settings, struct registry_table *out, struct err *err)
{
    char folder[PATH_MAX];
    *out = (struct registry_table){0};
    if (!realpath(settings->loras, folder))
        return errno == ENOENT || err_at(err, settings->loras, ERR_UNAVAILABLE,
                                         "the LoRAs' folder: %s", strerror(errno));
    if (registry_scan_folder(out, folder, err) && registry_scan_sort(out, err))
        return true;
    registry_scan_free(out);
    return false;
}

const char *loras_stem(const struct registry_entry *entry)
{
    const char *slash = strrchr(entry->model.name, '/');
    return slash ? slash + 1 : entry->model.name;
}

const struct registry_entry *loras_find(const struct registry_table *table, const char *name)
{
    const struct registry_entry *e = registry_scan_find(table, name);
    for (size_t i = 0; i < table->count && !e; i++)
        if (strcmp(loras_stem(&table->entries[i]), name) == 0)
            e = &table->entries[i];
    return e && *e->model.ending ? e : NULL; /* no folder is a LoRA */
}

static bool open_one(const struct settings *settings, const struct registry_entry *e,
                     const struct lora_tag *tag, struct loras *out, struct err *err)
{
    char path[PATH_MAX];
    const struct registry_model *m = &e->model;
    int n = snprintf(path, sizeof path, "%s/%s%s", settings->loras, m->name, m->ending);
    int fd = n < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return err_at(err, path, errno == EMFILE || errno == ENFILE ? ERR_BUSY : ERR_IO,
                      "LoRA %s: %s", tag->name, strerror(errno));
    out->at[out->count++] = (struct lora_file){*tag, fd, m->size, m->mtime_ms};
    return true;
}

bool loras_open(const struct settings *settings, const char *prompt, struct loras *out,
                struct err *err)
{
    struct lora_tags tags;
    struct registry_table table = {0};
    char *words = lora_tags_take(prompt ? prompt : "", &tags, err), text[300];
    bool ok = words && (tags.count == 0 || loras_scan(settings, &table, err));
    *out = (struct loras){.count = 0};
    for (size_t i = 0; ok && i < tags.count; i++) {
        const struct registry_entry *e = loras_find(&table, tags.at[i].name);
        if (e)
            ok = open_one(settings, e, &tags.at[i], out, err);
        else
            log_event(LOG_WARN, "lora_unknown", "name=%s",
                      log_quote(text, sizeof text, tags.at[i].name));
    }
    if (!ok)
        loras_close(out);
    registry_scan_free(&table);
    free(words);
    return ok;
}

void loras_close(struct loras *l)
{
    for (size_t i = 0; i < l->count; i++)
        close(l->at[i].fd);
    l->count = 0;
}

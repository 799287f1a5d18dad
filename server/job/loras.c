/* loras.c: tags of a prompt to open files. */
#include "server/job/loras.h"

#include <stdlib.h>
#include <unistd.h>

static bool open_tag(struct files *f, const struct lora_tag *tag, struct loras *out,
                     struct err *err)
{
    char text[300];
    struct files_open opened;
    struct err why;
    if (files_open(f, tag->name, &opened, &why)) {
        out->at[out->count++] = (struct lora_file){*tag, opened.fd, opened.size, opened.mtime_ms};
        return true;
    }
    if (why.code != ERR_NOT_FOUND)
        return err_copy(err, &why);
    log_event(LOG_WARN, "lora_unknown", "name=%s", log_quote(text, sizeof text, tag->name));
    return true;
}

bool loras_open(struct files *f, const char *prompt, struct loras *out, struct err *err)
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

bool loras_merge_fitting(struct pictor_model *model, const struct pictor_lora *list, size_t count,
                         enum log_level level, const char *who, struct err *err)
{
    struct pictor_lora fitting[PICTOR_LORAS_MAX];
    size_t kept = 0;
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        fitting[kept] = list[i];
        done = pictor_model_merge(model, fitting, kept + 1, err);
        if (done) {
            kept++;
            continue;
        }
        if (err->code != ERR_INVALID && err->code != ERR_UNSUPPORTED)
            return false;
        log_err(level, "lora_does_not_fit", err, "%s", who);
    }
    return (done && count > 0) || pictor_model_merge(model, fitting, kept, err);
}

#include "engine/family/stable_words.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/log.h"

void stable_words_free(struct stable_words *w)
{
    vocabulary_free(w->vocabulary);
    for (int i = 0; i < EMBEDDING_ENCODERS; i++)
        free(w->vectors[i]);
    *w = (struct stable_words){0};
}

/* Those that are open, and how many vectors they have together. */
struct opened {
    struct checkpoint *cp[PICTOR_EMBEDDINGS_MAX];
    struct pictor_embedding_info info[PICTOR_EMBEDDINGS_MAX];
    const char *names[PICTOR_EMBEDDINGS_MAX];
    int vectors[PICTOR_EMBEDDINGS_MAX];
    size_t count, all;
};

static bool open_one(struct opened *o, const struct pictor_model_info *model,
                     const struct pictor_embedding *e, struct err *err)
{
    struct pictor_files files = {.count = 1};
    struct pictor_embedding_info *info = &o->info[o->count];
    char name[96];
    snprintf(files.items[0].name, sizeof files.items[0].name, "embedding");
    files.items[0].fd = e->fd;
    struct checkpoint *cp = checkpoint_open_files(&files, err);
    if (!cp || !embedding_describe(cp, info, err)) {
        checkpoint_free(cp);
        return false;
    }
    if (!pictor_embedding_fits(info, model)) {
        log_event(LOG_WARN, "embedding_skipped",
                  "name=%s numbers=\"%d and %d\" wanted=\"%d and %d\"",
                  log_quote(name, sizeof name, e->name), info->widths[0], info->widths[1],
                  model->text_widths[0], model->text_widths[1]);
        checkpoint_free(cp);
        return true;
    }
    o->names[o->count] = e->name;
    o->vectors[o->count] = info->vectors;
    o->all += (size_t)info->vectors;
    o->cp[o->count++] = cp;
    return true;
}

static bool read_all(struct stable_words *w, const struct opened *o,
                     const struct pictor_model_info *model, struct err *err)
{
    size_t at = 0;
    for (int i = 0; i < EMBEDDING_ENCODERS; i++) {
        size_t width = (size_t)model->text_widths[i];
        w->vectors[i] = width ? malloc(o->all * width * sizeof *w->vectors[i]) : NULL;
        if (width && !w->vectors[i])
            return err_set(err, ERR_INTERNAL, "no memory for %zu vectors of embeddings", o->all);
    }
    for (size_t k = 0; k < o->count; k++) {
        float *to[EMBEDDING_ENCODERS];
        for (int i = 0; i < EMBEDDING_ENCODERS; i++)
            to[i] = w->vectors[i] ? w->vectors[i] + at * (size_t)model->text_widths[i] : NULL;
        if (!embedding_read(o->cp[k], &o->info[k], to, err))
            return err_prefix(err, "embedding %s", o->names[k]);
        at += (size_t)o->vectors[k];
    }
    return true;
}

bool stable_words_load(struct stable_words *w, const struct tokenizer *tokenizer,
                       const struct pictor_model_info *model, const struct pictor_embedding *list,
                       size_t count, struct err *err)
{
    struct opened o = {.count = 0};
    stable_words_free(w);
    bool ok = count <= PICTOR_EMBEDDINGS_MAX ||
              err_set(err, ERR_INVALID, "%zu embeddings: wanted at most %d", count,
                      PICTOR_EMBEDDINGS_MAX);
    for (size_t i = 0; ok && i < count; i++)
        ok = open_one(&o, model, &list[i], err) || err_prefix(err, "embedding %s", list[i].name);
    ok = ok && (o.count == 0 ||
                (read_all(w, &o, model, err) &&
                 (w->vocabulary = vocabulary_new(tokenizer, o.names, o.vectors, o.count, err))));
    for (size_t i = 0; i < o.count; i++)
        checkpoint_free(o.cp[i]);
    if (!ok)
        stable_words_free(w);
    return ok;
}

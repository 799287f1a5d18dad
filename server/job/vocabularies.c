#include "server/job/vocabularies.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/job/registry.h"

struct vocabularies {
    pthread_mutex_t lock;
    char name[REGISTRY_NAME_SIZE]; /* of the model, and which version of its files; "": none */
    uint64_t size;
    int64_t mtime_ms;
    struct pictor_vocabulary *words; /* NULL: they could not be read */
};

struct vocabularies *vocabularies_new(struct err *err)
{
    struct vocabularies *v = calloc(1, sizeof *v);
    if (v)
        pthread_mutex_init(&v->lock, NULL);
    else
        err_set(err, ERR_INTERNAL, "no memory for vocabularies");
    return v;
}

void vocabularies_free(struct vocabularies *v)
{
    if (!v)
        return;
    pictor_vocabulary_free(v->words);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

/* Under the lock. What cannot be read is looked at again when its files change. */
static void know(struct vocabularies *v, struct registry *registry, const char *name)
{
    struct registry_model model;
    struct pictor_files files;
    struct err err;
    if (!registry_resolve(registry, name, &model, &err)) {
        *v->name = '\0';
        pictor_vocabulary_free(v->words);
        v->words = NULL;
        return;
    }
    if (strcmp(v->name, model.name) == 0 && v->size == model.size &&
        v->mtime_ms == model.mtime_ms)
        return;
    pictor_vocabulary_free(v->words);
    v->words = NULL;
    snprintf(v->name, sizeof v->name, "%s", model.name);
    v->size = model.size;
    v->mtime_ms = model.mtime_ms;
    if (!registry_open(registry, &model, &files, &err))
        return;
    v->words = pictor_vocabulary_open(&files, &err);
    pictor_files_close(&files);
}

bool vocabularies_count(struct vocabularies *v, struct registry *registry, const char *model,
                        const char *architecture, const struct pictor_params *params,
                        bool negative, struct pictor_prompt_size *out, struct err *err)
{
    if (!pictor_vocabulary_wanted(architecture))
        return pictor_prompt_tokens(architecture, NULL, params, negative, out, err);
    pthread_mutex_lock(&v->lock);
    know(v, registry, model);
    bool done = pictor_prompt_tokens(architecture, v->words, params, negative, out, err);
    pthread_mutex_unlock(&v->lock);
    return done;
}

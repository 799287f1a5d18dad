/* worker_models.h: the models a worker holds in memory.
 *
 * The last ones used for a picture stay open, and others beside them as long as all of them fit
 * into the budget; the one that waited longest goes first. Models of one picture that do not fit
 * into the limit together rest before the next one is opened; the engine then has them take turns.
 * A file that changed on disk is opened again, and so is a model that is to have another VAE. Not
 * thread-safe. */
#ifndef PICTOR_SERVER_WORKER_MODELS_H
#define PICTOR_SERVER_WORKER_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/pictor.h"

struct worker_models;

/* Which model, in which version, and its open files. All borrowed for a call. */
struct worker_model_ref {
    const char *name;
    uint64_t size;
    int64_t mtime_ms;
    const char *vae; /* the file among them that takes the place of its VAE; "": none */
    uint64_t vae_size;
    int64_t vae_mtime_ms;
    const struct pictor_files *files;
};

/* Called when a model was opened, or closed (`info` NULL). */
typedef void worker_models_fn(void *ctx, const char *name, const struct pictor_model_info *info);

/* `budget`: bytes of weights; `limit`: those that no picture's models may take together, 0: none.
 * Borrows the engine. Lives as long as the process. */
struct worker_models *worker_models_new(struct pictor_engine *engine, size_t budget, size_t limit,
                                        worker_models_fn *changed, void *ctx, struct err *err);

/* Opens it unless it is open. Valid until the next call, and beside it what `beside` gives: one
 * more model of that picture. */
struct pictor_model *worker_models_get(struct worker_models *models,
                                       const struct worker_model_ref *ref, struct err *err);
struct pictor_model *worker_models_get_beside(struct worker_models *models,
                                              const struct worker_model_ref *ref, struct err *err);

/* All models of the picture were got: of others, which rested models had left room for, those that
 * waited longest are closed until all fit. */
void worker_models_settle(struct worker_models *models);

/* A LoRA in which version, as worker_model_ref. */
struct worker_lora {
    struct pictor_lora lora;
    uint64_t size;
    int64_t mtime_ms;
};

/* The model, which worker_models_get gave, has these LoRAs from now on and no others; nothing is
 * done where it has them. */
bool worker_models_merge(struct worker_models *models, struct pictor_model *model,
                         const struct worker_lora *loras, size_t count, struct err *err);

/* The same, of those of them that fit the model, which is not the one they were meant for; the
 * others are logged. */
bool worker_models_merge_fitting(struct worker_models *models, struct pictor_model *model,
                                 const struct worker_lora *loras, size_t count, struct err *err);

/* An embedding in which version. */
struct worker_embedding {
    struct pictor_embedding file;
    uint64_t size;
    int64_t mtime_ms;
};

/* As worker_models_merge. */
bool worker_models_embed(struct worker_models *models, struct pictor_model *model,
                         const struct worker_embedding *list, size_t count, struct err *err);

/* A ControlNet in which version. */
struct worker_control {
    struct pictor_control_file file;
    uint64_t size;
    int64_t mtime_ms;
};

/* As worker_models_merge. */
/* From now on previews of the model are what this decodes; one that cannot is logged, once. */
void worker_models_previews(struct worker_models *models, struct pictor_model *model,
                            const struct worker_control *tiny);
bool worker_models_control(struct worker_models *models, struct pictor_model *model,
                           const struct worker_control *controls, size_t count, struct err *err);

bool worker_models_any(const struct worker_models *models);
void worker_models_close_all(struct worker_models *models);

#endif

/* registry.h: which model names there are, and what runs each of them.
 *
 * A name is only ever looked up in a table made by scanning the models folder and reading the
 * settings; it is never a path. The table holds: the built-in model "pictor-mini"; every
 * .safetensors file up to 16 folders below the models folder, named by its place without the ending
 * ("v1-5" or "anime/v2"); every folder that has a unet/ or transformer/ inside (diffusers layout);
 * and the models of the upstreams, those that the settings name and those that an upstream lists
 * itself, which come after everything else of their name. Aliases are other names of these; the
 * alias "*" takes every unknown name. Links are followed. What links, or hard links, make reachable
 * by several names is one model: it has the name of its place, and the others are found, too, but
 * not listed.
 *
 * What a file's header says is read in the background, or by who resolves the model first, and read
 * again when a scan finds another size, time or inode: what a job is painted with depends on the
 * file alone, not on what a worker has opened by then. The SHA-256 of a file is computed once
 * somebody resolves the model, and kept with the file's size and time. Thread-safe: everything is
 * copied out. */
#ifndef PICTOR_SERVER_REGISTRY_H
#define PICTOR_SERVER_REGISTRY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/job/folders.h"

#define REGISTRY_NAME_SIZE 200
#define REGISTRY_BUILTIN "pictor-mini"

struct facts_store;
struct sidecars;
struct vocabularies;
struct files;
struct pictor_files;
struct registry_table;
struct settings;
struct settings_upstream;
struct registry;

enum registry_kind { REGISTRY_LOCAL, REGISTRY_UPSTREAM };

/* What of a job an upstream is told (notes.c has the fields). */
enum registry_told {
    REGISTRY_TOLD_ALL,        /* it is no upstream */
    REGISTRY_TOLD_WORDS,      /* openai: what OpenAI's API has */
    REGISTRY_TOLD_EXTENSIONS, /* openai, with pictor's extensions */
    REGISTRY_TOLD_WEBUI,      /* sdapi */
    REGISTRY_TOLD_WORKFLOW    /* comfyui */
};

struct registry_model {
    char name[REGISTRY_NAME_SIZE];
    enum registry_kind kind;
    char ending[16]; /* of a file's name, ".safetensors" in some case; "": it is none */
    bool named_whole; /* `name` has the ending in it: there is a better file without it */
    const char *path; /* local: what pictor_files_open wants, as long as the registry lives */
    char upstream[40];               /* upstream: its name in the settings; local: "" */
    char remote[REGISTRY_NAME_SIZE]; /* upstream: the model's name there */
    enum registry_told told;
    const char *placeholders; /* of REGISTRY_TOLD_WORKFLOW, as struct settings_upstream's */
    bool takes_more;                 /* upstream: further pictures beside the one to begin from */
    uint64_t size;                   /* bytes of the file or folder; 0 when unknown */
    int64_t mtime_ms;                /* newest file in it, Unix milliseconds; 0 when unknown */
    char sha256[65];                 /* hex; "" while unknown, and for folders and upstreams */

    /* What its header says, once it was read (registry_resolve, registry_await); "" and 0 before,
     * of upstreams, and of what cannot be painted with. */
    enum pictor_kind holds; /* of a file in a folder of models: what it is; before, a model */
    char title[64], architecture[32];
    char trigger[256]; /* of LoRAs and the like */
    char alias[128];   /* of LoRAs: what their trainers called them */
    int native_width, native_height;
    double default_guidance;
    int default_steps;
    char default_sampler[32], default_scheduler[32]; /* "": what is everybody's */
    int clip_skips; /* the most that clip_skip may be */
    double default_image_guidance; /* as struct pictor_model_info's */
    bool masked;
    int references;     /* as struct pictor_model_info's */
    bool flow;
    enum pictor_guide guide;
    bool lone;          /* it is a UNet alone: server/job/parts.h */
    int text_widths[2]; /* as struct pictor_model_info's */
    struct pictor_embedding_info embedding; /* of a file in a folder of embeddings */
    enum err_code fault; /* of a file that cannot be painted with, and why; ERR_NONE */
    char problem[256];

    bool loaded;     /* a worker holds it in memory now */
    bool is_default; /* what a request without a model gets */
};

/* Where hashes outlive the process: texts under names. Called by any thread. */
struct registry_hashes {
    void *ctx;
    /* malloc'd; NULL: there is none. */
    char *(*recall)(void *ctx, const char *name);
    bool (*remember)(void *ctx, const char *name, const char *value, struct err *err);
};

/* Scans once. Borrows the settings and copies `hashes`, which may be NULL: they are then kept in
 * memory only. A models folder that does not exist is created. Returns owned. */
struct registry *registry_new(const struct settings *settings, const struct registry_hashes *hashes,
                              struct err *err);
/* Files that are being read for their hashes are left; registry_free waits for nobody else. NULL is
 * fine. */
void registry_stop(struct registry *reg);
void registry_free(struct registry *reg);

/* Looks at the models folder again. On failure the old table stays. */
bool registry_refresh(struct registry *reg, struct err *err);

/* Adds the files of another kind that lie among models, as far as they were read. */
bool registry_strays(struct registry *reg, enum folders_kind kind, struct registry_table *out,
                     struct err *err);

/* What is known of files, of every kind. Lives as long as the registry. */
struct facts_store *registry_facts(const struct registry *reg);

/* Which count tokens by the models' own words. Live as long as the registry. */
struct vocabularies *registry_vocabularies(const struct registry *reg);

/* What lies beside them. Lives as long as the registry. */
struct sidecars *registry_sidecars(const struct registry *reg);

/* Waits until the headers of all files were read, or `ms` have passed: whether they were. */
bool registry_await(struct registry *reg, int ms);

/* Waits until the SHA-256 of a model's file is known, or cannot be, or `ms` have passed. At once
 * for what has none. `name` as registry_resolve gives it. */
void registry_await_hash(struct registry *reg, const char *name, int ms);

/* The SHA-256 of any file, in hex, by what is remembered of it or by reading it; false: it cannot
 * be read now. */
bool registry_hash_file(struct registry *reg, const char *path, char sha256[65]);

/* The same by what is remembered alone: at once. */
bool registry_recall_file(struct registry *reg, const char *path, char sha256[65]);

/* Whether a file could not be read for its SHA-256 within the last minute, and why. */
bool registry_unreadable(struct registry *reg, const char *path, struct err *err);

/* The files of a kind beside the models (server/job/files.h); NULL of FOLDERS_MODEL. Lives as long
 * as the registry. */
struct files *registry_files(const struct registry *reg, enum folders_kind kind);

/* `name` NULL or "": the default model. Unknown names, and those of files that could not be painted
 * with (one that is being copied is not there yet), cause a rescan, at most one a second, less
 * often where it takes long; then ERR_NOT_FOUND, or ERR_UNAVAILABLE while the models folder cannot
 * be read. A file that cannot be painted with fails with what it is instead, and so does a UNet
 * alone whose other parts are not there; *out is filled then, too. Of a UNet alone, size and time
 * are those of all its parts. out->name is the name behind the alias: what job_params.model wants.
 */
bool registry_resolve(struct registry *reg, const char *name, struct registry_model *out,
                      struct err *err);

/* `name`, which there is, is the default model from now on, also after a restart, as long as it is
 * there; "": the settings' is again. */
bool registry_set_default(struct registry *reg, const char *name, struct err *err);

/* What pictor_files_open wants, for a local model: "builtin", or an absolute path. The second opens
 * it, and says in its error which model it was. */
void registry_path(const struct registry *reg, const struct registry_model *model,
                   char path[PATH_MAX]);
bool registry_open(const struct registry *reg, const struct registry_model *model,
                   struct pictor_files *files, struct err *err);

/* The default first, then by name. What lies among models and is of another kind is left out: it is
 * in the list of its kind. *list is malloc'd. */
bool registry_list(struct registry *reg, struct registry_model **list, size_t *count,
                   struct err *err);

/* ---- the dispatcher's side ---- */

/* The models that an upstream has now, in place of those it had, as far as the settings want them
 * (their `listed`). Cheap where nothing changed. */
bool registry_set_listed(struct registry *reg, const struct settings_upstream *upstream,
                         const char *const *names, size_t count, struct err *err);

/* The names of one kind, NULL-terminated, in one malloc'd block: free(names). */
bool registry_names(struct registry *reg, enum registry_kind kind, const char ***names,
                    size_t *count, struct err *err);

/* A worker has opened the model, or closed it. */
void registry_set_loaded(struct registry *reg, const char *name, bool loaded);
/* The worker is gone: nothing is loaded. */
void registry_set_unloaded(struct registry *reg);

#endif

/* embeddings.h: the textual inversions that a job's prompts name. Where they lie:
 * server/job/files.h. */
#ifndef PICTOR_SERVER_EMBEDDINGS_H
#define PICTOR_SERVER_EMBEDDINGS_H

#include <limits.h>

#include "server/job/files.h"

struct job_params;

struct embeddings_named {
    char name[REGISTRY_NAME_SIZE]; /* the file's whole name, without its ending */
    char path[PATH_MAX];
    char why[160]; /* it is left out because; "": it is not */
};

/* What one job's prompts name. Zero is nothing; embeddings_list_free. */
struct embeddings_list {
    struct embeddings_named *at;
    size_t count;
};

/* Looks for names of files in the job's prompts, as the engine will find them. One whose vectors
 * the model does not take, or that is of another kind, is left out, and says why; a broken one is
 * an error, as more than PICTOR_EMBEDDINGS_MAX are. `text_widths`: the model's; 0 and 0: they are
 * not known, and all fit. A folder that cannot be read is logged and has no files. *param (may be
 * NULL) names the field to blame. `f`: of FOLDERS_EMBEDDING. */
bool embeddings_find(struct files *f, const int text_widths[2], const struct job_params *p,
                     struct embeddings_list *out, const char **param, struct err *err);
/* How long the job's prompt is, or the negative one, by the words that these files stand for. */
bool embeddings_measure(struct files *f, const int text_widths[2], const struct job_params *p,
                        bool negative, struct pictor_prompt_size *out, struct err *err);
void embeddings_list_free(struct embeddings_list *list);

/* Whether one of these vectors fits, and why not otherwise. */
bool embeddings_fit(const struct pictor_embedding_info *info, const int text_widths[2],
                    char why[160]);

struct embedding_file {
    char name[REGISTRY_NAME_SIZE];
    int fd;
    uint64_t size;
    int64_t mtime_ms;
};

/* What a picture is to have, opened. Zero is nothing. */
struct embeddings {
    struct embedding_file at[PICTOR_EMBEDDINGS_MAX];
    size_t count;
};

/* Opens what embeddings_find finds and does not leave out; p->embeddings becomes what an infotext
 * says of them, "NAME: first digits of the file's SHA-256, ...", or NULL. */
bool embeddings_open(struct files *f, const int text_widths[2], struct job_params *p,
                     struct embeddings *out, struct err *err);
void embeddings_close(struct embeddings *e);

#endif

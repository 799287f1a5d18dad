/* loras.h: the LoRAs that a prompt wants, opened. Where they lie: server/job/files.h. */
#ifndef PICTOR_SERVER_LORAS_H
#define PICTOR_SERVER_LORAS_H

#include "engine/base/log.h"
#include "server/job/files.h"
#include "server/job/lora_tags.h"

struct lora_file {
    struct lora_tag tag;
    int fd;
    uint64_t size;
    int64_t mtime_ms;
};

/* What one picture is to have. Zero is nothing. */
struct loras {
    struct lora_file at[PICTOR_LORAS_MAX];
    size_t count;
};

/* Opens what the prompt's tags name: by the whole name, or the first that has the stem. A name that
 * no file has is left out, and logged. `f`: of FOLDERS_LORA. */
bool loras_open(struct files *f, const char *prompt, struct loras *out, struct err *err);
void loras_close(struct loras *l);

/* Merges into a model that they need not fit, such as a refiner, those that do, one after another.
 * What does not is logged at `level`, with `who` ("model=NAME"). Else as pictor_model_merge. */
bool loras_merge_fitting(struct pictor_model *model, const struct pictor_lora *list, size_t count,
                         enum log_level level, const char *who, struct err *err);

#endif

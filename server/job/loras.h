/* loras.h: the LoRAs that lie in a folder, and those that a prompt wants, opened. */
#ifndef PICTOR_SERVER_LORAS_H
#define PICTOR_SERVER_LORAS_H

#include "server/job/lora_tags.h"
#include "server/job/registry_scan.h"

struct settings;

/* Looks at the folder (`loras` of the settings; one that is not there is empty). Entries are named
 * as models are, by their place without the ending. registry_scan_free(out). */
bool loras_scan(const struct settings *settings, struct registry_table *out, struct err *err);

/* "style" of "anime/style": what a tag calls a LoRA. */
const char *loras_stem(const struct registry_entry *entry);

/* By its whole name, or the first that has this stem; NULL when there is none. */
const struct registry_entry *loras_find(const struct registry_table *table, const char *name);

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

/* Opens what the prompt's tags name. A name that no file has is left out, and logged. */
bool loras_open(const struct settings *settings, const char *prompt, struct loras *out,
                struct err *err);
void loras_close(struct loras *l);

#endif

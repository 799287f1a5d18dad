/* loras.h: the LoRAs that lie in a folder (`loras` of the settings; one that is not there is
 * empty), and those that a prompt wants, opened.
 *
 * The folder is scanned for names that are not known and for lists, at most once a second, less
 * often where it takes long, and when a file is gone; what is known costs no scan. Thread-safe. */
#ifndef PICTOR_SERVER_LORAS_H
#define PICTOR_SERVER_LORAS_H

#include "server/job/lora_tags.h"
#include "server/job/registry_scan.h"

struct settings;
struct loras_folder;

/* Borrows the settings; scans nothing yet. Returns owned. */
struct loras_folder *loras_folder_new(const struct settings *settings, struct err *err);
void loras_folder_free(struct loras_folder *f); /* NULL is fine */

/* Looks at the folder now. On failure what was known stays. */
bool loras_refresh(struct loras_folder *f, struct err *err);

/* A copy of what there is. Entries are named as models are, by their place without the ending;
 * those without an ending are no LoRAs. registry_scan_free(out). */
bool loras_list(struct loras_folder *f, struct registry_table *out, struct err *err);

/* "style" of "anime/style": what a tag calls a LoRA. */
const char *loras_stem(const struct registry_entry *entry);

/* Whether there is one of this whole name, or with this stem; ERR_NOT_FOUND. */
bool loras_has(struct loras_folder *f, const char *name, struct err *err);

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
 * no file has is left out, and logged. */
bool loras_open(struct loras_folder *f, const char *prompt, struct loras *out, struct err *err);
void loras_close(struct loras *l);

#endif

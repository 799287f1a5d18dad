/* lora_list.h: LoRAs as a list of a request instead of tags in its prompt. They become such tags
 * (lora_tags.h), behind what the prompt says: a job has one place for its LoRAs, and its infotext
 * paints it again. What a list names must be there, which of a tag is only a warning: whoever
 * writes a list means a file. No state. */
#ifndef PICTOR_SERVER_LORA_LIST_H
#define PICTOR_SERVER_LORA_LIST_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/job/files.h"

struct cJSON;

/* Adds the tags of the list to *prompt, which is malloc'd and may move. NULL, null and an empty
 * list are none.
 *
 * An item is a name, or an object with `name` and perhaps `weight` (1) and `text_weight` (the
 * weight: what text encoders have of it). Other programs' names for these are taken as well:
 * `path` and `multiplier` (stable-diffusion.cpp), `lora_name`, `strength_model` and `strength_clip`
 * (ComfyUI's nodes), `adapter_name` and `scale` (diffusers). A name is found as a tag's
 * is, with or without the file's ending; `files` is of FOLDERS_LORA.
 *
 * ERR_INVALID says which item and why, beginning with "loras[I]"; ERR_NOT_FOUND never. */
bool lora_list_add(const struct cJSON *list, struct files *files, char **prompt, struct err *err);

/* The same with one of a command line: NAME, NAME:WEIGHT or NAME:TEXT:UNET, as in a tag. */
bool lora_list_add_words(const char *words, struct files *files, char **prompt, struct err *err);

/* JSON Schema of a list. Owned. */
struct cJSON *lora_list_schema(void);

#endif

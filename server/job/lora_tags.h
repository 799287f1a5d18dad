/* lora_tags.h: the SD WebUI's tags in prompts, "<lora:NAME:WEIGHT>", which say what LoRAs the model
 * is to have and are no words of the prompt. */
#ifndef PICTOR_SERVER_LORA_TAGS_H
#define PICTOR_SERVER_LORA_TAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

#define LORA_TAGS_NAME 200
#define LORA_TAGS_STRENGTH 100 /* most, and least below 0 */

struct lora_tag {
    char name[LORA_TAGS_NAME];
    double text, unet; /* how much of it in text encoders and in the UNet */
};

struct lora_tags {
    struct lora_tag at[PICTOR_LORAS_MAX];
    size_t count;
};

/* Whether it is of a word: a letter, a digit, an underscore, or beyond ASCII. */
bool lora_tags_is_word(char c);

/* The first tag at or behind `prompt`, of `size` bytes; NULL: none. A tag is <kind:arguments> with
 * a kind of letters, digits and underscores. Linear in the prompt until the tag's end. */
const char *lora_tags_next(const char *prompt, size_t *size);

/* Whether a tag is one of a LoRA: of the kind "lora" or "lyco". */
bool lora_tags_is_lora(const char *tag);

/* The prompt without its tags, owned, and what they say. Those of LoRAs count, as NAME, NAME:TEXT
 * or NAME:TEXT:UNET (also "te=X", "unet=X"; text is 1 when left out, the UNet's is the text's).
 * Fails (NULL) on a strength that is no number within LORA_TAGS_STRENGTH, and beyond
 * PICTOR_LORAS_MAX. */
char *lora_tags_take(const char *prompt, struct lora_tags *out, struct err *err);

/* Whether both say the same LoRAs in one order. */
bool lora_tags_same(const struct lora_tags *a, const struct lora_tags *b);

#endif

/* infotext.h: the text that says how a picture was made, as SD WebUI writes it into a PNG.
 *
 *     a red circle, (glossy:1.2)
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 7, ...
 *
 * Here is how such a text is read; what a job has to do with it is in infotext_job.h. The reader
 * takes text from strangers: it runs in linear time and keeps at most INFOTEXT_PAIRS_MAX pairs.
 * Thread-safe; nothing is shared. */
#ifndef PICTOR_SERVER_INFOTEXT_H
#define PICTOR_SERVER_INFOTEXT_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

#define INFOTEXT_PAIRS_MAX 256

struct infotext_pair {
    char *key, *value;
};

struct infotext {
    char *prompt, *negative_prompt; /* never NULL after infotext_read */
    struct infotext_pair *pairs;    /* in the order of the text, keys unique: the last one counts */
    size_t count;
};

/* Any text is an infotext: one without a parameter line is all prompt. "512x768" values become two
 * pairs, "Size-1" and "Size-2". Fails only without memory; `out` is then empty. */
bool infotext_read(struct infotext *out, const char *text);
void infotext_free(struct infotext *t);

/* The value of a key, or NULL. Borrowed. */
const char *infotext_get(const struct infotext *t, const char *key);

/* What png-info answers as "parameters": the pairs, prompts, and the defaults of what the text does
 * not say. Returned owned (cJSON_Delete). */
struct cJSON *infotext_to_json(const struct infotext *t);

#endif

/* infotext.h: the text that says how a picture was made, as SD WebUI writes it into a PNG.
 *
 *     a red circle, (glossy:1.2)
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 7, ...
 *
 * Written when a picture is stored; read by png-info and by requests that say "make that again".
 * The reader takes text from strangers: it runs in linear time and keeps at most
 * INFOTEXT_PAIRS_MAX pairs. Thread-safe; nothing is shared. */
#ifndef PICTOR_SERVER_INFOTEXT_H
#define PICTOR_SERVER_INFOTEXT_H

#include "server/job/job.h"

#define INFOTEXT_PAIRS_MAX 256

/* What the text of one picture is made from, beside the job's parameters. */
struct infotext_picture {
    uint64_t seed, subseed; /* this picture's own */
    const char *model_name; /* file stem, "pictor-mini"; NULL or "": left out */
    const char *model_hash; /* sha256 of the file in hex, its first ten digits are written;
                               NULL or "": left out */
};

/* UTF-8, malloc'd. NULL only without memory. */
char *infotext_write(const struct job_params *params, const struct infotext_picture *picture);

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

/* pull_catalogue.h: short names of models that `pictor pull` knows: the usual start of each family
 * that pictor runs. */
#ifndef PICTOR_SERVER_PULL_CATALOGUE_H
#define PICTOR_SERVER_PULL_CATALOGUE_H

#include <stddef.h>
#include <stdio.h>

struct pull_catalogue_entry {
    const char *name;    /* what is typed, and what the model is called here */
    const char *ref;     /* as pull_source_find wants it */
    const char *sha256;  /* "": Hugging Face is asked */
    int megabytes;       /* for people */
    const char *family;  /* as the engine calls it */
    const char *licence; /* of the weights */
    const char *use;     /* what it is good for, in a line */
};

/* NULL when there is none. */
const struct pull_catalogue_entry *pull_catalogue_find(const char *name);

/* In order of the list; NULL past its end. */
const struct pull_catalogue_entry *pull_catalogue_at(size_t i);

void pull_catalogue_print(FILE *out);

#endif

/* pull_catalogue.h: short names of models that `pictor pull` knows: the usual start of each family
 * that pictor runs; and of the parts that some of these want beside them, which come with them. */
#ifndef PICTOR_SERVER_PULL_CATALOGUE_H
#define PICTOR_SERVER_PULL_CATALOGUE_H

#include <stddef.h>
#include <stdio.h>

#define PULL_CATALOGUE_NEEDS 4 /* most parts beside a file */

struct pull_catalogue_entry {
    const char *name;    /* what is typed, and what the model is called here */
    const char *ref;     /* as pull_source_find wants it */
    const char *sha256;  /* "": Hugging Face is asked */
    int megabytes;       /* for people */
    const char *family;  /* as the engine calls it; "" of a part */
    const char *licence; /* of the weights */
    const char *use;     /* what it is good for, in a line */
    const char *needs[PULL_CATALOGUE_NEEDS + 1]; /* names of entries that come with it, to NULL */
};

/* NULL when there is none. */
const struct pull_catalogue_entry *pull_catalogue_find(const char *name);

/* In order of the list; NULL past its end. */
const struct pull_catalogue_entry *pull_catalogue_at(size_t i);

/* Of an entry with all that comes with it. */
int pull_catalogue_megabytes(const struct pull_catalogue_entry *e);

void pull_catalogue_print(FILE *out);

#endif

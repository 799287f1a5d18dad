/* pull_form.h: which kind of container a file's name promises, and whether the file is one. The
 * ending of a name decides nothing where files are read (their first bytes do), but a pickle that
 * calls itself .safetensors is not let in. No state. */
#ifndef PICTOR_SERVER_PULL_FORM_H
#define PICTOR_SERVER_PULL_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

enum pull_form {
    PULL_FORM_SAFETENSORS,
    PULL_FORM_TORCH,
    PULL_FORM_GGUF,
    PULL_FORM_VOCABULARY, /* SentencePiece's, of T5: spiece.model */
    PULL_FORM_OTHER /* no weights: a configuration, a list of words */
};

/* By the ending of a name, which begins at *stem: its length where there is no known one. */
enum pull_form pull_form_of(const char *name, size_t *stem);

/* Whether a file of `size` bytes (SNIFF_SIZE_UNKNOWN) that begins so may be one. If not, `err` says
 * what it is. *form: what it is, whatever was wanted, if `any`. */
bool pull_form_fits(enum pull_form *form, bool any, const void *head, size_t have, uint64_t size,
                    struct err *err);

/* The same by opening the file with the engine's reader of such files: the whole header, and that
 * everything it names lies in the file; a vocabulary by its own. Not of PULL_FORM_OTHER. */
bool pull_form_check(enum pull_form *form, bool any, const char *path, struct err *err);

/* Whether it holds weights of some kind of network. */
static inline bool pull_form_is_weights(enum pull_form form)
{
    return form < PULL_FORM_VOCABULARY;
}

/* What a file with this content must end in, to be found in the folder of its kind: `own`, if that
 * will do. NULL: files of this kind are not read from such containers. */
const char *pull_form_ending(enum pull_form form, enum pictor_kind kind, const char *own);

#endif

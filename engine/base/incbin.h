/* incbin.h: a file of the tree inside the binary, as it is.
 *
 *     INCBIN(vocabulary, "engine/text/vocabulary.txt")
 *
 * defines `vocabulary` and `vocabulary_end` in this object file; the path is relative to the
 * repository's root, where the compiler runs. The data is read-only, aligned to 64 bytes (tensors
 * may be used in place) and followed by a zero byte (text may be used as a string). */
#ifndef PICTOR_ENGINE_BASE_INCBIN_H
#define PICTOR_ENGINE_BASE_INCBIN_H

#include <stddef.h>

#define INCBIN(name, file) \
    extern const unsigned char name[], name##_end[]; \
    __asm__(".pushsection .rodata\n" \
            ".balign 64\n" \
            ".global " #name "\n" \
            ".hidden " #name "\n" #name ":\n" \
            ".incbin \"" file "\"\n" \
            ".global " #name "_end\n" \
            ".hidden " #name "_end\n" #name "_end:\n" \
            ".byte 0\n" \
            ".popsection\n")

#define INCBIN_SIZE(name) ((size_t)(name##_end - name))

#endif

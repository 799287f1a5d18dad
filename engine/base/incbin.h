/* incbin.h: puts a file into the binary, as read-only bytes with a name.
 *
 *     INCBIN(clip_merges, "engine/text/clip_merges.bin");
 *     ... clip_merges, INCBIN_SIZE(clip_merges) ...
 *
 * At file scope, once per name in the whole program. The path is relative to where the compiler
 * runs, the repository's root. Works with gcc and clang wherever objects are ELF. */
#ifndef PICTOR_ENGINE_BASE_INCBIN_H
#define PICTOR_ENGINE_BASE_INCBIN_H

#include <stddef.h>
#include <stdint.h>

#define INCBIN(name, path)                                                                         \
    __asm__(".pushsection .rodata\n"                                                               \
            ".balign 64\n"                                                                         \
            ".global " #name "\n.hidden " #name "\n"                                               \
            ".global " #name "_end\n.hidden " #name "_end\n" #name ":\n"                           \
            ".incbin \"" path "\"\n" #name "_end:\n"                                               \
            ".byte 0\n" /* so that an empty file has an address of its own */                      \
            ".popsection\n");                                                                      \
    extern const unsigned char name[] __attribute__((visibility("hidden"), aligned(64)));          \
    extern const unsigned char name##_end[] __attribute__((visibility("hidden")))

#define INCBIN_SIZE(name) ((size_t)((uintptr_t)name##_end - (uintptr_t)name))

#endif

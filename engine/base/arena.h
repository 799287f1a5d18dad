/* arena.h: stack allocation for activations, with a size that is known before the job starts.
 *
 * The same model code runs twice: once over an arena in planning mode, which hands out no memory
 * and only counts, and once for real over a block of exactly that size. So "how much memory will
 * this picture take" is never a second formula that can drift from the first.
 *
 * Use: mark = arena_mark(a); p = arena_alloc(a, n); ... arena_reset(a, mark).
 * Not thread-safe. */
#ifndef PICTOR_ENGINE_BASE_ARENA_H
#define PICTOR_ENGINE_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define ARENA_ALIGN 64 /* one cache line, and one AVX-512 or AMX tile row */

struct arena {
    unsigned char *base; /* NULL while planning */
    size_t size, used, peak;
    size_t mapped; /* bytes at base: size or more */
};

/* A planning arena: arena_alloc returns a non-NULL pointer that must not be dereferenced. What `a`
 * held before is forgotten, not freed. */
void arena_plan(struct arena *a);

/* A real arena of `size` bytes (zero is fine), from anonymous pages. */
bool arena_init(struct arena *a, size_t size, struct err *err);
void arena_free(struct arena *a);

/* The same in the pages that `a` (real, or zeroed) has, if they are enough: what was touched before
 * need not be brought in and cleared again. */
bool arena_renew(struct arena *a, size_t size, struct err *err);

/* Lets the system have the pages back when it is short of memory; what they held may be lost. */
void arena_rest(struct arena *a);

bool arena_planning(const struct arena *a);

/* `n` elements of `size` bytes, aligned to ARENA_ALIGN, not cleared. Never NULL: running past a
 * planned size is a bug of ours and asserts. */
void *arena_alloc(struct arena *a, size_t n, size_t size);

size_t arena_mark(const struct arena *a);
void arena_reset(struct arena *a, size_t mark);

#endif

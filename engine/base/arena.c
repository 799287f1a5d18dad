#include "engine/base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

void arena_plan(struct arena *a)
{
    *a = (struct arena){.size = SIZE_MAX / 2};
}

bool arena_init(struct arena *a, size_t size, struct err *err)
{
    *a = (struct arena){.size = size, .mapped = size ? size : ARENA_ALIGN};
    void *p = mmap(NULL, a->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, ERR_TOO_LARGE, "no memory: %zu MiB of activations wanted", size >> 20);
#ifdef MADV_HUGEPAGE
    madvise(p, a->mapped, MADV_HUGEPAGE);
#endif
    a->base = p;
    return true;
}

void arena_free(struct arena *a)
{
    if (a->base)
        munmap(a->base, a->mapped);
    *a = (struct arena){0};
}

bool arena_renew(struct arena *a, size_t size, struct err *err)
{
    if (!a->base || a->mapped < size) {
        arena_free(a);
        return arena_init(a, size, err);
    }
    a->size = size;
    a->used = a->peak = 0;
    return true;
}

void arena_rest(struct arena *a)
{
#ifdef MADV_FREE
    if (a->base)
        madvise(a->base, a->mapped, MADV_FREE);
#endif
}

bool arena_planning(const struct arena *a)
{
    return a->base == NULL;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    assert(size == 0 || n <= SIZE_MAX / 4 / size);
    size_t bytes = (n * size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size_t at = a->used;
    assert(bytes <= a->size - a->used);
    a->used += bytes;
    if (a->used > a->peak)
        a->peak = a->used;
    /* While planning the offset itself stands for the address; ARENA_ALIGN keeps it off NULL. */
    return a->base ? a->base + at : (unsigned char *)(uintptr_t)(at + ARENA_ALIGN);
}

size_t arena_mark(const struct arena *a)
{
    return a->used;
}

void arena_reset(struct arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}

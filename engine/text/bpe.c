/* bpe.c: Merging keeps the candidates in a heap, so that a word of a hundred thousand letters is no
 * quadratic trouble. A candidate is rank and place; one whose place has changed meanwhile is stale,
 * which shows when it is looked up again. */
#include "engine/text/bpe.h"

#include <stdlib.h>

struct bpe {
    uint64_t *pair; /* left << 32 | right; open addressing */
    int *merged;    /* their id; 0: an empty slot */
    int bits;       /* of the number of slots */
};

struct bpe_symbol {
    int id; /* -1: merged into the one before it */
    int prev, next;
};

struct bpe *bpe_new(size_t merges, struct err *err)
{
    struct bpe *b = calloc(1, sizeof *b);
    if (b) {
        b->bits = 1;
        while ((size_t)1 << b->bits < merges + merges / 2)
            b->bits++;
        b->pair = calloc((size_t)1 << b->bits, sizeof *b->pair);
        b->merged = calloc((size_t)1 << b->bits, sizeof *b->merged);
    }
    if (b && b->pair && b->merged)
        return b;
    err_set(err, ERR_INTERNAL, "out of memory for %zu merges", merges);
    bpe_free(b);
    return NULL;
}

void bpe_free(struct bpe *b)
{
    if (!b)
        return;
    free(b->pair);
    free(b->merged);
    free(b);
}

static size_t slot_of(const struct bpe *b, uint64_t pair)
{
    size_t slot = pair * 0x9e3779b97f4a7c15u >> (64 - b->bits); /* Fibonacci hashing */
    while (b->merged[slot] && b->pair[slot] != pair)
        slot = (slot + 1) & (((size_t)1 << b->bits) - 1);
    return slot;
}

static uint64_t pair_of(int left, int right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void bpe_add(struct bpe *b, int left, int right, int id)
{
    size_t slot = slot_of(b, pair_of(left, right));
    b->pair[slot] = pair_of(left, right);
    b->merged[slot] = id;
}

void bpe_bytes(int ids[256])
{
    int id = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < 256; b++) {
            bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);
            if (printable == (pass == 0))
                ids[b] = id++;
        }
}

bool bpe_work_room(struct bpe_work *w, size_t longest, struct err *err)
{
    if (longest < w->room)
        return true;
    bpe_work_free(w);
    w->room = 2 * longest > 64 ? 2 * longest : 64; /* above `longest` */
    /* A word of n ids has n - 1 pairs, and each of its n - 1 merges makes at most two more. */
    w->symbols = malloc(w->room * sizeof *w->symbols);
    w->heap = malloc(w->room * 3 * sizeof *w->heap);
    if (w->symbols && w->heap)
        return true;
    bpe_work_free(w);
    return err_set(err, ERR_INTERNAL, "out of memory for a prompt of %zu bytes", longest);
}

void bpe_work_free(struct bpe_work *w)
{
    free(w->symbols);
    free(w->heap);
    *w = (struct bpe_work){0};
}

/* Keys are rank << 32 | place of the left symbol; the smallest comes first. */
static void push(struct bpe_work *w, uint64_t key)
{
    size_t i = w->heap_count++;
    for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = key;
}

static uint64_t pop(struct bpe_work *w)
{
    uint64_t top = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        child += child + 1 < w->heap_count && w->heap[child + 1] < w->heap[child];
        if (w->heap[child] >= last)
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* What two neighbours become; 0 when they stay apart. */
static int merge_of(const struct bpe *b, int left, int right)
{
    return b->merged[slot_of(b, pair_of(left, right))];
}

static void push_pair(const struct bpe *b, struct bpe_work *w, int at)
{
    const struct bpe_symbol *left = &w->symbols[at];
    if (left->next < 0)
        return;
    int id = merge_of(b, left->id, w->symbols[left->next].id);
    if (id)
        push(w, (uint64_t)id << 32 | (uint64_t)at);
}

size_t bpe_merge(const struct bpe *b, struct bpe_work *w, int *ids, size_t n)
{
    struct bpe_symbol *s = w->symbols;
    int count = (int)n;
    for (int i = 0; i < count; i++)
        s[i] = (struct bpe_symbol){ids[i], i - 1, i == count - 1 ? -1 : i + 1};
    w->heap_count = 0;
    for (int i = 0; i < count; i++)
        push_pair(b, w, i);
    while (w->heap_count) {
        uint64_t key = pop(w);
        int at = (int)(key & UINT32_MAX), id = (int)(key >> 32), next = s[at].next;
        if (s[at].id < 0 || next < 0 || merge_of(b, s[at].id, s[next].id) != id)
            continue; /* stale */
        s[at].id = id;
        s[at].next = s[next].next;
        if (s[at].next >= 0)
            s[s[at].next].prev = at;
        s[next].id = -1;
        push_pair(b, w, at);
        if (s[at].prev >= 0)
            push_pair(b, w, s[at].prev);
    }
    size_t left = 0;
    for (int i = 0; i >= 0 && n; i = s[i].next)
        ids[left++] = s[i].id;
    return left;
}

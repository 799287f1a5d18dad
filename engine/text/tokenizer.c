/* tokenizer.c: Text is cut into words (runs of letters, single digits, runs of anything else), a
 * word into bytes, and the bytes of a word are merged, lowest rank first, until no neighbours have
 * a merge. Tokens are ids throughout: 0..255 is a byte, 256..511 a byte that ends a word, 512 + r
 * what merge r makes, so the vocabulary's strings are not needed, only a table from two ids to a
 * third.
 *
 * Merging keeps the candidates in a heap, so that a word of a hundred thousand letters is no
 * quadratic trouble. A candidate is rank and place; one whose place has changed meanwhile is stale,
 * which shows when it is looked up again. */
#include "engine/text/tokenizer.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/incbin.h"
#include "engine/text/unicode.h"

INCBIN(tokenizer_merges, "engine/text/clip_merges.bin");

#define MERGES 48894
#define FIRST_MERGE 512
#define WORD_END 256     /* added to the id of a word's last byte */
#define SLOTS (1u << 17) /* of the table of merges: more than twice as many as there are merges */

struct tokenizer {
    short byte_id[256];
    uint32_t pair[SLOTS];   /* left << 16 | right; open addressing */
    uint16_t merged[SLOTS]; /* their id; 0: an empty slot */
};

/* The table. */

static size_t slot_of(const struct tokenizer *t, uint32_t pair)
{
    size_t slot = pair * 2654435761u >> 15; /* Fibonacci hashing: the upper 17 bits */
    while (t->merged[slot] && t->pair[slot] != pair)
        slot = (slot + 1) % SLOTS;
    return slot;
}

/* What two neighbours become; 0 when they stay apart. */
static int merge_of(const struct tokenizer *t, int left, int right)
{
    return t->merged[slot_of(t, (uint32_t)left << 16 | (uint32_t)right)];
}

struct tokenizer *tokenizer_new(struct err *err)
{
    assert(INCBIN_SIZE(tokenizer_merges) == MERGES * 4);
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ERR_INTERNAL, "out of memory for the tokenizer");
        return NULL;
    }
    /* CLIP numbers the printable bytes of Latin-1 first. */
    short id = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < 256; b++) {
            bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);
            if (printable == (pass == 0))
                t->byte_id[b] = id++;
        }
    for (int r = 0; r < MERGES; r++) {
        const unsigned char *m = tokenizer_merges + (size_t)r * 4;
        uint32_t pair = (uint32_t)(m[0] | m[1] << 8) << 16 | (uint32_t)(m[2] | m[3] << 8);
        size_t slot = slot_of(t, pair);
        t->pair[slot] = pair;
        t->merged[slot] = (uint16_t)(FIRST_MERGE + r);
    }
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    free(t);
}

/* The list of ids. */

void tokenizer_ids_free(struct tokenizer_ids *ids)
{
    free(ids->at);
    *ids = (struct tokenizer_ids){0};
}

static bool reserve(struct tokenizer_ids *ids, size_t more, struct err *err)
{
    size_t want = ids->count + more;
    if (want <= ids->room)
        return true;
    want = want < 2 * ids->room ? 2 * ids->room : want;
    int *at = realloc(ids->at, want * sizeof *at);
    if (!at)
        return err_set(err, ERR_INTERNAL, "out of memory for %zu tokens", want);
    ids->at = at;
    ids->room = want;
    return true;
}

/* Merging. */

struct symbol {
    int id; /* -1: merged into the one before it */
    int prev, next;
};

struct work {
    struct symbol *symbols;
    uint64_t *heap; /* rank << 32 | place of the left symbol; the smallest first */
    size_t heap_count;
};

static void push(struct work *w, uint64_t key)
{
    size_t i = w->heap_count++;
    for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = key;
}

static uint64_t pop(struct work *w)
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

static void push_pair(const struct tokenizer *t, struct work *w, int at)
{
    const struct symbol *left = &w->symbols[at];
    if (left->next < 0)
        return;
    int id = merge_of(t, left->id, w->symbols[left->next].id);
    if (id)
        push(w, (uint64_t)id << 32 | (uint64_t)at);
}

/* Appends the tokens of one word to `ids`, which has room for `len` more. */
static void encode_word(const struct tokenizer *t, struct work *w, const char *word, size_t len,
                        struct tokenizer_ids *ids)
{
    struct symbol *s = w->symbols;
    int n = (int)len;
    for (int i = 0; i < n; i++) {
        int id = t->byte_id[(unsigned char)word[i]];
        s[i] = (struct symbol){i == n - 1 ? id + WORD_END : id, i - 1, i == n - 1 ? -1 : i + 1};
    }
    w->heap_count = 0;
    for (int i = 0; i < n; i++)
        push_pair(t, w, i);
    while (w->heap_count) {
        uint64_t key = pop(w);
        int at = (int)(key & UINT32_MAX), id = (int)(key >> 32), next = s[at].next;
        if (s[at].id < 0 || next < 0 || merge_of(t, s[at].id, s[next].id) != id)
            continue; /* stale */
        s[at].id = id;
        s[at].next = s[next].next;
        if (s[at].next >= 0)
            s[s[at].next].prev = at;
        s[next].id = -1;
        push_pair(t, w, at);
        if (s[at].prev >= 0)
            push_pair(t, w, s[at].prev);
    }
    for (int i = 0; i >= 0; i = s[i].next)
        ids->at[ids->count++] = s[i].id;
}

/* Words. */

/* The length of the first of the words (ending in NULL) that `text` begins with, else 0. */
static size_t begins_with(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strncmp(text, *words, strlen(*words)) == 0)
            return strlen(*words);
    return 0;
}

static const char *const start_word[] = {"<|startoftext|>", NULL};
static const char *const end_word[] = {"<|endoftext|>", NULL};
static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d", NULL};

/* The word that begins a terminated text which does not begin with white space. */
static size_t word_length(const char *text, size_t len)
{
    size_t n = begins_with(text, contractions);
    if (n)
        return n;
    int c;
    n = unicode_next(text, len, &c);
    enum unicode_class kind = unicode_class(c);
    if (kind == UNICODE_NUMBER)
        return n;
    while (n < len && !begins_with(text + n, start_word) && !begins_with(text + n, end_word)) {
        size_t used = unicode_next(text + n, len - n, &c);
        if (unicode_class(c) != kind)
            break;
        n += used;
    }
    return n;
}

/* Appends the tokens of cleaned text to `ids`, which has room for `len` more. */
static void encode_clean(const struct tokenizer *t, struct work *w, const char *text, size_t len,
                         struct tokenizer_ids *ids)
{
    size_t used;
    for (; len; text += used, len -= used) {
        int c;
        used = unicode_next(text, len, &c);
        if (unicode_class(c) == UNICODE_SPACE)
            continue;
        if ((used = begins_with(text, start_word))) {
            ids->at[ids->count++] = TOKENIZER_START;
        } else if ((used = begins_with(text, end_word))) {
            ids->at[ids->count++] = TOKENIZER_END;
        } else {
            used = word_length(text, len);
            encode_word(t, w, text, used, ids);
        }
    }
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t len,
                      struct tokenizer_ids *ids, struct err *err)
{
    if (len > INT_MAX / 64)
        return err_set(err, ERR_TOO_LARGE, "prompt: %zu bytes", len);
    size_t clean_len;
    char *clean = unicode_clean(text, len, &clean_len, err);
    if (!clean)
        return false;
    /* A word of n bytes has n - 1 pairs, and each of its n - 1 merges makes at most two more. */
    struct work w = {
        .symbols = malloc((clean_len + 1) * sizeof *w.symbols),
        .heap = malloc((clean_len + 1) * 3 * sizeof *w.heap),
    };
    bool ok = w.symbols && w.heap && reserve(ids, clean_len, err);
    if (ok)
        encode_clean(t, &w, clean, clean_len, ids);
    else if (!w.symbols || !w.heap)
        err_set(err, ERR_INTERNAL, "out of memory for a prompt of %zu bytes", len);
    free(w.heap);
    free(w.symbols);
    free(clean);
    return ok;
}

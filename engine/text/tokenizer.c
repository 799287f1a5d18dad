/* tokenizer.c: Text is cut into words (runs of letters, single digits, runs of anything else), a
 * word into bytes, and the bytes of a word are merged (bpe.h). Ids 0..255 are bytes, 256..511 bytes
 * that end a word, 512 + r what merge r makes. */
#include "engine/text/tokenizer.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/incbin.h"
#include "engine/text/bpe.h"
#include "engine/text/unicode.h"

INCBIN(tokenizer_merges, "engine/text/clip_merges.bin");

#define MERGES 48894
#define FIRST_MERGE 512
#define WORD_END 256 /* added to the id of a word's last byte */

struct tokenizer {
    int byte_id[256];
    struct bpe *merges;
};

struct tokenizer *tokenizer_new(struct err *err)
{
    assert(INCBIN_SIZE(tokenizer_merges) == MERGES * 4);
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ERR_INTERNAL, "out of memory for the tokenizer");
        return NULL;
    }
    bpe_bytes(t->byte_id);
    t->merges = bpe_new(MERGES, err);
    for (int r = 0; r < MERGES && t->merges; r++) {
        const unsigned char *m = tokenizer_merges + (size_t)r * 4;
        bpe_add(t->merges, m[0] | m[1] << 8, m[2] | m[3] << 8, FIRST_MERGE + r);
    }
    if (t->merges)
        return t;
    tokenizer_free(t);
    return NULL;
}

void tokenizer_free(struct tokenizer *t)
{
    if (t)
        bpe_free(t->merges);
    free(t);
}

/* The list of ids. */

void tokenizer_ids_free(struct tokenizer_ids *ids)
{
    free(ids->at);
    *ids = (struct tokenizer_ids){0};
}

bool tokenizer_ids_reserve(struct tokenizer_ids *ids, size_t more, struct err *err)
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

/* Appends the tokens of one word to `ids`, which has room for `len` more. */
static void encode_word(const struct tokenizer *t, struct bpe_work *w, const char *word, size_t len,
                        struct tokenizer_ids *ids)
{
    int *at = ids->at + ids->count;
    for (size_t i = 0; i < len; i++)
        at[i] = t->byte_id[(unsigned char)word[i]] + (i == len - 1 ? WORD_END : 0);
    ids->count += bpe_merge(t->merges, w, at, len);
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
static void encode_clean(const struct tokenizer *t, struct bpe_work *w, const char *text,
                         size_t len, struct tokenizer_ids *ids)
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
    struct bpe_work w = {0};
    bool ok = bpe_work_room(&w, clean_len, err) && tokenizer_ids_reserve(ids, clean_len, err);
    if (ok)
        encode_clean(t, &w, clean, clean_len, ids);
    bpe_work_free(&w);
    free(clean);
    return ok;
}

/* qwen_tokenizer.c: Ids 0..255 are bytes, 256 + r what merge r makes; 151643 on are names.
 *
 * A text is cut where this regular expression of Qwen's tokenizer.json says, each alternative
 * tried in turn:
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)     [^\r\n\p{L}\p{N}]?\p{L}+     \p{N}
 *     ?[^\s\p{L}\p{N}]+[\r\n]*  (behind at most one blank)
 *     \s*[\r\n]+     \s+(?!\S)     \s+
 */
#include "engine/text/qwen_tokenizer.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/incbin.h"
#include "engine/text/bpe.h"
#include "engine/text/unicode.h"

INCBIN(qwen_tokenizer_merges, "engine/text/qwen_merges.bin");

#define MERGES 151387
#define FIRST_MERGE 256
#define MERGE_BITS 36 /* two ids of 18 bits */

struct qwen_tokenizer {
    int byte_id[256];
    struct bpe *merges;
};

/* In order of id, from QWEN_TOKENIZER_PAD on. */
static const char *const names[] = {
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
};

#define NAMES (sizeof names / sizeof *names)

/* The bits of merge `r`: the id of its left half, then of its right one. */
static uint64_t merge_at(size_t r)
{
    const unsigned char *p = qwen_tokenizer_merges + r * MERGE_BITS / 8;
    uint64_t bits = 0;
    for (int i = 0; i < 5; i++)
        bits |= (uint64_t)p[i] << 8 * i;
    return bits >> r * MERGE_BITS % 8;
}

struct qwen_tokenizer *qwen_tokenizer_new(struct err *err)
{
    const int mask = (1 << MERGE_BITS / 2) - 1;
    assert(INCBIN_SIZE(qwen_tokenizer_merges) == (MERGES * (size_t)MERGE_BITS + 7) / 8);
    assert(NAMES == QWEN_TOKENIZER_VOCAB - QWEN_TOKENIZER_PAD);
    struct qwen_tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ERR_INTERNAL, "out of memory for the tokenizer");
        return NULL;
    }
    bpe_bytes(t->byte_id);
    t->merges = bpe_new(MERGES, err);
    for (size_t r = 0; r < MERGES && t->merges; r++) {
        uint64_t m = merge_at(r);
        bpe_add(t->merges, (int)m & mask, (int)(m >> MERGE_BITS / 2) & mask, FIRST_MERGE + (int)r);
    }
    if (t->merges)
        return t;
    qwen_tokenizer_free(t);
    return NULL;
}

void qwen_tokenizer_free(struct qwen_tokenizer *t)
{
    if (t)
        bpe_free(t->merges);
    free(t);
}

/* ---- words ---- */

/* A character and how many bytes it takes; past the end 0 bytes of class OTHER. */
struct character {
    int c;
    size_t bytes;
    enum unicode_class class;
};

static struct character at(const char *text, size_t len, size_t i)
{
    struct character c = {-1, 0, UNICODE_OTHER};
    if (i < len) {
        c.bytes = unicode_next(text + i, len - i, &c.c);
        c.class = unicode_class(c.c);
    }
    return c;
}

static bool is_newline(int c)
{
    return c == '\r' || c == '\n';
}

/* The first alternative; U+017F is an s where case does not count. */
static size_t contraction(const char *text, size_t len)
{
    static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d", "\xc5\xbf"};
    if (len < 2 || text[0] != '\'')
        return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]), j = 0;
        while (j < n && 1 + j < len &&
               (text[1 + j] == endings[i][j] ||
                (text[1 + j] >= 'A' && text[1 + j] <= 'Z' && text[1 + j] + 32 == endings[i][j])))
            j++;
        if (j == n)
            return 1 + n;
    }
    return 0;
}

static size_t letters(const char *text, size_t len, size_t i)
{
    for (struct character c; (c = at(text, len, i)).bytes && c.class == UNICODE_LETTER;)
        i += c.bytes;
    return i;
}

/* White space: up to its last newline; else all but the last character, if something is behind it
 * that is not white and it is not the only one. */
static size_t blanks(const char *text, size_t len)
{
    size_t i = 0, last = 0, newline = 0;
    struct character c;
    for (; (c = at(text, len, i)).bytes && c.class == UNICODE_SPACE; i += c.bytes) {
        last = i;
        if (is_newline(c.c))
            newline = i + c.bytes;
    }
    return newline ? newline : i < len && last > 0 ? last : i;
}

/* The word that begins a text of at least one character. */
static size_t word_length(const char *text, size_t len)
{
    struct character first = at(text, len, 0), next = at(text, len, first.bytes);
    size_t i = contraction(text, len);
    if (i)
        return i;
    if (first.class == UNICODE_LETTER)
        return letters(text, len, 0);
    if (first.class == UNICODE_NUMBER)
        return first.bytes;
    if (!is_newline(first.c) && next.bytes && next.class == UNICODE_LETTER)
        return letters(text, len, first.bytes);
    i = first.c == ' ' && next.bytes && next.class == UNICODE_OTHER ? first.bytes : 0;
    if (first.class == UNICODE_SPACE && i == 0)
        return blanks(text, len);
    struct character c;
    while ((c = at(text, len, i)).bytes && c.class == UNICODE_OTHER)
        i += c.bytes;
    while (i < len && is_newline(text[i]))
        i++;
    return i;
}

/* ---- text ---- */

/* Appends the tokens of a text without names. */
static bool encode_text(const struct qwen_tokenizer *t, struct bpe_work *w, const char *text,
                        size_t len, struct tokenizer_ids *ids, struct err *err)
{
    size_t n;
    char *composed = unicode_compose(text, len, &n, err);
    /* A character may be composed to more bytes than it was: then the room is made here. */
    bool ok = composed && tokenizer_ids_reserve(ids, n, err);
    for (size_t i = 0, used; ok && i < n; i += used) {
        used = word_length(composed + i, n - i);
        int *word = ids->at + ids->count;
        for (size_t j = 0; j < used; j++)
            word[j] = t->byte_id[(unsigned char)composed[i + j]];
        ok = bpe_work_room(w, used, err);
        if (ok)
            ids->count += bpe_merge(t->merges, w, word, used);
    }
    free(composed);
    return ok;
}

/* Which name the text begins with; of several the longest. NAMES: none. */
static size_t name_at(const char *text, size_t len)
{
    size_t best = NAMES, longest = 0;
    for (size_t i = 0; i < NAMES && *text == '<'; i++) {
        size_t n = strlen(names[i]);
        if (n <= len && n > longest && memcmp(text, names[i], n) == 0) {
            best = i;
            longest = n;
        }
    }
    return best;
}

static bool encode(const struct qwen_tokenizer *t, struct bpe_work *w, const char *text, size_t len,
                   bool special, struct tokenizer_ids *ids, struct err *err)
{
    size_t from = 0;
    for (size_t i = 0; special && i < len;) {
        size_t name = name_at(text + i, len - i);
        if (name == NAMES) {
            i++;
            continue;
        }
        if (!encode_text(t, w, text + from, i - from, ids, err) ||
            !tokenizer_ids_reserve(ids, 1, err))
            return false;
        ids->at[ids->count++] = QWEN_TOKENIZER_PAD + (int)name;
        from = i += strlen(names[name]);
    }
    return encode_text(t, w, text + from, len - from, ids, err);
}

bool qwen_tokenizer_encode(const struct qwen_tokenizer *t, const char *text, size_t len,
                           bool special, struct tokenizer_ids *ids, struct err *err)
{
    if (len > INT_MAX / 64)
        return err_set(err, ERR_TOO_LARGE, "prompt: %zu bytes", len);
    struct bpe_work w = {0};
    size_t before = ids->count;
    bool ok = encode(t, &w, text, len, special, ids, err);
    if (!ok)
        ids->count = before;
    bpe_work_free(&w);
    return ok;
}

bool qwen_tokenizer_prompt(const struct qwen_tokenizer *t, enum qwen_tokenizer_chat chat,
                           const char *prompt, size_t len, struct tokenizer_ids *ids,
                           struct err *err)
{
    static const char user[] = "user\n";
    const char *answer = chat == QWEN_TOKENIZER_THOUGHTLESS
                             ? "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
                             : "<|im_end|>\n<|im_start|>assistant\n";
    size_t before = ids->count, said = strlen(user) + len;
    char *turn = malloc(said);
    bool ok = turn && tokenizer_ids_reserve(ids, 1, err);
    if (!turn)
        err_set(err, ERR_INTERNAL, "out of memory for a prompt of %zu bytes", len);
    if (ok) {
        memcpy(turn, user, strlen(user));
        memcpy(turn + strlen(user), prompt, len);
        ids->at[ids->count++] = QWEN_TOKENIZER_START;
        ok = qwen_tokenizer_encode(t, turn, said, false, ids, err) &&
             qwen_tokenizer_encode(t, answer, strlen(answer), true, ids, err);
    }
    if (!ok)
        ids->count = before;
    free(turn);
    return ok;
}

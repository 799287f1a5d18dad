/* unigram.c: A text is brought to one form, and then cut into the pieces whose scores have the
 * largest sum (Viterbi), from the left, one character after another. Sums are floats, and of equal
 * ones the first found counts, as in SentencePiece: another order would be other ids. */
#include "engine/text/unigram.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\xe2\x96\x81" /* U+2581 */
#define SPACE_BYTES 3
#define LOST "\xef\xbf\xbd" /* U+FFFD */
#define UNKNOWN_PENALTY 10.0f

struct unigram {
    struct unigram_piece *pieces;
    int *sorted; /* ids of the pieces that texts are made of, in order of their bytes */
    size_t count, sorted_count;
    int unknown;
    float least, most; /* scores of normal pieces */
    bool given;        /* there are UNIGRAM_GIVEN ones */
    const unsigned char *trie, *forms;
    size_t trie_units, forms_size;
    bool prefix, collapse;
};

/* ---- the vocabulary ---- */

static int compare(const struct unigram_piece *a, const struct unigram_piece *b)
{
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

/* An id with its piece, while they are sorted. */
struct entry {
    const struct unigram_piece *piece;
    int id;
};

static int by_text(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = compare(x->piece, y->piece);
    return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

static bool is_text(enum unigram_type type)
{
    return type == UNIGRAM_NORMAL || type == UNIGRAM_GIVEN || type == UNIGRAM_UNUSED;
}

static bool sort_pieces(struct unigram *u, struct err *err)
{
    struct entry *entries = calloc(u->count + 1, sizeof *entries);
    u->sorted = calloc(u->count + 1, sizeof *u->sorted);
    if (!entries || !u->sorted) {
        free(entries);
        return err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    }
    size_t n = 0;
    for (size_t i = 0; i < u->count; i++)
        if (is_text(u->pieces[i].type))
            entries[n++] = (struct entry){&u->pieces[i], (int)i};
    qsort(entries, n, sizeof *entries, by_text);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare(entries[i].piece, entries[i - 1].piece) != 0)
            u->sorted[u->sorted_count++] = entries[i].id;
    free(entries);
    return true;
}

static bool take_pieces(struct unigram *u, const struct unigram_source *s, struct err *err)
{
    if (s->count < 1 || s->count > UNIGRAM_MOST)
        return err_set(err, ERR_INVALID, "vocabulary: wanted 1..%d pieces, found %zu", UNIGRAM_MOST,
                       s->count);
    u->count = s->count;
    u->pieces = malloc(s->count * sizeof *u->pieces);
    if (!u->pieces)
        return err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    memcpy(u->pieces, s->pieces, s->count * sizeof *u->pieces);
    u->unknown = -1;
    u->least = INFINITY;
    u->most = -INFINITY;
    for (size_t i = 0; i < s->count; i++) {
        const struct unigram_piece *p = &u->pieces[i];
        if (!p->len || p->len > UNIGRAM_PIECE_MOST || !isfinite(p->score))
            return err_set(err, ERR_INVALID,
                           "T5's vocabulary: piece %zu: wanted 1..%d bytes and a finite score, "
                           "found %zu bytes and %g",
                           i, UNIGRAM_PIECE_MOST, p->len, (double)p->score);
        if (p->type == UNIGRAM_UNKNOWN)
            u->unknown = (int)i;
        if (p->type == UNIGRAM_NORMAL) {
            u->least = p->score < u->least ? p->score : u->least;
            u->most = p->score > u->most ? p->score : u->most;
        }
        u->given |= p->type == UNIGRAM_GIVEN;
    }
    if (u->unknown < 0 || u->least > u->most)
        return err_set(err, ERR_INVALID,
                       "vocabulary: wanted a piece for what is unknown, and normal pieces");
    return sort_pieces(u, err);
}

static uint32_t number_at(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Whether each is ended by a 0 soon: a text must not become a thousand times as long. */
static bool forms_end(const unsigned char *forms, size_t size)
{
    size_t run = 0;
    for (size_t i = 0; i < size && run <= UNIGRAM_FORM_MOST; i++)
        run = forms[i] ? run + 1 : 0;
    return run == 0;
}

static bool take_forms(struct unigram *u, const struct unigram_source *s, struct err *err)
{
    if (!s->forms_size)
        return true;
    size_t trie = s->forms_size < 4 ? 0 : number_at(s->forms);
    if (!trie || trie % 4 || trie >= s->forms_size - 4 ||
        !forms_end(s->forms + 4 + trie, s->forms_size - 4 - trie))
        return err_set(err, ERR_INVALID,
                       "vocabulary: wanted forms of characters as a trie, and what each becomes: "
                       "at most %d bytes and a 0; found %zu bytes, of them %zu of a trie",
                       UNIGRAM_FORM_MOST, s->forms_size, trie);
    u->trie = s->forms + 4;
    u->trie_units = trie / 4;
    u->forms = u->trie + trie;
    u->forms_size = s->forms_size - 4 - trie;
    return true;
}

struct unigram *unigram_new(const struct unigram_source *source, struct err *err)
{
    struct unigram *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
        return NULL;
    }
    u->prefix = source->prefix;
    u->collapse = source->collapse;
    if (take_pieces(u, source, err) && take_forms(u, source, err))
        return u;
    unigram_free(u);
    return NULL;
}

void unigram_free(struct unigram *u)
{
    if (!u)
        return;
    free(u->pieces);
    free(u->sorted);
    free(u);
}

int unigram_find(const struct unigram *u, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < u->count; i++)
        if (u->pieces[i].len == len && memcmp(u->pieces[i].text, text, len) == 0)
            return (int)i;
    return -1;
}

size_t unigram_count(const struct unigram *u)
{
    return u->count;
}

/* The pieces that begin as a text does: those in `sorted` from `low` to `high` begin with its first
 * `len` bytes. */
struct walk {
    size_t low, high, len;
};

static struct walk walk_begin(const struct unigram *u)
{
    return (struct walk){0, u->sorted_count, 0};
}

/* The first of low..high whose byte `at` is `byte` or more; those that end before it come first. */
static size_t bound(const struct unigram *u, size_t low, size_t high, size_t at, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unigram_piece *p = &u->pieces[u->sorted[middle]];
        if (p->len <= at || (unsigned char)p->text[at] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Goes on by one byte. False: no piece does. *id: the piece that ends there, or -1. */
static bool walk_on(const struct unigram *u, struct walk *w, unsigned char byte, int *id)
{
    w->low = bound(u, w->low, w->high, w->len, byte);
    w->high = bound(u, w->low, w->high, w->len, byte + 1);
    w->len++;
    *id = -1;
    if (w->low == w->high)
        return false;
    if (u->pieces[u->sorted[w->low]].len == w->len)
        *id = u->sorted[w->low];
    return true;
}

/* ---- one form ---- */

struct text {
    char *at;
    size_t len, room;
};

static bool append(struct text *t, const char *bytes, size_t n, struct err *err)
{
    if (n > t->room - t->len) {
        size_t room = 2 * t->room + n + 64;
        char *at = realloc(t->at, room);
        if (!at)
            return err_set(err, ERR_INTERNAL, "no memory for a text");
        t->at = at;
        t->room = room;
    }
    memcpy(t->at + t->len, bytes, n);
    t->len += n;
    return true;
}

/* Bytes of the character at the beginning; 0: they are not UTF-8. */
static size_t utf8_length(const char *text, size_t len)
{
    const unsigned char *b = (const unsigned char *)text;
    size_t n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (!n || n > len || b[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    bool over = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    bool none = (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf4 && b[1] > 0x8f);
    return over || none ? 0 : n;
}

/* Where the children of a unit are, beside its own place. The units of a double array
 * (darts-clone): bits 0-7 are the byte that leads to it, bit 8 says that something ends there, and
 * the others this.
 */
static size_t children(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 512) >> 6);
}

/* Bytes that the longest beginning with a form of its own has; 0: none has one. *form is what it
 * becomes. */
static size_t find_form(const struct unigram *u, const char *text, size_t len, const char **form)
{
    size_t at = 0, longest = 0;
    if (!u->trie_units)
        return 0;
    uint32_t unit = number_at(u->trie);
    for (size_t i = 0; i < len && i < UNIGRAM_FORM_MOST; i++) { /* a trie may go in circles */
        unsigned char byte = (unsigned char)text[i];
        at ^= children(unit) ^ byte;
        if (!byte || at >= u->trie_units)
            break;
        unit = number_at(u->trie + 4 * at);
        if ((unit & 0x800000ffu) != byte)
            break;
        size_t leaf = at ^ children(unit);
        if (!(unit & 256) || leaf >= u->trie_units)
            continue;
        size_t value = number_at(u->trie + 4 * leaf) & 0x7fffffffu;
        if (value < u->forms_size) {
            longest = i + 1;
            *form = (const char *)u->forms + value;
        }
    }
    return longest;
}

/* Bytes of the longest given word at the beginning; 0: there is none. */
static size_t find_given(const struct unigram *u, const char *text, size_t len)
{
    size_t longest = 0;
    struct walk w = walk_begin(u);
    int id;
    for (size_t i = 0; u->given && i < len && walk_on(u, &w, (unsigned char)text[i], &id); i++)
        if (id >= 0 && u->pieces[id].type == UNIGRAM_GIVEN)
            longest = i + 1;
    return longest;
}

/* The form of what a text begins with; returns how many bytes of it that is. */
static size_t next_form(const struct unigram *u, const char *text, size_t len, const char **form,
                        size_t *form_len)
{
    size_t n = find_given(u, text, len);
    *form = text;
    *form_len = n;
    if (n)
        return n;
    if ((n = find_form(u, text, len, form))) {
        *form_len = strnlen(*form, (size_t)((const char *)u->forms + u->forms_size - *form));
        return n;
    }
    n = utf8_length(text, len);
    *form = n ? text : LOST;
    *form_len = n ? n : strlen(LOST);
    return n ? n : 1;
}

static bool add_form(struct text *out, const char *form, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!(form[i] == ' ' ? append(out, SPACE, SPACE_BYTES, err)
                             : append(out, form + i, 1, err)))
            return false;
    return true;
}

static bool bring_to_form(const struct unigram *u, const char *text, size_t len, struct text *out,
                          struct err *err)
{
    const char *form;
    size_t form_len, n;
    while (len && u->collapse) {
        n = next_form(u, text, len, &form, &form_len);
        if (form_len != 1 || *form != ' ')
            break;
        text += n;
        len -= n;
    }
    if (!len)
        return true;
    bool spaced = u->collapse;
    if (u->prefix && !append(out, SPACE, SPACE_BYTES, err))
        return false;
    while (len) {
        n = next_form(u, text, len, &form, &form_len);
        text += n;
        len -= n;
        while (spaced && form_len && *form == ' ') {
            form++;
            form_len--;
        }
        if (!add_form(out, form, form_len, err))
            return false;
        if (form_len)
            spaced = u->collapse && form[form_len - 1] == ' ';
    }
    while (u->collapse && out->len >= SPACE_BYTES &&
           memcmp(out->at + out->len - SPACE_BYTES, SPACE, SPACE_BYTES) == 0)
        out->len -= SPACE_BYTES;
    return true;
}

/* ---- the best pieces ---- */

/* The best way to a place in the text: its last piece and where that begins. */
struct way {
    size_t from;
    int id; /* -1: there is none yet */
    float score;
};

static void offer(struct way *ways, size_t from, size_t to, int id, float score)
{
    if (ways[to].id < 0 || score > ways[to].score)
        ways[to] = (struct way){from, id, score};
}

static size_t character_length(const char *text, size_t len)
{
    unsigned char b = (unsigned char)*text;
    size_t n = b < 0xc0 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    return n < len ? n : len;
}

static void find_ways(const struct unigram *u, const char *text, size_t len, struct way *ways)
{
    float unknown = u->least - UNKNOWN_PENALTY;
    for (size_t at = 0; at < len;) {
        size_t one = character_length(text + at, len - at);
        float before = ways[at].score;
        bool single = false;
        struct walk w = walk_begin(u);
        int id;
        for (size_t i = at; i < len && walk_on(u, &w, (unsigned char)text[i], &id); i++) {
            if (id < 0 || u->pieces[id].type == UNIGRAM_UNUSED)
                continue;
            float score = u->pieces[id].type == UNIGRAM_GIVEN ? (float)w.len * u->most - 0.1f
                                                              : u->pieces[id].score;
            offer(ways, at, i + 1, id, score + before);
            single |= w.len == one;
        }
        if (!single)
            offer(ways, at, at + one, u->unknown, unknown + before);
        at += one;
    }
}

/* Unknown pieces in a row are one. */
static bool put_ids(const struct unigram *u, const struct way *ways, size_t len,
                    struct tokenizer_ids *ids, struct err *err)
{
    size_t count = 0, first = ids->count;
    int last = -1;
    for (size_t at = len; at; at = ways[at].from) {
        count += !(ways[at].id == u->unknown && last == u->unknown);
        last = ways[at].id;
    }
    if (!tokenizer_ids_reserve(ids, count, err))
        return false;
    last = -1;
    ids->count += count;
    for (size_t at = len, i = first + count; at; at = ways[at].from) {
        if (!(ways[at].id == u->unknown && last == u->unknown))
            ids->at[--i] = ways[at].id;
        last = ways[at].id;
    }
    return true;
}

bool unigram_encode(const struct unigram *u, const char *text, size_t len,
                    struct tokenizer_ids *ids, struct err *err)
{
    struct text form = {0};
    struct way *ways = NULL;
    bool ok = bring_to_form(u, text, len, &form, err);
    if (ok && form.len) {
        ways = malloc((form.len + 1) * sizeof *ways);
        ok = ways || err_set(err, ERR_INTERNAL, "no memory for a text of %zu bytes", form.len);
        for (size_t i = 0; ok && i <= form.len; i++)
            ways[i] = (struct way){0, -1, 0};
        if (ok) {
            find_ways(u, form.at, form.len, ways);
            ok = put_ids(u, ways, form.len, ids, err);
        }
    }
    free(ways);
    free(form.at);
    return ok;
}

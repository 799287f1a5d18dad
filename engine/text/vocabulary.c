/* vocabulary.c: Names are kept as runs of ids, in order, the longer before the shorter that it
 * begins with, so that what may begin with an id is a stretch that a search by halves finds. */
#include "engine/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#define ENDINGS 3

struct run {
    int *ids;
    size_t count, word;
};

struct vocabulary {
    struct run *runs; /* in order; [count] */
    size_t count;
    int *first; /* [words + 1]: ids of the words' first vectors; the last is beyond all of them */
    size_t words;
    struct run prefix, endings[ENDINGS]; /* of how ComfyUI writes them */
};

static int compare(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    for (size_t i = 0; i < x->count && i < y->count; i++)
        if (x->ids[i] != y->ids[i])
            return x->ids[i] < y->ids[i] ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

static bool make_run(const struct tokenizer *t, const char *text, size_t word, struct run *out,
                     struct err *err)
{
    struct tokenizer_ids ids = {0};
    if (!tokenizer_encode(t, text, strlen(text), &ids, err)) {
        tokenizer_ids_free(&ids);
        return false;
    }
    *out = (struct run){ids.at, ids.count, word};
    return true;
}

/* A name that no prompt can say (it is not UTF-8, or nothing but blanks) is no word. */
static void add_name(struct vocabulary *v, const struct tokenizer *t, const char *name, size_t word)
{
    struct run run;
    if (!make_run(t, name, word, &run, NULL))
        return;
    if (run.count)
        v->runs[v->count++] = run;
    else
        free(run.ids);
}

struct vocabulary *vocabulary_new(const struct tokenizer *t, const char *const *names,
                                  const int *vectors, size_t count, struct err *err)
{
    static const char *const endings[ENDINGS] = {".safetensors", ".pt", ".bin"};
    struct vocabulary *v = calloc(1, sizeof *v);
    if (v) {
        v->runs = calloc(2 * count + 1, sizeof *v->runs);
        v->first = calloc(count + 1, sizeof *v->first);
        v->words = count;
    }
    if (!v || !v->runs || !v->first) {
        err_set(err, ERR_INTERNAL, "no memory for %zu names", count);
        vocabulary_free(v);
        return NULL;
    }
    v->first[0] = TOKENIZER_VOCAB;
    for (size_t i = 0; i < count; i++) {
        const char *slash = strrchr(names[i], '/');
        add_name(v, t, names[i], i);
        if (slash)
            add_name(v, t, slash + 1, i);
        v->first[i + 1] = v->first[i] + vectors[i];
    }
    bool ok = make_run(t, "embedding:", 0, &v->prefix, err);
    for (int i = 0; ok && i < ENDINGS; i++)
        ok = make_run(t, endings[i], 0, &v->endings[i], err);
    if (!ok) {
        vocabulary_free(v);
        return NULL;
    }
    qsort(v->runs, v->count, sizeof *v->runs, compare);
    return v;
}

void vocabulary_free(struct vocabulary *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->count; i++)
        free(v->runs[i].ids);
    for (int i = 0; i < ENDINGS; i++)
        free(v->endings[i].ids);
    free(v->prefix.ids);
    free(v->runs);
    free(v->first);
    free(v);
}

static bool begins(const struct run *run, const int *ids, size_t count)
{
    return run->count <= count && memcmp(run->ids, ids, run->count * sizeof *ids) == 0;
}

/* The longest that the ids begin with; of equal ones the first name's. */
static const struct run *find(const struct vocabulary *v, const int *ids, size_t count)
{
    size_t low = 0, high = v->count;
    const struct run *best = NULL;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (v->runs[mid].ids[0] < ids[0])
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < v->count && v->runs[low].ids[0] == ids[0]; low++)
        if ((!best || v->runs[low].count > best->count) && begins(&v->runs[low], ids, count))
            best = &v->runs[low];
    return best;
}

bool vocabulary_match(const struct vocabulary *v, const int *ids, size_t count,
                      struct vocabulary_match *out)
{
    if (!v)
        return false;
    size_t before = begins(&v->prefix, ids, count) ? v->prefix.count : 0;
    const struct run *run = before < count ? find(v, ids + before, count - before) : NULL;
    if (!run && before) {
        before = 0;
        run = find(v, ids, count);
    }
    if (!run)
        return false;
    size_t tokens = before + run->count;
    for (int i = 0; before && i < ENDINGS; i++)
        if (begins(&v->endings[i], ids + tokens, count - tokens)) {
            tokens += v->endings[i].count;
            break;
        }
    *out = (struct vocabulary_match){
        .word = run->word,
        .tokens = tokens,
        .first = v->first[run->word],
        .vectors = v->first[run->word + 1] - v->first[run->word],
    };
    return true;
}

size_t vocabulary_word(const struct vocabulary *v, int id)
{
    size_t low = 0, high = v->words;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (v->first[mid] <= id)
            low = mid;
        else
            high = mid;
    }
    return low;
}

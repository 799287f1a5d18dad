/* prompt_check.c: pictor_prompt_check, pictor_prompt_words and pictor_prompt_measure of pictor.h: a
 * prompt's length, and which words are in it, without a model; and pictor_prompt_tokens. One
 * tokenizer of a kind serves all callers; it is made at the first call and stays. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/qwen_words.h"
#include "engine/family/t5_vocabulary.h"
#include "engine/family/t5_words.h"
#include "engine/text/chunk.h"
#include "engine/text/wording.h"

static struct tokenizer *tokenizer;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make(void)
{
    tokenizer = tokenizer_new(NULL);
}

static void mark_words(const struct chunk_list *list, const struct vocabulary *v,
                       struct pictor_word *words)
{
    for (size_t i = 0; v && i < list->count; i++)
        for (int k = 0; k < CHUNK_LENGTH; k++)
            if (list->at[i].ids[k] >= TOKENIZER_VOCAB)
                words[vocabulary_word(v, list->at[i].ids[k])].used = true;
}

/* All the texts that a prompt becomes, as conditioning.c counts them; adds to *chunks, and to
 * `size`, which may be NULL. */
static bool check_texts(const struct editing *e, const struct chunk_style *style,
                        struct pictor_word *words, size_t *chunks, struct pictor_prompt_size *size,
                        struct err *err)
{
    size_t most = 0;
    for (size_t i = 0; i < e->text_count; i++) {
        struct chunk_list list;
        if (!chunk_prompt(tokenizer, e->texts[i], TOKENIZER_END, style, &list, err))
            return false;
        most = list.count > most ? list.count : most;
        mark_words(&list, style->vocabulary, words);
        if (size && list.tokens > size->tokens)
            size->tokens = list.tokens;
        if (size && list.count > size->chunks)
            size->chunks = list.count;
        chunk_list_free(&list);
        if (!chunk_check_total(i + 1, most, err))
            return false;
    }
    if (size)
        size->texts += e->text_count;
    return chunk_check_total(e->text_count, most, err) &&
           family_chunks_add(chunks, e->text_count, most * CHUNK_LENGTH, err);
}

static bool check(const struct pictor_params *p, bool negative, const struct vocabulary *vocabulary,
                  struct pictor_word *words, struct pictor_prompt_size *size, struct err *err)
{
    struct editing_pass passes[2];
    struct chunk_style style = family_style(p);
    int count = family_passes(p, passes);
    bool ok = true;
    style.vocabulary = vocabulary;
    for (int i = 0; ok && i < (count ? count : 1); i++) {
        struct wording w;
        size_t chunks = 0;
        ok = wording_parse(negative ? "" : p->prompt, negative ? p->negative_prompt : "",
                           count ? &passes[i] : NULL, &w, err);
        /* The part behind the prompts is the negative one; of the other kind there is only "". */
        for (int k = 0; ok && k <= w.count; k++)
            ok = check_texts(&w.parts[k].editing, &style, words, &chunks,
                             i == 0 && negative == (k == w.count) ? size : NULL, err);
        wording_free(&w);
    }
    return ok;
}

static struct vocabulary *vocabulary_of(const struct pictor_word *words, size_t count,
                                        struct err *err)
{
    const char **names = calloc(count, sizeof *names);
    int *vectors = calloc(count, sizeof *vectors);
    struct vocabulary *v = NULL;
    for (size_t i = 0; names && vectors && i < count; i++) {
        names[i] = words[i].name;
        vectors[i] = words[i].vectors;
    }
    if (names && vectors)
        v = vocabulary_new(tokenizer, names, vectors, count, err);
    else
        err_set(err, ERR_INTERNAL, "no memory for %zu names", count);
    free(names);
    free(vectors);
    return v;
}

bool pictor_prompt_measure(const struct pictor_params *p, bool negative, struct pictor_word *words,
                           size_t count, struct pictor_prompt_size *out, struct err *err)
{
    struct vocabulary *v = NULL;
    if (out)
        *out = (struct pictor_prompt_size){.chunk_tokens = CHUNK_LENGTH - 2,
                                           .tokens_most = CHUNK_LIMIT * (CHUNK_LENGTH - 2)};
    pthread_once(&once, make);
    if (!tokenizer)
        return err_set(err, ERR_INTERNAL, "no memory for a tokenizer");
    if (p->syntax == PICTOR_SYNTAX_PLAIN)
        count = 0;
    if (count > 0 && !(v = vocabulary_of(words, count, err)))
        return false;
    bool ok = check(p, negative, v, words, out, err);
    vocabulary_free(v);
    return ok;
}

bool pictor_prompt_words(const struct pictor_params *p, bool negative, struct pictor_word *words,
                         size_t count, struct err *err)
{
    return pictor_prompt_measure(p, negative, words, count, NULL, err);
}

bool pictor_prompt_check(const struct pictor_params *p, bool negative, struct err *err)
{
    return pictor_prompt_words(p, negative, NULL, 0, err);
}

bool pictor_prompt_is_simple(const char *prompt)
{
    static const struct editing_pass pass = {.calls = 4};
    struct wording w;
    struct err err;
    if (!wording_parse(prompt, "", &pass, &w, &err))
        return false;
    const struct editing *e = &w.parts[0].editing;
    size_t length = strlen(e->texts[0]);
    /* Of a simple prompt's words only the white space at the end is left out. */
    bool simple = w.count == 1 && w.parts[0].weight == 1 && e->count == 1 &&
                  strncmp(e->texts[0], prompt, length) == 0 &&
                  prompt[length + strspn(prompt + length, " \t\r\n\v\f")] == '\0';
    wording_free(&w);
    return simple;
}

/* ---- tokens of language models ---- */

static struct qwen_tokenizer *qwen;
static pthread_once_t qwen_once = PTHREAD_ONCE_INIT;

static void make_qwen(void)
{
    qwen = qwen_tokenizer_new(NULL);
}

struct pictor_vocabulary {
    struct t5_vocabulary *t5;
};

struct pictor_vocabulary *pictor_vocabulary_open(const struct pictor_files *files, struct err *err)
{
    struct pictor_vocabulary *v = calloc(1, sizeof *v);
    struct checkpoint *cp = v ? checkpoint_open_headers(files, err) : NULL;
    if (!v)
        err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    else if (cp && !checkpoint_has(cp, T5_ROOT))
        err_set(err, ERR_NOT_FOUND, "the model has no T5");
    else if (cp)
        v->t5 = t5_vocabulary_read(cp, err);
    checkpoint_free(cp);
    if (v && v->t5)
        return v;
    free(v);
    return NULL;
}

bool pictor_vocabulary_check(int fd, struct err *err)
{
    struct file_bytes file;
    if (!file_bytes_unmapped(&file, fd, err))
        return false;
    struct t5_vocabulary *t5 = t5_vocabulary_of_file(&file, err);
    t5_vocabulary_free(t5);
    return t5;
}

bool pictor_vocabulary_wanted(const char *architecture)
{
    const struct family *family = family_named(architecture);
    return family && family->reader == FAMILY_READS_T5;
}

void pictor_vocabulary_free(struct pictor_vocabulary *v)
{
    if (v)
        t5_vocabulary_free(v->t5);
    free(v);
}

/* Who counts, and what is counted of a text beside the prompt's own: a chat, an end. */
struct counter {
    const struct family *family;
    const struct t5_vocabulary *t5; /* NULL: CLIP's tokens */
    size_t around;
};

static bool too_long(size_t most, size_t count, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "wanted a prompt of at most %zu tokens, got %zu", most,
                   count);
}

/* Where CLIP's chunks have states they are of a number, too. */
static bool count_clip(const struct counter *c, const char *text, size_t *count, struct err *err)
{
    struct tokenizer_ids ids = {0};
    bool done = tokenizer_encode(tokenizer, text, strlen(text), &ids, err);
    *count = ids.count;
    tokenizer_ids_free(&ids);
    return done && (!c->family->stated || *count <= T5_WORDS_CHUNKS * T5_WORDS_CHUNK ||
                    too_long(T5_WORDS_CHUNKS * T5_WORDS_CHUNK, *count, err));
}

static bool count_text(const struct counter *c, const char *text, size_t *count, struct err *err)
{
    struct tokenizer_ids ids = {0};
    bool done = c->family->reader == FAMILY_READS_QWEN
                    ? qwen_tokenizer_prompt(qwen, c->family->chat, text, strlen(text), &ids, err)
                    : count_clip(c, text, count, err) &&
                          (!c->t5 || t5_vocabulary_tokens(c->t5, text, &ids, err));
    if (c->t5 || c->family->reader == FAMILY_READS_QWEN)
        *count = ids.count > c->around ? ids.count - c->around : 0;
    tokenizer_ids_free(&ids);
    return done;
}

/* Of the texts that a prompt becomes, the longest. */
static bool measure(const struct counter *c, const struct editing *e,
                    struct pictor_prompt_size *out, struct err *err)
{
    for (size_t i = 0; i < e->text_count; i++) {
        size_t count = 0;
        if (!count_text(c, e->texts[i], &count, err))
            return false;
        out->tokens = count > out->tokens ? count : out->tokens;
    }
    out->texts += e->text_count;
    return true;
}

static bool begin(const char *architecture, const struct pictor_vocabulary *vocabulary,
                  struct counter *c, size_t *most, struct err *err)
{
    *c = (struct counter){.family = family_named(architecture)};
    if (!c->family || c->family->reader == FAMILY_READS_CHUNKS ||
        (c->family->reader == FAMILY_READS_T5 && !vocabulary && !c->family->stated))
        return err_set(err, ERR_UNSUPPORTED, "\"%.40s\" reads other tokens", architecture);
    pthread_once(&once, make);
    pthread_once(&qwen_once, make_qwen);
    if (!qwen || !tokenizer)
        return err_set(err, ERR_INTERNAL, "no memory for a tokenizer");
    if (c->family->reader == FAMILY_READS_QWEN) {
        *most = QWEN_WORDS_MOST;
        return count_text(c, "", &c->around, err) && (*most -= c->around);
    }
    c->t5 = vocabulary ? vocabulary->t5 : NULL;
    c->around = c->t5 ? 1 : 0; /* </s> */
    *most = c->t5 ? T5_VOCABULARY_MOST - 1 : T5_WORDS_CHUNKS * T5_WORDS_CHUNK;
    return true;
}

bool pictor_prompt_tokens(const char *architecture, const struct pictor_vocabulary *vocabulary,
                          const struct pictor_params *p, bool negative,
                          struct pictor_prompt_size *out, struct err *err)
{
    struct pictor_prompt_size size = {.chunks = 1};
    struct editing_pass passes[2];
    struct counter c;
    if (!begin(architecture, vocabulary, &c, &size.tokens_most, err))
        return false;
    size.chunk_tokens = size.tokens_most;
    if (out)
        *out = size;
    int count = family_passes(p, passes);
    bool ok = true;
    for (int i = 0; ok && i < (count ? count : 1); i++) {
        struct wording w;
        ok = wording_parse(negative ? "" : p->prompt, negative ? p->negative_prompt : "",
                           count ? &passes[i] : NULL, &w, err);
        for (int k = 0; ok && k <= w.count; k++)
            if (negative == (k == w.count))
                ok = measure(&c, &w.parts[k].editing, &size, err);
        if (i == 0 && out) /* how many texts, of the first pass */
            *out = size;
        wording_free(&w);
    }
    return ok && (size.tokens <= size.tokens_most || too_long(size.tokens_most, size.tokens, err));
}

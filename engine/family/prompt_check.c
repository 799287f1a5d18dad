/* prompt_check.c: pictor_prompt_check, pictor_prompt_words and pictor_prompt_measure of pictor.h: a
 * prompt's length, and which words are in it, without a model; and pictor_prompt_tokens. One
 * tokenizer of a kind serves all callers; it is made at the first call and stays. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/qwen_words.h"
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

/* ---- Qwen's tokens ---- */

static const struct {
    const char *architecture;
    enum qwen_tokenizer_chat chat;
} readers[] = {{"flux2", QWEN_TOKENIZER_THOUGHTLESS}, {"zimage", QWEN_TOKENIZER_CHAT}};

static struct qwen_tokenizer *qwen;
static pthread_once_t qwen_once = PTHREAD_ONCE_INIT;

static void make_qwen(void)
{
    qwen = qwen_tokenizer_new(NULL);
}

static bool count_qwen(enum qwen_tokenizer_chat chat, const char *text, size_t *count,
                       struct err *err)
{
    struct tokenizer_ids ids = {0};
    bool done = qwen_tokenizer_prompt(qwen, chat, text, strlen(text), &ids, err);
    *count = ids.count;
    tokenizer_ids_free(&ids);
    return done;
}

/* Of the texts that a prompt becomes, the longest. */
static bool measure_qwen(const struct editing *e, enum qwen_tokenizer_chat chat, size_t around,
                         struct pictor_prompt_size *out, struct err *err)
{
    for (size_t i = 0; i < e->text_count; i++) {
        size_t count;
        if (!count_qwen(chat, e->texts[i], &count, err))
            return false;
        count -= around;
        out->tokens = count > out->tokens ? count : out->tokens;
    }
    out->texts += e->text_count;
    return true;
}

bool pictor_prompt_tokens(const char *architecture, const struct pictor_params *p, bool negative,
                          struct pictor_prompt_size *out, struct err *err)
{
    struct pictor_prompt_size size = {.chunks = 1};
    struct editing_pass passes[2];
    struct wording w;
    size_t at = 0, around;
    while (at < sizeof readers / sizeof *readers &&
           strcmp(readers[at].architecture, architecture) != 0)
        at++;
    if (at == sizeof readers / sizeof *readers)
        return err_set(err, ERR_UNSUPPORTED, "\"%.40s\" reads other tokens", architecture);
    pthread_once(&qwen_once, make_qwen);
    if (!qwen)
        return err_set(err, ERR_INTERNAL, "no memory for a tokenizer");
    if (!count_qwen(readers[at].chat, "", &around, err))
        return false;
    size.tokens_most = size.chunk_tokens = QWEN_WORDS_MOST - around;
    int count = family_passes(p, passes);
    bool ok = wording_parse(negative ? "" : p->prompt, negative ? p->negative_prompt : "",
                            count ? &passes[0] : NULL, &w, err);
    for (int k = 0; ok && k <= w.count; k++)
        if (negative == (k == w.count))
            ok = measure_qwen(&w.parts[k].editing, readers[at].chat, around, &size, err);
    wording_free(&w);
    if (out)
        *out = size;
    return ok && (size.tokens <= size.tokens_most ||
                  err_set(err, ERR_TOO_LARGE, "wanted a prompt of at most %zu tokens, got %zu",
                          size.tokens_most, size.tokens));
}

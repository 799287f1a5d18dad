/* t5_vocabulary.c: What comes with T5 itself is first: a file beside it may be another model's. */
#include "engine/family/t5_vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/t5.h"
#include "engine/text/spiece.h"

#define COPIES 5                /* arrays of a GGUF, or a file */
#define FILE_MOST (64 << 20)    /* bytes of one; T5's has 0.8 MB */

struct t5_vocabulary {
    struct unigram *words;
    int end;              /* </s> */
    void *copies[COPIES]; /* of what is not mapped */
    int copy_count;
};

/* ---- a GGUF, as llama.cpp writes it ---- */

static bool array_of(struct t5_vocabulary *v, const struct checkpoint *cp, const char *key,
                     struct gguf_array *out, struct err *err)
{
    return checkpoint_array(cp, key, out, &v->copies[v->copy_count], err) && ++v->copy_count;
}

static bool take_piece(const unsigned char **at, const unsigned char *end,
                       struct unigram_piece *piece, struct err *err)
{
    size_t left = (size_t)(end - *at);
    uint64_t len = left;
    if (left >= sizeof len)
        memcpy(&len, *at, sizeof len);
    if (left < sizeof len || len > left - sizeof len) /* whole when the file was opened */
        return err_set(err, ERR_IO, "text encoder: its file changed while it was read");
    piece->text = (const char *)*at + sizeof len;
    piece->len = (size_t)len;
    *at += sizeof len + len;
    return true;
}

static bool read_gguf(struct t5_vocabulary *v, const struct checkpoint *cp,
                      struct unigram_source *out, struct err *err)
{
    struct gguf_array texts, scores, types, forms = {0};
    *out = (struct unigram_source){.prefix = true, .collapse = true};
    err->code = ERR_NONE;
    if (!array_of(v, cp, "tokenizer.ggml.tokens", &texts, err) ||
        !array_of(v, cp, "tokenizer.ggml.scores", &scores, err) ||
        !array_of(v, cp, "tokenizer.ggml.token_type", &types, err))
        return err->code != ERR_NOT_FOUND
                   ? false
                   : err_set(err, ERR_INVALID,
                             "text encoder: wanted T5's vocabulary: in its file (GGUF), or as "
                             "spiece.model beside it or among the text encoders, where `pictor "
                             "pull spiece` brings it");
    if (!array_of(v, cp, "tokenizer.ggml.precompiled_charsmap", &forms, err) &&
        err->code != ERR_NOT_FOUND)
        return false;
    if (texts.size || scores.size != sizeof(float) || types.size != sizeof(int32_t) ||
        scores.count != texts.count || types.count != texts.count || forms.size > 1 ||
        texts.count < 1 || texts.count > UNIGRAM_MOST)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted 1..%d pieces of a vocabulary with a score and a type "
                       "each, found %zu pieces, %zu scores and %zu types",
                       UNIGRAM_MOST, texts.count, scores.count, types.count);
    struct unigram_piece *pieces = calloc(texts.count, sizeof *pieces);
    if (!pieces)
        return err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    const unsigned char *at = texts.data, *end = at + texts.bytes;
    for (size_t i = 0; i < texts.count; i++) {
        int32_t type;
        if (!take_piece(&at, end, &pieces[i], err)) {
            free(pieces);
            return false;
        }
        memcpy(&type, types.data + i * sizeof type, sizeof type);
        memcpy(&pieces[i].score, scores.data + i * sizeof(float), sizeof(float));
        pieces[i].type = type >= UNIGRAM_NORMAL && type <= UNIGRAM_BYTE ? (enum unigram_type)type
                                                                        : UNIGRAM_UNUSED;
    }
    out->pieces = pieces;
    out->count = texts.count;
    out->forms = forms.data;
    out->forms_size = forms.bytes;
    return true;
}

/* ---- SentencePiece's file ---- */

/* Room for a copy; NULL with an error. */
static void *copy_new(struct t5_vocabulary *v, size_t bytes, struct err *err)
{
    if (bytes > FILE_MOST) {
        err_set(err, ERR_TOO_LARGE, "wanted a vocabulary of at most %d bytes, found %zu", FILE_MOST,
                bytes);
        return NULL;
    }
    void *copy = v->copies[v->copy_count] = malloc(bytes + 1);
    if (copy)
        v->copy_count++;
    else
        err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    return copy;
}

static bool read_file(struct t5_vocabulary *v, const struct file_bytes *file,
                      struct unigram_source *out, struct err *err)
{
    void *copy = NULL;
    if (file->data)
        return spiece_read(file->data, file->size, out, err);
    return (copy = copy_new(v, file->size, err)) &&
           file_bytes_read(file, 0, copy, file->size, err) &&
           spiece_read(copy, file->size, out, err);
}

/* As ComfyUI saves some text encoders. */
static bool read_tensor(struct t5_vocabulary *v, const struct raw_tensor *t,
                        struct unigram_source *out, struct err *err)
{
    void *copy = NULL;
    if (t->data)
        return spiece_read(t->data, t->bytes, out, err);
    return (copy = copy_new(v, t->bytes, err)) && raw_tensor_read(t, copy, err) &&
           spiece_read(copy, t->bytes, out, err);
}

/* ---- either ---- */

static bool read_source(struct t5_vocabulary *v, const struct checkpoint *cp,
                        struct unigram_source *out, struct err *err)
{
    const struct file_bytes *file = checkpoint_tokenizer(cp);
    const struct raw_tensor *inside = checkpoint_find(cp, T5_ROOT "spiece_model");
    if (inside)
        return read_tensor(v, inside, out, err);
    return file && !checkpoint_has_array(cp, "tokenizer.ggml.scores") ? read_file(v, file, out, err)
                                                                      : read_gguf(v, cp, out, err);
}

/* Takes `v`, and the pieces. */
static struct t5_vocabulary *finished(struct t5_vocabulary *v, struct unigram_source *source,
                                      bool read, struct err *err)
{
    if (read)
        v->words = unigram_new(source, err);
    free((void *)source->pieces);
    if (v->words && (v->end = unigram_find(v->words, "</s>")) >= 0)
        return v;
    if (v->words)
        err_set(err, ERR_INVALID, "T5's vocabulary: wanted </s> among its %zu pieces, found none",
                unigram_count(v->words));
    t5_vocabulary_free(v);
    return NULL;
}

static struct t5_vocabulary *vocabulary_new(struct err *err)
{
    struct t5_vocabulary *v = calloc(1, sizeof *v);
    if (!v)
        err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    return v;
}

struct t5_vocabulary *t5_vocabulary_read(const struct checkpoint *cp, struct err *err)
{
    struct unigram_source source = {.pieces = NULL};
    struct t5_vocabulary *v = vocabulary_new(err);
    return v ? finished(v, &source, read_source(v, cp, &source, err), err) : NULL;
}

struct t5_vocabulary *t5_vocabulary_of_file(const struct file_bytes *file, struct err *err)
{
    struct unigram_source source = {.pieces = NULL};
    struct t5_vocabulary *v = vocabulary_new(err);
    return v ? finished(v, &source, read_file(v, file, &source, err), err) : NULL;
}

void t5_vocabulary_free(struct t5_vocabulary *v)
{
    if (!v)
        return;
    unigram_free(v->words);
    for (int i = 0; i < v->copy_count; i++)
        free(v->copies[i]);
    free(v);
}

size_t t5_vocabulary_count(const struct t5_vocabulary *v)
{
    return unigram_count(v->words);
}

bool t5_vocabulary_tokens(const struct t5_vocabulary *v, const char *text,
                          struct tokenizer_ids *ids, struct err *err)
{
    if (!unigram_encode(v->words, text, strlen(text), ids, err) ||
        !tokenizer_ids_reserve(ids, 1, err))
        return false;
    ids->at[ids->count++] = v->end;
    return ids->count <= T5_VOCABULARY_MOST ||
           err_set(err, ERR_TOO_LARGE, "wanted a prompt of at most %d tokens, got %zu",
                   T5_VOCABULARY_MOST - 1, ids->count - 1);
}

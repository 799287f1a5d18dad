/* spiece.c: A message is fields, one after another: a number (what it is called, three bits of what
 * follows) and a value. */
#include "engine/text/spiece.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_NUMBER = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5 };
/* Fields of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec. */
enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_TYPE = 3, TRAINER_SUFFIX = 24 };
enum { FORM_MAP = 2, FORM_PREFIX = 3, FORM_COLLAPSE = 4, FORM_ESCAPE = 5 };
#define TYPE_UNIGRAM 1

struct reader {
    const unsigned char *at, *end;
};

struct field {
    uint64_t name, number; /* number: of WIRE_NUMBER, and the bits of the others that have one */
    int wire;
    struct reader bytes;
};

static bool cut(struct err *err)
{
    return err_set(err, ERR_INVALID, "spiece.model: cut short, or none of SentencePiece");
}

static bool take_number(struct reader *r, uint64_t *out, struct err *err)
{
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            return cut(err);
        unsigned char byte = *r->at++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return cut(err);
}

static bool take_field(struct reader *r, struct field *f, struct err *err)
{
    uint64_t tag;
    if (!take_number(r, &tag, err))
        return false;
    *f = (struct field){.name = tag >> 3, .wire = (int)(tag & 7)};
    size_t left, n = f->wire == WIRE_8 ? 8 : 4;
    switch (f->wire) {
    case WIRE_NUMBER:
        return take_number(r, &f->number, err);
    case WIRE_BYTES:
        if (!take_number(r, &f->number, err))
            return false;
        left = (size_t)(r->end - r->at);
        if (f->number > left)
            return cut(err);
        f->bytes = (struct reader){r->at, r->at + f->number};
        r->at += f->number;
        return true;
    case WIRE_4:
    case WIRE_8:
        left = (size_t)(r->end - r->at);
        if (n > left)
            return cut(err);
        for (size_t i = n; i-- > 0;)
            f->number = f->number << 8 | r->at[i];
        r->at += n;
        return true;
    default: /* a number from a file */
        return cut(err);
    }
}

static bool read_piece(struct reader r, struct unigram_piece *p, struct err *err)
{
    struct field f;
    *p = (struct unigram_piece){.text = "", .type = UNIGRAM_NORMAL};
    while (r.at < r.end) {
        if (!take_field(&r, &f, err))
            return false;
        if (f.name == PIECE_TEXT && f.wire == WIRE_BYTES) {
            p->text = (const char *)f.bytes.at;
            p->len = (size_t)(f.bytes.end - f.bytes.at);
        } else if (f.name == PIECE_SCORE && f.wire == WIRE_4) {
            uint32_t bits = (uint32_t)f.number;
            memcpy(&p->score, &bits, sizeof bits);
        } else if (f.name == PIECE_TYPE && f.wire == WIRE_NUMBER) {
            if (f.number < UNIGRAM_NORMAL || f.number > UNIGRAM_BYTE)
                return err_set(err, ERR_UNSUPPORTED,
                               "spiece.model: a piece of type %llu; wanted 1..6",
                               (unsigned long long)f.number);
            p->type = (enum unigram_type)f.number;
        }
    }
    return true;
}

static bool read_trainer(struct reader r, struct err *err)
{
    struct field f;
    while (r.at < r.end) {
        if (!take_field(&r, &f, err))
            return false;
        if (f.wire == WIRE_NUMBER && ((f.name == TRAINER_TYPE && f.number != TYPE_UNIGRAM) ||
                                      (f.name == TRAINER_SUFFIX && f.number)))
            return err_set(err, ERR_UNSUPPORTED,
                           "spiece.model: wanted a unigram model with spaces in front of words, as "
                           "T5's; this is another kind");
    }
    return true;
}

static bool read_forms(struct reader r, struct unigram_source *out, struct err *err)
{
    struct field f;
    while (r.at < r.end) {
        if (!take_field(&r, &f, err))
            return false;
        if (f.name == FORM_MAP && f.wire == WIRE_BYTES) {
            out->forms = f.bytes.at;
            out->forms_size = (size_t)(f.bytes.end - f.bytes.at);
        } else if (f.name == FORM_PREFIX && f.wire == WIRE_NUMBER) {
            out->prefix = f.number;
        } else if (f.name == FORM_COLLAPSE && f.wire == WIRE_NUMBER) {
            out->collapse = f.number;
        } else if (f.name == FORM_ESCAPE && f.wire == WIRE_NUMBER && !f.number) {
            return err_set(err, ERR_UNSUPPORTED,
                           "spiece.model: wanted spaces written as U+2581, as T5's are");
        }
    }
    return true;
}

/* Of the whole message; pieces NULL: they are counted. */
static bool read_model(struct reader r, struct unigram_source *out, struct unigram_piece *pieces,
                       struct err *err)
{
    struct field f;
    out->count = 0;
    while (r.at < r.end) {
        if (!take_field(&r, &f, err))
            return false;
        bool ok = true;
        if (f.wire == WIRE_BYTES && f.name == MODEL_PIECE) {
            ok = !pieces || read_piece(f.bytes, &pieces[out->count], err);
            out->count++;
        } else if (f.wire == WIRE_BYTES && f.name == MODEL_TRAINER) {
            ok = read_trainer(f.bytes, err);
        } else if (f.wire == WIRE_BYTES && f.name == MODEL_NORMALIZER) {
            ok = read_forms(f.bytes, out, err);
        }
        if (!ok)
            return false;
    }
    return true;
}

bool spiece_read(const void *data, size_t size, struct unigram_source *out, struct err *err)
{
    struct reader r = {data, (const unsigned char *)data + size};
    *out = (struct unigram_source){.prefix = true, .collapse = true};
    if (!read_model(r, out, NULL, err))
        return false;
    if (out->count < 1 || out->count > UNIGRAM_MOST)
        return err_set(err, ERR_INVALID, "spiece.model: wanted 1..%d pieces, found %zu",
                       UNIGRAM_MOST, out->count);
    struct unigram_piece *pieces = calloc(out->count, sizeof *pieces);
    if (!pieces)
        return err_set(err, ERR_INTERNAL, "no memory for a vocabulary");
    out->pieces = pieces;
    if (read_model(r, out, pieces, err))
        return true;
    free(pieces);
    out->pieces = NULL;
    return false;
}

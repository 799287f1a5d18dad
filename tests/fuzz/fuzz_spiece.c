/* fuzz_spiece.c: any bytes as a vocabulary of SentencePiece's, and as a text for it. Every id must
 * be of a piece. `make fuzz TARGET=spiece` */
#include <stdint.h>
#include <stdlib.h>

#include "engine/text/spiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct unigram_source source;
    if (!spiece_read(data, size, &source, &err)) {
        if (err.code == ERR_NONE)
            abort();
        return 0;
    }
    struct unigram *u = unigram_new(&source, &err);
    struct tokenizer_ids ids = {0};
    size_t some = size < 4096 ? size : 4096;
    if (u && unigram_encode(u, (const char *)data + (size - some), some, &ids, &err))
        for (size_t i = 0; i < ids.count; i++)
            if (ids.at[i] < 0 || (size_t)ids.at[i] >= unigram_count(u))
                abort();
    tokenizer_ids_free(&ids);
    unigram_free(u);
    free((void *)source.pieces);
    return 0;
}

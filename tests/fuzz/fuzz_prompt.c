/* fuzz_prompt.c: any bytes as a prompt: syntax, tokenizer, chunks. `make fuzz TARGET=prompt` */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/chunk.h"
#include "engine/text/prompt.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_parts(const char *text)
{
    struct prompt prompt;
    struct err err = {0};
    if (!prompt_parse(text, &prompt, &err)) {
        require(*err.msg && !prompt.parts && !prompt.text);
        return;
    }
    size_t len = 0;
    require(prompt.count >= 1);
    for (size_t i = 0; i < prompt.count; i++) {
        require(isfinite((float)prompt.parts[i].weight));
        require(i == 0 || prompt.parts[i].weight != prompt.parts[i - 1].weight);
        require(prompt.parts[i].text == prompt.text + len);
        len += prompt.parts[i].len;
    }
    require(len <= strlen(text));
    prompt_free(&prompt);
}

static void check_chunks(const struct tokenizer *t, const char *text)
{
    struct chunk_list list;
    struct err err = {0};
    if (!chunk_prompt(t, text, TOKENIZER_END, NULL, &list, &err)) {
        require(*err.msg && !list.at);
        return;
    }
    require(list.count >= 1 && list.count <= CHUNK_LIMIT && list.tokens <= list.count * 75);
    for (size_t i = 0; i < list.count; i++) {
        const struct chunk *c = &list.at[i];
        require(c->ids[0] == TOKENIZER_START && c->ids[CHUNK_LENGTH - 1] == TOKENIZER_END);
        require(c->weights[0] == 1 && c->weights[CHUNK_LENGTH - 1] == 1);
        for (int k = 0; k < CHUNK_LENGTH; k++)
            require(c->ids[k] >= 0 && c->ids[k] < TOKENIZER_VOCAB && isfinite(c->weights[k]));
    }
    chunk_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *t;
    if (!t)
        t = tokenizer_new(NULL);
    require(t);

    struct tokenizer_ids ids = {0};
    struct err err = {0};
    bool ok = tokenizer_encode(t, (const char *)data, size, &ids, &err);
    require(ok || (ids.count == 0 && *err.msg));
    for (size_t i = 0; i < ids.count; i++)
        require(ids.at[i] >= 0 && ids.at[i] < TOKENIZER_VOCAB);
    tokenizer_ids_free(&ids);

    char *text = malloc(size + 1);
    require(text);
    memcpy(text, data, size);
    text[size] = '\0';
    check_parts(text);
    check_chunks(t, text);
    free(text);
    return 0;
}

/* prompt_check.c: pictor_prompt_check of pictor.h: a prompt's length without a model. One tokenizer
 * serves all callers; it is made at the first call and stays. */
#include <pthread.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/text/chunk.h"
#include "engine/text/wording.h"

static struct tokenizer *tokenizer;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make(void)
{
    tokenizer = tokenizer_new(NULL);
}

/* All the texts that a prompt becomes, as conditioning.c counts them; adds to *chunks. */
static bool check_texts(const struct editing *e, const struct chunk_style *style, size_t *chunks,
                        struct err *err)
{
    size_t most = 0;
    for (size_t i = 0; i < e->text_count; i++) {
        struct chunk_list list;
        if (!chunk_prompt(tokenizer, e->texts[i], TOKENIZER_END, style, &list, err))
            return false;
        most = list.count > most ? list.count : most;
        chunk_list_free(&list);
        if (!chunk_check_total(i + 1, most, err))
            return false;
    }
    return chunk_check_total(e->text_count, most, err) &&
           family_chunks_add(chunks, e->text_count, most * CHUNK_LENGTH, err);
}

bool pictor_prompt_check(const struct pictor_params *p, bool negative, struct err *err)
{
    struct editing_pass passes[2];
    struct chunk_style style = family_style(p);
    int count = family_passes(p, passes);
    pthread_once(&once, make);
    if (!tokenizer)
        return err_set(err, ERR_INTERNAL, "no memory for a tokenizer");
    bool ok = true;
    for (int i = 0; ok && i < (count ? count : 1); i++) {
        struct wording w;
        size_t chunks = 0;
        ok = wording_parse(negative ? "" : p->prompt, negative ? p->negative_prompt : "",
                           count ? &passes[i] : NULL, &w, err);
        for (int k = 0; ok && k <= w.count; k++)
            ok = check_texts(&w.parts[k].editing, &style, &chunks, err);
        wording_free(&w);
    }
    return ok;
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

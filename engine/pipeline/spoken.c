#include "engine/pipeline/spoken.h"

#include <stdlib.h>

static bool encode(struct spoken *s, int part, struct family_model *m, struct ops *o,
                   const struct pictor_params *params, struct err *err)
{
    const struct editing *e = &s->wording.parts[part].editing;
    struct family_prompt prompt = {
        .texts = (const char *const *)e->texts,
        .uses = e->uses,
        .count = e->text_count,
        .negative = part == s->wording.count,
    };
    s->words[part] = calloc(e->text_count, sizeof *s->words[part]);
    if (!s->words[part])
        return err_set(err, ERR_INTERNAL, "no memory for a prompt of %zu texts", e->text_count);
    return m->family->words(m, o, params, &prompt, s->words[part], err);
}

bool spoken_new(struct spoken *s, struct family_model *m, struct ops *o,
                const struct pictor_params *params, const struct editing_pass *pass,
                struct err *err)
{
    *s = (struct spoken){0};
    bool ok = wording_parse(params->prompt, params->negative_prompt, pass, &s->wording, err);
    size_t chunks = 0;
    for (int i = 0; ok && i <= s->wording.count; i++)
        ok = encode(s, i, m, o, params, err) &&
             family_chunks_add(&chunks, s->wording.parts[i].editing.text_count,
                               (size_t)s->words[i][0].tokens, err);
    if (!ok)
        spoken_free(s);
    return ok;
}

void spoken_free(struct spoken *s)
{
    for (int i = 0; i < WORDING_MAX; i++)
        free(s->words[i]);
    wording_free(&s->wording);
    *s = (struct spoken){0};
}

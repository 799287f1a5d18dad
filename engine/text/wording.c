#include "engine/text/wording.h"

static bool add(struct wording *w, int place, const char *text, double weight,
                const struct editing_pass *pass, struct err *err)
{
    w->parts[place].weight = weight;
    return pass ? editing_parse(text, pass, &w->parts[place].editing, err)
                : editing_plain(text, &w->parts[place].editing, err);
}

bool wording_parse(const char *prompt, const char *negative, const struct editing_pass *pass,
                   struct wording *out, struct err *err)
{
    struct conjunction c = {.count = 0};
    bool ok = true;
    *out = (struct wording){.count = 1};
    if (!pass) {
        ok = add(out, 0, prompt, 1, NULL, err);
    } else if ((ok = conjunction_parse(prompt, &c, err))) {
        out->count = c.count;
        for (int i = 0; ok && i < c.count; i++)
            ok = add(out, i, c.at[i].text, c.at[i].weight, pass, err);
    }
    conjunction_free(&c);
    ok = ok && add(out, out->count, negative, 1, pass, err);
    if (!ok)
        wording_free(out);
    return ok;
}

void wording_free(struct wording *w)
{
    for (int i = 0; i < WORDING_MAX; i++)
        editing_free(&w->parts[i].editing);
    *w = (struct wording){0};
}

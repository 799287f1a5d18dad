#include "server/job/variants.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/dynamic.h"

#define TEXTS 4
#define STREAM 0xd1342543de82ef95 /* any odd number: texts of one seed choose by themselves */
#define DEPTH 4                   /* of the JSON */
#define BYTES_MOST ((size_t)1 << 20) /* of all texts of a job: they are in each answer about it */

static const char *const names[TEXTS] = {"prompt", "negative_prompt", "hires_prompt",
                                         "hires_negative_prompt"};

static char **text_of(struct job_params *p, int i)
{
    char **const texts[TEXTS] = {&p->prompt, &p->negative_prompt, &p->hires_prompt,
                                 &p->hires_negative_prompt};
    return texts[i];
}

/* NULL where it does not choose. */
static char *text_in(const cJSON *texts, int i)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(texts, names[i]));
}

/* ---- making ---- */

/* A second pass's prompt that is the first one's chooses what that chose. */
static int stream_of(struct job_params *p, int i)
{
    const char *first = *text_of(p, i % 2), *own = *text_of(p, i);
    return i >= 2 && first && own && strcmp(first, own) == 0 ? i - 2 : i;
}

/* What the texts of a job are made with. */
struct making {
    const struct settings *settings;
    struct wildcards *wildcards;
    bool once;          /* for another server: variants_make */
    size_t work, bytes; /* done for them (server/job/dynamic.h), and of what came out */
};

/* What is kept is what says the same when it is sent anew; NULL: that is what it was. */
static bool settle(struct making *m, const char *text, char **out, struct err *err)
{
    if (!dynamic_settle(out, m->wildcards, err))
        return false;
    if (strcmp(*out, text) == 0) {
        free(*out);
        *out = NULL;
    }
    return true;
}

static bool resolve(struct making *m, struct job_params *p, int i, uint64_t seed, char **out,
                    const char **wrong, struct err *err)
{
    const char *text = *text_of(p, i);
    size_t most = m->settings->max_prompt_bytes;
    *out = NULL;
    if (!text || !*text || strlen(text) > most)
        return true;
    bool ok = dynamic_resolve_more(text, seed + (uint64_t)stream_of(p, i) * STREAM, m->wildcards,
                                   &m->work, out, err);
    /* Without emphasis a backslash is painted, and other servers know nothing of it. */
    if (ok && *out && !m->once && p->emphasis != PICTOR_EMPHASIS_NONE)
        ok = settle(m, text, out, err);
    size_t size = ok && *out ? strlen(*out) : 0;
    m->bytes += size;
    if (size > most)
        ok = err_set(err, ERR_TOO_LARGE, "becomes longer than %zu bytes", most);
    else if (m->bytes > BYTES_MOST)
        ok = err_set(err, ERR_TOO_LARGE,
                     "what the pictures' prompts become is longer than %zu bytes together",
                     BYTES_MOST);
    if (ok)
        return true;
    free(*out);
    *out = NULL;
    if (err->code == ERR_NOT_FOUND) /* it is no route that was not found */
        err->code = ERR_INVALID;
    *wrong = names[i];
    return err_prefix(err, "%s", names[i]);
}

/* The texts of one picture that chose, by their fields' names. Owned. */
static cJSON *resolve_all(struct making *m, struct job_params *p, uint64_t seed, bool *chooses,
                          const char **wrong, struct err *err)
{
    cJSON *texts = cJSON_CreateObject();
    bool ok = texts || err_set(err, ERR_INTERNAL, "no memory for a job's prompts");
    for (int i = 0; ok && i < TEXTS; i++) {
        char *text;
        ok = resolve(m, p, i, seed, &text, wrong, err);
        *chooses |= text != NULL;
        if (text && !cJSON_AddStringToObject(texts, names[i], text))
            ok = err_set(err, ERR_INTERNAL, "no memory for a job's prompts");
        free(text);
    }
    if (ok)
        return texts;
    cJSON_Delete(texts);
    return NULL;
}

static bool keep_template(const char *text, const cJSON *texts, int i, char **out)
{
    free(*out);
    *out = NULL;
    return !text_in(texts, i) || (*out = strdup(text));
}

static bool use_texts(struct job_params *p, const cJSON *texts, struct err *err)
{
    for (int i = 0; i < TEXTS; i++) {
        const char *text = text_in(texts, i);
        char **to = text_of(p, i), *copy = text ? strdup(text) : NULL;
        if (text && !copy)
            return err_set(err, ERR_INTERNAL, "no memory for a job's prompts");
        if (!text)
            continue;
        free(*to);
        *to = copy;
    }
    return true;
}

static bool make_list(struct making *m, bool once, struct job_params *p, const char **wrong,
                      struct err *err)
{
    bool chooses = false;
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < (once ? 1 : p->count); i++) {
        cJSON *texts = resolve_all(m, p, p->seed + (uint64_t)i, &chooses, wrong, err);
        if (!texts) {
            cJSON_Delete(list);
            return false;
        }
        cJSON_AddItemToArray(list, texts);
        if (!chooses) /* what is text is text for all seeds */
            break;
    }
    const cJSON *first = cJSON_GetArrayItem(list, 0);
    bool ok = true;
    if (chooses) {
        ok = (keep_template(p->prompt, first, 0, &p->prompt_template) &&
              keep_template(p->negative_prompt, first, 1, &p->negative_template)) ||
             err_set(err, ERR_INTERNAL, "no memory for a job's prompts");
        if (ok && !once)
            ok = (p->variants = json_text_print(list)) ||
                 err_set(err, ERR_INTERNAL, "no memory for a job's prompts");
        ok = ok && use_texts(p, first, err);
    }
    cJSON_Delete(list);
    return ok;
}

bool variants_make(const struct settings *s, bool once, struct job_params *p, const char **param,
                   struct err *err)
{
    const char *wrong = NULL;
    if (p->variants)
        return true;
    free(p->prompt_template);
    free(p->negative_template);
    p->prompt_template = p->negative_template = NULL;
    /* Other counts are refused by who checks the job. */
    if (!s->dynamic_prompts || p->syntax == PICTOR_SYNTAX_PLAIN || p->count < 1 ||
        p->count > s->max_count)
        return true;
    struct making m = {.settings = s, .once = once, .wildcards = wildcards_new(s->wildcards, err)};
    bool ok = m.wildcards && make_list(&m, once, p, &wrong, err);
    wildcards_free(m.wildcards);
    if (wrong && param)
        *param = wrong;
    return ok;
}

/* ---- using ---- */

bool variants_read(const struct job_params *p, struct variants *out, struct err *err)
{
    *out = (struct variants){.count = 1};
    if (!p->variants)
        return true;
    cJSON *list = json_text_parse(p->variants, strlen(p->variants), DEPTH, err);
    if (!list)
        return false;
    if (!cJSON_IsArray(list) || !list->child) {
        cJSON_Delete(list);
        return err_set(err, ERR_INTERNAL, "variants: wanted a list of prompts");
    }
    *out = (struct variants){list, (size_t)cJSON_GetArraySize(list)};
    return true;
}

void variants_free(struct variants *v)
{
    cJSON_Delete(v->list);
    *v = (struct variants){.list = NULL};
}

void variants_view(const struct variants *v, size_t i, const struct job_params *p,
                   struct job_params *out)
{
    *out = *p;
    const cJSON *texts = v->list ? cJSON_GetArrayItem(v->list, (int)i) : NULL;
    for (int k = 0; k < TEXTS; k++) {
        char *text = text_in(texts, k);
        if (text)
            *text_of(out, k) = text;
    }
}

bool variants_use(struct job_params *p, int index, struct err *err)
{
    struct variants v;
    if (!variants_read(p, &v, err))
        return false;
    bool ok = !v.list || use_texts(p, cJSON_GetArrayItem(v.list, index), err);
    variants_free(&v);
    return ok;
}

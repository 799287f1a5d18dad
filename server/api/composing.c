/* composing.c: bodies are rewritten: in JSON their requests, of a form its parts, so that whoever
 * reads them finds what a client could have sent. */
#include "server/api/composing.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/base/json_number.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/multipart.h"
#include "server/job/composition.h"
#include "server/job/intake.h"
#include "server/job/registry.h"

#define COMPOSE "compose"
#define FROM "composed_from"

#define PROMPT "prompt"
#define ASKED_MOST 16 /* requests of one body that a chat model is asked about */

struct target {
    cJSON *request; /* in the body */
    size_t number;  /* its place among them all */
    struct composer composer;
    char *text;
};

/* Without the request, which may be gone when it is done. */
struct composing {
    const struct composing_place *place;
    cJSON *body;          /* of a form, what it says of composing */
    char *form, *type;    /* a copy of it and of its header; NULL: the body is JSON */
    size_t form_size;
    struct target *targets;
    size_t count, done;
    size_t blamed; /* the request that an error is of */
    char *sent;
    struct err err;
    void (*next)(struct http_request *req);
};

static void composing_free(void *ctx)
{
    struct composing *c = ctx;
    for (size_t i = 0; i < c->count; i++) {
        composer_free(&c->targets[i].composer);
        free(c->targets[i].text);
    }
    free(c->targets);
    cJSON_Delete(c->body);
    free(c->form);
    free(c->type);
    free(c->sent);
    free(c);
}

static cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What the request calls the model: "model", or the WebUI's setting. */
static const char *model_of(const cJSON *body)
{
    const char *name = cJSON_GetStringValue(member(body, "model"));
    return name ? name
                : cJSON_GetStringValue(member(member(body, "override_settings"),
                                              "sd_model_checkpoint"));
}

bool composing_seed(const cJSON *seed, uint64_t *out, struct err *err)
{
    struct json_whole whole;
    if (json_number_whole(seed, &whole) && !whole.negative)
        *out = whole.magnitude;
    else if (cJSON_IsNumber(seed) && seed->valuedouble >= 0 && seed->valuedouble < 1.8e19)
        *out = (uint64_t)seed->valuedouble;
    else
        return intake_seed(out, err);
    return true;
}

bool composing_init(const struct app *app, const char *theme, const char *model, uint64_t seed,
                    struct composer *out, struct err *err)
{
    struct registry_model *m = malloc(sizeof *m);
    if (!m)
        return err_set(err, ERR_INTERNAL, "no memory for a description");
    bool known = registry_resolve(app->registry, model, m, NULL) ||
                 registry_resolve(app->registry, NULL, m, NULL);
    bool plain = known && strcmp(m->name, REGISTRY_BUILTIN) == 0;
    free(m);
    return composition_check(theme, err) &&
           composer_init(out, app->settings, theme, seed, plain, err);
}

/* ---- requests ---- */

static cJSON *next_request(const struct composing_place *place, cJSON *body, cJSON *before)
{
    return place && place->next ? place->next(body, before) : before ? NULL : body;
}

static char *idea_of(const struct composing_place *place, const cJSON *request)
{
    if (place && place->idea)
        return place->idea(request);
    const char *text = cJSON_GetStringValue(member(request, PROMPT));
    return text ? strdup(text) : NULL;
}

static bool put_text(const struct composing_place *place, cJSON *request, const char *text)
{
    return place && place->put ? place->put(request, text)
                               : cJSON_ReplaceItemInObjectCaseSensitive(
                                     request, PROMPT, cJSON_CreateString(text));
}

/* The request as if it had come with the description. */
static bool put_target(const struct composing_place *place, const struct target *t)
{
    cJSON_DeleteItemFromObjectCaseSensitive(t->request, COMPOSE);
    cJSON_DeleteItemFromObjectCaseSensitive(t->request, FROM);
    return cJSON_AddStringToObject(t->request, FROM, t->composer.theme) &&
           put_text(place, t->request, t->text);
}

static bool init_target(const struct app *app, const char *idea, cJSON *request, struct target *t,
                        struct err *err)
{
    uint64_t seed;
    t->request = request;
    return composing_seed(member(request, "seed"), &seed, err) &&
           composing_init(app, idea, model_of(request), seed, &t->composer, err);
}

bool composing_now(const struct app *app, struct cJSON *request, const atomic_bool *stop,
                   struct err *err)
{
    struct target t = {0};
    char *idea = cJSON_IsTrue(member(request, COMPOSE)) ? idea_of(NULL, request) : NULL;
    if (!idea) /* what is wrong with it is said by who reads it */
        return true;
    bool done = init_target(app, idea, request, &t, err) &&
                (t.text = composer_run(&t.composer, stop, NULL, NULL, err)) &&
                (put_target(NULL, &t) || err_set(err, ERR_INTERNAL, "no memory for a request"));
    composer_free(&t.composer);
    free(t.text);
    free(idea);
    return done;
}

/* ---- forms ---- */

/* What a form says of composing, as JSON; NULL: nothing. What is wrong with it is said by who reads
 * it. */
static cJSON *form_body(const char *type, const char *form, size_t size)
{
    static const char *const names[] = {COMPOSE, PROMPT, "model", "seed"};
    static const struct json_field field = {COMPOSE, .type = JSON_FIELD_BOOL, .offset = 0};
    struct multipart m;
    struct json_problem problem;
    bool asked = false;
    if (!multipart_parse(&m, type, form, size, NULL))
        return NULL;
    cJSON *body = cJSON_CreateObject();
    for (size_t i = 0; i < m.count; i++) {
        const struct multipart_part *part = &m.parts[i];
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            char *text = strcmp(part->name, names[k]) == 0 && !part->filename
                             ? strndup(part->data, part->size)
                             : NULL;
            if (text)
                cJSON_AddStringToObject(body, names[k], text);
            free(text);
        }
    }
    multipart_free(&m);
    if (member(body, COMPOSE) &&
        json_fields_parse(&field, 1, body, JSON_FIELDS_COERCE, &asked, &problem) && asked) {
        cJSON_ReplaceItemInObjectCaseSensitive(body, COMPOSE, cJSON_CreateTrue());
        return body;
    }
    cJSON_Delete(body);
    return NULL;
}

/* The form with the description as its prompt, the idea in a part behind that, and without the wish
 * to compose; owned. */
static char *form_with(const struct composing *c, const struct target *t, size_t *size)
{
    struct multipart m;
    char *text = NULL, boundary[MULTIPART_BOUNDARY_SIZE];
    FILE *out = open_memstream(&text, size);
    bool ok = out && multipart_parse(&m, c->type, c->form, c->form_size, NULL);
    const char *at = c->form;
    for (size_t i = 0; ok && i < m.count; i++) {
        const struct multipart_part *part = &m.parts[i];
        bool prompt = strcmp(part->name, PROMPT) == 0;
        if (!prompt && strcmp(part->name, COMPOSE) != 0)
            continue;
        fwrite(at, 1, (size_t)(part->data - at), out);
        if (prompt && multipart_boundary(c->type, boundary, NULL))
            fprintf(out,
                    "%s\r\n--%s\r\nContent-Disposition: form-data; name=\"" FROM "\"\r\n\r\n%s",
                    t->text, boundary, t->composer.theme);
        else
            fputs("false", out);
        at = part->data + part->size;
    }
    if (ok) {
        fwrite(at, 1, (size_t)(c->form + c->form_size - at), out);
        multipart_free(&m);
    }
    if (out && (fclose(out) != 0 || !ok)) {
        free(text);
        text = NULL;
    }
    return text;
}

/* ---- bodies ---- */

static bool rewrite(struct http_request *req, struct composing *c)
{
    size_t size = 0;
    bool ok = true;
    for (size_t i = 0; i < c->count && !c->form; i++)
        ok = ok && put_target(c->place, &c->targets[i]);
    char *text = !ok       ? NULL
                 : c->form ? form_with(c, &c->targets[0], &size)
                           : json_text_print(c->body);
    if (!text)
        return err_set(&c->err, ERR_INTERNAL, "no memory for a request");
    http_set_body(req, text, c->form ? size : strlen(text), c->sent);
    c->sent = NULL;
    return true;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct composing *c = ctx;
    struct target *t = &c->targets[c->done];
    c->blamed = t->number;
    t->text = composer_run(&t->composer, gone, NULL, NULL, &c->err);
    return t->text && ++c->done < c->count;
}

static void reply_failed(struct http_request *req, const struct composing *c, const char *what)
{
    char param[64];
    if (c->err.code == ERR_UPSTREAM)
        http_reply_header(req, "x-should-retry", "false");
    if (c->place && c->place->fail) {
        c->place->fail(req, c->body, &c->err);
        return;
    }
    if (c->place && c->place->list)
        snprintf(param, sizeof param, "%s[%zu].%s", c->place->list, c->blamed, what);
    else
        snprintf(param, sizeof param, "%s", what);
    http_reply_error(req, &c->err, param);
}

static void reply(struct http_request *req, void *ctx)
{
    struct composing *c = ctx;
    if (c->done == c->count && rewrite(req, c))
        c->next(req);
    else
        reply_failed(req, c, COMPOSE);
}

/* The body, if it may ask for it; a body without pictures is small, others are not parsed twice for
 * nothing. */
static cJSON *asking_body(struct http_request *req, bool *form)
{
    size_t size;
    const char *body = http_body(req, &size);
    *form = http_content_type_is(req, "multipart/form-data");
    if (*form)
        return memmem(body, size, COMPOSE, sizeof COMPOSE - 1)
                   ? form_body(http_header(req, "Content-Type"), body, size)
                   : NULL;
    return memmem(body, size, "\"" COMPOSE "\"", sizeof COMPOSE + 1) ? http_json(req, NULL) : NULL;
}

/* Fills the targets; false: `err` says why there may be none. */
static bool find_targets(const struct app *app, struct composing *c)
{
    cJSON *at = NULL;
    for (; (at = next_request(c->place, c->body, at)) != NULL; c->blamed++) {
        char *idea = cJSON_IsTrue(member(at, COMPOSE)) ? idea_of(c->place, at) : NULL;
        if (!idea)
            continue;
        struct target *grown = realloc(c->targets, (c->count + 1) * sizeof *grown);
        if (grown) {
            c->targets = grown;
            grown[c->count] = (struct target){.number = c->blamed};
        }
        bool good = grown ? init_target(app, idea, at, &grown[c->count], &c->err)
                          : err_set(&c->err, ERR_INTERNAL, "no memory for a request");
        free(idea);
        if (!good)
            return false;
        if (++c->count > ASKED_MOST && composer_asks(app->settings))
            return err_set(&c->err, ERR_INVALID,
                           "at most %d requests at once are composed by a chat model", ASKED_MOST);
    }
    return true;
}

static bool keep_sent(struct http_request *req, struct composing *c, bool form)
{
    size_t size;
    const char *text = http_body(req, &size), *type = http_header(req, "Content-Type");
    if (!form) {
        c->sent = strdup(http_body_sent(req, &size));
        return c->sent;
    }
    c->type = strdup(type);
    c->form = malloc(size + 1);
    c->form_size = size;
    if (c->form)
        memcpy(c->form, text, size + 1);
    return c->type && c->form;
}

bool composing_begins(struct http_request *req, const struct composing_place *place,
                      void (*next)(struct http_request *req))
{
    const struct app *app = http_app(req);
    struct err err;
    bool form;
    cJSON *body = asking_body(req, &form);
    struct composing *c = body ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        err_set(&err, ERR_INTERNAL, "no memory for a request");
        if (body)
            http_reply_error(req, &err, NULL);
        cJSON_Delete(body);
        return body != NULL;
    }
    c->place = form ? NULL : place;
    c->body = body;
    c->next = next;
    bool found = find_targets(app, c);
    if (found && c->count > 0 && !keep_sent(req, c, form))
        found = err_set(&c->err, ERR_INTERNAL, "no memory for a request");
    if (!found || c->count == 0) { /* what is wrong with it is said by who reads it */
        if (!found)
            reply_failed(req, c, PROMPT);
        composing_free(c);
        return !found;
    }
    if (composer_asks(app->settings)) {
        http_work_far(req, work, reply, c, composing_free);
        return true;
    }
    while (work(c, NULL))
        ;
    bool done = c->done == c->count && rewrite(req, c);
    if (!done)
        reply_failed(req, c, COMPOSE);
    composing_free(c);
    return !done;
}

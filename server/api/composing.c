#include "server/api/composing.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/job/composition.h"
#include "server/job/intake.h"
#include "server/job/registry.h"

#define COMPOSE "compose"
#define FROM "composed_from"

/* Without the request, which may be gone when it is done. */
struct composing {
    struct composer composer;
    cJSON *body;
    char *text, *sent;
    struct err err;
    void (*next)(struct http_request *req);
};

static void composing_free(void *ctx)
{
    struct composing *c = ctx;
    composer_free(&c->composer);
    cJSON_Delete(c->body);
    free(c->text);
    free(c->sent);
    free(c);
}

static const cJSON *member(const cJSON *object, const char *name)
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

/* The request as if it had come with the description. */
static bool rewrite(struct http_request *req, struct composing *c)
{
    cJSON_DeleteItemFromObjectCaseSensitive(c->body, COMPOSE);
    cJSON_DeleteItemFromObjectCaseSensitive(c->body, FROM);
    cJSON_AddStringToObject(c->body, FROM, c->composer.theme);
    bool ok = cJSON_ReplaceItemInObjectCaseSensitive(c->body, "prompt",
                                                     cJSON_CreateString(c->text));
    char *text = ok ? json_text_print(c->body) : NULL;
    if (!text)
        return err_set(&c->err, ERR_INTERNAL, "no memory for a request");
    http_set_body(req, text, c->sent);
    c->sent = NULL;
    return true;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct composing *c = ctx;
    c->text = composer_run(&c->composer, gone, NULL, NULL, &c->err);
    return false;
}

static void reply(struct http_request *req, void *ctx)
{
    struct composing *c = ctx;
    if (c->text && rewrite(req, c)) {
        c->next(req);
        return;
    }
    if (c->err.code == ERR_UPSTREAM)
        http_reply_header(req, "x-should-retry", "false");
    http_reply_error(req, &c->err, COMPOSE);
}

/* Whether the body may ask for it; a body without pictures is small, others are not parsed twice
 * for nothing. */
static bool may_ask(struct http_request *req)
{
    size_t size;
    const char *body = http_body(req, &size);
    return !http_content_type_is(req, "multipart/form-data") &&
           memmem(body, size, "\"" COMPOSE "\"", sizeof COMPOSE + 1);
}

bool composing_begins(struct http_request *req, void (*next)(struct http_request *req))
{
    const struct app *app = http_app(req);
    struct err err = {0};
    uint64_t seed;
    cJSON *body = may_ask(req) ? http_json(req, NULL) : NULL;
    const cJSON *asked = member(body, COMPOSE);
    const char *theme = cJSON_GetStringValue(member(body, "prompt"));
    if (!cJSON_IsTrue(asked)) { /* what is wrong with it is said by who reads it */
        cJSON_Delete(body);
        return false;
    }
    struct composing *c = calloc(1, sizeof *c);
    if (!c || !composing_seed(member(body, "seed"), &seed, &err) ||
        !composing_init(app, theme ? theme : "", model_of(body), seed, &c->composer, &err)) {
        if (!c)
            err_set(&err, ERR_INTERNAL, "no memory for a request");
        http_reply_error(req, &err, "prompt");
        cJSON_Delete(body);
        free(c);
        return true;
    }
    size_t size;
    c->sent = strdup(http_body_sent(req, &size));
    c->body = body;
    c->next = next;
    if (composer_asks(app->settings)) {
        http_work_far(req, work, reply, c, composing_free);
        return true;
    }
    work(c, NULL);
    bool done = c->text && rewrite(req, c);
    if (!done)
        http_reply_error(req, &c->err, COMPOSE);
    composing_free(c);
    return !done;
}

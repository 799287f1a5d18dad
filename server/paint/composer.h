/* composer.h: a short idea as the description of a painting: by a chat model of an
 * OpenAI-compatible server where the settings name one, else by the words of
 * server/job/composition.h. Waits for the network; no state. */
#ifndef PICTOR_SERVER_COMPOSER_H
#define PICTOR_SERVER_COMPOSER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct settings;

/* Owned texts, so that it outlives the request and the server's settings. */
struct composer {
    char *url, *model, *key; /* url "": nobody is asked */
    int timeout_ms;
    char *theme;
    uint64_t seed;
    bool plain; /* for the built-in model, by whose words */
};

/* Whether a chat model is asked, for which somebody has to wait. */
bool composer_asks(const struct settings *settings);

bool composer_init(struct composer *c, const struct settings *settings, const char *theme,
                   uint64_t seed, bool plain, struct err *err);
void composer_free(struct composer *c);

/* The description; owned. `piece` (may be NULL) is told what has come of it, as it comes. *stop set
 * ends it with ERR_CANCELLED; may be NULL. What the model does not deliver is ERR_UPSTREAM: the raw
 * idea is never taken instead. */
typedef void composer_piece_fn(void *ctx, const char *text, size_t size);
char *composer_run(const struct composer *c, const atomic_bool *stop, composer_piece_fn *piece,
                   void *ctx, struct err *err);

#endif

/* pull_hub.h: Hugging Face: files of a repository, or all of it that makes a model. Its API says
 * their sizes and SHA-256. HF_ENDPOINT: another server that speaks it. No state. */
#ifndef PICTOR_SERVER_PULL_HUB_H
#define PICTOR_SERVER_PULL_HUB_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/pull/pull_source.h"

/* OWNER/REPO[@REVISION][/PATH]. */
bool pull_hub_find(struct pull_source *s, const char *ref, struct err *err);

/* The address of a repository, of a file in one, or of the page about either. *is: whether `url` is
 * one. */
bool pull_hub_find_address(struct pull_source *s, const char *url, bool *is, struct err *err);

#endif

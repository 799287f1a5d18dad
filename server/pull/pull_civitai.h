/* pull_civitai.h: CivitAI: a version of a model has files, of which one is meant. Its API says
 * their names, sizes and SHA-256. CIVITAI_ENDPOINT: another server that speaks it. No state. */
#ifndef PICTOR_SERVER_PULL_CIVITAI_H
#define PICTOR_SERVER_PULL_CIVITAI_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/pull/pull_source.h"

/* VERSION, a number. */
bool pull_civitai_find(struct pull_source *s, const char *ref, struct err *err);

/* The address of a model's page, /models/MODEL[/NAME][?modelVersionId=VERSION], of which without a
 * version the newest is taken; or of a download, /api/download/models/VERSION. *is: whether `url`
 * is one. */
bool pull_civitai_find_address(struct pull_source *s, const char *url, bool *is, struct err *err);

#endif

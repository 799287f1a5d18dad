#include "server/worker/worker_upscaler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/worker/wire.h"

#define NUMBER_MAX (INT64_C(1) << 53)

void worker_upscaler_close(struct worker_upscaler *u)
{
    pictor_upscaler_free(u->network);
    free(u->name);
    *u = (struct worker_upscaler){0};
}

bool worker_upscaler_get(struct worker_upscaler *u, struct pictor_engine *engine,
                         const struct wire_message *message, size_t fd,
                         struct pictor_upscaler **out, struct err *err)
{
    struct wire_message m = {.json = cJSON_GetObjectItemCaseSensitive(message->json, "upscaler")};
    *out = NULL;
    if (!m.json)
        return true;
    const char *name = wire_string(&m, "name");
    uint64_t size = (uint64_t)wire_integer(&m, "size", 0, NUMBER_MAX, 0);
    int64_t mtime_ms = wire_integer(&m, "mtime_ms", 0, NUMBER_MAX, 0);
    if (!u->network || strcmp(u->name, name) != 0 || u->size != size || u->mtime_ms != mtime_ms) {
        struct pictor_files files = {.count = 1};
        worker_upscaler_close(u);
        if (fd >= message->fd_count)
            return err_set(err, ERR_INTERNAL, "the upscaler does not come with its file");
        /* Of names with folders these would be parts of a model (pictor_files_add). */
        const char *slash = strrchr(name, '/');
        snprintf(files.items[0].name, sizeof files.items[0].name, "%s", slash ? slash + 1 : name);
        files.items[0].fd = message->fds[fd];
        *u = (struct worker_upscaler){.name = strdup(name), .size = size, .mtime_ms = mtime_ms};
        if (!u->name)
            return err_set(err, ERR_INTERNAL, "no memory for an upscaler");
        u->network = pictor_upscaler_open_files(engine, &files, err);
        if (!u->network) {
            worker_upscaler_close(u);
            return err_prefix(err, "upscaler %.100s", name);
        }
    }
    *out = u->network;
    return true;
}

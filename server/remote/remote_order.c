#include "server/remote/remote_order.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/ids.h"
#include "server/base/json_text.h"

#define DEPTH 12
#define NUMBER_MOST (INT64_C(1) << 53)

static bool read_files(const cJSON *list, struct remote_order *out)
{
    cJSON *item;
    cJSON_ArrayForEach(item, list) {
        struct wire_message m = {.json = item};
        const char *sha256 = wire_string(&m, "sha256");
        int64_t size = wire_integer(&m, "size", 0, NUMBER_MOST, -1);
        if (out->file_count == WIRE_FDS_MAX || !ids_sha256(sha256) || size < 0)
            return false;
        struct remote_file *f = &out->files[out->file_count++];
        memcpy(f->sha256, sha256, sizeof f->sha256);
        f->size = (uint64_t)size;
    }
    return cJSON_IsArray(list);
}

bool remote_order_read(const char *text, size_t size, size_t most, struct remote_order *out,
                       struct err *err)
{
    *out = (struct remote_order){0};
    struct wire_message m = {.json = json_text_parse(text, size, DEPTH, err)};
    if (!m.json)
        return false;
    const char *job = wire_string(&m, "job");
    out->token = wire_integer(&m, "token", 1, NUMBER_MOST, 0);
    out->index = (int)wire_integer(&m, "index", 0, INT32_MAX, -1);
    out->lease_seconds = (int)wire_integer(&m, "lease_seconds", 1, 86400, 0);
    int64_t inputs = wire_integer(&m, "inputs", 0, (int64_t)most, -1);
    bool good = ids_valid(job) && out->token > 0 && out->index >= 0 &&
                out->lease_seconds > 0 && inputs >= 0 &&
                read_files(cJSON_GetObjectItemCaseSensitive(m.json, "files"), out);
    if (good) {
        memcpy(out->job, job, sizeof out->job);
        out->inputs = (size_t)inputs;
        out->generate = cJSON_DetachItemFromObjectCaseSensitive(m.json, "generate");
    }
    cJSON_Delete(m.json);
    if (good && cJSON_IsObject(out->generate))
        return true;
    remote_order_free(out);
    return err_set(err, ERR_UPSTREAM, "the server orders what makes no sense");
}

void remote_order_free(struct remote_order *o)
{
    cJSON_Delete(o->generate);
    *o = (struct remote_order){0};
}

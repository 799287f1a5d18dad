#include "server/remote/remote_self.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/machine.h"
#include "server/base/settings.h"

/* The model of that name, as the last of them; with `add`, if it is not there, in place of the one
 * of the longest ago. NULL: it is not there. */
static struct remote_self_model *find(struct remote_self *self, const char *name, bool add)
{
    struct remote_self_model found = {0};
    size_t i = 0;
    while (i < self->count && strcmp(self->models[i].name, name) != 0)
        i++;
    if (i == self->count) {
        if (!add || !*name || strlen(name) >= sizeof found.name)
            return NULL;
        memcpy(found.name, name, strlen(name) + 1);
        if (self->count < REMOTE_SELF_MODELS)
            self->count++;
        else
            i = 0;
    } else {
        found = self->models[i];
    }
    size_t last = self->count - 1;
    memmove(&self->models[i], &self->models[i + 1], (last - i) * sizeof found);
    self->models[last] = found;
    return &self->models[last];
}

void remote_self_learn(struct remote_self *self, const struct remote_order *order)
{
    struct wire_message m = {
        .json = cJSON_GetObjectItemCaseSensitive(order->generate, "model")};
    int count = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(m.json, "files"));
    struct remote_self_model *model = find(self, wire_string(&m, "name"), true);
    if (!model || count < 0 || count > PICTOR_FILES_MAX || (size_t)count > order->file_count)
        return;
    model->count = (size_t)count; /* they come first */
    for (int i = 0; i < count; i++)
        memcpy(model->files[i], order->files[i].sha256, sizeof model->files[i]);
}

void remote_self_warm(struct remote_self *self, const char *model, bool opened)
{
    if (!model) {
        for (size_t i = 0; i < self->count; i++)
            self->models[i].warm = false;
        return;
    }
    struct remote_self_model *m = find(self, model, opened);
    if (m)
        m->warm = opened;
}

/* ---- what is said ---- */

static bool is_there(const cJSON *files, const char *sha256)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, files) {
        if (strcmp(item->valuestring, sha256) == 0)
            return true;
    }
    return false;
}

static bool is_whole(const struct remote_self_model *m, const cJSON *files)
{
    for (size_t i = 0; i < m->count; i++)
        if (!is_there(files, m->files[i]))
            return false;
    return true;
}

static void add_text(cJSON *json, const char *name, const char *text)
{
    char mended[REMOTE_SELF_NAME];
    snprintf(mended, sizeof mended, "%s", text);
    json_text_mend(mended);
    cJSON_AddStringToObject(json, name, mended);
}

void remote_self_describe(const struct remote_self *self, const struct settings *settings,
                          const struct remote_files *files, struct cJSON *claim)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    add_text(claim, "version", PICTOR_VERSION);
    add_text(claim, "host", host);
    add_text(claim, "device", self->device);
    double limit = (double)settings->memory_limit_mb * 1048576;
    cJSON_AddNumberToObject(claim, "memory", limit > 0 ? limit : (double)machine_memory());
    cJSON_AddNumberToObject(claim, "disk", (double)files->limit);
    cJSON_AddNumberToObject(claim, "step_seconds", self->gauge.step_seconds);
    cJSON_AddNumberToObject(claim, "pace", self->gauge.pace);
    cJSON *families = cJSON_AddArrayToObject(claim, "families");
    for (size_t i = 0; pictor_family_name(i); i++)
        cJSON_AddItemToArray(families, cJSON_CreateString(pictor_family_name(i)));
    cJSON *there = cJSON_AddArrayToObject(claim, "files");
    remote_files_list(files, there);
    cJSON *models = cJSON_AddArrayToObject(claim, "models");
    cJSON *warm = cJSON_AddArrayToObject(claim, "warm");
    for (size_t i = 0; i < self->count; i++) {
        if (is_whole(&self->models[i], there))
            cJSON_AddItemToArray(models, cJSON_CreateString(self->models[i].name));
        if (self->models[i].warm)
            cJSON_AddItemToArray(warm, cJSON_CreateString(self->models[i].name));
    }
}

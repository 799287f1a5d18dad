/* fuzz_beside.c: any bytes as the small files that lie beside models: the WebUI's card, CivitAI's
 * description, styles, extra_model_paths.yaml, and what an earlier run has kept of headers. The
 * first byte says which. `make fuzz TARGET=beside` */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/job/extra_paths.h"
#include "server/job/facts.h"
#include "server/job/sidecar.h"
#include "server/job/styles.h"

enum which { CARD, CIVITAI, STYLES, YAML, FACTS, WHICH };

static char folder[] = "/dev/shm/fuzz_beside_XXXXXX";
static char model[PATH_MAX], facts_head[200 + PATH_MAX]; /* its first line, and the model */

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void path_of(const char *name, char path[PATH_MAX])
{
    require((size_t)snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX);
}

static void write_file(const char *path, const char *head, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "w");
    require(f && fwrite(head, 1, strlen(head), f) == strlen(head) &&
            fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

/* The first line that this very program writes: another one's file counts as empty. */
static void learn_head(void)
{
    char path[PATH_MAX];
    struct facts_version version = {1, 2, 3};
    struct facts facts;
    struct err err;
    path_of("facts", path);
    struct facts_store *store = facts_new(path, &err);
    write_file(model, "", (const uint8_t *)"no model", 8);
    require(store && facts_of(store, model, version, &facts, &err));
    facts_free(store);
    FILE *f = fopen(path, "r");
    require(f && fgets(facts_head, 200, f) && strchr(facts_head, '\n'));
    fclose(f);
    strcat(facts_head, model);
}

static void start(void)
{
    if (*model)
        return;
    log_set_level(LOG_ERROR);
    require(mkdtemp(folder));
    path_of("m.safetensors", model);
    learn_head();
}

static bool is_text(const char *text)
{
    return json_text_is_utf8(text, strlen(text), NULL);
}

static void read_beside(void)
{
    struct sidecar s;
    sidecar_read(model, &s);
    require(is_text(s.trigger) && is_text(s.description) && is_text(s.base) && !*s.preview &&
            s.weight >= -100 && s.weight <= 100);
}

static void read_styles(const char *path)
{
    struct styles s;
    struct err err = {0};
    if (!styles_read(path, &s, &err)) {
        require(*err.msg);
        return;
    }
    for (size_t i = 0; i < s.count; i++) {
        require(*s.at[i].name && styles_find(&s, s.at[i].name));
        free(styles_merge(s.at[i].prompt, "a", 1000, &err));
    }
    styles_free(&s);
}

static bool take_folder(void *ctx, const char *name, const char *path)
{
    size_t *count = ctx;
    require(strlen(name) < 1000 && strlen(path) < PATH_MAX);
    return ++*count < 1000;
}

static void read_yaml(const char *path)
{
    size_t count = 0;
    struct err err = {0};
    if (!extra_paths_read(path, take_folder, &count, &err))
        require(*err.msg || count == 1000);
}

static void read_facts(const char *path)
{
    struct facts_version version = {1, 2, 3};
    struct facts f;
    struct err err;
    struct facts_store *store = facts_new(path, &err);
    require(store);
    if (facts_known(store, model, version, &f))
        require(is_text(f.problem) && is_text(f.info.title) &&
                f.info.kind <= PICTOR_KIND_UNKNOWN && f.info.model.native_width >= 0);
    facts_free(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[WHICH] = {"m.json", "m.civitai.info", "styles.csv", "x.yaml",
                                             "facts"};
    char path[PATH_MAX];
    start();
    if (size == 0)
        return 0;
    enum which which = data[0] % WHICH;
    path_of(names[which], path);
    write_file(path, which == FACTS ? facts_head : "", data + 1, size - 1);
    switch (which) {
    case CARD:
    case CIVITAI:
        read_beside();
        break;
    case STYLES:
        read_styles(path);
        break;
    case YAML:
        read_yaml(path);
        break;
    case FACTS:
        read_facts(path);
        break;
    case WHICH:
        break;
    }
    unlink(path);
    return 0;
}

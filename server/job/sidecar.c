/* sidecar.c: files by the names that other programs give them. */
#include "server/job/sidecar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/small_file.h"

#define SIZE_MOST (1 << 20) /* bytes; CivitAI's with all its pictures' prompts have 0.1 MB */
#define DEPTH_MOST 32

/* NAME of NAME.safetensors; a folder is called so already. */
static size_t stem(const char *path)
{
    static const char *const endings[] = {".safetensors", ".sft", ".gguf", ".ckpt",
                                          ".pt",          ".pth", ".bin"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcasecmp(path + n - m, endings[i]) == 0)
            return n - m;
    }
    return n;
}

bool sidecar_beside(const char *path, const char *ending, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%.*s%s", (int)stem(path), path, ending);
    return n > 0 && n < PATH_MAX;
}

static cJSON *read_json(const char *path, const char *ending)
{
    char name[PATH_MAX];
    size_t size;
    struct err err;
    bool is = sidecar_beside(path, ending, name);
    char *text = is ? small_file_read(name, SIZE_MOST, &size, &err) : NULL;
    cJSON *json = text ? json_text_parse(text, size, DEPTH_MOST, &err) : NULL;
    free(text);
    return json;
}

/* Adds to what is there, without tags of HTML, which CivitAI writes its descriptions in. */
static void add_text(char *to, size_t size, const char *text)
{
    size_t n = strlen(to);
    bool tag = false;
    for (; *text && n + 1 < size; text++) {
        tag = *text == '<' || (tag && text[-1] != '>');
        if (!tag)
            to[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    to[n] = '\0';
    json_text_mend(to);
}

static void take(const cJSON *json, const char *name, char *to, size_t size)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    if (text && *text && !*to)
        add_text(to, size, text);
}

static void take_card(const cJSON *json, struct sidecar *out)
{
    take(json, "activation text", out->trigger, sizeof out->trigger);
    take(json, "description", out->description, sizeof out->description);
    take(json, "notes", out->description, sizeof out->description);
    take(json, "sd version", out->base, sizeof out->base);
    double weight =
        cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, "preferred weight"));
    if (weight >= -100 && weight <= 100)
        out->weight = weight;
}

static void take_civitai(const cJSON *json, struct sidecar *out)
{
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(json, "trainedWords"), *word;
    bool had = *out->trigger;
    cJSON_ArrayForEach(word, words) {
        const char *text = cJSON_GetStringValue(word);
        if (had || !text)
            continue;
        if (*out->trigger)
            add_text(out->trigger, sizeof out->trigger, ", ");
        add_text(out->trigger, sizeof out->trigger, text);
    }
    take(json, "description", out->description, sizeof out->description);
    take(cJSON_GetObjectItemCaseSensitive(json, "model"), "description", out->description,
         sizeof out->description);
    take(json, "baseModel", out->base, sizeof out->base);
}

static void find_preview(const char *path, char preview[PATH_MAX])
{
    static const char *const endings[] = {".preview.png", ".preview.jpg", ".preview.jpeg",
                                          ".preview.webp", ".png",         ".jpg",
                                          ".jpeg",         ".webp"};
    struct stat st;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (sidecar_beside(path, endings[i], preview) && stat(preview, &st) == 0 &&
            S_ISREG(st.st_mode))
            return;
    *preview = '\0';
}

bool sidecar_read(const char *path, struct sidecar *out)
{
    *out = (struct sidecar){.weight = 0};
    cJSON *card = read_json(path, ".json"), *civitai = read_json(path, ".civitai.info");
    take_card(card, out);
    take_civitai(civitai, out);
    cJSON_Delete(card);
    cJSON_Delete(civitai);
    find_preview(path, out->preview);
    return *out->trigger || *out->description || *out->base || out->weight != 0 || *out->preview;
}

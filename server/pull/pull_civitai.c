/* pull_civitai.c: the API's answers about a model and about one version of it. */
#include "server/pull/pull_civitai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/paint/fetch.h"
#include "server/pull/pull_ask.h"
#include "server/pull/pull_form.h"

#define DIGITS 12  /* of a number, at most */
#define SLACK 1024 /* bytes: sizes are said in KB, and may be rounded */

static const char *base_address(void)
{
    return pull_ask_environment("CIVITAI_ENDPOINT", "https://civitai.com");
}

/* The digits at `text`, up to anything else; false: there are none, or too many. */
static bool read_number(const char *text, char out[DIGITS + 1])
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > DIGITS)
        return false;
    memcpy(out, text, n);
    out[n] = '\0';
    return true;
}

static cJSON *ask(const struct pull_source *s, const char *what, const char *number,
                  struct err *err)
{
    char *url = NULL;
    if (asprintf(&url, "%s/api/v1/%s/%s", base_address(), what, number) < 0) {
        pull_ask_no_memory(err);
        return NULL;
    }
    cJSON *json = pull_ask_json(s, url, err);
    free(url);
    return json;
}

/* How much a file is what is meant; -1: it is not read here. What is trained on, and
 * configurations, lie among the files as well. */
static int worth(const cJSON *file, const char *address)
{
    size_t stem;
    const char *type = pull_ask_text(file, "type");
    enum pull_form form = pull_form_of(pull_ask_text(file, "name"), &stem);
    if (!pull_form_is_weights(form) || strcmp(type, "Training Data") == 0 ||
        strcmp(type, "Config") == 0 || strcmp(type, "Archive") == 0)
        return -1;
    return 8 * (address && strcmp(pull_ask_text(file, "downloadUrl"), address) == 0) +
           4 * (form != PULL_FORM_TORCH) +
           2 * cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(file, "primary")) +
           (strcmp(type, "VAE") != 0);
}

/* `version`: what the API says of it; `who`: what to call it in messages. */
static bool take_version(struct pull_source *s, const cJSON *version, const char *who,
                         const char *wanted, struct err *err)
{
    const cJSON *file, *found = NULL;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(version, "files"))
        if (worth(file, wanted) >= 0 && (!found || worth(file, wanted) > worth(found, wanted)))
            found = file;
    const char *address = pull_ask_text(found, "downloadUrl");
    const char *sha256 = pull_ask_text(cJSON_GetObjectItemCaseSensitive(found, "hashes"), "SHA256");
    if (!found)
        return err_set(err, ERR_NOT_FOUND,
                       "%s has no file that is read (.safetensors, .gguf, .ckpt, .pt, .pth)", who);
    if (strncmp(address, "https://", 8) != 0 && strncmp(address, "http://", 7) != 0)
        return err_set(err, ERR_UPSTREAM, "%s names no address to fetch from", who);
    if (!pull_source_complete_name(s, pull_ask_text(found, "name"), err) ||
        (*sha256 && !pull_source_set_sha256(s, sha256, err)))
        return false;
    s->size = pull_ask_size(found, "sizeKB", 1024);
    s->slack = SLACK;
    /* The token is for CivitAI, wherever its answer points. */
    char *own = fetch_url_within(base_address(), address, NULL);
    if (!own)
        s->key = "";
    free(own);
    s->url = strdup(address);
    return s->url || pull_ask_no_memory(err);
}

static bool find_version(struct pull_source *s, const char *number, const char *wanted,
                         struct err *err)
{
    char who[40];
    snprintf(who, sizeof who, "civitai:%s", number);
    s->key = s->civitai_token;
    cJSON *json = ask(s, "model-versions", number, err);
    bool done = json ? take_version(s, json, who, wanted, err) : err_prefix(err, "%s", who);
    cJSON_Delete(json);
    return done;
}

/* Versions are listed with the newest first. */
static bool find_newest(struct pull_source *s, const char *number, struct err *err)
{
    char who[60];
    snprintf(who, sizeof who, "model %s at CivitAI", number);
    s->key = s->civitai_token;
    cJSON *json = ask(s, "models", number, err);
    if (!json)
        return err_prefix(err, "%s", who);
    const cJSON *newest = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(json, "modelVersions"), 0);
    bool done = newest ? take_version(s, newest, who, NULL, err)
                       : err_set(err, ERR_NOT_FOUND, "%s has no version to fetch", who);
    cJSON_Delete(json);
    return done;
}

bool pull_civitai_find(struct pull_source *s, const char *ref, struct err *err)
{
    char number[DIGITS + 1];
    if (!read_number(ref, number) || strlen(number) != strlen(ref))
        return err_set(err, ERR_INVALID, "wanted civitai:VERSION, a number, got \"%.60s\"", ref);
    return find_version(s, number, NULL, err);
}

/* What stands behind `name`= in the address's query; NULL. */
static const char *parameter(const char *url, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strchr(url, '?'); at; at = strpbrk(at, "&#")) {
        if (*at == '#')
            return NULL;
        at++;
        if (strncmp(at, name, n) == 0 && at[n] == '=')
            return at + n + 1;
    }
    return NULL;
}

bool pull_civitai_find_address(struct pull_source *s, const char *url, bool *is, struct err *err)
{
    static const char page[] = "models/", download[] = "api/download/models/";
    char number[DIGITS + 1];
    const char *path = pull_ask_below(base_address(), url), *end;
    if (!path) /* as people copy it */
        path = pull_ask_below("https://www.civitai.com", url);
    *is = false;
    if (path && strncmp(path, download, strlen(download)) == 0) {
        path += strlen(download);
        end = path + strspn(path, "0123456789");
        *is = read_number(path, number) && (!*end || strchr("/?#", *end));
        return !*is || find_version(s, number, url, err);
    }
    if (!path || strncmp(path, page, strlen(page)) != 0)
        return true;
    path += strlen(page);
    end = path + strspn(path, "0123456789");
    const char *version = parameter(url, "modelVersionId");
    *is = true;
    if (version && read_number(version, number) && strchr("&#", version[strlen(number)]))
        return find_version(s, number, NULL, err);
    if (version || !read_number(path, number) || (*end && !strchr("/?#", *end)))
        return err_set(err, ERR_INVALID,
                       "wanted CivitAI's /models/NUMBER, perhaps with ?modelVersionId=NUMBER");
    return find_newest(s, number, err);
}

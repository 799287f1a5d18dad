/* pull_source.c: references to addresses, and what may be a file's name. */
#include "server/pull/pull_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/pull/pull_ask.h"
#include "server/pull/pull_civitai.h"
#include "server/pull/pull_form.h"
#include "server/pull/pull_hub.h"

/* ---- names and promises ---- */

bool pull_source_set_name(struct pull_source *s, const char *path, struct err *err)
{
    size_t length = strlen(path), ending = sizeof PULL_SOURCE_ENDING - 1;
    while (length > 0 && path[length - 1] == '/')
        length--;
    const char *start = path + length;
    while (start > path && start[-1] != '/')
        start--;
    length -= (size_t)(start - path);
    bool plain = length > 0 && length < sizeof s->name - ending && *start != '.' &&
                 json_text_is_utf8(start, length, NULL);
    for (size_t i = 0; plain && i < length; i++)
        plain = (unsigned char)start[i] >= ' ' && start[i] != 0x7f && start[i] != '\\';
    if (!plain) {
        char cut[80], shown[100];
        snprintf(cut, sizeof cut, "%.*s", (int)length, start);
        json_text_mend(cut);
        return err_set(err, ERR_INVALID, "%s cannot be a file's name here; choose one with --name",
                       log_quote(shown, sizeof shown, cut));
    }
    snprintf(s->name, sizeof s->name, "%.*s", (int)length, start);
    return true;
}

bool pull_source_complete_name(struct pull_source *s, const char *path, struct err *err)
{
    size_t own, stem;
    if (!*s->name && !pull_source_set_name(s, path, err))
        return false;
    if (pull_form_of(s->name, &own) != PULL_FORM_OTHER)
        return true;
    s->guessed = pull_form_of(path, &stem) == PULL_FORM_OTHER;
    snprintf(s->name + own, sizeof s->name - own, "%s",
             s->guessed ? PULL_SOURCE_ENDING : path + stem);
    return true;
}

bool pull_source_set_sha256(struct pull_source *s, const char *hex, struct err *err)
{
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdefABCDEF") != 64)
        return err_set(err, ERR_INVALID, "a SHA-256 has 64 hex digits, got \"%.80s\"", hex);
    for (int i = 0; i < 64; i++)
        s->sha256[i] = (char)(hex[i] >= 'A' && hex[i] <= 'F' ? hex[i] + 32 : hex[i]);
    return true;
}

/* ---- references ---- */

static bool from_address(struct pull_source *s, const char *ref, struct err *err)
{
    bool is, done = pull_hub_find_address(s, ref, &is, err);
    if (!is)
        done = pull_civitai_find_address(s, ref, &is, err);
    if (is)
        return done;
    const char *host = strstr(ref, "://") + 3, *path = host + strcspn(host, "/?#");
    char *name = pull_ask_decode(path, strcspn(path, "?#"));
    /* Blanks and letters beyond ASCII, as people copy them; what is encoded stays so. */
    s->url = pull_ask_encode(ref, strlen(ref), "%:/?#[]@!$&'()*+,;=");
    done = name && s->url ? pull_source_complete_name(s, name, err)
                          : pull_ask_no_memory(err);
    free(name);
    return done;
}

bool pull_source_find(struct pull_source *s, const struct settings *settings, const char *ref,
                      struct err *err)
{
    s->key = "";
    s->hf_token =
        *settings->hf_token ? settings->hf_token : pull_ask_environment("HF_TOKEN", "");
    s->civitai_token = *settings->civitai_token ? settings->civitai_token
                                                : pull_ask_environment("CIVITAI_TOKEN", "");
    if (strncmp(ref, "hf:", 3) == 0)
        return pull_hub_find(s, ref + 3, err);
    if (strncmp(ref, "civitai:", 8) == 0)
        return pull_civitai_find(s, ref + 8, err);
    if (strncmp(ref, "https://", 8) == 0 || strncmp(ref, "http://", 7) == 0)
        return from_address(s, ref, err);
    return err_set(err, ERR_INVALID,
                   "wanted https://..., hf:OWNER/REPO[/FILE], civitai:VERSION or a short name that "
                   "`pictor pull` lists, got \"%.100s\"",
                   ref);
}

void pull_source_free(struct pull_source *s)
{
    for (size_t i = 0; i < s->file_count; i++) {
        free(s->files[i].inner);
        free(s->files[i].url);
    }
    free(s->files);
    free(s->url);
    s->files = NULL;
    s->file_count = 0;
    s->url = NULL;
}

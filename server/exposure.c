/* exposure.c: each check and each warning is a line of docs/security.md, "What weakens it". */
#include "server/exposure.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/base/url.h"
#include "server/store/keys.h"
#include "server/worker/sandbox.h"

#define PASSWORD_LEAST 12 /* at 60 guesses a minute and address, what people choose is found */

static bool is_public(const struct settings *s)
{
    struct sockaddr_storage address;
    socklen_t size;
    return settings_listen_address(s, &address, &size, NULL) && !settings_is_loopback(&address);
}

bool exposure_check_keys(const struct settings *s, struct keys *keys, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t size;
    if (!settings_listen_address(s, &address, &size, err))
        return false;
    if (settings_is_loopback(&address) || keys_required(keys, NULL) ||
        *s->forward_auth_header || s->allow_unauthenticated)
        return true;
    return err_set(err, ERR_DENIED,
                   "--listen %s lets other machines in, and there is no key: make one with "
                   "`pictor keys add NAME`, or say --allow-unauthenticated",
                   s->listen);
}

bool exposure_check_sandbox(const struct settings *s, struct err *err)
{
    struct err why;
    if (sandbox_possible(&why) || sandbox_may_stay_open(s))
        return true;
    return err_set(err, ERR_DENIED,
                   "--listen %s lets other machines in, and what reads their pictures cannot be "
                   "locked in (%s): listen on this machine alone, or say --allow-unconfined",
                   s->listen, why.msg);
}

static void warn(const char *setting, const char *reason)
{
    char quoted[400];
    log_event(LOG_WARN, "promise_weakened", "setting=%s reason=%s", setting,
              log_quote(quoted, sizeof quoted, reason));
}

static bool has_star(const struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], "*") == 0)
            return true;
    return false;
}

static bool has_weak_password(const struct setting_list *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const char *colon = strchr(pairs->items[i], ':');
        if (!colon || strlen(colon + 1) < PASSWORD_LEAST)
            return true;
    }
    return false;
}

/* Whether the key goes over a network that others can listen to. */
static bool sends_key_in_clear(const char *url, const char *key)
{
    char host[256];
    const char *prefix = "http://";
    if (!*key || strncasecmp(url, prefix, strlen(prefix)) != 0)
        return false;
    const char *from = url + strlen(prefix);
    size_t n = strcspn(from, "/");
    char authority[256];
    if (n >= sizeof authority)
        return true;
    memcpy(authority, from, n);
    authority[n] = '\0';
    return !url_host(host, sizeof host, authority) ||
           (strcmp(host, "localhost") != 0 && strncmp(host, "127.", 4) != 0 &&
            strcmp(host, "::1") != 0);
}

static void warn_of_files(const struct settings *s)
{
    struct stat info;
    if (stat(s->data, &info) == 0 && (info.st_mode & 077))
        warn("data", "other users of this machine may look into the data folder: chmod 700");
    bool secrets = s->api_auth.count > 0 || *s->compose_key || *s->forward_auth_secret ||
                   *s->bucket_secret || strchr(s->database, '@'); /* it may have a password */
    for (size_t i = 0; i < s->upstream_count; i++)
        secrets |= *s->upstreams[i].key != '\0';
    if (*s->config && secrets && stat(s->config, &info) == 0 && (info.st_mode & 007))
        warn("config", "other users of this machine may read the configuration, and this server "
                       "has passwords or keys of upstreams: chmod 640");
}

static void warn_of_upstreams(const struct settings *s)
{
    for (size_t i = 0; i < s->upstream_count; i++) {
        if (sends_key_in_clear(s->upstreams[i].base_url, s->upstreams[i].key))
            warn("base_url", "the key of an upstream goes over the network in clear (http://)");
        if (s->upstreams[i].retry_unknown)
            warn("retry_unknown", "pictures of an upstream may be ordered and paid twice");
    }
}

void exposure_warn(const struct settings *s, struct keys *keys)
{
    char quoted[sizeof(struct err) * 2];
    struct err why;
    if (!sandbox_possible(&why))
        log_event(LOG_WARN, "workers_unconfined", "reason=%s",
                  log_quote(quoted, sizeof quoted, why.msg));
    if (is_public(s) && s->allow_unauthenticated && !keys_required(keys, NULL) &&
        s->api_auth.count == 0)
        warn("allow_unauthenticated",
             "everybody who reaches the port may paint, and see and remove all pictures");
    if (has_star(&s->allowed_hosts))
        warn("allowed_hosts", "pages on the web may reach this server (DNS rebinding)");
    if (has_star(&s->cors_origins))
        warn("cors_origins", "every page on the web may use this server from its visitors' "
                             "browsers");
    if (has_weak_password(&s->api_auth))
        warn("api_auth", "a password shorter than 12 characters can be guessed");
    if (s->api_server_stop && !keys_required(keys, NULL))
        warn("api_server_stop", "everybody who reaches the port may end this server");
    if (s->reserved_connections == 0)
        warn("reserved_connections", "strangers may take all connections");
    warn_of_files(s);
    warn_of_upstreams(s);
    if (sends_key_in_clear(s->compose_url, s->compose_key))
        warn("compose_url", "the key of the chat model goes over the network in clear (http://)");
    if (strcmp(s->picture_urls, "any") == 0)
        warn("picture_urls", "who may paint can reach through this server what only it reaches");
}

#include "server/remote/remote_link.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "server/base/url.h"

static void name_of_machine(char out[AFAR_NAME_MAX + 1])
{
    char host[48] = "";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
            *p = '_';
    snprintf(out, AFAR_NAME_MAX + 1, "%s-%d", *host ? host : "worker", (int)getpid());
}

bool remote_link_init(struct remote_link *link, const char *url, const char *key, const char *name,
                      struct err *err)
{
    char owner[AFAR_OWNER_SIZE];
    *link = (struct remote_link){.key = key ? key : ""};
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    if ((strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) ||
        n >= sizeof link->base || strpbrk(url, "?#@ \t\r\n") || n < 9)
        return err_set(err, ERR_INVALID,
                       "--server: wanted http://HOST[:PORT] or https://..., got \"%.200s\"", url);
    snprintf(link->base, sizeof link->base, "%.*s", (int)n, url);
    if (!name)
        name_of_machine(link->name);
    else if (strlen(name) > AFAR_NAME_MAX || !afar_owner(owner, "", name, NULL))
        return err_set(err, ERR_INVALID,
                       "--name: wanted 1..%d letters, digits, '.', '_' and '-', got \"%.80s\"",
                       AFAR_NAME_MAX, name);
    else
        snprintf(link->name, sizeof link->name, "%s", name);
    return true;
}

void remote_link_url(const struct remote_link *link, char out[REMOTE_URL_SIZE], const char *format,
                     ...)
{
    va_list ap;
    int n = snprintf(out, REMOTE_URL_SIZE, "%s/api/worker/", link->base);
    va_start(ap, format);
    vsnprintf(out + n, REMOTE_URL_SIZE - (size_t)n, format, ap);
    va_end(ap);
}

bool remote_link_is_open(const struct remote_link *link)
{
    static const char *const near[] = {"localhost", "127.0.0.1", "[::1]"};
    if (!*link->key || strncasecmp(link->base, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        size_t n = strlen(near[i]);
        char end = '\0';
        if (strncasecmp(link->base + 7, near[i], n) == 0)
            end = link->base[7 + n];
        else
            continue;
        if (end == '\0' || end == ':' || end == '/')
            return false;
    }
    return true;
}

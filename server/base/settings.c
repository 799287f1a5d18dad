/* settings.c: values from four places into one struct.
 *
 * Everything arrives as text (default, file, environment, flag) and goes through set_value, so a
 * value is checked the same way wherever it comes from. inih calls back without a line number but
 * returns the line of the first failure, so the handler keeps the first error and the line is put
 * in front of it afterwards. */
#include "server/base/settings.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/cidr.h"
#include "server/base/settings_names.h"
#include "server/base/settings_upstream.h"
#include "server/base/settings_value.h"

#define DEFAULT_CONFIG "/etc/pictor/pictor.ini"
#define SECRET_LEAST 16
#define NAME_MAX_LENGTH 48 /* inih cuts names and sections at 49 bytes without a word */

struct setting_row {
    enum setting_type type;
    size_t offset;
    struct setting_info info;
};

#define ENTRY(kind, group, id, value, low, high, choice, text)                                     \
    {kind,                                                                                         \
     offsetof(struct settings, id),                                                                \
     {.section = #group,                                                                           \
      .name = #id,                                                                                 \
      .type = #kind,                                                                               \
      .fallback = value,                                                                           \
      .words = choice,                                                                             \
      .help = text,                                                                                \
      .least = low,                                                                                \
      .most = high}},
static const struct setting_row table[] = {SETTINGS(ENTRY)};
#define TABLE_SIZE (sizeof table / sizeof *table)

const struct setting_info *settings_at(size_t index)
{
    return index < TABLE_SIZE ? &table[index].info : NULL;
}

static const struct setting_row *find(const char *section, const char *name)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (strcmp(name, table[i].info.name) == 0 &&
            (!section || strcmp(section, table[i].info.section) == 0))
            return &table[i];
    return NULL;
}

/* ---- values ---- */

static bool is_word_of(const char *words, const char *text)
{
    size_t length = strcspn(text, "|");
    for (const char *w = words; length && !text[length] && w; w = strchr(w, '|')) {
        w += *w == '|';
        if (strncmp(w, text, length) == 0 && (w[length] == '|' || w[length] == '\0'))
            return true;
    }
    return false;
}

/* `add`: items of a list are added to those that are there. */
static bool set_value(struct settings *s, const struct setting_row *e, const char *text, bool add,
                      const char *where, struct err *err)
{
    void *member = (char *)s + e->offset;
    const struct setting_info *info = &e->info;
    switch (e->type) {
    case STRING:
        return settings_value_replace(member, text, err);
    case WORD:
        if (!is_word_of(info->words, text))
            return err_set(err, ERR_INVALID, "%s must be one of %s, got \"%.60s\"", where,
                           info->words, text);
        return settings_value_replace(member, text, err);
    case INT:
    case SIZE:
    case REAL:
        return settings_value_number(text, e->type, info->least, info->most, member, where, err);
    case BOOL:
        return settings_value_bool(text, member, where, err);
    case LIST:
        if (!add)
            settings_value_list_free(member);
        return settings_value_list_add(member, text, err);
    }
    return err_set(err, ERR_INTERNAL, "%s has no type", where);
}

bool settings_set(struct settings *s, const char *name, const char *text, const char *where,
                  struct err *err)
{
    const struct setting_row *e = find(NULL, name);
    if (!e)
        return err_set(err, ERR_INVALID, "%s: there is no setting \"%.60s\"", where, name);
    return set_value(s, e, text, false, where, err);
}

void settings_free(struct settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        void *member = (char *)s + table[i].offset;
        if (table[i].type == LIST)
            settings_value_list_free(member);
        else if (table[i].type == STRING || table[i].type == WORD)
            free(*(char **)member);
    }
    settings_upstream_free(s);
    settings_names_free(s);
    free(s->config);
    free(s);
}

struct settings *settings_new(struct err *err)
{
    struct settings *s = calloc(1, sizeof *s);
    if (!s || !settings_value_replace(&s->config, "", err)) {
        settings_value_no_memory(err);
        goto fail;
    }
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (!set_value(s, &table[i], table[i].info.fallback, false, table[i].info.name, err))
            goto fail;
    return s;
fail:
    settings_free(s);
    return NULL;
}

/* ---- the file ---- */

struct reading {
    struct settings *s;
    bool seen[TABLE_SIZE];
    struct err err;
};

static bool set_from_file(struct reading *r, const char *section, const char *name,
                          const char *value, struct err *err)
{
    if (strlen(section) > NAME_MAX_LENGTH || strlen(name) > NAME_MAX_LENGTH)
        return err_set(err, ERR_INVALID, "a name longer than %d bytes: %s %s", NAME_MAX_LENGTH,
                       section, name);
    if (strcmp(section, "alias") == 0)
        return settings_names_alias(r->s, name, value, err);
    if (strncmp(section, "upstream ", 9) == 0) {
        return settings_upstream_set(r->s, section + 9 + strspn(section + 9, " \t"), name, value,
                                     err);
    }
    if (strncmp(section, "parts ", 6) == 0)
        return settings_names_part(r->s, section + 6 + strspn(section + 6, " \t"), name, value,
                                   err);
    const struct setting_row *e = find(section, name);
    if (!e) {
        bool known = false;
        for (size_t i = 0; i < TABLE_SIZE; i++)
            known |= strcmp(section, table[i].info.section) == 0;
        const struct setting_row *elsewhere = find(NULL, name);
        if (!known && *section)
            return err_set(err, ERR_INVALID, "there is no section [%s]", section);
        if (elsewhere)
            return err_set(err, ERR_INVALID, "%s belongs in [%s], not in [%s]", name,
                           elsewhere->info.section, section);
        return err_set(err, ERR_INVALID, "[%s] has no setting \"%s\"", section, name);
    }
    bool again = r->seen[e - table];
    if (again && e->type != LIST)
        return err_set(err, ERR_INVALID, "%s is given twice", name);
    r->seen[e - table] = true;
    return set_value(r->s, e, value, again, name, err);
}

static int on_line(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r = ctx;
    if (r->err.code != ERR_NONE)
        return 0;
    /* inih cuts a comment off the line that begins a value, but not off those it goes on in. */
    size_t length = 0;
    while (value[length] &&
           !(value[length] == ';' && length && isspace((unsigned char)value[length - 1])))
        length++;
    while (length && isspace((unsigned char)value[length - 1]))
        length--;
    char *plain = strndup(value, length);
    bool done = plain ? set_from_file(r, section, name, plain, &r->err)
                      : settings_value_no_memory(&r->err);
    free(plain);
    return done;
}

/* inih reads lines into a small buffer and would take the rest of a longer one for a line of its
 * own, so the lengths are looked at first. */
static bool check_lines(FILE *f, const char *path, struct err *err)
{
    size_t length = 0, line = 1;
    for (int c; (c = getc(f)) != EOF;) {
        if (c == '\0')
            return err_set(err, ERR_INVALID, "%s:%zu: a zero byte in a text file", path, line);
        length++;
        if (c == '\n') {
            length = 0;
            line++;
        } else if (length > (size_t)ini_max_line - 3) {
            return err_set(err, ERR_INVALID,
                           "%s:%zu: the line is longer than %d bytes; a list may "
                           "go on in an indented line",
                           path, line, ini_max_line - 3);
        }
    }
    if (ferror(f))
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    rewind(f);
    return true;
}

static bool read_file(struct settings *s, const char *path, struct err *err)
{
    struct reading r = {.s = s};
    bool done = false;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path,
                       strerror(errno));
    if (!check_lines(f, path, err))
        goto fail;
    int line = ini_parse_file(f, on_line, &r);
    if (line > 0) {
        if (r.err.code == ERR_NONE)
            err_set(&r.err, ERR_INVALID, "wanted [section], name = value, or # comment");
        err_prefix(&r.err, "%s:%d", path, line);
    } else if (line < 0) {
        err_set(&r.err, ERR_IO, "%s: cannot be read", path);
    }
    if (r.err.code == ERR_NONE && !settings_upstream_check(s, &r.err))
        err_prefix(&r.err, "%s", path);
    if (r.err.code != ERR_NONE) {
        if (err)
            *err = r.err;
        goto fail;
    }
    done = settings_value_replace(&s->config, path, err);
fail:
    fclose(f);
    return done;
}

/* ---- environment and flags ---- */

static bool read_environment(struct settings *s, struct err *err)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        char name[64] = "PICTOR_";
        size_t n = strlen(name);
        for (const char *p = table[i].info.name; *p && n + 1 < sizeof name; p++)
            name[n++] = (char)toupper((unsigned char)*p);
        name[n] = '\0';
        const char *text = getenv(name);
        if (text && !set_value(s, &table[i], text, false, name, err))
            return false;
    }
    return true;
}

struct flag {
    const struct setting_row *entry;
    const char *text;
};

/* "--max-steps" or "--max-steps=9": the entry of max_steps. */
static const struct setting_row *find_flag(const char *word)
{
    char name[64];
    size_t n = strcspn(word + 2, "=");
    if (n >= sizeof name)
        return NULL;
    for (size_t i = 0; i < n; i++)
        name[i] = word[2 + i] == '-' ? '_' : word[2 + i];
    name[n] = '\0';
    return find(NULL, name);
}

/* Whether it is one of the command's own flags; *takes_value when the next word belongs to it. */
static bool is_own(const char *word, const char *const *own, bool *takes_value)
{
    *takes_value = false;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return true;
    for (; own && *own; own++) {
        size_t n = strlen(*own);
        if (n && (*own)[n - 1] == '=') {
            if (strncmp(word, *own, n) == 0)
                return true;
            if (strncmp(word, *own, n - 1) == 0 && word[n - 1] == '\0') {
                *takes_value = true;
                return true;
            }
        } else if (strcmp(word, *own) == 0) {
            return true;
        }
    }
    return false;
}

/* Moves the settings' flags from argv to `flags`, which has room for all words. */
static bool take_flags(int *argc, char **argv, const char *const *own, struct flag *flags,
                       size_t *count, const char **config, struct err *err)
{
    int kept = *argc > 0 ? 1 : 0;
    for (int i = kept; i < *argc; i++) {
        char *word = argv[i];
        bool takes_value;
        if (strcmp(word, "--") == 0) {
            while (++i < *argc)
                argv[kept++] = argv[i];
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            argv[kept++] = word;
            continue;
        }
        if (is_own(word, own, &takes_value)) {
            argv[kept++] = word;
            if (takes_value && i + 1 >= *argc)
                return err_set(err, ERR_INVALID, "%.60s wants a value", word);
            if (takes_value)
                argv[kept++] = argv[++i];
            continue;
        }
        bool is_config = strcmp(word, "--config") == 0 || strncmp(word, "--config=", 9) == 0;
        const struct setting_row *e = strncmp(word, "--", 2) == 0 ? find_flag(word) : NULL;
        if (!e && !is_config)
            return err_set(err, ERR_INVALID, "there is no flag %.60s; --help lists them", word);
        const char *equals = strchr(word, '='), *text = equals ? equals + 1 : NULL;
        if (!text && e && e->type == BOOL)
            text = "on";
        if (!text && i + 1 < *argc)
            text = argv[++i];
        if (!text)
            return err_set(err, ERR_INVALID, "%.60s wants a value", word);
        if (is_config)
            *config = text;
        else
            flags[(*count)++] = (struct flag){e, text};
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}

static void flag_name(const struct setting_row *e, char *buf, size_t size)
{
    snprintf(buf, size, "--%s", e->info.name);
    for (char *p = buf; *p; p++)
        if (*p == '_')
            *p = '-';
}

/* An empty folder, or file, is one in the data folder. */
static bool fill_folder(const struct settings *s, char **folder, const char *name, struct err *err)
{
    char *path;
    if (**folder)
        return true;
    if (asprintf(&path, "%s/%s", s->data, name) < 0)
        return settings_value_no_memory(err);
    free(*folder);
    *folder = path;
    return true;
}

static bool is_header_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-')
            return false;
    return true;
}

/* Who may say who asks: an address and a secret, for addresses alone are everybody's on a machine
 * or in a network. */
static bool check_forward_auth(const struct settings *s, struct err *err)
{
    for (size_t i = 0; i < s->forward_auth_proxies.count; i++)
        if (!cidr_valid(s->forward_auth_proxies.items[i]))
            return err_set(err, ERR_INVALID,
                           "forward_auth_proxies wants addresses and networks such as "
                           "10.0.0.0/8, got \"%.60s\"",
                           s->forward_auth_proxies.items[i]);
    if (!*s->forward_auth_header)
        return true;
    if (!is_header_name(s->forward_auth_header) ||
        strcasecmp(s->forward_auth_header, "Authorization") == 0)
        return err_set(err, ERR_INVALID,
                       "forward_auth_header wants the name of a header such as Remote-User, got "
                       "\"%.60s\"",
                       s->forward_auth_header);
    return (strlen(s->forward_auth_secret) >= SECRET_LEAST && s->forward_auth_proxies.count > 0) ||
           err_set(err, ERR_INVALID,
                   "forward_auth_header wants forward_auth_proxies and a forward_auth_secret of "
                   "at least %d characters, which the proxy sends as X-Pictor-Secret",
                   SECRET_LEAST);
}

/* What a range cannot say. */
static bool check_whole(struct settings *s, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t size;
    if (!settings_listen_address(s, &address, &size, err))
        return false;
    if (!*s->data)
        return err_set(err, ERR_INVALID, "data must name a folder");
    if (!fill_folder(s, &s->models, "models", err) || !fill_folder(s, &s->loras, "loras", err) ||
        !fill_folder(s, &s->vaes, "vaes", err) || !fill_folder(s, &s->styles, "styles.csv", err) ||
        !fill_folder(s, &s->upscalers, "upscalers", err) ||
        !fill_folder(s, &s->embeddings, "embeddings", err) ||
        !fill_folder(s, &s->controlnets, "controlnets", err) ||
        !fill_folder(s, &s->text_encoders, "text_encoders", err) ||
        !fill_folder(s, &s->wildcards, "wildcards", err))
        return false;
    if (!check_forward_auth(s, err))
        return false;
    if (*s->public_url && !settings_value_url(s->public_url, "public_url", err))
        return false;
    if (*s->compose_url && !settings_value_url(s->compose_url, "compose_url", err))
        return false;
    if (*s->compose_url && !*s->compose_model)
        return err_set(err, ERR_INVALID, "compose_url wants a compose_model, which answers there");
    for (size_t i = 0; i < s->api_auth.count; i++)
        if (!strchr(s->api_auth.items[i], ':'))
            return err_set(err, ERR_INVALID, "api_auth wants USER:PASS, entry %zu has no colon",
                           i + 1);
    return true;
}

struct settings *settings_load(int *argc, char **argv, const char *const *own, struct err *err)
{
    struct flag *flags = calloc((size_t)*argc + 1, sizeof *flags);
    size_t count = 0;
    const char *config = getenv("PICTOR_CONFIG");
    struct settings *s = settings_new(err);
    if (!flags || !s) {
        settings_value_no_memory(err);
        goto fail;
    }
    if (!take_flags(argc, argv, own, flags, &count, &config, err))
        goto fail;
    if (!config || !*config)
        config = access(DEFAULT_CONFIG, F_OK) == 0 ? DEFAULT_CONFIG : NULL;
    if (config && !read_file(s, config, err))
        goto fail;
    if (!read_environment(s, err))
        goto fail;
    for (size_t i = 0; i < count; i++) {
        char where[64];
        flag_name(flags[i].entry, where, sizeof where);
        if (!set_value(s, flags[i].entry, flags[i].text, false, where, err))
            goto fail;
    }
    if (!check_whole(s, err))
        goto fail;
    free(flags);
    return s;
fail:
    free(flags);
    settings_free(s);
    return NULL;
}

void settings_help(FILE *out, const char *const *names)
{
    bool config = !names;
    for (size_t i = 0; names && names[i]; i++)
        config |= strcmp(names[i], "config") == 0;
    if (config)
        fprintf(out, "  %-34s %s\n", "--config FILE",
                "settings; config/pictor.ini documents them [" DEFAULT_CONFIG "]");
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        const struct setting_info *info = &table[i].info;
        bool wanted = !names;
        for (size_t k = 0; names && names[k]; k++)
            wanted |= strcmp(names[k], info->name) == 0;
        if (!wanted)
            continue;
        char flag[64], value[80] = "";
        flag_name(&table[i], flag, sizeof flag);
        if (table[i].type == BOOL)
            snprintf(value, sizeof value, "[=off]");
        else if (table[i].type == INT || table[i].type == SIZE)
            snprintf(value, sizeof value, " N");
        else if (table[i].type == REAL)
            snprintf(value, sizeof value, " X");
        else
            snprintf(value, sizeof value, " %s", info->words);
        int width = fprintf(out, "  %s%s", flag, value);
        if (width > 36)
            width = fprintf(out, "\n") - 1;
        fprintf(out, "%*s%s", 37 - width, "", info->help);
        if (*info->fallback)
            fprintf(out, " [%s]", info->fallback);
        fputc('\n', out);
    }
}

/* ---- the address ---- */

bool settings_listen_address(const struct settings *s, struct sockaddr_storage *address,
                             socklen_t *size, struct err *err)
{
    char host[256];
    const char *text = s->listen, *colon = strrchr(text, ':');
    int port;
    if (!colon)
        return err_set(err, ERR_INVALID, "listen must be HOST:PORT or [V6]:PORT, got \"%.100s\"",
                       text);
    if (!settings_value_number(colon + 1, INT, 0, 65535, &port, "the port of listen", err))
        return false;
    const char *from = text, *to = colon;
    bool brackets = *from == '[' && to > from && to[-1] == ']';
    if (brackets) {
        from++;
        to--;
    }
    size_t length = (size_t)(to - from);
    if (length >= sizeof host || (!brackets && memchr(from, ':', length)))
        return err_set(err, ERR_INVALID, "listen must be HOST:PORT or [V6]:PORT, got \"%.100s\"",
                       text);
    memcpy(host, from, length);
    host[length] = '\0';
    struct addrinfo hints = {.ai_family = brackets ? AF_INET6 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (*host == '\0')
        hints.ai_family = AF_INET; /* ":7860" is every IPv4 address */
    int rc = getaddrinfo(*host ? host : NULL, *host ? NULL : "0", &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "listen: the host of \"%.100s\" is not known: %s", text,
                       gai_strerror(rc));
    memset(address, 0, sizeof *address);
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
    return true;
}

bool settings_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
    }
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return false;
}

/* settings_test.c: the table, where a value comes from, and what is said about a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <ctype.h>
#include <netinet/in.h>

#include "server/base/settings.h"

#define FLAGS_MAX 16

struct rig {
    char path[64]; /* of the file under test */
};

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    strcpy(r->path, P_tmpdir "/pictor-test-XXXXXX");
    int fd = mkstemp(r->path);
    assert_true(fd >= 0);
    close(fd);
    setenv("PICTOR_CONFIG", r->path, 1); /* not what may be in /etc */
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    unlink(r->path);
    free(r);
    unsetenv("PICTOR_CONFIG");
    unsetenv("PICTOR_MAX_STEPS");
    unsetenv("PICTOR_SDAPI");
    unsetenv("TEST_KEY");
    return 0;
}

static void write_config(struct rig *r, const char *text)
{
    FILE *f = fopen(r->path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Loads with flags given as one text, words separated by blanks. */
static struct settings *load(const char *flags, struct err *err)
{
    char *argv[FLAGS_MAX + 1] = {"serve"}, *copy = strdup(flags), *rest = NULL;
    int argc = 1;
    for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < FLAGS_MAX);
        argv[argc++] = w;
    }
    struct settings *s = settings_load(&argc, argv, NULL, err);
    free(copy);
    return s;
}

static struct settings *load_ok(const char *flags)
{
    struct err err;
    struct settings *s = load(flags, &err);
    if (!s)
        fail_msg("%s", err.msg);
    return s;
}

/* Loading fails, and the message has these words in it. */
static void expect_error(const char *flags, const char *words)
{
    struct err err;
    struct settings *s = load(flags, &err);
    if (s)
        fail_msg("\"%s\" was taken; wanted \"%s\"", flags, words);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void defaults(void **state)
{
    struct settings *s = load_ok("");
    assert_string_equal(s->listen, "127.0.0.1:7860");
    assert_string_equal(s->data, "data");
    assert_string_equal(s->models, "data/models");
    assert_int_equal(s->max_body_bytes, 64 << 20);
    assert_int_equal(s->max_prompt_bytes, 128 << 10);
    assert_true(s->guidance_low == 0 && s->reuse_every == 1 && s->token_merging == 0);
    assert_true(s->sdapi && s->openai && !s->early_headers && !s->allow_unauthenticated);
    assert_int_equal(s->cors_origins.count, 0);
    settings_free(s);
    settings_free(NULL);
}

static void flag_before_environment_before_file_before_default(void **state)
{
    struct rig *r = *state;
    struct settings *s;
    write_config(r, "[limits]\nmax_steps = 11\nmax_count = 12\n[api]\nsdapi = off\n");
    s = load_ok("");
    assert_int_equal(s->max_steps, 11);
    assert_int_equal(s->max_count, 12);
    assert_false(s->sdapi);
    settings_free(s);
    setenv("PICTOR_MAX_STEPS", "21", 1);
    setenv("PICTOR_SDAPI", "on", 1);
    s = load_ok("");
    assert_int_equal(s->max_steps, 21);
    assert_int_equal(s->max_count, 12);
    assert_true(s->sdapi);
    settings_free(s);
    s = load_ok("--max-steps 31 --sdapi=off --token-merging .25 --max-body-bytes 3M");
    assert_int_equal(s->max_steps, 31);
    assert_true(s->token_merging == 0.25);
    assert_int_equal(s->max_body_bytes, 3 << 20);
    assert_false(s->sdapi);
    settings_free(s);
}

static void flags_have_two_spellings_and_words_are_left(void **state)
{
    struct err err;
    static const char *const own[] = {"-o=", "--admin", NULL};
    char *argv[] = {"x",           "add",     "--data=d",        "-o",   "--data", "--listen",
                    "localhost:1", "--admin", "--early-headers", "name", "--",     "--max-steps",
                    NULL};
    int argc = 12;
    struct settings *s = settings_load(&argc, argv, own, &err);
    assert_non_null(s);
    assert_string_equal(s->data, "d");
    assert_string_equal(s->models, "d/models");
    assert_string_equal(s->listen, "localhost:1");
    assert_true(s->early_headers);
    assert_int_equal(argc, 7);
    const char *const left[] = {"x", "add", "-o", "--data", "--admin", "name", "--max-steps"};
    for (int i = 0; i < argc; i++)
        assert_string_equal(argv[i], left[i]);
    assert_null(argv[argc]);
    settings_free(s);
}

static void wrong_flags(void **state)
{
    expect_error("--frob", "there is no flag --frob");
    expect_error("-x", "there is no flag -x");
    expect_error("--max-steps", "--max-steps wants a value");
    expect_error("--max-steps 0", "--max-steps must be 1..1000, got \"0\"");
    expect_error("--max-steps 9x", "got \"9x\"");
    expect_error("--max-steps 99999999999999999999", "must be 1..1000");
    expect_error("--max-steps 9.5", "got \"9.5\"");
    expect_error("--max-steps 1e2", "got \"1e2\"");
    expect_error("--max-steps 0x20", "got \"0x20\"");
    expect_error("--token-merging 1", "--token-merging must be 0..0.9, got \"1\"");
    expect_error("--token-merging 0x0p1", "--token-merging must be 0..0.9");
    expect_error("--token-merging nan", "--token-merging must be 0..0.9");
    expect_error("--guidance-low -1", "--guidance-low must be 0..1000");
    expect_error("--max-body-bytes 1T", "--max-body-bytes must be");
    expect_error("--max-body-bytes 8589934592G", "--max-body-bytes must be");
    expect_error("--max-body-bytes -1K", "--max-body-bytes must be");
    expect_error("--sdapi=maybe", "--sdapi must be on or off, got \"maybe\"");
    expect_error("--log-level=loud", "must be one of debug|info|warn|error, got \"loud\"");
    expect_error("--log-level=deb", "must be one of");
    expect_error("--log-level=", "must be one of");
    expect_error("--log-level=info|warn", "must be one of");
    expect_error("--api-auth=me", "USER:PASS");
    expect_error("--public-url=ftp://x", "must begin with https://");
    expect_error("--config /no/such/file", "/no/such/file: No such file");
    expect_error("--config /", "/: ");
    expect_error("--listen 7860", "HOST:PORT");
    expect_error("--listen ::1:7860", "HOST:PORT");
    expect_error("--listen 127.0.0.1:65536", "the port of listen must be 0..65535");
    expect_error("--listen 127.0.0.1:", "the port of listen");
    expect_error("--listen [127.0.0.1]:80", "listen");
    expect_error("--listen 300.1.1.1:80", "is not known");
    setenv("PICTOR_MAX_STEPS", "many", 1);
    expect_error("", "PICTOR_MAX_STEPS must be 1..1000, got \"many\"");
}

/* What is wrong is on the last line; the message begins with file:line. */
static void wrong_files(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *text, *words;
    } wrong[] = {
        {"[limits]\n# a comment\n\nmax_stepz = 3\n", ":4: [limits] has no setting \"max_stepz\""},
        {"[limits]\nmax_steps = 0\n", ":2: max_steps must be 1..1000, got \"0\""},
        {"[server]\nmax_steps = 9\n", ":2: max_steps belongs in [limits], not in [server]"},
        {"[sever]\nlisten = x:1\n", ":2: there is no section [sever]"},
        {"listen = x:1\n", ":1: listen belongs in [server]"},
        {"[limits]\nmax_steps\n", ":2: wanted [section], name = value"},
        {"[limits\nmax_steps = 1\n", ":1: "},
        {"[limits]\nmax_steps = 5\nmax_steps = 6\n", ":3: max_steps is given twice"},
        {"[alias]\na = b\na = c\n", ":3: [alias] has \"a\" twice"},
        {"[alias]\na =\n", ":2: [alias] a wants the name"},
        {"[parts a]\nfrob = c\n", ":2: [parts a] has no setting \"frob\": wanted text_encoder, "},
        {"[parts a]\nvae =\n", ":2: vae wants the name of a file"},
        {"[upstream x/y]\nkey = k\n", ":2: [upstream NAME] wants a name"},
        {"[upstream ]\nkey = k\n", ":2: "},
        {"[upstream x]\nkey = k\n", ": [upstream x] has no base_url"},
        {"[upstream x]\nbase_url = api.example.com\n", ":2: base_url must begin with https://"},
        {"[upstream x]\nkind = magic\n",
         ":2: kind must be openai, sdapi or comfyui, got \"magic\""},
        {"[upstream x]\nfrob = 1\n", ":2: [upstream x] has no setting \"frob\""},
        {"[upstream x]\nkey_env = NO_SUCH_VARIABLE\n", "has no NO_SUCH_VARIABLE"},
        {"[upstream x]\nkey_file = /no/such/file\n", "/no/such/file: No such file"},
        {"[upstream x]\nmodels = a, =b\n", "LOCAL=REMOTE, got \"=b\""},
        {"[upstream x]\nmodels = a=\n", "LOCAL=REMOTE, got \"a=\""},
        {"[upstream x]\nmodels = a*=b\n", "a pattern has no other name, got \"a*=b\""},
        {"[upstream x]\nprices = a\n", "prices wants MODEL=NUMBER, got \"a\""},
        {"[upstream x]\nprices = a=much\n", "prices must be 0..1000000000, got \"much\""},
        {"[upstream x]\nmax_pictures_per_day = -1\n", "max_pictures_per_day must be 0..1000000000"},
        {"[upstream x]\nbase_url = http://x\nmax_money_per_day = 1\n",
         "[upstream x] limits money, and has no price of a picture"},
        {"[upstream x]\ntimeout_seconds = 0\n", "timeout_seconds must be 1..86400"},
        {"[alias]\na123456789012345678901234567890123456789012345678901234567890 = b\n",
         ":2: a name longer than"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_config(r, wrong[i].text);
        expect_error("", wrong[i].words);
        expect_error("", r->path);
    }
    char line[600];
    memset(line, 'x', sizeof line);
    memcpy(line, "[access]\nallowed_hosts = ", 25);
    line[sizeof line - 1] = '\0';
    write_config(r, line);
    expect_error("", ":2: the line is longer than");
}

static void lists_and_sections(void **state)
{
    struct rig *r = *state;
    setenv("TEST_KEY", "secret", 1);
    write_config(r, "\xef\xbb\xbf[access]\n"
                    "allowed_hosts = a.example.com , b.example.com,\n"
                    "    c.example.com ; the third\n"
                    "[alias]\ngpt-image-1 = pictor-mini\n"
                    "[upstream one]\nbase_url = https://one.example.com/v1//\n"
                    "key_env = TEST_KEY\nmodels = x, y = far/y\n  z\n"
                    "[server]\ndata = /srv/p\n"
                    "[upstream two]\nbase_url = http://localhost:1\nmax_retries = 0\n");
    struct settings *s = load_ok("");
    assert_int_equal(s->allowed_hosts.count, 3);
    assert_string_equal(s->allowed_hosts.items[1], "b.example.com");
    assert_string_equal(s->allowed_hosts.items[2], "c.example.com");
    assert_int_equal(s->alias_count, 1);
    assert_string_equal(s->aliases[0].model, "pictor-mini");
    assert_int_equal(s->upstream_count, 2);
    const struct settings_upstream *u = &s->upstreams[0];
    assert_string_equal(u->name, "one");
    assert_string_equal(u->base_url, "https://one.example.com/v1");
    assert_string_equal(u->key, "secret");
    assert_int_equal(u->model_count, 3);
    assert_string_equal(u->models[0].local, "x");
    assert_string_equal(u->models[0].remote, "x");
    assert_string_equal(u->models[1].local, "y");
    assert_string_equal(u->models[1].remote, "far/y");
    assert_string_equal(u->models[2].local, "z");
    assert_int_equal(s->upstreams[1].max_retries, 0);
    assert_string_equal(s->upstreams[1].key, "");
    assert_string_equal(s->models, "/srv/p/models");
    assert_string_equal(s->config, r->path);
    settings_free(s);
    s = load_ok("--allowed-hosts=d.example.com"); /* a flag replaces the list */
    assert_int_equal(s->allowed_hosts.count, 1);
    settings_free(s);
}

static void a_key_file_gives_its_first_line(void **state)
{
    struct rig *r = *state;
    char path[80], text[200];
    snprintf(path, sizeof path, "%s.key", r->path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("from-a-file\nsecond line\n", f);
    fclose(f);
    snprintf(text, sizeof text, "[upstream x]\nbase_url = https://x\nkey_file = %s\n", path);
    write_config(r, text);
    struct settings *s = load_ok("");
    assert_string_equal(s->upstreams[0].key, "from-a-file");
    settings_free(s);
    fclose(fopen(path, "w"));
    expect_error("", "has no key in its first line");
    unlink(path);
}

static void addresses(void **state)
{
    static const struct {
        const char *listen;
        int family, port;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:7860", AF_INET, 7860, true},
        {"127.9.9.9:0", AF_INET, 0, true},
        {"0.0.0.0:80", AF_INET, 80, false},
        {":80", AF_INET, 80, false},
        {"192.0.2.1:80", AF_INET, 80, false},
        {"[::1]:80", AF_INET6, 80, true},
        {"[::]:80", AF_INET6, 80, false},
        {"[::ffff:127.0.0.1]:80", AF_INET6, 80, true},
        {"[::ffff:192.0.2.1]:80", AF_INET6, 80, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flags[64];
        struct sockaddr_storage address;
        socklen_t size;
        struct err err;
        snprintf(flags, sizeof flags, "--listen %s", cases[i].listen);
        struct settings *s = load_ok(flags);
        assert_true(settings_listen_address(s, &address, &size, &err));
        assert_int_equal(address.ss_family, cases[i].family);
        int port = address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                : ((struct sockaddr_in6 *)&address)->sin6_port;
        assert_int_equal(ntohs((uint16_t)port), cases[i].port);
        assert_int_equal(settings_is_loopback(&address), cases[i].loopback);
        settings_free(s);
    }
}

static char *read_text(const char *path)
{
    char *text = calloc(1, 1 << 16);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return text;
}

/* Each setting has a line "#name = default" in its section, and prose before it. */
static void the_shipped_file_documents_every_setting(void **state)
{
    struct rig *r = *state;
    char *text = read_text("config/pictor.ini");
    const struct setting_info *info;
    for (size_t i = 0; (info = settings_at(i)); i++) {
        char section[64], line[128];
        snprintf(section, sizeof section, "\n[%s]\n", info->section);
        snprintf(line, sizeof line, "\n#%s =%s%s\n", info->name, *info->fallback ? " " : "",
                 info->fallback);
        const char *from = strstr(text, section), *at = from ? strstr(from, line) : NULL;
        if (!at)
            fail_msg("config/pictor.ini lacks [%s]%s", info->section, line);
        const char *next = strstr(from + 1, "\n[");
        assert_true(!next || at < next);
        const char *before = at;
        while (before > text && before[-1] != '\n')
            before--;
        assert_memory_equal(before, "# ", 2);
    }
    /* Every example is right: without the "#" the file is read, and says what it said before. */
    char *all = calloc(1, strlen(text) + 1), *to = all;
    for (const char *p = text; *p; p++)
        if (!(*p == '#' && (p == text || p[-1] == '\n') &&
              (islower((unsigned char)p[1]) || p[1] == '[')))
            *to++ = *p;
    setenv("OPENAI_API_KEY", "k", 1);
    write_config(r, all);
    struct settings *s = load_ok("");
    struct settings *plain = settings_new(NULL);
    assert_int_equal(s->max_body_bytes, plain->max_body_bytes);
    assert_string_equal(s->listen, plain->listen);
    assert_int_equal(s->upstream_count, 2);
    assert_int_equal(s->alias_count, 2);
    write_config(r, text);
    struct settings *shipped = load_ok("");
    assert_int_equal(shipped->upstream_count, 0);
    settings_free(shipped);
    settings_free(plain);
    settings_free(s);
    free(all);
    free(text);
}

static void help_has_every_flag(void **state)
{
    char text[1 << 14] = "";
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    settings_help(out, NULL);
    fclose(out);
    const struct setting_info *info;
    for (size_t i = 0; (info = settings_at(i)); i++) {
        char flag[64];
        snprintf(flag, sizeof flag, "  --%s", info->name);
        for (char *p = flag + 4; *p; p++)
            *p = *p == '_' ? '-' : *p;
        assert_non_null(strstr(text, flag));
        assert_non_null(strstr(text, info->help));
    }
    assert_non_null(strstr(text, "--config FILE"));
    static const char *const some[] = {"data", NULL};
    memset(text, 0, sizeof text);
    out = fmemopen(text, sizeof text - 1, "w");
    settings_help(out, some);
    fclose(out);
    assert_non_null(strstr(text, "--data DIR"));
    assert_null(strstr(text, "--listen"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(flag_before_environment_before_file_before_default),
        TEST(flags_have_two_spellings_and_words_are_left),
        TEST(wrong_flags),
        TEST(wrong_files),
        TEST(lists_and_sections),
        TEST(a_key_file_gives_its_first_line),
        TEST(addresses),
        TEST(the_shipped_file_documents_every_setting),
        TEST(help_has_every_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

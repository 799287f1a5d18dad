/* route_test.c: paths to handlers, and the gates in front of them: Host, Origin, key. */
#include "server_fixture.h"

#include "server/api/gate.h"
#include "server/base/base64.h"
#include "server/base/url.h"
#include "server/http/access.h"
#include "server/routes.h"
#include "server/store/keys.h"

/* ---- paths ---- */

static enum route_result find(const char *method, const char *path, const struct route **route,
                              struct route_params *params, char allow[64])
{
    return route_find(&routes_table, method, path, route, params, allow, 64);
}

static void test_found(void **state)
{
    static const struct {
        const char *method, *path, *pattern, *value;
    } rows[] = {
        {"GET", "/", "/", NULL},
        {"HEAD", "/", "/", NULL},
        {"GET", "/healthz", "/healthz", NULL},
        {"GET", "/healthz/", "/healthz", NULL},
        {"GET", "/%68ealthz", "/healthz", NULL},
        {"GET", "/web/a.js", "/web/{name...}", "a.js"},
        {"GET", "/web/icons/a.svg", "/web/{name...}", "icons/a.svg"},
        {"GET", "/api/jobs", "/api/jobs", NULL},
        {"POST", "/api/jobs", "/api/jobs", NULL},
        {"GET", "/api/jobs/", "/api/jobs", NULL},
        {"GET", "/api/jobs/abc", "/api/jobs/{id}", "abc"},
        {"GET", "/api/jobs/abc/", "/api/jobs/{id}", "abc"},
        {"GET", "/api/jobs/a%2Fb%20c", "/api/jobs/{id}", "a/b c"},
        {"DELETE", "/api/jobs/abc", "/api/jobs/{id}", "abc"},
        {"POST", "/api/jobs/abc/cancel", "/api/jobs/{id}/cancel", "abc"},
        {"GET", "/v1/models/flux", "/v1/models/{model...}", "flux"},
        {"GET", "/v1/models/org%2Fname", "/v1/models/{model...}", "org/name"},
        {"GET", "/v1/models/org/name", "/v1/models/{model...}", "org/name"},
        {"GET", "/v1/models/org/name/", "/v1/models/{model...}", "org/name"},
        {"GET", "/v1/models/", "/v1/models", NULL},
        {"POST", "/v1/images/generations/", "/v1/images/generations", NULL},
        {"POST", "/images/generations", "/images/generations", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct route *route;
        struct route_params params;
        char allow[64];
        if (find(rows[i].method, rows[i].path, &route, &params, allow) != ROUTE_FOUND)
            fail_msg("%s %s", rows[i].method, rows[i].path);
        assert_string_equal(route->pattern, rows[i].pattern);
        assert_int_equal(params.count, rows[i].value ? 1 : 0);
        if (rows[i].value)
            assert_string_equal(params.at[0].value, rows[i].value);
        route_params_free(&params);
    }
}

static void test_not_found(void **state)
{
    static const char *const paths[] = {
        "",
        "//",
        "///",
        "x",
        "/nope",
        "/api",
        "/api/",
        "/api/jobs//",
        "/api//jobs",
        "/api/jobs/a/b",
        "/web",
        "/web/",
        "/v1",
        "/v1/images",
        "/v1/images/foo",
        "/API/jobs",
        "/api/jobs/a%00b",
        "/healthz%00",
        "/healthz//",
        "*",
        "http://x/healthz",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct route *route;
        struct route_params params;
        char allow[64];
        if (find("GET", paths[i], &route, &params, allow) != ROUTE_NO_PATH)
            fail_msg("%s is %s", paths[i], route->pattern);
        assert_null(params.storage);
    }
}

static void test_wrong_method(void **state)
{
    const struct route *route;
    struct route_params params;
    char allow[64];
    assert_int_equal(find("GET", "/v1/images/generations", &route, &params, allow),
                     ROUTE_NO_METHOD);
    assert_string_equal(allow, "POST");
    assert_int_equal(route->dialect, ROUTES_OPENAI);
    assert_int_equal(find("PATCH", "/api/jobs/x", &route, &params, allow), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, DELETE");
    assert_int_equal(find("post", "/api/jobs", &route, &params, allow), ROUTE_NO_METHOD);
}

/* What can be said of every row at once. */
static void test_table(void **state)
{
    size_t count = routes_table.count;
    const struct route *table = routes_table.routes;
    int open = 0;
    for (size_t i = 0; i < count; i++) {
        const struct route *r = &table[i];
        assert_non_null(r->handler);
        assert_true(r->pattern[0] == '/');
        assert_in_range(r->dialect, 0, ROUTES_DIALECTS - 1);
        assert_non_null(routes_table.dialects[r->dialect].error);
        bool post = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0;
        assert_true(post || strcmp(r->method, "GET") == 0 || strcmp(r->method, "DELETE") == 0);
        assert_true(post || r->body == ROUTE_BODY_NONE);
        open += r->access == ROUTE_OPEN;
        /* What changes something is never open. */
        assert_false(r->access == ROUTE_OPEN && strcmp(r->method, "GET") != 0);
        for (size_t j = 0; j < i; j++)
            if (strcmp(table[j].pattern, r->pattern) == 0 &&
                strcmp(table[j].method, r->method) == 0)
                fail_msg("%s %s is there twice", r->method, r->pattern);
    }
    /* The page, its files and icon, the list of routes and their description, info, three probes,
     * links to pictures by two names, the WebUI's ping. A new open route is a decision: change this
     * number with it. */
    assert_int_equal(open, 12);
}

static void test_dialect_of(void **state)
{
    assert_int_equal(routes_table.dialect_of("/api"), ROUTES_NATIVE);
    assert_int_equal(routes_table.dialect_of("/api/x"), ROUTES_NATIVE);
    assert_int_equal(routes_table.dialect_of("/v1/x"), ROUTES_OPENAI);
    assert_int_equal(routes_table.dialect_of("/mcp"), ROUTES_MCP);
    assert_int_equal(routes_table.dialect_of("/v10"), ROUTES_SDAPI);
    assert_int_equal(routes_table.dialect_of("/sdapi/v1/x"), ROUTES_SDAPI);
    assert_int_equal(routes_table.dialect_of("/web/x"), ROUTES_PAGE);
}

/* ---- addresses ---- */

static void test_url(void **state)
{
    char out[32];
    assert_true(url_decode(out, "a%20b+c%zz%4", 12, false));
    assert_string_equal(out, "a b+c%zz%4");
    assert_true(url_decode(out, "a+b", 3, true));
    assert_string_equal(out, "a b");
    assert_false(url_decode(out, "a%00", 4, false));

    static const char *const hosts[][2] = {
        {"localhost", "localhost"},
        {"LOCALHOST:80", "localhost"},
        {"localhost.:80", "localhost"},
        {"127.0.0.1:1", "127.0.0.1"},
        {"[::1]:80", "::1"},
        {"[::1]", "::1"},
        {"", NULL},
        {":80", NULL},
        {"a b", NULL},
        {"a:80x", NULL},
        {"[::1", NULL},
        {"[::1]x", NULL},
        {"a@b", NULL},
        {"a/b", NULL},
        {"a:1:2", NULL},
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        bool good = url_host(out, sizeof out, hosts[i][0]);
        if (good != (hosts[i][1] != NULL))
            fail_msg("\"%s\"", hosts[i][0]);
        if (good)
            assert_string_equal(out, hosts[i][1]);
    }
    assert_false(url_host(out, 4, "four"));
    assert_string_equal(url_authority_of_origin("https://a:1"), "a:1");
    assert_null(url_authority_of_origin("null"));
    assert_null(url_authority_of_origin("https://"));
    assert_null(url_authority_of_origin("file:///x"));
    assert_null(url_authority_of_origin("http://a/b"));
}

/* ---- gates ---- */

static struct access_request request(const char *method, const char *host, const char *origin,
                                     const char *fetch_site)
{
    return (struct access_request){
        .method = method, .host = host, .origin = origin, .fetch_site = fetch_site};
}

static void test_host(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *host;
        bool loopback, open;
    } rows[] = {
        {"localhost:7860", true, true},
        {"127.0.0.1:7860", true, true},
        {"[::1]:7860", true, true},
        {"LocalHost", true, true},
        {NULL, true, true},
        {"evil.example", true, false},
        {"localhost.evil.example", true, false},
        {"127.0.0.1.nip.io", true, false},
        {"0.0.0.0", true, false},
        {"evil.example", false, true},
        {"a b", true, false},
        {"a b", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct access_request r = request("GET", rows[i].host, NULL, NULL);
        if (access_check_host(f->settings, rows[i].loopback, &r, NULL) != rows[i].open)
            fail_msg("%s", rows[i].host);
    }
    struct access_request r = request("GET", "paint.example:80", NULL, NULL);
    /* Without keys a foreign name is nobody's, also behind a published port. */
    assert_true(settings_set(f->settings, "allow_unauthenticated", "on", "", NULL));
    assert_false(access_check_host(f->settings, false, &r, NULL));
    assert_true(settings_set(f->settings, "allow_unauthenticated", "off", "", NULL));
    assert_false(access_check_host(f->settings, true, &r, NULL));
    assert_true(settings_set(f->settings, "allowed_hosts", "paint.example", "", NULL));
    assert_true(access_check_host(f->settings, true, &r, NULL));
    assert_true(access_check_host(f->settings, false, &r, NULL));
    r.host = "other.example";
    assert_false(access_check_host(f->settings, false, &r, NULL));
    r.host = "192.0.2.7:7860";
    assert_true(access_check_host(f->settings, false, &r, NULL));
    r.host = "[2001:db8::7]";
    assert_true(access_check_host(f->settings, false, &r, NULL));
    assert_true(settings_set(f->settings, "allowed_hosts", "*", "", NULL));
    assert_true(access_check_host(f->settings, true, &r, NULL));
}

/* Names that no page on the web can have are answered beyond loopback, with and without keys. */
static void test_private_names(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *host;
        bool open;
    } rows[] = {
        {"pictor", true},
        {"pictor:7860", true},
        {"Pictor.:7860", true},
        {"my_service-1:80", true},
        {"host.docker.internal:7860", true},
        {"metadata.internal", true},
        {"box.local", true},
        {"BOX.LOCAL:7860", true},
        {"a.b.local.", true},
        {"paint.localhost", true},
        {"nas.home.arpa", true},
        {"evil.example.com", false},
        {"local.evil.example", false},
        {"evillocal.example", false},
        {"internal.com", false},
        {"home.arpa.evil.example", false},
        {"evil.arpa", false},
        {"home.arpa", false},
        {".local", false},
        {".internal:7860", false},
        {"box.lan", false}, /* nobody has reserved it */
        {"fritz.box", false},
        {"[pictor:x]", false},
    };
    assert_true(settings_set(f->settings, "allow_unauthenticated", "on", "", NULL));
    for (int listed = 0; listed < 2; listed++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct access_request r = request("GET", rows[i].host, NULL, NULL);
            if (access_check_host(f->settings, false, &r, NULL) != rows[i].open)
                fail_msg("%s", rows[i].host);
            assert_false(access_check_host(f->settings, true, &r, NULL));
        }
        assert_true(settings_set(f->settings, "allowed_hosts", "paint.example", "", NULL));
        assert_true(settings_set(f->settings, "allow_unauthenticated", "off", "", NULL));
    }
}

static void test_origin(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *host, *origin, *fetch_site;
        bool open;
    } rows[] = {
        {"GET", "h", "https://evil.example", "cross-site", true}, /* reading is CORS' matter */
        {"POST", "h", NULL, NULL, true},                          /* no browser */
        {"POST", "h:1", "http://h:1", "same-origin", true},
        {"POST", "h:1", "https://H:1", NULL, true}, /* behind a proxy that ends TLS */
        {"POST", "h:1", "http://h:2", "same-site", false},
        {"POST", "h", "https://evil.example", NULL, false},
        {"POST", "h", "null", NULL, false},
        {"POST", "h", NULL, "cross-site", false},
        {"POST", "h", NULL, "same-site", false},
        {"POST", "h", NULL, "none", true},
        {"DELETE", "h", "https://evil.example", NULL, false},
        {"PUT", "h", "https://evil.example", NULL, false},
        {"POST", NULL, "https://evil.example", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct access_request r =
            request(rows[i].method, rows[i].host, rows[i].origin, rows[i].fetch_site);
        if (access_check_origin(f->settings, &r, NULL) != rows[i].open)
            fail_msg("row %zu", i);
        assert_false(access_is_cors(f->settings, &r));
    }
    struct access_request r = request("POST", "h", "https://app.example", "cross-site");
    assert_false(access_check_origin(f->settings, &r, NULL));
    assert_true(settings_set(f->settings, "cors_origins", "https://app.example", "", NULL));
    assert_true(access_check_origin(f->settings, &r, NULL));
    assert_true(access_is_cors(f->settings, &r));
    r.origin = "https://app.example.evil";
    assert_false(access_check_origin(f->settings, &r, NULL));
}

static bool allowed(struct fixture *f, struct keys *keys, const char *authorization,
                    struct access_grant *grant)
{
    struct access_request r = {.method = "GET", .authorization = authorization};
    struct err err = {0};
    bool ok = gate_check(f->settings, keys, &r, grant, &err);
    if (!ok)
        assert_int_equal(err.code, ERR_DENIED);
    return ok;
}

static bool allowed_basic(struct fixture *f, struct keys *keys, const char *pair,
                          struct access_grant *grant)
{
    char header[256];
    char *text = base64_encode(pair, strlen(pair));
    snprintf(header, sizeof header, "Basic %s", text);
    free(text);
    return allowed(f, keys, header, grant);
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    struct access_grant grant;
    struct key key, admin;
    struct err err;
    char plain[KEYS_PLAIN_SIZE], master[KEYS_PLAIN_SIZE], header[200];
    struct keys *keys = keys_new(f->store, &err);
    assert_non_null(keys);

    /* Without keys whatever a client sends is ignored. */
    assert_true(allowed(f, keys, NULL, &grant));
    assert_true(grant.admin);
    assert_true(allowed(f, keys, "Bearer anything", &grant));
    assert_true(allowed(f, keys, "Basic Og==", &grant));

    assert_ok(keys_create(keys, "user", false, plain, &key, &err), err);
    assert_ok(keys_create(keys, "boss", true, master, &admin, &err), err);
    assert_false(allowed(f, keys, NULL, &grant));
    assert_false(allowed(f, keys, "Bearer anything", &grant));
    assert_false(allowed(f, keys, "Bearer ", &grant));
    assert_false(allowed(f, keys, "Bearer", &grant));
    assert_false(allowed(f, keys, plain, &grant));
    snprintf(header, sizeof header, "bEARER   %s", plain);
    assert_true(allowed(f, keys, header, &grant));
    assert_string_equal(grant.key_id, key.id);
    assert_false(grant.admin);
    snprintf(header, sizeof header, "Bearer %s", master);
    assert_true(allowed(f, keys, header, &grant));
    assert_true(grant.admin);

    /* Azure's header counts where there is no other. */
    struct access_request azure = {.method = "GET", .api_key = plain};
    assert_true(gate_check(f->settings, keys, &azure, &grant, &err));
    assert_string_equal(grant.key_id, key.id);
    azure.authorization = "Bearer anything";
    assert_false(gate_check(f->settings, keys, &azure, &grant, &err));

    /* Basic: the key is the password, the name does not matter. */
    snprintf(header, sizeof header, "anybody:%s", plain);
    assert_true(allowed_basic(f, keys, header, &grant));
    assert_string_equal(grant.key_id, key.id);
    assert_false(allowed_basic(f, keys, plain, &grant));
    assert_false(allowed_basic(f, keys, "a:b", &grant));
    assert_false(allowed_basic(f, keys, "", &grant));
    assert_false(allowed(f, keys, "Basic !", &grant));

    assert_ok(settings_set(f->settings, "api_auth", "ann:se:cret,bob:x", "", &err), err);
    assert_true(allowed_basic(f, keys, "ann:se:cret", &grant));
    assert_string_equal(grant.key_id, "");
    assert_false(grant.admin);
    assert_true(allowed_basic(f, keys, "bob:x", &grant));
    assert_false(allowed_basic(f, keys, "ann:x", &grant));
    assert_false(allowed_basic(f, keys, "ann:se:cret2", &grant));
    assert_false(allowed_basic(f, keys, "ann:se:cre", &grant));
    keys_free(keys);
}

static void test_basic_alone(void **state)
{
    struct fixture *f = *state;
    struct access_grant grant;
    struct err err;
    struct keys *keys = keys_new(f->store, &err);
    assert_ok(settings_set(f->settings, "api_auth", "ann:secret", "", &err), err);
    assert_false(allowed(f, keys, NULL, &grant));
    assert_false(allowed(f, keys, "Bearer ann:secret", &grant));
    assert_true(allowed_basic(f, keys, "ann:secret", &grant));
    keys_free(keys);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_wrong_method),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_dialect_of),
        cmocka_unit_test(test_url),
        WITH_SERVER(test_host),
        WITH_SERVER(test_private_names),
        WITH_SERVER(test_origin),
        WITH_SERVER(test_keys),
        WITH_SERVER(test_basic_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mcp_session_test.c: whose sessions live for how long, and that there are never too many. */
#include "server/api/mcp/mcp_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void begin(struct mcp_session *all, const char *key, int64_t now, char id[MCP_SESSION_SIZE])
{
    struct err err;
    assert_true(mcp_session_begin(all, key, now, id, &err));
    assert_int_equal(strlen(id), MCP_SESSION_SIZE - 1);
}

static void test_ends(void **state)
{
    struct err err;
    struct mcp_session *all = mcp_session_new(&err);
    char id[MCP_SESSION_SIZE];
    begin(all, "a", 0, id);
    assert_true(mcp_session_use(all, "a", MCP_SESSION_MS, id));
    assert_true(mcp_session_use(all, "a", 2 * (int64_t)MCP_SESSION_MS, id));
    assert_false(mcp_session_use(all, "b", 2 * (int64_t)MCP_SESSION_MS, id));
    assert_false(mcp_session_use(all, "a", 3 * (int64_t)MCP_SESSION_MS + 1, id));
    begin(all, "a", 0, id);
    assert_false(mcp_session_end(all, "b", 1, id));
    assert_true(mcp_session_end(all, "a", 1, id));
    assert_false(mcp_session_use(all, "a", 1, id));
    assert_false(mcp_session_use(all, "", 1, ""));
    mcp_session_free(all);
    mcp_session_free(NULL);
}

/* Who begins one after the other loses his own oldest, and nobody else's while there is room. */
static void test_bounds(void **state)
{
    struct err err;
    struct mcp_session *all = mcp_session_new(&err);
    char other[MCP_SESSION_SIZE], first[MCP_SESSION_SIZE], id[MCP_SESSION_SIZE], key[8];
    begin(all, "b", 0, other);
    begin(all, "a", 1, first);
    for (int i = 1; i < MCP_SESSIONS_KEY; i++)
        begin(all, "a", 2, id);
    assert_true(mcp_session_use(all, "a", 3, id));
    assert_true(mcp_session_use(all, "a", 1, first));
    begin(all, "a", 4, id);
    assert_false(mcp_session_use(all, "a", 5, first));
    assert_true(mcp_session_use(all, "b", 0, other));
    for (int i = 0; i < MCP_SESSIONS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        begin(all, key, 10, id);
    }
    assert_false(mcp_session_use(all, "b", 11, other));
    assert_true(mcp_session_use(all, key, 11, id));
    mcp_session_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends), cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

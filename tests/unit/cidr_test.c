/* cidr_test.c: which addresses lie in which networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/cidr.h"

static void networks(void **state)
{
    static const struct {
        const char *network, *address;
        bool in;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true},       {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.3.4", true},     {"10.0.0.0/8", "11.0.0.1", false},
        {"172.16.0.0/12", "172.31.9.9", true},  {"172.16.0.0/12", "172.32.0.0", false},
        {"0.0.0.0/0", "8.8.8.8", true},         {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},          {"fd00::/8", "fdab::1", true},
        {"fd00::/8", "fe80::1", false},         {"192.168.1.0/24", "::ffff:192.168.1.9", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.0.0.0/8", "", false},              {"10.0.0.0/8", "anna", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cidr_has(cases[i].network, cases[i].address) != cases[i].in)
            fail_msg("%s in %s", cases[i].address, cases[i].network);
}

static void no_networks(void **state)
{
    static const char *const bad[] = {"",          "anna",        "10.0.0.0/33", "10.0.0.1/8",
                                      "10.0.0/8",  "10.0.0.0/",   "10.0.0.0/-1", "10.0.0.0/8x",
                                      "fd00::/129", "fd00::1/64", "10.0.0.0/ 8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_valid(bad[i]))
            fail_msg("\"%s\" is taken for a network", bad[i]);
    assert_true(cidr_valid("10.0.0.0/8"));
    assert_true(cidr_valid("::1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
        cmocka_unit_test(no_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

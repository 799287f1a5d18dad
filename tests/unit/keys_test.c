/* keys_test.c: API keys and SHA-256. */
#include "tests/unit/server_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>

#include "engine/base/sha256.h"
#include "server/cli/cli.h"
#include "server/store/keys.h"

struct rig {
    struct fixture *f;
    struct keys *keys;
};

static int setup(void **state)
{
    struct err err;
    struct rig *r = calloc(1, sizeof *r);
    fixture_setup((void **)&r->f);
    assert_ok(r->keys = keys_new(r->f->store, &err), err);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    keys_free(r->keys);
    int rc = fixture_teardown((void **)&r->f);
    free(r);
    return rc;
}

static void a_key_opens_and_a_revoked_one_does_not(void **state)
{
    struct rig *r = *state;
    struct err err;
    struct key key, found;
    char plain[KEYS_PLAIN_SIZE], other[KEYS_PLAIN_SIZE];
    assert_false(keys_required(r->keys, NULL));
    assert_ok(keys_create(r->keys, "laptop", false, plain, &key, &err), err);
    assert_ok(keys_create(r->keys, "boss", true, other, NULL, &err), err);
    assert_true(keys_required(r->keys, NULL));
    assert_int_equal(strlen(plain), 67);
    assert_memory_equal(plain, "pk_", 3);
    assert_int_equal(strspn(plain + 3, "0123456789abcdef"), 64);
    assert_string_not_equal(plain, other);
    assert_ok(keys_check(r->keys, plain, &found, &err), err);
    assert_string_equal(found.id, key.id);
    assert_string_equal(found.name, "laptop");
    assert_false(found.admin);
    assert_ok(keys_check(r->keys, other, &found, &err), err);
    assert_true(found.admin);
    assert_ok(keys_revoke(r->keys, key.id, &err), err);
    assert_false(keys_check(r->keys, plain, &found, &err));
    assert_int_equal(err.code, ERR_DENIED);
    assert_string_equal(found.id, "");
    assert_ok(keys_check(r->keys, other, &found, &err), err);
    assert_ok(keys_revoke(r->keys, "boss", &err), err);
    assert_true(keys_required(r->keys, NULL)); /* closed, not open */
    assert_false(keys_revoke(r->keys, "boss", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_damaged_row_closes(void **state)
{
    static const char *const damages[] = {
        "UPDATE keys SET hash = x'00'",
        "UPDATE keys SET hash = x''",
        "UPDATE keys SET id = ''",
        "UPDATE keys SET name = hex(zeroblob(100))",
    };
    struct rig *r = *state;
    struct err err;
    struct key found;
    char plain[KEYS_PLAIN_SIZE], path[100];
    sqlite3 *db;
    assert_ok(keys_create(r->keys, "only", false, plain, NULL, &err), err);
    snprintf(path, sizeof path, "%s/pictor.db", r->f->data);
    log_set_level(LOG_ERROR + 1);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, damages[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        assert_true(keys_required(r->keys, NULL));
        assert_false(keys_check(r->keys, plain, &found, &err));
        assert_int_equal(err.code, ERR_DENIED);
    }
}

static void wrong_keys_are_denied(void **state)
{
    struct rig *r = *state;
    struct err err;
    struct key found;
    char plain[KEYS_PLAIN_SIZE], huge[3000];
    assert_ok(keys_create(r->keys, "k", false, plain, NULL, &err), err);
    memset(huge, 'a', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    plain[66] = plain[66] == '0' ? '1' : '0';
    const char *const wrong[] = {NULL, "", "pk_", plain, huge, "' OR 1=1 --"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(keys_check(r->keys, wrong[i], &found, &err));
        assert_int_equal(err.code, ERR_DENIED);
    }
}

static void names_are_checked(void **state)
{
    struct rig *r = *state;
    struct err err;
    char plain[KEYS_PLAIN_SIZE], name[70];
    memset(name, 'n', sizeof name);
    name[65] = '\0';
    const char *const wrong[] = {"", "line\nbreak", "tab\t", name};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(keys_create(r->keys, wrong[i], false, plain, NULL, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    name[64] = '\0';
    assert_ok(keys_create(r->keys, name, false, plain, NULL, &err), err);
}

static void a_name_says_which_key(void **state)
{
    struct rig *r = *state;
    struct err err;
    struct key first, found;
    char plain[KEYS_PLAIN_SIZE], other[KEYS_PLAIN_SIZE];
    assert_ok(keys_create(r->keys, "phone", false, plain, &first, &err), err);
    const char *const taken[] = {"phone", first.id};
    for (size_t i = 0; i < 2; i++) {
        assert_false(keys_create(r->keys, taken[i], true, other, NULL, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.msg, taken[i]));
        assert_false(keys_check(r->keys, other, &found, &err));
    }
    assert_ok(keys_create(r->keys, "Phone", false, other, NULL, &err), err);
    assert_ok(keys_revoke(r->keys, "phone", &err), err);
    assert_ok(keys_create(r->keys, "phone", false, plain, NULL, &err), err);
    assert_ok(keys_revoke(r->keys, "phone", &err), err);
    struct key *list;
    size_t count;
    assert_ok(keys_list(r->keys, &list, &count, &err), err);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        assert_true((list[i].revoked_ms != 0) == (strcmp(list[i].name, "phone") == 0));
    free(list);
}

static void the_file_does_not_hold_the_key(void **state)
{
    struct rig *r = *state;
    struct err err;
    char plain[KEYS_PLAIN_SIZE], path[100];
    assert_ok(keys_create(r->keys, "k", false, plain, NULL, &err), err);
    for (int i = 0; i < 2; i++) {
        static char bytes[1 << 20];
        snprintf(path, sizeof path, "%s/pictor.db%s", r->f->data, i ? "-wal" : "");
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        size_t n = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        assert_true(n > 0);
        assert_null(memmem(bytes, n, plain + 3, 64));
    }
}

/* ---- the command, in another process' place: it has a connection of its own ---- */

static int run(char *out, size_t size, int argc, char **argv)
{
    char path[] = P_tmpdir "/pictor-test-out-XXXXXX";
    fflush(stdout);
    int keep_out = dup(1), keep_err = dup(2), file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    dup2(file, 1);
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
    int status = keys_main(argc, argv);
    fflush(stdout);
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    close(keep_out);
    close(keep_err);
    ssize_t n = pread(file, out, size - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    close(file);
    return status;
}

static void the_command_works_beside_a_server(void **state)
{
    struct rig *r = *state;
    struct err err;
    struct key found;
    char out[2000], *data = r->f->data;
    assert_int_equal(run(out, sizeof out, 6,
                         (char *[]){"keys", "--data", data, "add", "ci job", "--admin", NULL}),
                     0);
    assert_int_equal(strlen(out), 68);
    out[67] = '\0';
    assert_ok(keys_check(r->keys, out, &found, &err), err);
    assert_string_equal(found.name, "ci job");
    assert_true(found.admin);
    char plain[KEYS_PLAIN_SIZE];
    memcpy(plain, out, sizeof plain);
    assert_int_equal(run(out, sizeof out, 4, (char *[]){"keys", "list", "--data", data, NULL}), 0);
    assert_non_null(strstr(out, "ci job"));
    assert_non_null(strstr(out, found.id));
    assert_null(strstr(out, plain + 3));
    char id[KEYS_ID_SIZE];
    memcpy(id, found.id, sizeof id);
    assert_int_equal(
        run(out, sizeof out, 5, (char *[]){"keys", "revoke", id, "--data", data, NULL}), 0);
    assert_false(keys_check(r->keys, plain, &found, &err));
    assert_int_equal(
        run(out, sizeof out, 5, (char *[]){"keys", "revoke", id, "--data", data, NULL}), 1);
    assert_int_equal(run(out, sizeof out, 2, (char *[]){"keys", "frob", NULL}), 2);
    assert_int_equal(run(out, sizeof out, 2, (char *[]){"keys", "--frob", NULL}), 1);
    assert_int_equal(run(out, sizeof out, 2, (char *[]){"keys", "--help", NULL}), 0);
    assert_non_null(strstr(out, "revoke"));
}

/* FIPS 180-2 examples: "abc", the empty message, and a million 'a'. */
static void sha256_has_the_published_values(void **state)
{
    struct rig *r = *state;
    struct err err;
    unsigned char hash[SHA256_SIZE], again[SHA256_SIZE];
    char hex[SHA256_HEX_SIZE], path[100];
    assert_ok(sha256_bytes("abc", 3, hash, &err), err);
    sha256_hex(hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(sha256_bytes("", 0, hash, &err), err);
    sha256_hex(hash, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    snprintf(path, sizeof path, "%s/million", r->f->data);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000000; i++)
        putc('a', file);
    assert_int_equal(fclose(file), 0);
    assert_ok(sha256_file(path, NULL, again, &err), err);
    sha256_hex(again, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_false(sha256_equal(hash, again));
    assert_true(sha256_equal(again, again));
    assert_false(sha256_file("no such file", NULL, hash, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    const atomic_bool stop = true;
    assert_false(sha256_file(path, &stop, hash, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_opens_and_a_revoked_one_does_not),
        TEST(a_damaged_row_closes),
        TEST(wrong_keys_are_denied),
        TEST(names_are_checked),
        TEST(a_name_says_which_key),
        TEST(the_file_does_not_hold_the_key),
        TEST(the_command_works_beside_a_server),
        TEST(sha256_has_the_published_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

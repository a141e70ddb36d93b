/* What a token of ours stands for, and for how long. */
#include "proxy/registry/login.h"
#include "proxy/registry/login_key.h"
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CROWD = 100000 };

static bool stands_for(struct login *l, const char *token, const struct client *c)
{
    struct client *found = login_find(l, token);
    bool same = found && strcmp(found->client_id, c->client_id) == 0 && strcmp(found->registry, c->registry) == 0 &&
                strcmp(found->id.username, c->id.username) == 0 && strcmp(found->id.secret, c->id.secret) == 0;

    client_unref(found);
    return same;
}

static bool is_nobodys(struct login *l, const char *token)
{
    struct client *found = login_find(l, token);
    bool nobody = found && client_is_nobody(found) && !found->id.secret;

    client_unref(found);
    return nobody;
}

/* However many come along with names that they made up, who has logged in before stays so. */
static void crowd_ends_no_session(void **state UNUSED)
{
    struct login *l = login_new(NULL, 60000, NULL);
    struct client *alice = client_with("alice", "of-alice", "ghcr.io");
    _cleanup_free_ char *token = login_issue(l, alice);
    char name[32];

    for (int i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "made-up-%d", i);
        struct client *c = client_with(name, "x", "ghcr.io");
        char *other = login_issue(l, c);
        assert_string_not_equal(other, token);
        free(other);
        client_unref(c);
    }
    assert_true(stands_for(l, token, alice));
    client_unref(alice);
    login_free(l);
}

/* Names and passwords of any length and content come back as they were. */
static void comes_back(void **state UNUSED)
{
    static const char *const odd[][2] = {
        {"", ""}, {"a", "b:c"}, {"line\nend", "\xc3\xa4\xff"}, {"me@example.com", "\"{}\""}};
    struct login *l = login_new(NULL, 60000, NULL);
    char longest[16 << 10];

    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        struct client *c = client_with(odd[i][0], odd[i][1], "quay.io");
        _cleanup_free_ char *token = login_issue(l, c);
        assert_true(stands_for(l, token, c));
        client_unref(c);
    }
    for (size_t len = 0; len < sizeof(longest); len = len < 40 ? len + 1 : len * 2) {
        memset(longest, 'x', len);
        longest[len] = '\0';
        struct client *c = client_with("oauth2", longest, "registry.example");
        _cleanup_free_ char *token = login_issue(l, c);
        assert_true(stands_for(l, token, c));
        assert_null(strstr(token, "xxxxxxxx"));
        client_unref(c);
    }
    login_free(l);
}

/* What was changed, cut or made up stands for nobody, as does another process's token, and one whose time is over. */
static void stands_for_nobody(void **state UNUSED)
{
    static const char *const ad_hoc[] = {"entrepot.", "entrepot.nobody", "entrepot.!", "entrepot.AAAA",
                                         "entrepot.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    struct login *l = login_new(NULL, 60000, NULL), *other = login_new(NULL, 60000, NULL),
                 *brief = login_new(NULL, 0, NULL);
    struct client *alice = client_with("alice", "of-alice", "ghcr.io");
    _cleanup_free_ char *token = login_issue(l, alice), *ended = login_issue(brief, alice);
    size_t len = strlen(token);

    for (size_t i = 0; i < ARRAY_LEN(ad_hoc); i++)
        assert_true(is_nobodys(l, ad_hoc[i]));
    for (size_t i = strlen("entrepot."); i < len - 1; i++) { /* the last character has bits that mean nothing */
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        assert_true(is_nobodys(l, token));
        token[i] = '\0';
        assert_true(is_nobodys(l, token));
        token[i] = was;
    }
    assert_true(stands_for(l, token, alice));
    assert_true(is_nobodys(other, token));
    assert_true(is_nobodys(brief, ended));
    assert_null(login_find(l, "of-the-registry"));
    client_unref(alice);
    login_free(l);
    login_free(other);
    login_free(brief);
}

enum { LIFE_MS = 60000 };

/* A token from before a restart stands for the same, and is one of its own although what it says is the same; it ends
 * as it would have without. */
static void outlives_the_daemon(void **state UNUSED)
{
    char *dir = make_folder(), *file = xasprintf("%s/" LOGIN_KEY_FILE, dir);
    struct client *alice = client_with("alice", "of-alice", "ghcr.io");
    struct login *first = login_new(NULL, LIFE_MS, dir), *brief = login_new(NULL, 30, dir);
    _cleanup_free_ char *token = login_issue(first, alice), *ended = login_issue(brief, alice);
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_size, LOGIN_KEY_BYTES);
    login_free(first);
    login_free(brief);
    usleep(40000);
    struct login *next = login_new(NULL, LIFE_MS, dir);
    _cleanup_free_ char *another = login_issue(next, alice);
    assert_true(stands_for(next, token, alice));
    assert_true(is_nobodys(next, ended));
    assert_int_not_equal(strncmp(token, another, strlen("entrepot.") + 38), 0); /* neither its salt nor its number */
    login_free(next);
    next = login_new(NULL, LIFE_MS / 2, dir); /* it would last longer than any: the clock was set back, say */
    assert_true(is_nobodys(next, token));
    login_free(next);
    assert_int_equal(unlink(file), 0); /* which ends them all */
    next = login_new(NULL, LIFE_MS, dir);
    assert_true(is_nobodys(next, token));
    login_free(next);
    client_unref(alice);
    remove_tree(dir);
    free(file);
}

static void put_key(const char *file, size_t len, mode_t mode)
{
    static const char bytes[2 * LOGIN_KEY_BYTES] = "made up";
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

/* A key that others have seen, or that is none, is not used. */
static void a_bad_key_is_replaced(void **state UNUSED)
{
    enum { FILE_THERE, FILE_LINK, FILE_OTHERS };
    static const struct {
        size_t len;
        mode_t mode;
        int is;
        bool kept;
    } cases[] = {
        {LOGIN_KEY_BYTES, 0600, FILE_THERE, true},      {LOGIN_KEY_BYTES, 0400, FILE_THERE, true},
        {LOGIN_KEY_BYTES, 0640, FILE_THERE, false},     {LOGIN_KEY_BYTES, 0604, FILE_THERE, false},
        {LOGIN_KEY_BYTES, 0620, FILE_THERE, false},     {LOGIN_KEY_BYTES - 1, 0600, FILE_THERE, false},
        {LOGIN_KEY_BYTES + 1, 0600, FILE_THERE, false}, {0, 0600, FILE_THERE, false},
        {LOGIN_KEY_BYTES, 0600, FILE_LINK, false},      {LOGIN_KEY_BYTES, 0600, FILE_OTHERS, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *dir = make_folder();
        _cleanup_free_ char *file = xasprintf("%s/" LOGIN_KEY_FILE, dir), *elsewhere = xasprintf("%s/x", dir),
                            *left = xasprintf("%s.new", file);
        unsigned char key[LOGIN_KEY_BYTES], again[LOGIN_KEY_BYTES];
        struct stat st;
        put_key(cases[i].is == FILE_LINK ? elsewhere : file, cases[i].len, cases[i].mode);
        put_key(left, 3, 0644); /* of a crash */
        if (cases[i].is == FILE_LINK)
            assert_int_equal(symlink("x", file), 0);
        if (cases[i].is == FILE_OTHERS && (geteuid() != 0 || chown(file, 65534, 65534) != 0)) {
            remove_tree(dir);
            continue;
        }
        login_key_read_or_make(dir, key);
        if ((strcmp((char *)key, "made up") == 0) != cases[i].kept)
            fail_msg("%zu: the key is the wrong one", i);
        login_key_read_or_make(dir, again);
        assert_memory_equal(key, again, sizeof(key));
        assert_int_equal(lstat(file, &st), 0);
        assert_true(S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 && st.st_uid == geteuid());
        assert_true(cases[i].kept || lstat(left, &st) != 0);
        remove_tree(dir);
    }
}

/* Where it cannot be kept it lasts as long as the process. */
static void no_place_for_a_key(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *in_the_way = xasprintf("%s/" LOGIN_KEY_FILE, dir), *gone = xasprintf("%s/none", dir);
    const char *const folders[] = {dir, gone};
    struct client *alice = client_with("alice", "of-alice", "ghcr.io");

    assert_int_equal(mkdir(in_the_way, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        struct login *l = login_new(NULL, LIFE_MS, folders[i]);
        _cleanup_free_ char *token = login_issue(l, alice);
        assert_true(stands_for(l, token, alice));
        login_free(l);
    }
    client_unref(alice);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowd_ends_no_session), cmocka_unit_test(comes_back),
        cmocka_unit_test(stands_for_nobody),     cmocka_unit_test(outlives_the_daemon),
        cmocka_unit_test(a_bad_key_is_replaced), cmocka_unit_test(no_place_for_a_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

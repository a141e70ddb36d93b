/* What a token of ours stands for, and for how long. */
#include "proxy/registry/login.h"
#include "unit.h"

#include <string.h>

enum { CROWD = 100000 };

static bool stands_for(struct login *l, const char *token, const struct client *c)
{
    struct client *found = login_find(l, token);
    bool same = found && strcmp(found->whose, c->whose) == 0 && strcmp(found->registry, c->registry) == 0 &&
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
    struct login *l = login_new(NULL, 60000);
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
    struct login *l = login_new(NULL, 60000);
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
    static const char *const made_up[] = {"entrepot.", "entrepot.nobody", "entrepot.!", "entrepot.AAAA",
                                          "entrepot.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    struct login *l = login_new(NULL, 60000), *other = login_new(NULL, 60000), *brief = login_new(NULL, 0);
    struct client *alice = client_with("alice", "of-alice", "ghcr.io");
    _cleanup_free_ char *token = login_issue(l, alice), *ended = login_issue(brief, alice);
    size_t len = strlen(token);

    for (size_t i = 0; i < ARRAY_LEN(made_up); i++)
        assert_true(is_nobodys(l, made_up[i]));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowd_ends_no_session),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(stands_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

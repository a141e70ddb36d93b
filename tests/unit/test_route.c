#include "tests/unit/unit.h"
#include "tests/unit/unit_request.h"

#include "cache/cache.h"
#include "proxy/registry/identify.h"
#include "proxy/registry/login.h"
#include "proxy/pages.h"
#include "proxy/registry/route.h"

#include "tests/unit/load_config.h"

#include <openssl/evp.h>

/* What requests are for: the upstreams of a configuration, beside an empty cache. */
struct house {
    struct config config;
    char *dir;
    struct pool *pool;
    struct cache *cache;
    struct sites *sites;
    struct site_view view;
};

static void begin(struct house *h, const char *yaml)
{
    struct err err;

    assert_true(load(yaml, &h->config, &err));
    h->dir = make_folder();
    h->pool = pool_new("io", 1, &err);
    h->cache = cache_open(h->dir, h->pool, NULL, &err);
    assert_non_null(h->cache);
    h->sites = sites_new(&h->config, NULL, h->cache, NULL);
    h->view = (struct site_view){.sites = h->sites};
}

static void end(struct house *h)
{
    sites_free(h->sites);
    cache_close(h->cache);
    pool_free(h->pool);
    remove_tree(h->dir);
    config_free(&h->config);
}

/* Which registry and which repository a request is for; NULL: none, and the error says so. */
static void which_registry(void **state UNUSED)
{
    static const struct {
        const char *target, *host, *name, *error, *only;
    } cases[] = {
        {"/v2/nginx/manifests/1", "127.0.0.1:5000", "docker.io/library/nginx", NULL, NULL},
        {"/v2/nginx/manifests/1?ns=docker.io", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/org/app/manifests/1?ns=GHCR.io", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/org/app/manifests/1", "ghcr.io", "ghcr.io/org/app", NULL, NULL},
        {"/v2/ghcr.io/org/app/manifests/1", "x", "ghcr.io/org/app", NULL, NULL},
        /* both: containerd's override_path */
        {"/v2/ghcr.io/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/GHCR.io/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/ghcr.io/org/app/manifests/1?ns=GHCR.IO", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/docker.io/library/nginx/manifests/1?ns=docker.io", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/docker.io/nginx/manifests/1?ns=docker.io", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/registry-1.docker.io/library/nginx/manifests/1?ns=docker.io", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/docker.io/library/nginx/manifests/1?ns=index.docker.io", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/localhost:5001/app/tags/list?n=3&ns=localhost:5001", "x", "localhost:5001/app", NULL, NULL},
        /* colons as some clients write them */
        {"/v2/localhost%3A5001/app/tags/list", "x", "localhost:5001/app", NULL, NULL},
        {"/v2/localhost%3a5001/app/manifests/1?ns=localhost%3A5001", "x", "localhost:5001/app", NULL, NULL},
        {"/v2/nexus.test%3A8083/team/app/manifests/1", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/org/app/manifests/1?ns=nexus.test%3A8083", "x", "nexus.test/org/app", NULL, NULL},
        {"/v2/localhost%3A5001%2Fapp/manifests/1", "x", NULL, "NAME_INVALID", NULL},
        {"/v2/localhost%253A5001/app/manifests/1", "x", NULL, "NAME_INVALID", NULL},
        /* a name without the port */
        {"/v2/nexus.test/team/app/manifests/1", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/team/app/manifests/1?ns=nexus.test", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/team/app/manifests/1?ns=nexus.test:8083", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/nexus.test:8083/team/app/manifests/1?ns=nexus.test:8083", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/nexus.test:8083/team/app/manifests/1", "x", "nexus.test/team/app", NULL, NULL},
        {"/v2/team/app/manifests/1?ns=nexus.test:8083", "x", "nexus.test/team/app", NULL, "nexus.test"},
        {"/v2/team/app/manifests/1?ns=nexus.test:8084", "x", NULL, "NAME_UNKNOWN", NULL},
        /* the usual port makes no other registry: a policy would not know it */
        {"/v2/registry-1.docker.io:443/library/nginx/manifests/1", "x", "docker.io/library/nginx", NULL, NULL},
        {"/v2/ghcr.io:443/org/app/manifests/1", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/org/app/manifests/1?ns=ghcr.io:443", "x", "ghcr.io/org/app", NULL, NULL},
        {"/v2/team/app/manifests/1?ns=nexus.test:443", "x", "nexus.test/team/app", NULL, NULL},
        /* another host than ns says is a part of the repository's name there */
        {"/v2/quay.io/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/quay.io/org/app", NULL, NULL},
        {"/v2/ghcr.io/ghcr.io/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/ghcr.io/app", NULL, NULL},
        {"/v2/ghcr.io/ghcr.io/app/manifests/1", "x", "ghcr.io/ghcr.io/app", NULL, NULL},
        {"/v2/GHCR.io/ghcr.io/app/manifests/1", "x", "ghcr.io/ghcr.io/app", NULL, NULL},
        {"/v2/ghcr.io/ghcr.io/app/manifests/1", "ghcr.io", "ghcr.io/ghcr.io/app", NULL, NULL},
        {"/v2/ghcr.io/GHCR.io/app/manifests/1", "x", NULL, "NAME_INVALID", NULL},
        {"/v2/docker.io/docker.io/nginx/manifests/1", "x", "docker.io/docker.io/nginx", NULL, NULL},
        {"/v2/library/library/nginx/manifests/1", "x", "docker.io/library/library/nginx", NULL, NULL},
        {"/v2/library/nginx/manifests/1", "docker.io", "docker.io/library/nginx", NULL, NULL},
        {"/v2/other.example/app/manifests/1", "x", NULL, "NAME_UNKNOWN", NULL},
        {"/v2/app/manifests/1?ns=other.example", "x", NULL, "NAME_UNKNOWN", NULL},
        {"/v2/ghcr.io/manifests/1?ns=ghcr.io", "x", "ghcr.io/ghcr.io", NULL, NULL},
        /* a listener of one upstream */
        {"/v2/org/app/manifests/1", "127.0.0.1:5002", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/app/manifests/1", "x", "ghcr.io/app", NULL, "ghcr.io"},
        {"/v2/org/app/manifests/1", "quay.io", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/ghcr.io/org/app/manifests/1", "x", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/ghcr.io/org/app/manifests/1?ns=GHCR.io", "x", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/quay.io/org/app/manifests/1", "x", "ghcr.io/quay.io/org/app", NULL, "ghcr.io"},
        {"/v2/org/app/manifests/1?ns=quay.io", "x", NULL, "NAME_UNKNOWN", "ghcr.io"},
        {"/v2/org/app/manifests/1?ns=", "x", "ghcr.io/org/app", NULL, "ghcr.io"},
        {"/v2/nginx/manifests/1", "x", "docker.io/library/nginx", NULL, "docker.io"},
        {"/v2/nginx/manifests/1?ns=registry-1.docker.io", "x", "docker.io/library/nginx", NULL, "docker.io"},
        {"/v2/index.docker.io/nginx/manifests/1", "x", "docker.io/library/nginx", NULL, "docker.io"},
        {"/v2/localhost:5001/app/tags/list?n=3", "x", "localhost:5001/app", NULL, "localhost:5001"},
    };
    struct house h;

    begin(&h, "upstreams: [{name: 'localhost:5001', insecure: true}, {name: nexus.test, endpoints: "
              "['https://nexus.test:8083', 'https://nexus.test:8084/v2/hub']}]\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_conn conn;
        struct route r;
        struct route_error e = {0};
        make_request(&conn, cases[i].target, cases[i].host);
        bool ok = route_parse(&r, &conn.req, &h.view, cases[i].only, &e);
        if (ok != !cases[i].error || strcmp(ok ? r.name : e.code, ok ? cases[i].name : cases[i].error) != 0)
            fail_msg("%s: %s", cases[i].target, ok ? r.name : e.message);
        buf_free(&conn.arena);
    }
    end(&h);
}

/* In place of a registry a path is that registry's own: a name there may begin with its host. */
static void in_place_of_a_registry(void **state UNUSED)
{
    static const struct {
        const char *target, *opened, *name;
        bool forward, absolute;
    } cases[] = {
        {"/v2/ghcr.io/app/manifests/1", "ghcr.io", "ghcr.io/ghcr.io/app", true, false},
        {"/v2/ghcr.io/app/manifests/1", NULL, "ghcr.io/ghcr.io/app", true, true},
        {"/v2/ghcr.io/ghcr.io/app/manifests/1", NULL, "ghcr.io/ghcr.io/ghcr.io/app", true, true},
        {"/v2/org/app/manifests/1", NULL, "ghcr.io/org/app", true, true},
        {"/v2/ghcr.io/app/manifests/1", NULL, "ghcr.io/app", false, true}, /* a listener of that upstream */
    };
    struct house h;

    begin(&h, "{}\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static struct http_conn conn;
        struct route r;
        struct route_error e = {0};
        make_request(&conn, cases[i].target, "ghcr.io");
        conn.opened_host = (char *)cases[i].opened;
        conn.forward = cases[i].forward;
        conn.req.absolute = cases[i].absolute;
        assert_true(route_parse(&r, &conn.req, &h.view, "ghcr.io", &e));
        assert_string_equal(r.name, cases[i].name);
        buf_free(&conn.arena);
    }
    end(&h);
}

/* Which registry a name and a password are for, under which name; "": they are not used, and why. */
static void which_login(void **state UNUSED)
{
    static const struct {
        const char *pair, *target, *host, *only, *login_for, *registry, *username;
        enum client_unused unused;
    } cases[] = {
        /* what follows the last @, if it is a registry of ours */
        {"alice@ghcr.io:pw", "/token", "x", NULL, NULL, "ghcr.io", "alice", CLIENT_USED},
        {"alice@GHCR.io:pw", "/token", "x", NULL, NULL, "ghcr.io", "alice", CLIENT_USED},
        {"alice@index.docker.io:pw", "/token", "x", NULL, NULL, "docker.io", "alice", CLIENT_USED},
        {"me@mail.example@ghcr.io:pw", "/token", "x", NULL, NULL, "ghcr.io", "me@mail.example", CLIENT_USED},
        {"AWS@1.dkr.ecr.eu-west-1.amazonaws.com:p", "/token", "x", NULL, NULL, "1.dkr.ecr.eu-west-1.amazonaws.com",
         "AWS", CLIENT_USED},
        {"robot$a+b@quay.io:p:w@ghcr.io", "/token", "x", NULL, NULL, "quay.io", "robot$a+b", CLIENT_USED},
        {"me@mail.example:pw", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"@ghcr.io:pw", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice@:pw", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice@*.pkg.dev:pw", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice:pw@ghcr.io", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        /* a listener of one upstream */
        {"alice:pw", "/token", "x", "ghcr.io", "quay.io", "ghcr.io", "alice", CLIENT_USED},
        {"alice@ghcr.io:pw", "/token", "x", "ghcr.io", NULL, "ghcr.io", "alice", CLIENT_USED},
        {"me@mail.example:pw", "/token", "x", "ghcr.io", NULL, "ghcr.io", "me@mail.example", CLIENT_USED},
        {"alice@quay.io:pw", "/token", "x", "ghcr.io", NULL, "", "", CLIENT_ELSEWHERE},
        {"alice@quay.io:pw", "/v2/a/b/tags/list", "x", "ghcr.io", NULL, "", "", CLIENT_ELSEWHERE},
        /* ns= and Host name the registry of the login; a name before the repository does not */
        {"alice:pw", "/v2/a/b/tags/list?ns=ghcr.io", "x", NULL, "quay.io", "ghcr.io", "alice", CLIENT_USED},
        {"alice:pw", "/v2/a/b/tags/list", "ghcr.io", NULL, "quay.io", "ghcr.io", "alice", CLIENT_USED},
        {"alice:pw", "/token", "ghcr.io", NULL, NULL, "ghcr.io", "alice", CLIENT_USED},
        {"alice:pw", "/v2/ghcr.io/a/b/tags/list", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice:pw", "/v2/a/b/tags/list", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice@quay.io:pw", "/v2/a/b/tags/list?ns=ghcr.io", "x", NULL, NULL, "", "", CLIENT_ELSEWHERE},
        {"alice@quay.io:pw", "/v2/ghcr.io/a/b/tags/list", "x", NULL, NULL, "", "", CLIENT_ELSEWHERE},
        {"alice@quay.io:pw", "/v2/a/b/tags/list", "ghcr.io", NULL, NULL, "", "", CLIENT_ELSEWHERE},
        /* clients.login_for */
        {"alice:pw", "/token", "x", NULL, "quay.io", "quay.io", "alice", CLIENT_USED},
        {"alice@ghcr.io:pw", "/token", "x", NULL, "quay.io", "ghcr.io", "alice", CLIENT_USED},
        {"alice:pw", "/v2/quay.io/a/b/tags/list", "x", NULL, "quay.io", "quay.io", "alice", CLIENT_USED},
        {"alice:pw", "/v2/ghcr.io/a/b/tags/list", "x", NULL, "quay.io", "", "", CLIENT_ELSEWHERE},
        /* never to what only a client has named */
        {"alice@any.example:pw", "/token", "x", NULL, NULL, "", "", CLIENT_UNSAID},
        {"alice:pw", "/v2/a/tags/list?ns=any.example", "x", NULL, NULL, "", "", CLIENT_ELSEWHERE},
    };
    struct house h;

    begin(&h, "upstreams_any: true\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct login *login = login_new(cases[i].login_for, 60000, NULL);
        struct http_conn conn;
        struct route r;
        struct route_error e = {0};
        size_t len = strlen(cases[i].pair);
        char basic[256] = "Basic ";
        make_request(&conn, cases[i].target, cases[i].host);
        EVP_EncodeBlock((unsigned char *)basic + 6, (const unsigned char *)cases[i].pair, (int)len);
        add_header(&conn, "authorization", basic);
        assert_true(route_parse(&r, &conn.req, &h.view, cases[i].only, &e));
        struct client *who = identify_client(&conn.req, login, &h.config, &r);
        if (r.site)
            who = client_at(who, r.site);
        const char *username = who->id.username ? who->id.username : "";
        if (strcmp(who->registry, cases[i].registry) != 0 || strcmp(username, cases[i].username) != 0 ||
            who->unused != cases[i].unused || client_is_nobody(who) == (cases[i].registry[0] != '\0'))
            fail_msg("%s at %s: %s of \"%s\", %d", cases[i].pair, cases[i].target, username, who->registry,
                     who->unused);
        client_unref(who);
        login_free(login);
        buf_free(&conn.arena);
    }
    end(&h);
}

/* A registry with a port cannot be named in the path of another: whoever tries is told what to do. */
static void registry_with_a_port(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"/v2/nexus.test:8083/team/app/manifests/1", "{name: nexus.test, endpoints: [https://nexus.test:8083]}"},
        {"/v2/team/app/manifests/1?ns=nexus.test:8083", "{name: nexus.test, endpoints: [https://nexus.test:8083]}"},
        {"/v2/nexus.test:8083/team/app/manifests/1?ns=ghcr.io", "a registry with a port needs a name without one"},
        {"/v2/other.test/team/app/manifests/1", "other.test:5000 is: give that an upstream with the name other.test"},
    };
    struct house h;

    begin(&h, "upstreams: [{name: 'other.test:5000'}]\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_conn conn;
        struct route r;
        struct route_error e = {0};
        make_request(&conn, cases[i][0], "x");
        if (route_parse(&r, &conn.req, &h.view, NULL, &e) || !strstr(e.message, cases[i][1]))
            fail_msg("%s: %d %s", cases[i][0], e.status, e.message);
        buf_free(&conn.arena);
    }
    end(&h);
}

/* By which names a loopback listener shows what this node has. */
static void which_host(void **state UNUSED)
{
    static const struct {
        const char *host;
        bool ours;
    } cases[] = {
        {"", true}, /* no browser */
        {"127.0.0.1:5000", true},
        {"10.1.2.3", true},
        {"[::1]:5000", true},
        {"[::1]", true},
        {"localhost", true},
        {"localhost:5000", true},
        {"docker.io", true},
        {"own.test:8083", true},
        {"node1.example.com:5000", true},
        {"a.nodes.example.com", true},
        {"evil.example", false},
        {"evil.example:5000", false},
        {"127.0.0.1.evil.example", false},
        {"localhost.evil.example:5000", false},
        {"evil.pkg.dev", false}, /* a pattern's hosts may be anybody's */
        {"node1.example.com.evil.example", false},
        {"localhost:80:80", false},
        {"localhost:x", false},
        {"[::1", true},
        {"[::1]x", false},
        {"[evil.example]", false},
        {"2130706433", false},
        {":5000", false},
    };
    struct config c;
    struct err err;

    assert_true(load("clients: {hosts: [node1.example.com, '*.nodes.example.com']}\n"
                     "upstreams: [{name: 'own.test:8083'}]\n",
                     &c, &err));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (pages_is_our_host(&c, cases[i].host) != cases[i].ours)
            fail_msg("\"%s\"", cases[i].host);
    config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_registry), cmocka_unit_test(in_place_of_a_registry),
        cmocka_unit_test(which_login),    cmocka_unit_test(registry_with_a_port),
        cmocka_unit_test(which_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

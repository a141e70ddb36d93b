#include "tests/unit/unit.h"

#include "cache/cache.h"
#include "proxy/http_private.h"
#include "proxy/route.h"

#include "tests/unit/load_config.h"

/* A request as the parser leaves it: the texts lie in the arena. */
static void make_request(struct http_conn *c, const char *target, const char *host)
{
    const char *query = strchr(target, '?');

    memset(c, 0, sizeof(*c));
    buf_addf(&c->arena, "%.*s", (int)strcspn(target, "?"), target);
    c->req.conn = c;
    c->arena.len++;
    c->req.query = (uint32_t)c->arena.len;
    buf_adds(&c->arena, query ? query + 1 : "");
    c->arena.len++;
    c->req.host = (uint32_t)c->arena.len;
    buf_adds(&c->arena, host);
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
        /* another host than ns says is a part of the repository's name there */
        {"/v2/quay.io/org/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/quay.io/org/app", NULL, NULL},
        {"/v2/ghcr.io/ghcr.io/app/manifests/1?ns=ghcr.io", "x", "ghcr.io/ghcr.io/app", NULL, NULL},
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
    struct config c;
    struct err err;

    assert_true(load("upstreams: [{name: 'localhost:5001', insecure: true}]\n", &c, &err));
    char *dir = make_folder();
    struct pool *pool = pool_new("io", 1, &err);
    struct cache *cache = cache_open(dir, pool, &err);
    assert_non_null(cache);
    struct sites *sites = sites_new(&c, NULL, cache);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_conn conn;
        struct route r;
        struct route_error e = {0};
        make_request(&conn, cases[i].target, cases[i].host);
        bool ok = route_parse(&r, &conn.req, sites, cases[i].only, &e);
        if (ok != !cases[i].error || strcmp(ok ? r.name : e.code, ok ? cases[i].name : cases[i].error) != 0)
            fail_msg("%s: %s", cases[i].target, ok ? r.name : e.message);
        buf_free(&conn.arena);
    }
    sites_free(sites);
    cache_close(cache);
    pool_free(pool);
    remove_tree(dir);
    config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_registry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

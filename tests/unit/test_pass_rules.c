/* What is passed on, and where to: headers, paths, hosts. */
#include "tests/unit/unit.h"

#include "proxy/intercept/hop.h"
#include "proxy/intercept/path.h"
#include "upstream/registry_private.h"

static void hop_by_hop(void **state UNUSED)
{
    static const struct {
        const char *connection[2], *name;
        bool passes;
    } cases[] = {
        {{NULL}, "authorization", true},
        {{NULL}, "Cookie", true},
        {{NULL}, "range", true},
        {{NULL}, "Connection", false},
        {{NULL}, "keep-alive", false},
        {{NULL}, "TE", false},
        {{NULL}, "Trailer", false},
        {{NULL}, "transfer-encoding", false},
        {{NULL}, "Content-Length", false},
        {{NULL}, "upgrade", false},
        {{NULL}, "expect", false},
        {{NULL}, "Proxy-Authorization", false},
        {{NULL}, "proxy-connection", false},
        {{NULL}, "proxied", true},
        {{NULL}, "", false},
        {{"close, X-One ,x-two"}, "x-one", false},
        {{"close, X-One ,x-two"}, "X-TWO", false},
        {{"close, X-One ,x-two"}, "x-on", true},
        {{"close, X-One ,x-two"}, "one", true},
        {{"close", "x-three"}, "x-three", false},
        {{"", ","}, "x-three", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf named = {0};
        for (int k = 0; k < 2 && cases[i].connection[k]; k++)
            hop_note(&named, cases[i].connection[k]);
        if (hop_passes(&named, cases[i].name, strlen(cases[i].name)) != cases[i].passes)
            print_error("%s\n", cases[i].name);
        assert_int_equal(hop_passes(&named, cases[i].name, strlen(cases[i].name)), cases[i].passes);
    }
}

static void trailers(void **state UNUSED)
{
    static const struct {
        const char *name;
        bool passes;
    } cases[] = {
        {"X-Sum", true},
        {"Digest", true},
        {"grpc-status", true},
        {"ETag", true},
        {"Content-Digest", true},
        {"content-type", false},
        {"Content-Length", false},
        {"content-digest2", false},
        {"Transfer-Encoding", false},
        {"Host", false},
        {"Authorization", false},
        {"Set-Cookie", false},
        {"cookie", false},
        {"Location", false},
        {"If-Match", false},
        {"range", false},
        {"Cache-Control", false},
        {"Trailer", false},
        {"Proxy-Authenticate", false},
        {"x y", false},
        {"WWW-Authenticate", false},
        {"", false},
        {"X-Forwarded-For", false},
        {"TE", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (hop_trails(cases[i].name, strlen(cases[i].name)) != cases[i].passes)
            fail_msg("%s", cases[i].name);
}

#define HEX64 "1111111111111111111111111111111111111111111111111111111111111111"

static void paths(void **state UNUSED)
{
    static const struct {
        const char *path;
        enum path_kind kind;
        const char *name, *tag;
    } cases[] = {
        {"/v2/org/app/manifests/v1", PATH_MANIFEST, "org/app", "v1"},
        {"/v2/app/manifests/sha256:" HEX64, PATH_MANIFEST, "app", ""},
        {"/v2/app/manifests/sha256%3A" HEX64, PATH_MANIFEST, "app", ""},
        {"/v2/a/manifests/blobs/sha256:" HEX64, PATH_BLOB, "a/manifests", ""},
        {"/v2/a/blobs/uploads/", PATH_UPLOAD, "a", ""},
        {"/v2/a/blobs/uploads/0-0?", PATH_UPLOAD, "a", ""},
        {"/v2/a/tags/list", PATH_TAGS, "a", ""},
        {"/v2/a/referrers/sha256:" HEX64, PATH_REFERRERS, "a", ""},
        {"/v2/a/referrers/v1", PATH_OTHER, "", ""},
        {"/v2/a/tags/all", PATH_OTHER, "", ""},
        {"/v2/a/blobs/v1", PATH_OTHER, "", ""},
        {"/v2/A/manifests/v1", PATH_OTHER, "", ""},
        {"/v2//manifests/v1", PATH_OTHER, "", ""},
        {"/v2/manifests/v1", PATH_OTHER, "", ""},
        {"/v2/a/../b/manifests/v1", PATH_OTHER, "", ""},
        {"/v2/a/manifests/v1%00", PATH_OTHER, "", ""},
        {"/v2/", PATH_OTHER, "", ""},
        {"/v2/_catalog", PATH_OTHER, "", ""},
        {"/v1/search", PATH_OTHER, "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct path p;
        path_parse(&p, cases[i].path);
        if (p.kind != cases[i].kind)
            print_error("%s\n", cases[i].path);
        assert_int_equal(p.kind, cases[i].kind);
        assert_string_equal(p.name, cases[i].name);
        assert_string_equal(p.tag, cases[i].tag);
    }
}

/* The registry at a host is where the configuration says; a host beside it is where it says itself. */
static void origins(void **state UNUSED)
{
    static const struct {
        const char *name, *endpoints[3], *host, *origin;
    } cases[] = {
        {"docker.io", {"https://registry-1.docker.io"}, "docker.io", "https://registry-1.docker.io"},
        {"docker.io", {"https://registry-1.docker.io"}, "registry-1.docker.io", "https://registry-1.docker.io"},
        {"docker.io", {"https://registry-1.docker.io"}, "index.docker.io", "https://index.docker.io"},
        {"a.test", {"http://mirror.test:5000", "http://10.0.0.1:5000"}, "a.test", "http://10.0.0.1:5000"},
        {"a.test", {"http://mirror.test:5000", "https://a.test:8443/"}, "a.test", "https://a.test:8443"},
        {"a.test", {"https://mirror.test/v2/hub"}, "a.test", "https://a.test"},
        {"a.test", {"https://mirror.test"}, "mirror.test", "https://mirror.test"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct upstream *u =
            upstream_new(&(struct upstream_options){.name = cases[i].name, .endpoints = cases[i].endpoints});
        _cleanup_free_ char *origin = upstream_pass_origin(u, cases[i].host);
        assert_string_equal(origin, cases[i].origin);
        upstream_free(u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hop_by_hop),
        cmocka_unit_test(trailers),
        cmocka_unit_test(paths),
        cmocka_unit_test(origins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

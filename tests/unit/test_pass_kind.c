/* In place of a registry: what is a pull, and what the registry might take for one, past the policy of this node. */
#include "tests/unit/unit.h"
#include "tests/unit/unit_request.h"

#include "proxy/intercept/pass.h"

#define D "sha256:7bd38f2a40d5048e5577b0028d13d305223c63f2c6dd10eff2a6498d0d4b70a1"

static void what_may_be_a_pull(void **state UNUSED)
{
    static const struct {
        char method; /* GET, HEAD, POST, another one */
        const char *target;
        bool is, may;
        const char *header;
    } cases[] = {
        {'G', "/v2/org/app/manifests/1", true, true, NULL},
        {'H', "/v2/org/app/manifests/1", true, true, NULL},
        {'G', "/v2/org/app/manifests/" D, true, true, NULL},
        {'G', "/v2/reg.test/reg.test/app/manifests/1", true, true, NULL},
        {'G', "/v2/library/app/blobs/" D, true, true, NULL},
        {'G', "/v2/org/app/tags/list?n=1", true, true, NULL},
        {'G', "/v2/org/app/referrers/" D, true, true, NULL},
        /* what comes before a push, and around it */
        {'H', "/v2/org/app/blobs/" D, false, false, NULL},
        {'G', "/v2/", false, false, NULL},
        {'G', "/v2/auth?service=a&scope=repository:a:pull", false, false, NULL},
        {'G', "/token?scope=repository%3Aa%3Apull", false, false, NULL},
        {'G', "/v2/_catalog", false, false, NULL},
        {'G', "/v1/search?q=a", false, false, NULL},
        {'P', "/v2/org/app/blobs/uploads/", false, false, NULL},
        {'P', "/v2/org/app/blobs/uploads/?mount=" D "&from=evil/app", false, false, NULL},
        {'G', "/v2/org/app/blobs/uploads/f0a1", false, false, NULL},
        {'O', "/v2/org/app/manifests/1", false, false, NULL},
        {'O', "/v2/org/app/blobs/uploads/f0a1?digest=" D, false, false, NULL},
        /* what the grammar does not have */
        {'G', "/v2/Org/App/manifests/1", false, true, NULL},
        {'H', "/v2/Org/App/manifests/1", false, true, NULL},
        {'G', "/V2/org/app/MANIFESTS/1", false, true, NULL},
        {'G', "/v2/org/app/manifests/1/", false, true, NULL},
        {'G', "/v2/org/app/manifests/SHA256:00", false, true, NULL},
        {'G', "/v2/org/app/manifests/-1", false, true, NULL},
        {'G', "/artifactory/api/docker/a/v2/org/app/manifests/1", false, true, NULL},
        {'G', "/v2/org/app/tags/", false, true, NULL},
        {'G', "/v2/org/app/blobs/uploads-not/1", false, true, NULL},
        {'G', "/v2/org/app/blobs/sha256:00", false, true, NULL},
        {'G', "/v2/org/app/blobs/uploads/x/blobs/" D, true, true, NULL},
        {'G', "/v1/images/0123/layer", false, true, NULL},
        {'G', "/v1/repositories/org/app/tags", false, true, NULL},
        /* what a server may read in another way */
        {'G', "/v2/org%2Fapp/manifests/1", true, true, NULL},
        {'G', "/v2/org/app/%6danifests/1", true, true, NULL},
        {'G', "/v2/org/app/%6Danifest%73/1%00", false, true, NULL},
        {'G', "/v2/org/app%2fmanifests%2f1", true, true, NULL},
        {'G', "/v2/org/app%252fmanifests%252f1", false, true, NULL},
        {'G', "/v2/ok/../org/app/x", false, true, NULL},
        {'G', "/v2/./_catalog", false, true, NULL},
        {'G', "//v2/org/app/x", false, true, NULL},
        {'G', "/v2/org/app/manifests;a=b/1", false, true, NULL},
        {'G', "/v2;a/org/app/x", false, true, NULL},
        {'G', "/v2/org/app\\manifests\\1", false, true, NULL},
        {'G', "/v2/org/app\xef\xbc\x8fmanifests", false, true, NULL},
        {'H', "/v2/org/app;a", false, true, NULL},
        /* what a server may take from a header */
        {'G', "/v2/", false, true, "x-original-url"},
        {'G', "/v2/", false, true, "x-rewrite-url"},
        {'P', "/v2/org/app/manifests/1", false, true, "x-http-method-override"},
        {'O', "/v2/org/app/manifests/1", false, true, "x-http-method"},
        {'P', "/v2/", false, true, "x-method-override"},
        {'G', "/v2/", false, false, "x-request-id"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static struct http_conn c;
        make_request(&c, cases[i].target, "reg.test");
        c.req.method = cases[i].method == 'G'   ? HTTP_METHOD_GET
                       : cases[i].method == 'H' ? HTTP_METHOD_HEAD
                       : cases[i].method == 'P' ? HTTP_METHOD_POST
                                                : HTTP_METHOD_OTHER;
        if (cases[i].header)
            add_header(&c, cases[i].header, "/v2/evil/app/manifests/1");
        if (pass_is_pull(&c.req) != cases[i].is || pass_may_be_pull(&c.req) != cases[i].may)
            fail_msg("%s: %d %d", cases[i].target, pass_is_pull(&c.req), pass_may_be_pull(&c.req));
        buf_free(&c.arena);
    }
}

/* A body makes it no pull of an engine; a server may answer it nevertheless. */
static void with_a_body(void **state UNUSED)
{
    static struct http_conn c;

    make_request(&c, "/v2/org/app/manifests/1", "reg.test");
    c.req.method = HTTP_METHOD_GET;
    c.req.body_len = 3;
    assert_false(pass_is_pull(&c.req));
    assert_true(pass_may_be_pull(&c.req));
    buf_free(&c.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_may_be_a_pull), cmocka_unit_test(with_a_body)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/unit.h"

#include "upstream/reach.h"
#include "upstream/registry_private.h"

#include "upstream/challenge.h"
#include "upstream/response.h"
#include "upstream/url.h"

static void challenges(void **state UNUSED)
{
    static const struct {
        const char *text;
        enum challenge_scheme scheme;
        const char *realm, *service, *scope;
    } cases[] = {
        {"Bearer "
         "realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/"
         "nginx:pull\"",
         CHALLENGE_BEARER, "https://auth.docker.io/token", "registry.docker.io", "repository:library/nginx:pull"},
        {"Basic realm=\"Registry Realm\"", CHALLENGE_BASIC, "Registry Realm", "", ""},
        {"bearer REALM=\"https://a/\" , Service=b", CHALLENGE_BEARER, "https://a/", "b", ""},
        {"Basic realm=\"x\", Bearer realm=\"https://y\",service=\"z\"", CHALLENGE_BEARER, "https://y", "z", ""},
        {"Bearer realm=\"https://y\", Basic realm=\"x\"", CHALLENGE_BEARER, "https://y", "", ""},
        {"Negotiate, Basic realm=\"x\"", CHALLENGE_BASIC, "x", "", ""},
        {"Bearer realm=\"a\\\"b\"", CHALLENGE_BEARER, "a\"b", "", ""},
        {"Bearer", CHALLENGE_NONE, "", "", ""},
        {"Bearer realm=\"unterminated", CHALLENGE_NONE, "", "", ""},
        {"", CHALLENGE_NONE, "", "", ""},
        {",,,", CHALLENGE_NONE, "", "", ""},
        {"\"\"\"", CHALLENGE_NONE, "", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct challenge c;
        challenge_parse(&c, cases[i].text);
        if ((int)c.scheme != (int)cases[i].scheme)
            print_error("%s\n", cases[i].text);
        assert_int_equal(c.scheme, cases[i].scheme);
        if (c.scheme == CHALLENGE_NONE)
            continue;
        assert_string_equal(c.realm, cases[i].realm);
        assert_string_equal(c.service, cases[i].service);
        assert_string_equal(c.scope, cases[i].scope);
    }
}

static void header(struct transfer_response *r, const char *line)
{
    response_header(r, line, strlen(line));
}

static void response_headers(void **state UNUSED)
{
    struct transfer_response r;

    response_reset(&r);
    header(&r, "Content-Length: 12\r\n");
    header(&r, "CONTENT-TYPE: Application/JSON; charset=utf-8\r\n");
    header(&r, "Content-Range: bytes 5-9/100\r\n");
    header(&r, "ratelimit-remaining: 76;w=21600\r\n");
    header(&r, "Retry-After: 7\r\n");
    header(&r, "Www-Authenticate: Basic realm=\"a\"\r\n");
    header(&r, "Www-Authenticate: Bearer realm=\"b\"\r\n");
    assert_int_equal(r.content_length, 12);
    assert_string_equal(r.content_type, "application/json");
    assert_int_equal(r.range_first, 5);
    assert_int_equal(r.range_last, 9);
    assert_int_equal(r.range_total, 100);
    assert_int_equal(r.ratelimit_remaining, 76);
    assert_int_equal(r.retry_after, 7);
    assert_string_equal(r.challenge, "Basic realm=\"a\", Bearer realm=\"b\"");
    response_reset(&r);
    header(&r, "Content-Length: 12x\r\n");
    header(&r, "Content-Range: bytes 9-5/100\r\n");
    header(&r, "Docker-Content-Digest: sha256:abc\r\n");
    header(&r, "Retry-After: -5\r\n");
    header(&r, "no colon\r\n");
    assert_int_equal(r.content_length, -1);
    assert_int_equal(r.range_first, -1);
    assert_int_equal(r.digest.alg, DIGEST_NONE);
    assert_int_equal(r.retry_after, 0);
}

static void urls_without_secrets(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"https://user:pass@host/path?X-Amz-Signature=secret#x", "https://host/path"},
        {"http://host:5000/v2/", "http://host:5000/v2/"},
        {"https://h?sig=secret", "https://h"},
        {"nonsense", "(not a URL)"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf b = {0};
        url_redact(&b, cases[i][0]);
        assert_string_equal(b.data, cases[i][1]);
    }
}

static void addresses(void **state UNUSED)
{
    static const struct {
        const char *address;
        bool is_public;
    } cases[] = {
        {"8.8.8.8", true},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"0.0.0.0", false},
        {"127.0.0.1", false},
        {"128.0.0.1", true},
        {"169.254.169.254", false},
        {"169.253.0.1", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.168.0.1", false},
        {"192.167.0.1", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.128.0.0", true},
        {"198.18.0.1", false},
        {"224.0.0.1", false},
        {"255.255.255.255", false},
        {"::1", false},
        {"::", false},
        {"fe80::1", false},
        {"fc00::1", false},
        {"fd00:ec2::254", false},
        {"ff02::1", false},
        {"2606:4700::1111", true},
        {"::ffff:10.0.0.1", false},
        {"::ffff:8.8.8.8", true},
        {"64:ff9b::a00:1", false},
        {"64:ff9b::808:808", true},
        {"2002:a00:1::", false},
        {"2002:808:808::", true},
        {"::8.8.8.8", false},
        {"not an address", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (reach_is_public_text(cases[i].address) != cases[i].is_public)
            fail_msg("%s", cases[i].address);
}

static void named_hosts(void **state UNUSED)
{
    static const char *const named[] = {"minio.internal", "*.corp.example", "10.1.2.3", "::1", NULL};
    static const struct {
        const char *url;
        bool is_named;
    } cases[] = {
        {"https://minio.internal/x", true},
        {"http://MINIO.internal:9000", true},
        {"https://a.b.corp.example?x", true},
        {"https://corp.example/", false},
        {"https://evil.example/.corp.example", false},
        {"https://minio.internal@evil.example/", false},
        {"https://user:pw@minio.internal/", true},
        {"https://10.1.2.3:1/", true},
        {"https://10.1.2.30/", false},
        {"http://[::1]:80/", true},
        {"http://evil.example#minio.internal", false},
        {"minio.internal", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (reach_is_named(cases[i].url, named) != cases[i].is_named)
            fail_msg("%s", cases[i].url);
    assert_false(reach_is_named("https://minio.internal/", NULL));
}

/* ---- which endpoint is asked ---- */

static void breakers(void **state UNUSED)
{
    static const char *const endpoints[] = {"https://a.example", "https://b.example", NULL};
    const struct upstream_options o = {.name = "x.example", .endpoints = endpoints};
    struct upstream *u = upstream_new(&o);
    int64_t wait_ms;

    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 0);
    endpoint_note(u, 0, true, 5);
    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 0); /* once may be chance */
    endpoint_note(u, 0, true, 5);
    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 1); /* open */
    assert_int_equal(endpoint_choose(u, 0, 2, false, &wait_ms), 0); /* nothing better, and it fails fast */
    endpoint_note(u, 1, true, 5000);
    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 0);
    assert_int_equal(endpoint_choose(u, 0, 1, false, &wait_ms),
                     -1); /* the other is slow to fail: not worth waiting for */
    assert_true(wait_ms > 0 && wait_ms <= 1000);
    usleep(1100000);
    assert_int_equal(endpoint_choose(u, 0, 1, false, &wait_ms), 1); /* half-open: one request probes it */
    assert_int_equal(endpoint_choose(u, 0, 1, false, &wait_ms), -1);
    endpoint_note(u, 1, true, 5000);
    assert_int_equal(endpoint_choose(u, 0, 1, false, &wait_ms), -1);
    assert_true(wait_ms > 1000); /* longer than before */
    endpoint_note(u, 0, false, 5);
    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 0); /* closed */
    assert_int_equal(endpoint_choose(u, 0, 0, false, &wait_ms), 0);
    upstream_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),  cmocka_unit_test(named_hosts),      cmocka_unit_test(breakers),
        cmocka_unit_test(challenges), cmocka_unit_test(response_headers), cmocka_unit_test(urls_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What lies between here and a registry: which proxy a request goes through, a clock that is off, hosts that may be
 * private. */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "base/env_proxy.h"
#include "upstream/reach.h"
#include "upstream/response.h"

#include <string.h>

static void no_proxy_lists(void **state UNUSED)
{
    static const struct {
        const char *no_proxy, *host;
        int port;
        bool is_exempt;
    } cases[] = {
        {"*.corp.example", "reg.corp.example", 443, true},
        {"*.corp.example", "a.reg.CORP.example", 443, true},
        {"*.corp.example", "corp.example", 443, false},
        {"*.corp.example", "notcorp.example", 443, false},
        {"*.corp.example:8443", "reg.corp.example", 8443, true},
        {"*.corp.example:8443", "reg.corp.example", 443, false},
        {".corp.example", "reg.corp.example", 443, true},
        {".corp.example", "corp.example", 443, true},
        {"corp.example", "reg.corp.example", 443, true},
        {"corp.example", "corp.example.", 443, true},
        {"corp.example.", "corp.example", 443, true},
        {"corp.example", "notcorp.example", 443, false},
        {"corp.example", "corp.example.evil", 443, false},
        {"nexus.test:8083", "nexus.test", 8083, true},
        {"nexus.test:8083", "nexus.test", 443, false},
        {"nexus.test:", "nexus.test", 443, false},
        {"nexus.test:80x", "nexus.test", 80, false},
        {"10.0.0.0/8", "10.1.2.3", 443, true},
        {"10.0.0.0/8", "11.1.2.3", 443, false},
        {"10.128.0.0/9", "10.127.255.255", 443, false},
        {"10.128.0.0/9", "10.128.0.0", 443, true},
        {"10.1.2.3/32", "10.1.2.3", 443, true},
        {"0.0.0.0/0", "10.1.2.3", 443, true},
        {"0.0.0.0/0", "::1", 443, false},
        {"10.0.0.0/", "10.1.2.3", 443, false},
        {"10.0.0.0/33", "10.0.0.0", 443, false},
        {"10.0.0.0/8", "10.evil.example", 443, false},
        {"2.3", "10.1.2.3", 443, false},
        {"10.1.2.3:5000", "10.1.2.3", 5000, true},
        {"10.1.2.3:5000", "10.1.2.3", 443, false},
        {"*", "anything.example", 443, true},
        {"*", "10.1.2.3", 80, true},
        {" a.example , b.example ", "b.example", 443, true},
        {"a.example b.example", "b.example", 443, true},
        {"a.example,b.example", "c.example", 443, false},
        {"[::1]", "::1", 443, true},
        {"::1", "[::1]", 443, true},
        {"0:0:0:0:0:0:0:1", "::1", 443, true},
        {"[::1]:5000", "::1", 5000, true},
        {"[::1]:5000", "::1", 443, false},
        {"fd00::/8", "fd00::7", 443, true},
        {"[fd00::]/8", "fd00::7", 443, true},
        {"fd00::/8", "fe00::7", 443, false},
        {"", "a.example", 443, false},
        {",, ,", "a.example", 443, false},
        {".", "a.example", 443, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (proxy_is_exempt(cases[i].no_proxy, cases[i].host, cases[i].port) != cases[i].is_exempt)
            fail_msg("\"%s\": %s port %d", cases[i].no_proxy, cases[i].host, cases[i].port);
}

/* The environment, as NAME=value lines; "-": no proxy. */
static void choice_of_proxies(void **state UNUSED)
{
    static const struct {
        const char *env[4], *url, *location, *proxy;
    } cases[] = {
        {{NULL}, "https://a.example/v2/", NULL, "-"},
        {{"https_proxy=p:1"}, "https://a.example/v2/", NULL, "p:1"},
        {{"HTTPS_PROXY=p:1"}, "https://a.example/v2/", NULL, "p:1"},
        {{"HTTPS_PROXY=p:1"}, "http://a.example/v2/", NULL, "-"},
        {{"HTTP_PROXY=p:1"}, "http://a.example/v2/", NULL, "p:1"},
        {{"HTTP_PROXY=p:1", "http_proxy=q:2"}, "http://a.example/v2/", NULL, "q:2"},
        {{"HTTP_PROXY=p:1", "http_proxy="}, "http://a.example/v2/", NULL, "p:1"},
        {{"HTTP_PROXY=p:1", "REQUEST_METHOD=GET"}, "http://a.example/v2/", NULL, "-"},
        {{"ALL_PROXY=p:1", "https_proxy=q:2"}, "http://a.example/v2/", NULL, "p:1"},
        {{"ALL_PROXY=p:1"}, "http://localhost:5000/", NULL, "-"},
        {{"ALL_PROXY=p:1"}, "http://127.1.2.3:5000/", NULL, "-"},
        {{"ALL_PROXY=p:1"}, "http://[::1]:5000/", NULL, "-"},
        {{"ALL_PROXY=p:1"}, "http://localhost.example/", NULL, "p:1"},
        {{"ALL_PROXY=p:1", "NO_PROXY=a.example:443"}, "https://a.example/v2/", NULL, "-"},
        {{"ALL_PROXY=p:1", "NO_PROXY=a.example:443"}, "https://u:pw@A.example./v2/", NULL, "-"},
        {{"ALL_PROXY=p:1", "NO_PROXY=a.example:443"}, "http://a.example/v2/", NULL, "p:1"},
        {{"ALL_PROXY=p:1", "NO_PROXY=b.example"}, "https://a.example/v2/", "https://b.example/x", "-"},
        {{"ALL_PROXY=p:1", "NO_PROXY=b.example"}, "https://a.example/v2/", "//b.example/x", "-"},
        {{"ALL_PROXY=p:1", "NO_PROXY=b.example"}, "https://b.example/v2/", "/x?y", "-"},
        {{"ALL_PROXY=p:1", "NO_PROXY=b.example"}, "https://b.example/v2/", "https://a.example/a b", "p:1"},
        {{"ALL_PROXY=p:1", "NO_PROXY=*"}, "https://b.example/v2/", NULL, "-"},
    };
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",   "all_proxy",
                                        "ALL_PROXY",  "no_proxy",   "NO_PROXY",    "REQUEST_METHOD"};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t n = 0; n < ARRAY_LEN(names); n++)
            unsetenv(names[n]);
        for (size_t n = 0; n < ARRAY_LEN(cases[i].env) && cases[i].env[n]; n++) {
            const char *value = strchr(cases[i].env[n], '=');
            _cleanup_free_ char *name = xstrndup(cases[i].env[n], (size_t)(value - cases[i].env[n]));
            setenv(name, value + 1, 1);
        }
        const char *proxy = proxy_for(cases[i].url, cases[i].location);
        if (strcmp(proxy ? proxy : "-", cases[i].proxy) != 0)
            fail_msg("%zu: %s %s: %s", i, cases[i].url, cases[i].location ? cases[i].location : "",
                     proxy ? proxy : "-");
    }
    for (size_t n = 0; n < ARRAY_LEN(names); n++)
        unsetenv(names[n]);
}

static void proxies_without_secrets(void **state UNUSED)
{
    static const struct {
        const char *proxy, *name, *login;
    } cases[] = {
        {"http://proxy.test:3128", "proxy.test:3128", NULL},
        {"http://proxy.test:3128/", "proxy.test:3128", NULL},
        {"proxy.test:3128", "proxy.test:3128", NULL},
        {"http://user:pw@proxy.test:3128", "proxy.test:3128", "Basic dXNlcjpwdw=="},
        {"user:pw@proxy.test:3128", "proxy.test:3128", "Basic dXNlcjpwdw=="},
        {"http://user:p%77@proxy.test", "proxy.test", "Basic dXNlcjpwdw=="},
        {"http://user@proxy.test", "proxy.test", "Basic dXNlcjo="},
        {"http://us/er:p@w@proxy.test:1", "proxy.test:1", NULL},
        {"socks5h://user:pw@proxy.test:1080", "proxy.test:1080", NULL},
    };
    char name[PROXY_NAME_MAX];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *login = proxy_login(cases[i].proxy);
        assert_string_equal(proxy_name(cases[i].proxy, name), cases[i].name);
        if (strcmp(login ? login : "", cases[i].login ? cases[i].login : "") != 0)
            fail_msg("%s: %s", cases[i].proxy, login ? login : "none");
    }
}

static void header(struct transfer_response *r, const char *line)
{
    response_header(r, line, strlen(line));
}

/* A date is one of the registry's clock, whatever this node's says. */
static void retry_after_dates(void **state UNUSED)
{
    static const struct {
        const char *first, *second;
        int seconds;
    } cases[] = {
        {"Retry-After: Tue, 03 Jun 2008 11:05:30 GMT", "Date: Tue, 03 Jun 2008 11:04:30 GMT", 60},
        {"Date: Tue, 03 Jun 2008 11:04:30 GMT", "Retry-After: Tue, 03 Jun 2008 11:05:30 GMT", 60},
        {"Date: Tue, 03 Jun 2008 11:04:30 GMT", "Retry-After: Tue, 03 Jun 2008 11:03:30 GMT", 0},
        {"Date: Tue, 03 Jun 2008 11:04:30 GMT", "Retry-After: Thu, 03 Jun 2038 11:04:30 GMT", 21600},
        {"Date: Tue, 03 Jun 2008 11:04:30 GMT", "Retry-After: 30", 30},
        {"Retry-After: 30", "Date: Tue, 03 Jun 2008 11:04:30 GMT", 30},
        {"Date: Tue, 03 Jun 2008 11:04:30 GMT", "Retry-After: tomorrow", 0},
        {"Date: yesterday", "Retry-After: Tue, 03 Jun 2008 11:05:30 GMT", 0}, /* long ago */
        {"Server: x", "Retry-After: Thu, 03 Jun 2038 11:04:30 GMT", 21600},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct transfer_response r;
        response_reset(&r);
        header(&r, cases[i].first);
        header(&r, cases[i].second);
        if (r.retry_after != cases[i].seconds)
            fail_msg("%s, %s: %d", cases[i].first, cases[i].second, r.retry_after);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_proxy_lists),
        cmocka_unit_test(choice_of_proxies),
        cmocka_unit_test(proxies_without_secrets),
        cmocka_unit_test(retry_after_dates),
        cmocka_unit_test(named_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/unit.h"

#include "upstream/reach.h"
#include "upstream/registry_private.h"

#include "upstream/link_header.h"
#include "upstream/response.h"
#include "base/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

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
    header(&r, "ratelimit-limit: 100;w=21600\r\n");
    header(&r, "ratelimit-remaining: 76;w=21600\r\n");
    header(&r, "docker-ratelimit-source: 192.0.2.1\r\n");
    header(&r, "Retry-After: 7\r\n");
    header(&r, "Www-Authenticate: Basic realm=\"a\"\r\n");
    header(&r, "Www-Authenticate: Bearer realm=\"b\"\r\n");
    assert_int_equal(r.content_length, 12);
    assert_string_equal(r.content_type, "application/json");
    assert_int_equal(r.range_first, 5);
    assert_int_equal(r.range_last, 9);
    assert_int_equal(r.range_total, 100);
    assert_true(r.ratelimit_limit == 100 && r.ratelimit_remaining == 76 && r.ratelimit_window == 21600);
    assert_string_equal(r.ratelimit_source, "192.0.2.1");
    assert_int_equal(r.retry_after, 7);
    assert_string_equal(r.challenge, "Basic realm=\"a\", Bearer realm=\"b\"");
    assert_false(r.is_entrepot);
    header(&r, "Server: nginx\r\n");
    header(&r, "Cache-Status: entrepot-like; hit\r\n");
    assert_false(r.is_entrepot);
    header(&r, "Server: entrepot\r\n");
    assert_true(r.is_entrepot);
    response_reset(&r);
    header(&r, "Cache-Status: entrepot; hit\r\n");
    assert_true(r.is_entrepot);
    response_reset(&r);
    header(&r, "Content-Length: 12x\r\n");
    header(&r, "Content-Range: bytes 9-5/100\r\n");
    header(&r, "Content-Range: bytes 5-9/9\r\n");
    header(&r, "Content-Range: bytes 5-9/x\r\n");
    header(&r, "Docker-Content-Digest: sha256:abc\r\n");
    header(&r, "Retry-After: -5\r\n");
    header(&r, "no colon\r\n");
    assert_int_equal(r.content_length, -1);
    assert_int_equal(r.range_first, -1);
    assert_int_equal(r.digest.alg, DIGEST_NONE);
    assert_int_equal(r.retry_after, 0);
}

/* RFC 8288: what registries, and what stands before them, make of it. */
static void next_links(void **state UNUSED)
{
    static const struct {
        const char *header, *target;
        bool named;
    } cases[] = {
        {"</v2/a/tags/list?n=1>; rel=\"next\"", "/v2/a/tags/list?n=1", true},
        {"</x>; rel=next", "/x", true},
        {"</x>;REL=NEXT", "/x", true},
        {"</x> ; title=\"a, <b>; rel=no\" ; rel = \"prev next\"", "/x", true},
        {"</x>; rel=\"Next\tprev\"", "/x", true},
        {"</a>; rel=first, </b>; rel=\"next\", </c>; rel=next", "/b", true},
        {"</a>, </b>; rel=\"next\"", "/b", true},
        {"<https://r.example/v2/a?x=1,2;3>; rel=\"next\"", "https://r.example/v2/a?x=1,2;3", true},
        {"</a>; title=\"\\\"; rel=x\"; rel=next", "/a", true},
        {", ,</a>;;rel=next", "/a", true},
        {"</a>", "/a", false},
        {"</a>; title=next", "/a", false},
        {"</a>; rel=prev", NULL, false},
        {"</a>; rel=prev; rel=next", NULL, false}, /* the first one counts */
        {"</a>; rel=\"nextish next-page\"", NULL, false},
        {"</a>; rel", NULL, false},
        {"/a; rel=next", NULL, false},
        {"</a; rel=next", NULL, false},
        {"</a>; title=\"never closed; rel=next", "/a", false},
        {"", NULL, false},
        {";;,,\"\"", NULL, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool named;
        char *target = link_header_next(cases[i].header, &named);
        if (!target != !cases[i].target || (target && strcmp(target, cases[i].target) != 0))
            print_error("%s: %s\n", cases[i].header, target ? target : "none");
        assert_true(!target == !cases[i].target && (!target || strcmp(target, cases[i].target) == 0));
        assert_int_equal(named, cases[i].named);
        free(target);
    }
}

static void next_link_headers(void **state UNUSED)
{
    struct transfer_response r;
    char line[9000] = "Link: </v2/a?last=";

    response_reset(&r);
    header(&r, "Link: </bare>\r\n");
    assert_string_equal(r.next_page, "/bare");
    header(&r, "Link: </terms>; rel=license\r\n");
    assert_string_equal(r.next_page, "/bare");
    memset(line + strlen(line), 'x', 8000);
    strcat(line, ">; rel=next\r\n");
    header(&r, line);
    assert_int_equal(strlen(r.next_page), strlen("/v2/a?last=") + 8000);
    header(&r, "Link: </later>; rel=next\r\n");
    header(&r, "Link: </bare>\r\n");
    assert_int_equal(strlen(r.next_page), strlen("/v2/a?last=") + 8000);
    response_clear(&r);
    assert_null(r.next_page);
}

static void queries(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"ns=a", ""},
        {"ns", ""},
        {"n=1&ns=a&last=b", "n=1&last=b"},
        {"ns=a&n=1", "n=1"},
        {"n=1&&ns=", "n=1"},
        {"nsx=a&xns=b", "nsx=a&xns=b"},
        {"ns=a&ns=b&n", "n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = {0};
        url_query_without(&out, cases[i][0], "ns");
        assert_string_equal(out.data ? out.data : "", cases[i][1]);
    }
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
        {"2001:2::1", false},
        {"2001:0:7f00:1::", false},
        {"2001:200::1", true},
        {"::8.8.8.8", false},
        {"not an address", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (reach_is_public_text(cases[i].address) != cases[i].is_public)
            fail_msg("%s", cases[i].address);
}

static struct sockaddr_storage address_of(const char *text, int port)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
    }
    return out;
}

static void circles(void **state UNUSED)
{
    static const struct {
        const char *address;
        int port;
        bool is_circle;
    } cases[] = {
        {"127.0.0.9", 443, true},        {"127.0.0.9", 444, false},    {"127.0.0.8", 443, false},
        {"::ffff:127.0.0.9", 443, true}, {"fd00::9", 443, true},       {"fd00::8", 443, false},
        {"127.0.0.1", 8443, true},       {"127.0.0.9", 8443, true},    {"198.51.100.7", 8443, false},
        {"2001:db8::7", 8443, false},    {"198.51.100.7", 443, false},
    };
    static const struct {
        const char *address;
        int port;
    } places[] = {{"127.0.0.9", 443}, {"fd00::9", 443}, {"0.0.0.0", 8443}};

    struct sockaddr_storage bound[ARRAY_LEN(places)];
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        bound[i] = address_of(places[i].address, places[i].port);
    reach_set_places(bound, ARRAY_LEN(bound));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage to = address_of(cases[i].address, cases[i].port);
        if (reach_is_circle((const struct sockaddr *)&to) != cases[i].is_circle)
            fail_msg("%s:%d", cases[i].address, cases[i].port);
    }
}

/* ---- the end ---- */

static void note_refusal(void *arg, const char *token, const struct err *err)
{
    assert_null(token);
    assert_int_equal(err->code, ERR_CANCELLED);
    ++*(int *)arg;
}

/* Whoever waits for a token when the loops have ended hears that there will be none: it would wait, and never be freed.
 */
static void no_token_at_the_end(void **state UNUSED)
{
    const struct token_options o = {.insecure = true, .connect_timeout_ms = 1000, .stall_timeout_ms = 1000};
    const struct challenge c = {.scheme = CHALLENGE_BEARER, .realm = "http://127.0.0.1:1/token", .service = "s"};
    struct loop *asks = loop_new("test", NULL), *joins = loop_new("test", NULL);
    struct transfer_engine *e = transfer_engine_new(asks, NULL);
    struct tokens *all = tokens_new(&o);
    int told = 0;

    tokens_get(all, e, asks, &c, NULL, "", note_refusal, &told);
    tokens_get(all, e, joins, &c, NULL, "", note_refusal, &told);
    transfer_engine_end(e);
    while (loop_settle(asks) || loop_settle(joins))
        ;
    assert_int_equal(told, 2);
    transfer_engine_free(e);
    tokens_free(all);
    loop_free(asks);
    loop_free(joins);
}

/* A token service that refuses "old:old" and has a token for everybody else: two requests, one after the other. */
static void *serve_tokens(void *arg)
{
    static const char no[] = "HTTP/1.1 401 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"token\":\"new\"}";
    char head[4096];

    for (int n = 0; n < 2; n++) {
        int fd = accept(*(int *)arg, NULL, NULL);
        size_t len = 0;
        ssize_t got = 1;
        while (got > 0 && len < sizeof(head) - 1 && (len == 0 || !strstr(head, "\r\n\r\n"))) {
            got = read(fd, head + len, sizeof(head) - 1 - len);
            len += got > 0 ? (size_t)got : 0;
            head[len] = '\0';
        }
        const char *answer = strstr(head, "b2xkOm9sZA==") ? no : yes;
        ssize_t put = write(fd, answer, strlen(answer));
        (void)put;
        close(fd);
    }
    return NULL;
}

struct told {
    struct loop *loop;
    int *left;
    char token[8];
    enum err_code code;
};

static void note_token(void *arg, const char *token, const struct err *err)
{
    struct told *t = arg;

    snprintf(t->token, sizeof(t->token), "%s", token ? token : "");
    t->code = err ? err->code : ERR_OK;
    if (--*t->left == 0)
        loop_stop(t->loop);
}

/* The secret was changed: who has the new one does not fail because the old one is refused to others. */
static void a_refusal_is_for_its_identity(void **state UNUSED)
{
    static const char *const named[] = {"127.0.0.1", NULL};
    const struct token_options o = {
        .insecure = true, .connect_timeout_ms = 5000, .stall_timeout_ms = 5000, .named = named};
    const struct cred_identity old = {.username = "old", .secret = "old"}, new = {.username = "new", .secret = "new"};
    struct challenge c = {.scheme = CHALLENGE_BEARER, .service = "s"};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct loop *loop = loop_new("test", NULL);
    struct transfer_engine *e = transfer_engine_new(loop, NULL);
    struct tokens *all = tokens_new(&o);
    int fd = socket(AF_INET, SOCK_STREAM, 0), left = 3;
    struct told told[3] = {{loop, &left, "", ERR_OK}, {loop, &left, "", ERR_OK}, {loop, &left, "", ERR_OK}};
    pthread_t server;

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 4), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(c.realm, sizeof(c.realm), "http://127.0.0.1:%d/token", ntohs(a.sin_port));
    pthread_create(&server, NULL, serve_tokens, &fd);
    tokens_get(all, e, loop, &c, &old, "", note_token, &told[0]);
    tokens_get(all, e, loop, &c, &new, "", note_token, &told[1]);
    tokens_get(all, e, loop, &c, &old, "", note_token, &told[2]);
    loop_run(loop);
    pthread_join(server, NULL);
    assert_int_equal(told[0].code, ERR_DENIED);
    assert_string_equal(told[1].token, "new");
    assert_int_equal(told[2].code, ERR_DENIED);
    transfer_engine_free(e);
    tokens_free(all);
    loop_free(loop);
    close(fd);
}

/* What is written into a URL comes back, and what is malformed is refused. */
static void escapes(void **state UNUSED)
{
    static const struct {
        const char *plain, *encoded;
    } cases[] = {
        {"", ""}, {"azAZ09-._~", "azAZ09-._~"}, {"a b/c?d&e=f%", "a%20b%2Fc%3Fd%26e%3Df%25"}, {"\xc3\xa9", "%C3%A9"}};
    static const struct {
        const char *from, *to; /* NULL: refused */
        bool plus_is_space;
    } decoded[] = {{"%2f%2F", "//", false}, {"a+b", "a+b", false}, {"a+b%2B", "a b+", true}, {"%", NULL, false},
                   {"%2", NULL, false},     {"%zz", NULL, false},  {"%4x", NULL, false},     {"%0a", NULL, false},
                   {"%00", NULL, false},    {"% 41", NULL, false}, {"%%41", NULL, false},    {"%7F", NULL, false}};
    char out[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf b = {0};
        buf_adds(&b, "");
        url_encode(&b, cases[i].plain);
        assert_string_equal(b.data, cases[i].encoded);
        assert_true(url_decode(b.data, b.len, false, out, sizeof(out)));
        assert_string_equal(out, cases[i].plain);
    }
    for (size_t i = 0; i < ARRAY_LEN(decoded); i++) {
        bool ok = url_decode(decoded[i].from, strlen(decoded[i].from), decoded[i].plus_is_space, out, sizeof(out));
        if (ok != (decoded[i].to != NULL) || (ok && strcmp(out, decoded[i].to) != 0))
            fail_msg("%s", decoded[i].from);
    }
    assert_true(url_decode("abc", 3, false, out, 4));
    assert_false(url_decode("abcd", 4, false, out, 4));
    _cleanup_buf_ struct buf form = {0};
    url_add_param(&form, "a", "1 2");
    url_add_param(&form, "b", "");
    assert_string_equal(form.data, "a=1%202&b=");
}

static void origins(void **state UNUSED)
{
    static const struct {
        const char *url;
        int len;
    } cases[] = {{"https://a.io/v2/", 12}, {"https://a.io:5000", 17}, {"http://[::1]:80?x", 15}, {"a.io/v2", 7}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(url_origin_len(cases[i].url), cases[i].len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes),
        cmocka_unit_test(origins),
        cmocka_unit_test(addresses),
        cmocka_unit_test(circles),
        cmocka_unit_test(response_headers),
        cmocka_unit_test(urls_without_secrets),
        cmocka_unit_test(next_links),
        cmocka_unit_test(next_link_headers),
        cmocka_unit_test(queries),
        cmocka_unit_test(no_token_at_the_end),
        cmocka_unit_test(a_refusal_is_for_its_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* TLS by name: the client's server name decides on the certificate, and on what its requests are for. */
#include "tests/unit/unit_http.h"
#include "tests/unit/unit_tls.h"

#include "proxy/http/tls_name.h"

#include <openssl/err.h>

/* What is asked for and what is given: a certificate of two hosts. */
struct names {
    struct http_tls *tls;
    SSL_CTX *one, *two;
    char asked[256];
};

static struct ssl_ctx_st *choose(void *arg, const char *host)
{
    struct names *n = arg;
    SSL_CTX *ctx = strcmp(host, "one.example") == 0 ? n->one : strcmp(host, "two.example") == 0 ? n->two : NULL;

    snprintf(n->asked, sizeof(n->asked), "%s", host);
    if (ctx)
        SSL_CTX_up_ref(ctx);
    return ctx;
}

static bool say_host(struct fixture *f UNUSED, struct http_request *req)
{
    const char *host = http_opened_host(req);

    http_reply_header(req, "X-Opened", "%s", host ? host : "-");
    http_reply(req, 200, NULL, NULL, 0);
    return true;
}

static int setup_names(void **state)
{
    setup(state);
    struct fixture *f = *state;
    struct names *n = xcalloc(1, sizeof(*n));
    n->one = tls_unit_context("one.example");
    n->two = tls_unit_context("two.example");
    n->tls = http_tls_new_by_name("test", choose, n);
    f->tls = n->tls;
    f->own = n;
    f->extra = say_host;
    return 0;
}

static int teardown_names(void **state)
{
    struct names *n = ((struct fixture *)*state)->own;
    int rc = teardown(state);

    http_tls_look(n->tls, true); /* nothing to load */
    http_tls_free(n->tls);
    SSL_CTX_free(n->one);
    SSL_CTX_free(n->two);
    free(n);
    return rc;
}

/* The name in the certificate that a client with this server name (NULL: none) is shown, and what its request is for;
 * an error: the alert. Resumes *session, and leaves there what it may resume the next time. */
static void greet_as(struct fixture *f, const char *host, int version, SSL_SESSION **session, char *out, size_t cap)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    int fd = client(f);
    char text[1024] = "", cn[256] = "";

    SSL_set_max_proto_version(ssl, version);
    if (host)
        SSL_set_tlsext_host_name(ssl, host);
    if (session && *session)
        SSL_set_session(ssl, *session);
    SSL_set_fd(ssl, fd);
    ERR_clear_error();
    if (SSL_connect(ssl) != 1) {
        snprintf(out, cap, "%s", ERR_reason_error_string(ERR_peek_last_error()));
    } else {
        SSL_write(ssl, GET("/"), (int)strlen(GET("/")));
        for (size_t len = 0; !strstr(text, "\r\n\r\n") && len < sizeof(text) - 1;) {
            int n = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));
            if (n <= 0)
                break;
            len += (size_t)n;
        }
        const char *opened = strstr(text, "X-Opened: ");
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(ssl)), NID_commonName, cn,
                                  sizeof(cn));
        snprintf(out, cap, "%s %.*s%s", cn, opened ? (int)strcspn(opened + 10, "\r") : 0, opened ? opened + 10 : "",
                 SSL_session_reused(ssl) ? " resumed" : "");
        if (session) {
            SSL_SESSION_free(*session);
            *session = SSL_get1_session(ssl);
        }
    }
    SSL_shutdown(ssl); /* else the session counts as broken */
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
}

static void names_decide(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const struct {
        const char *host, *heard;
    } cases[] = {
        {"one.example", "one.example one.example"},   {"TWO.Example", "two.example two.example"},
        {"three.example", "tlsv1 unrecognized name"}, {NULL, "tlsv1 unrecognized name"},
        {"127.0.0.1", "tlsv1 unrecognized name"},     {"*.example", "tlsv1 unrecognized name"},
        {"one.example.", "tlsv1 unrecognized name"},
    };
    struct fixture *f = *state;
    char heard[512];

    for (size_t v = 0; v < ARRAY_LEN(versions); v++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            greet_as(f, cases[i].host, versions[v], NULL, heard, sizeof(heard));
            if (strcmp(heard, cases[i].heard) != 0)
                fail_msg("%s: %s", cases[i].host ? cases[i].host : "no name", heard);
        }
}

/* A session is resumed under the name that it was begun with, and under no other. */
static void resumed(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct fixture *f = *state;
    char heard[512];

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_SESSION *session = NULL;
        greet_as(f, "one.example", versions[v], &session, heard, sizeof(heard));
        assert_string_equal(heard, "one.example one.example");
        greet_as(f, "one.example", versions[v], &session, heard, sizeof(heard));
        assert_string_equal(heard, "one.example one.example resumed");
        greet_as(f, "two.example", versions[v], &session, heard, sizeof(heard));
        assert_string_equal(heard, "two.example two.example");
        SSL_SESSION_free(session);
    }
}

static void names_are_checked(void **state UNUSED)
{
    static const struct {
        const char *name;
        bool good;
    } cases[] = {
        {"a", true},
        {"ghcr.io", true},
        {"GHCR.io", true},
        {"xn--bcher-kva.example", true},
        {"1.example", true},
        {"a.1b", true},
        {"", false},
        {".", false},
        {".a", false},
        {"a.", false},
        {"a..b", false},
        {"-a.b", false},
        {"a-.b", false},
        {"a_b.c", false},
        {"*.a.b", false},
        {"1.2.3.4", false},
        {"127.1", false},
        {"::1", false},
        {"[::1]", false},
        {"a.b:443", false},
        {"a/b", false},
        {"a b", false},
        {"a@b", false},
        {"\xc3\xa4.b", false},
        {"docker.io\n", false},
    };
    unsigned char ext[70000];
    char host[TLS_NAME_MAX + 1], name[260];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].name);
        unsigned char head[] = {0, (unsigned char)(len + 3), 0, 0, (unsigned char)len};
        memcpy(ext, head, 5);
        memcpy(ext + 5, cases[i].name, len);
        if (tls_name_read(ext, len + 5, host) != cases[i].good)
            fail_msg("%s", cases[i].name);
        if (cases[i].good)
            assert_int_equal(strcasecmp(host, cases[i].name), 0);
        ext[2] = 1; /* another kind of name */
        assert_false(tls_name_read(ext, len + 5, host));
        ext[2] = 0;
        assert_false(tls_name_read(ext, len + 6, host)); /* lengths that do not agree */
        assert_false(tls_name_read(ext, len + 4, host));
    }
    for (size_t len = 250; len < 256; len++) { /* labels of 61 */
        for (size_t i = 0; i < len; i++)
            name[i] = i % 62 == 61 ? '.' : 'a';
        unsigned char head[] = {(unsigned char)((len + 3) >> 8), (unsigned char)(len + 3), 0, 0, (unsigned char)len};
        memcpy(ext, head, 5);
        memcpy(ext + 5, name, len);
        assert_int_equal(tls_name_read(ext, len + 5, host), len <= TLS_NAME_MAX);
    }
    memset(ext, 'a', sizeof(ext));
    memcpy(ext, (unsigned char[]){0xff, 0xff, 0, 0xff, 0xfc}, 5);
    assert_false(tls_name_read(ext, 65537, host));
    memcpy(ext, (unsigned char[]){0, 6, 0, 0, 3, 'a', 0, 'b'}, 8); /* NUL inside */
    assert_false(tls_name_read(ext, 8, host));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_decide, setup_names, teardown_names),
        cmocka_unit_test_setup_teardown(resumed, setup_names, teardown_names),
        cmocka_unit_test(names_are_checked),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

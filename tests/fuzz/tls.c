/* What clients of a TLS listener send. The first byte of the input says when it comes: in place of a handshake, over a
 * real client's flights, as bytes behind a handshake, or as what is inside the records; and whether the certificate is
 * chosen by the server name, or TLS comes behind CONNECT. */
#include "proxy/http/http.h"
#include "proxy/http/tls.h"
#include "tests/fuzz/fuzz.h"

#include "base/log.h"

#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>

enum when { RAW, SPOILED, BEHIND, INSIDE, WHENS };
enum { BY_NAME = 0x80, BY_CONNECT = 0x40 };

static const char CONNECT[] = "CONNECT fuzz.example:443 HTTP/1.1\r\nHost: x\r\nX-Request-Id: me\r\n\r\n";
static const char DONE[] = "HTTP/1.1 200 Connection established\r\nX-Request-Id: me\r\n\r\n";

static struct loop *loop;
static struct http_server *server;
static struct http_tls *tls, *by_name;
static SSL_CTX *named; /* of the one host that there is */
static SSL_CTX *client_ctx;

static void on_request(void *arg UNUSED, struct http_request *req)
{
    const char *host = http_opened_host(req);

    if (http_method(req) == HTTP_METHOD_CONNECT) {
        MUST(!host);
        SSL *ssl = http_tls_open(tls);
        SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
        SSL_CTX_up_ref(ctx);
        SSL_free(ssl);
        http_connect_tls(req, ctx, "Fuzz.example");
        return;
    }
    MUST(http_is_tls(req) && (!host || strcmp(host, "fuzz.example") == 0));
    http_reply(req, 200, "text/plain", "hello", 5);
}

static void settle(void)
{
    struct event_base *base = loop_base(loop);

    for (int quiet = 0; quiet < 2; quiet++) /* a turn of a connection takes another pass */
        do
            event_base_loop(base, EVLOOP_NONBLOCK);
        while (event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0);
}

static const char *write_pem(const char *name, EVP_PKEY *key, X509 *cert)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *data;

    MUST(key ? PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) : PEM_write_bio_X509(text, cert));
    long len = BIO_get_mem_data(text, &data);
    const char *path = fuzz_file(name, data, (size_t)len);
    BIO_free(text);
    return path;
}

static struct http_tls *make_tls(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    struct err err;

    MUST(key && cert && X509_set_pubkey(cert, key));
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 30 * 86400L);
    MUST(X509_sign(cert, key, EVP_sha256()));
    _cleanup_free_ char *key_file = xstrdup(write_pem("key.pem", key, NULL));
    _cleanup_free_ char *cert_file = xstrdup(write_pem("cert.pem", NULL, cert));
    X509_free(cert);
    EVP_PKEY_free(key);
    struct http_tls *t = http_tls_new("fuzz", &(struct tls_files){cert_file, key_file, NULL}, &err);
    MUST(t);
    return t;
}

static SSL_CTX *choose(void *arg UNUSED, const char *host)
{
    MUST(host[0] && strlen(host) <= 253 && !strpbrk(host, "*_/:@[]ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    if (strcmp(host, "fuzz.example") != 0)
        return NULL;
    SSL_CTX_up_ref(named);
    return named;
}

static void begin(void)
{
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;

    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    loop = loop_new("fuzz", NULL);
    server = http_server_new(loop, &limits, on_request, NULL, NULL);
    tls = make_tls();
    SSL *ssl = http_tls_open(tls);
    named = SSL_get_SSL_CTX(ssl);
    SSL_CTX_up_ref(named);
    SSL_free(ssl);
    by_name = http_tls_new_by_name("fuzz", choose, NULL);
    client_ctx = SSL_CTX_new(TLS_client_method());
}

static void give(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len && http_server_connections(server) > 0;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        at += (size_t)MAX(n, (ssize_t)0);
        settle();
    }
}

/* Moves what client and server have for each other; what the client sends is spoiled with `spoil`. False: nothing. */
static bool exchange(SSL *ssl, int fd, const uint8_t **spoil, size_t *spoils)
{
    char bytes[16384];
    bool any = false;
    int n = BIO_read(SSL_get_wbio(ssl), bytes, sizeof(bytes));

    if (n > 0) {
        for (; *spoils >= 3; *spoil += 3, *spoils -= 3) { /* a place, and what is there instead */
            size_t at = (size_t)((*spoil)[0] << 8 | (*spoil)[1]);
            if (at < (size_t)n)
                bytes[at] ^= (char)(*spoil)[2];
        }
        give(fd, bytes, (size_t)n);
        any = true;
    }
    settle();
    ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    if (got > 0)
        BIO_write(SSL_get_rbio(ssl), bytes, (int)got);
    return any || got > 0;
}

/* In one write with CONNECT. */
static void give_early(int fd, const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf text = {0};

    buf_adds(&text, CONNECT);
    buf_add(&text, data, size);
    give(fd, text.data, text.len);
}

static void open_tls(int fd)
{
    char heard[sizeof(DONE)];

    give(fd, CONNECT, strlen(CONNECT));
    settle();
    MUST(recv(fd, heard, strlen(DONE), 0) == (ssize_t)strlen(DONE) && memcmp(heard, DONE, strlen(DONE)) == 0);
}

static void converse(int fd, enum when when, const uint8_t *data, size_t size)
{
    SSL *ssl = SSL_new(client_ctx);
    const uint8_t *spoil = data;
    size_t spoils = when == SPOILED ? size : 0;
    char sink[16384];
    int rc;

    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_tlsext_host_name(ssl, "fuzz.example");
    SSL_set_max_proto_version(ssl, size > 0 && data[0] & 1 ? TLS1_2_VERSION : TLS1_3_VERSION);
    do
        rc = SSL_connect(ssl);
    while (exchange(ssl, fd, &spoil, &spoils) && rc != 1);
    MUST(rc == 1 || when == SPOILED);
    if (when == BEHIND)
        give(fd, data, size);
    for (size_t at = 0, step = 1 + (size > 0 ? data[0] : 0); when == INSIDE && at < size; at += step) {
        if (SSL_write(ssl, data + at, (int)MIN(step, size - at)) <= 0)
            break;
        exchange(ssl, fd, &spoil, &spoils);
        while (SSL_read(ssl, sink, sizeof(sink)) > 0)
            ;
    }
    SSL_free(ssl);
    ERR_clear_error();
}

/* A client that ends leaves nothing behind. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    char sink[4096];

    if (!loop)
        begin();
    if (size < 1)
        return 0;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    bool connect = data[0] & BY_CONNECT;
    http_server_accept(server, &(struct http_arrival){.fd = pair[1],
                                                      .tls = connect             ? NULL
                                                             : data[0] & BY_NAME ? by_name
                                                                                 : tls,
                                                      .forward = connect});
    enum when when = (enum when)(data[0] % WHENS);
    if (connect && when != RAW)
        open_tls(pair[0]);
    if (when != RAW)
        converse(pair[0], when, data + 1, size - 1);
    else if (connect)
        give_early(pair[0], data + 1, size - 1);
    else
        give(pair[0], data + 1, size - 1);
    shutdown(pair[0], SHUT_WR);
    do
        settle();
    while (recv(pair[0], sink, sizeof(sink), 0) > 0);
    settle();
    MUST(http_server_connections(server) == 0);
    close(pair[0]);
    return 0;
}

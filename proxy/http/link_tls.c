/* TLS on a socket. OpenSSL has the socket itself (SSL_set_fd), so that the kernel can take the encryption over where it
 * knows how (SSL_OP_ENABLE_KTLS): then files go out by SSL_sendfile(3), which is sendfile(2) of records that the kernel
 * makes. Elsewhere they are read from the page cache into the server's scratch memory, a few records at a time, and
 * encrypted there: a connection that waits for a slow client holds at most the one record that OpenSSL has made of it.
 *
 * A record that was made and not sent must be given to OpenSSL again, as long as it was or longer. `out` only grows at
 * its end, so what is gathered the next time begins with the same bytes. Kernel TLS goes on from the memory that it was
 * given the first time: data goes through `kept` then, which does not move. */
#include "proxy/http/link_tls.h"

#include "base/mem.h"
#include "proxy/http/link.h"
#include "proxy/http/tls_socket.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

enum { RECORD = SSL3_RT_MAX_PLAIN_LENGTH };

/* Before each call: SSL_get_error(3) looks there. To clear the empty queue costs more than to look. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* 0: the client has ended its output in order. */
static ssize_t tls_failed(struct http_link *l, int rc)
{
    int why = SSL_get_error(l->ssl, rc);

    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    l->wants_write = why == SSL_ERROR_WANT_WRITE;
    bool again = why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ;
    l->broken = l->broken || !again;
    errno = again ? EAGAIN : ECONNRESET;
    return -1;
}

/* A call has failed because there is no more input: whether the bytes read before have ended. Then the socket is next.
 */
static bool leave_early(struct http_link *l, int rc)
{
    if (!l->early || SSL_get_error(l->ssl, rc) != SSL_ERROR_WANT_READ || BIO_pending(SSL_get_rbio(l->ssl)) > 0)
        return false;
    BIO *socket = SSL_get_wbio(l->ssl);
    BIO_up_ref(socket);
    SSL_set0_rbio(l->ssl, socket);
    l->early = false;
    return true;
}

/* Behind a failed handshake what comes is dropped unread. */
static ssize_t tls_read(struct http_link *l, void *to, size_t cap)
{
    if (l->broken)
        return recv(l->fd, to, cap, 0);
    int n;
    do {
        forget_errors();
        n = SSL_read(l->ssl, to, (int)cap);
    } while (n <= 0 && leave_early(l, n));
    return n > 0 ? n : tls_failed(l, n);
}

static bool tls_has_input(const struct http_link *l)
{
    return !l->broken && (SSL_has_pending(l->ssl) == 1 || l->early);
}

static int put_record(struct http_link *l, const char *data, size_t len)
{
    if (!l->ktls)
        return SSL_write(l->ssl, data, (int)len);
    if (!l->kept) {
        l->kept = xmalloc(RECORD);
        l->kept_len = len;
        memcpy(l->kept, data, len);
    }
    int n = SSL_write(l->ssl, l->kept, (int)l->kept_len);
    if (n > 0) {
        free(l->kept);
        l->kept = NULL;
    }
    return n;
}

/* At most one record. */
static ssize_t tls_send(struct http_link *l, const void *data, size_t len)
{
    forget_errors();
    int n = put_record(l, data, MIN(len, (size_t)RECORD));
    if (n > 0)
        return n;
    if (tls_failed(l, n) == 0)
        errno = ECONNRESET;
    return -1;
}

/* Up to HTTP_SCRATCH bytes of what is to go out; the file's are in memory. -1: it cannot be read. */
static ssize_t gather(const struct http_link *l, const struct http_out *out)
{
    ssize_t n, data = evbuffer_copyout(out->data, l->scratch, HTTP_SCRATCH);

    for (n = MAX(data, (ssize_t)0); n < HTTP_SCRATCH && out->at + n - data < out->end;) {
        int64_t at = out->at + n - data;
        ssize_t got = pread(out->fd, l->scratch + n, (size_t)MIN(HTTP_SCRATCH - n, out->end - at), at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = EIO;
            return -1;
        }
        n += got;
    }
    return n;
}

static void remove_sent(struct http_out *out, size_t n)
{
    size_t data = MIN(n, evbuffer_get_length(out->data));

    evbuffer_drain(out->data, data);
    out->at += (int64_t)(n - data);
}

/* Records of all that was gathered. */
static ssize_t write_gathered(struct http_link *l, struct http_out *out)
{
    const bool ends = l->more, all = http_out_len(out) <= HTTP_SCRATCH;
    ssize_t len = gather(l, out), sent = 0, n = len;

    while (n > 0 && sent < len) {
        l->more = ends || !all || len - sent > RECORD;
        n = tls_send(l, l->scratch + sent, (size_t)(len - sent));
        sent += MAX(n, (ssize_t)0);
    }
    l->more = ends;
    if (sent > 0)
        remove_sent(out, (size_t)sent);
    l->stuck = sent > 0 && n < 0 && errno == EAGAIN;
    return sent > 0 ? sent : -1;
}

static ssize_t send_file(struct http_link *l, struct http_out *out, size_t most)
{
    forget_errors();
    ssize_t n = SSL_sendfile(l->ssl, out->fd, out->at, MIN(most, (size_t)(out->end - out->at)), 0);
    if (n > 0) {
        out->at += n;
        return n;
    }
    bool file = n == 0 || (n < 0 && errno == EIO);
    if (tls_failed(l, (int)n) == 0 || (file && errno != EAGAIN))
        errno = EIO; /* shorter than it was, or the disk fails */
    return -1;
}

static ssize_t tls_write(struct http_link *l, struct http_out *out, size_t most)
{
    ssize_t sent = 0, n = 1;

    if (l->stuck) { /* it is known, from the last call */
        l->stuck = false;
        errno = EAGAIN;
        return -1;
    }
    if (l->ktls && evbuffer_get_length(out->data) == 0)
        return send_file(l, out, most);
    while (n > 0 && !l->stuck && sent < (ssize_t)most && http_out_len(out) > 0 &&
           !(l->ktls && evbuffer_get_length(out->data) == 0)) {
        n = write_gathered(l, out);
        sent += MAX(n, (ssize_t)0);
    }
    l->stuck = l->stuck || (sent > 0 && n < 0 && errno == EAGAIN);
    return sent > 0 ? sent : n;
}

/* close_notify, once; what the client answers is not waited for (RFC 8446 §6.1). It goes out with the end of the
 * connection, and before close(2), which would drop what waits if the client has sent more. */
static void tls_end_output(struct http_link *l)
{
    forget_errors();
    l->more = true;
    if (!l->broken && SSL_is_init_finished(l->ssl) && !(SSL_get_shutdown(l->ssl) & SSL_SENT_SHUTDOWN))
        SSL_shutdown(l->ssl);
    forget_errors();
    shutdown(l->fd, SHUT_WR);
}

/* A cut answer must not look whole: it is not followed by a close_notify. */
static void tls_close(struct http_link *l, bool whole)
{
    if (whole)
        tls_end_output(l);
    SSL_free(l->ssl);
    free(l->kept);
    l->ssl = NULL;
    l->kept = NULL;
    close(l->fd);
    l->fd = -1;
}

static const struct http_link_kind TLS = {
    .read = tls_read,
    .has_input = tls_has_input,
    .send = tls_send,
    .write = tls_write,
    .end_output = tls_end_output,
    .close = tls_close,
};

/* In front of the socket. */
static bool set_early(struct ssl_st *ssl, struct evbuffer *early)
{
    size_t len = evbuffer_get_length(early);
    BIO *bio = BIO_new(BIO_s_mem());

    if (!bio || BIO_write(bio, evbuffer_pullup(early, -1), (int)len) != (int)len) {
        BIO_free(bio);
        return false;
    }
    evbuffer_drain(early, len);
    SSL_set0_rbio(ssl, bio);
    return true;
}

static bool set_socket(struct ssl_st *ssl, struct http_link *l)
{
    return SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS ? SSL_set_fd(ssl, l->fd) == 1 : tls_socket_set(ssl, l);
}

bool http_link_open_tls(struct http_link *l, struct ssl_st *ssl, struct evbuffer *early)
{
    bool any = early && evbuffer_get_length(early) > 0;

    if (!set_socket(ssl, l) || (any && !set_early(ssl, early))) {
        SSL_free(ssl);
        return false;
    }
    SSL_set_accept_state(ssl);
    *l = (struct http_link){.kind = &TLS, .fd = l->fd, .scratch = l->scratch, .ssl = ssl, .early = any};
    return true;
}

int http_link_greet(struct http_link *l, const char **why)
{
    int rc;

    do {
        forget_errors();
        rc = SSL_do_handshake(l->ssl);
    } while (rc != 1 && leave_early(l, rc));
    if (rc == 1) {
        l->ktls = BIO_get_ktls_send(SSL_get_wbio(l->ssl)) > 0;
        l->wants_write = false;
        return 1;
    }
    unsigned long code = ERR_peek_error();
    *why = ERR_reason_error_string(code);
    rc = tls_failed(l, rc) < 0 && errno == EAGAIN ? 0 : -1;
    l->broken = rc < 0;
    return rc;
}

bool http_link_is_tls(const struct http_link *l)
{
    return l->kind == &TLS;
}

void http_link_read_little(struct http_link *l)
{
    if (http_link_is_tls(l))
        SSL_set_read_ahead(l->ssl, 0);
}

char *http_link_subject(const struct http_link *l)
{
    const X509 *cert = http_link_is_tls(l) ? SSL_get0_peer_certificate(l->ssl) : NULL;
    BIO *text = cert ? BIO_new(BIO_s_mem()) : NULL;
    char *at, *subject = NULL;

    if (text && X509_NAME_print_ex(text, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(text, &at);
        subject = xstrndup(at, (size_t)MIN(MAX(len, 0L), (long)HTTP_SUBJECT_MAX));
    }
    BIO_free(text);
    return subject;
}

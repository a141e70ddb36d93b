/* OpenSSL writes each record for itself, and its own BIO of a socket sends each at once: a segment, a wake-up of the
 * client and an acknowledgement for every 16 KiB. MSG_MORE tells the kernel that another one is about to come: it sends
 * when it has a full segment, or what comes next says that nothing does. */
#include "proxy/http/tls_socket.h"

#include "base/mem.h"
#include "proxy/http/link.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>

/* The client waits for none: it goes out with the answer to the first request. */
static bool is_ticket(const struct http_link *l)
{
    return SSL_get_state(l->ssl) == TLS_ST_SW_SESSION_TICKET;
}

static bool is_for_now(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int tls_socket_write(BIO *bio, const char *data, int len)
{
    const struct http_link *l = BIO_get_data(bio);
    int more = l->more || is_ticket(l) ? MSG_MORE : 0;
    ssize_t n = send(l->fd, data, (size_t)len, MSG_NOSIGNAL | more);

    BIO_clear_retry_flags(bio);
    if (is_for_now(n))
        BIO_set_retry_write(bio);
    return (int)n;
}

static int tls_socket_read(BIO *bio, char *to, int cap)
{
    const struct http_link *l = BIO_get_data(bio);
    ssize_t n = recv(l->fd, to, (size_t)cap, 0);

    BIO_clear_retry_flags(bio);
    if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    if (is_for_now(n))
        BIO_set_retry_read(bio);
    return (int)n;
}

static long tls_socket_ctrl(BIO *bio, int what, long num UNUSED, void *arg UNUSED)
{
    if (what == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "entrepot socket");
    if (!method || BIO_meth_set_write(method, tls_socket_write) != 1 ||
        BIO_meth_set_read(method, tls_socket_read) != 1 || BIO_meth_set_ctrl(method, tls_socket_ctrl) != 1)
        abort(); /* as without memory anywhere */
}

bool tls_socket_set(struct ssl_st *ssl, struct http_link *l)
{
    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    if (!bio)
        return false;
    BIO_set_data(bio, l);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return true;
}

/* A connection to a TLS listener before its first request.
 *
 *     accepted ─▶ silent ─ first bytes ─▶ in handshake ─▶ reading
 *                            │    ▲  └──── failed ─▶ lingering
 *                            │    └─ a place is free
 *                            └─▶ queued                     any, after handshake_timeout_ms ─▶ closed
 *
 * Nothing is made for a client that sends nothing. At most GREETINGS_MAX handshakes are under way in a server; the
 * others wait in order. One that takes longer than GREETING_FRESH_MS loses its place to those that wait: clients that
 * hang there, on purpose or not, hold up no others for longer than that.
 *
 * What begins with a letter is no TLS but a client that takes this for a plain address, and gets an answer that tells
 * it. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/tls.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { GREETINGS_MAX = 128, GREETING_FRESH_MS = 1000 };

static _Atomic uint64_t greeted_kernel, greeted_process, greeted_failed;

struct http_greetings http_greetings(void)
{
    return (struct http_greetings){atomic_load(&greeted_kernel), atomic_load(&greeted_process),
                                   atomic_load(&greeted_failed)};
}

void http_greet_begin(struct http_conn *c, struct http_tls *tls)
{
    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_READING);
    c->tls = tls;
    c->state = CONN_GREETING;
    c->since_ms = clock_mono_ms();
}

static bool take_place(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_conn *oldest = TAILQ_FIRST(&s->greeting);

    if (s->greeting_count >= GREETINGS_MAX && clock_mono_ms() - oldest->greeting_ms < GREETING_FRESH_MS) {
        event_del(c->readable);
        c->greet = GREET_QUEUED;
        TAILQ_INSERT_TAIL(&s->queued, c, greet_entry);
        return false;
    }
    if (s->greeting_count >= GREETINGS_MAX) {
        log_limited(LOG_LEVEL_INFO, "handshakes", "%d TLS handshakes are under way: the oldest one is cut off",
                    s->greeting_count);
        http_conn_close(oldest);
    }
    c->greet = GREET_PLACED;
    c->greeting_ms = clock_mono_ms();
    TAILQ_INSERT_TAIL(&s->greeting, c, greet_entry);
    s->greeting_count++;
    return true;
}

/* The first bytes have come: false if that is the end of it, or it has to wait. */
static bool begin_handshake(struct http_conn *c)
{
    char first;
    ssize_t n = evbuffer_copyout(c->in, &first, 1); /* it came with CONNECT */

    if (n == 0)
        n = recv(c->link.fd, &first, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        http_conn_close(c);
        return false;
    }
    if (first >= 'A' && first <= 'Z') {
        c->plain_on_tls = true;
        c->state = CONN_READING;
        return false;
    }
    if (!take_place(c))
        return false;
    struct ssl_st *ssl = c->next_tls ? SSL_new(c->next_tls) : http_tls_open(c->tls);
    SSL_CTX_free(c->next_tls);
    c->next_tls = NULL;
    if (ssl && http_link_open_tls(&c->link, ssl, c->in))
        return true;
    http_conn_close(c);
    return false;
}

static void greeting_failed(struct http_conn *c, const char *why)
{
    atomic_fetch_add(&greeted_failed, 1);
    if (why)
        log_limited(LOG_LEVEL_INFO, "handshake", "a client's TLS handshake failed: %s", why);
    http_conn_greeted(c);
    http_conn_wake(c);
    http_conn_linger(c);
}

bool http_greet(struct http_conn *c)
{
    const char *why = NULL;

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_GREETING);
    if (c->greet == GREET_NONE && !begin_handshake(c))
        return c->state == CONN_READING;
    if (c->armed)
        event_del(c->writable);
    c->armed = false;
    int rc = http_link_greet(&c->link, &why);
    if (rc < 0) {
        greeting_failed(c, why);
        return false;
    }
    if (rc == 0) {
        c->armed = c->link.wants_write && event_add(c->writable, NULL) == 0;
        return false;
    }
    http_conn_greeted(c);
    atomic_fetch_add(c->link.ktls ? &greeted_kernel : &greeted_process, 1);
    c->subject = http_link_subject(&c->link);
    const char *host = http_tls_host(c->link.ssl);
    if (host && !c->opened_host)
        c->opened_host = xstrdup(host);
    c->state = CONN_READING;
    c->since_ms = clock_mono_ms();
    return true;
}

void http_greet_tick(struct http_server *s)
{
    struct http_conn *last = TAILQ_LAST(&s->queued, greet_queue), *c = NULL;

    ON_LOOP(s->loop);
    /* They try again, in order; who finds no place is queued again, behind the last one. */
    while (c != last && (c = TAILQ_FIRST(&s->queued)))
        http_conn_next_greeting(s);
}

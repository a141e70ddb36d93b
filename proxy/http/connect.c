/* The answers to CONNECT that let a client in. What comes behind them begins when the answer is out
 * (http_conn_finish()), and on the next turn of the loop. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <ctype.h>
#include <openssl/ssl.h>

static void answer_connect(struct http_request *req, enum http_opening opens)
{
    struct http_conn *c = req->conn;

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_HANDLING && req->method == HTTP_METHOD_CONNECT);
    c->state = CONN_SENDING;
    c->opens = opens;
    req->status = 200;
    req->first_us = clock_mono_us() - req->begun_us;
    req->on_gone = NULL;
    req->ended = true;
    evbuffer_add_printf(c->out.data, "HTTP/1.1 200 Connection established\r\nX-Request-Id: %s\r\n\r\n", http_id(req));
    http_pump(c);
}

void http_connect_tls(struct http_request *req, struct ssl_ctx_st *tls, const char *host)
{
    struct http_conn *c = req->conn;

    if (http_is_tls(req)) {
        SSL_CTX_free(tls);
        http_error(req, 501, "UNSUPPORTED", "TLS inside TLS is not offered here");
        return;
    }
    c->next_tls = tls;
    c->next_host = xstrdup(host);
    for (char *s = c->next_host; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    answer_connect(req, OPENS_TLS);
}

void http_connect_tunnel(struct http_request *req, int fd)
{
    req->conn->next_fd = fd;
    answer_connect(req, OPENS_TUNNEL);
}

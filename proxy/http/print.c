/* What the connections of a server do, for those who look for what hangs. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <arpa/inet.h>

enum { LINES_MAX = 256 };

static const char *state_text(const struct http_conn *c)
{
    switch (c->state) {
    case CONN_GREETING:
        return c->greet == GREET_QUEUED ? "waits for a place to begin the TLS handshake" : "TLS handshake";
    case CONN_READING:
        return c->arena.len > 0 || evbuffer_get_length(c->in) > 0 ? "sends a request" : "idle";
    case CONN_HANDLING:
        return "waits for an answer";
    case CONN_SENDING:
        return c->blocked ? "does not read its answer" : "gets an answer";
    case CONN_OPENING:
        return "CONNECT was answered";
    case CONN_TUNNEL:
        return "tunnel";
    case CONN_LINGERING:
        return "was refused";
    case CONN_CLOSED:
        break;
    }
    return "closed";
}

static void print_client(const struct http_conn *c, struct buf *out)
{
    struct sockaddr_storage peer, own;
    char text[INET6_ADDRSTRLEN] = "";

    if (!http_addresses(&c->req, &peer, &own))
        buf_adds(out, "  (gone)");
    else if (peer.ss_family == AF_INET6)
        buf_addf(out, "  [%s]:%d", inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof(text)),
                 ntohs(((struct sockaddr_in6 *)&peer)->sin6_port));
    else if (peer.ss_family == AF_INET)
        buf_addf(out, "  %s:%d", inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof(text)),
                 ntohs(((struct sockaddr_in *)&peer)->sin_port));
    else
        buf_adds(out, "  unix");
}

static void print_conn(const struct http_conn *c, struct buf *out)
{
    const struct http_request *req = &c->req;

    print_client(c, out);
    buf_addf(out, " %s for %.1f s", state_text(c), (double)(clock_mono_ms() - c->since_ms) / 1000);
    if (c->opened_host)
        buf_addf(out, ", opened for %s", c->opened_host);
    if (c->state == CONN_HANDLING || c->state == CONN_SENDING) {
        buf_addf(out, ": %s %.200s, status %d, %lld", http_method_name(req), http_path(req), req->status,
                 (long long)req->sent);
        if (req->promised >= 0)
            buf_addf(out, " of %lld", (long long)req->promised);
        buf_addf(out, " bytes out%s", req->streamed ? ", its body comes in pieces" : "");
    }
    buf_adds(out, "\n");
}

void http_server_print(const struct http_server *s, struct buf *out)
{
    const struct http_conn *c;
    int idle = 0, busy = 0, left = LINES_MAX;

    ON_LOOP(s->loop);
    TAILQ_FOREACH(c, &s->conns, entry)
        *(c->is_idle ? &idle : &busy) += 1;
    buf_addf(out, "%d connections, %d idle, %d handshakes%s\n", busy + idle, idle, s->greeting_count,
             s->draining ? ", draining" : "");
    TAILQ_FOREACH(c, &s->conns, entry) {
        if (c->is_idle)
            continue;
        if (left-- == 0) {
            buf_addf(out, "  ... and %d more\n", busy - LINES_MAX);
            break;
        }
        print_conn(c, out);
    }
}

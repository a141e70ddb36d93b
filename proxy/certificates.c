/* Our own certificates, and clients' handshakes under them: when they end, for the metrics and `status`. */
#include "proxy/private.h"

#include "base/visible.h"
#include "proxy/intercept/ca.h"

static const char AUTHORITY[] = "intercept.ca";

/* Calls `take` for each: the listeners', by address, and the authority's. */
static void each_certificate(const struct proxy *p, void (*take)(void *arg, const char *name, int64_t ends_s),
                             void *arg)
{
    for (int i = 0; i < p->tls_count; i++)
        if (http_tls_expires_s(p->tls[i]) > 0)
            take(arg, http_tls_name(p->tls[i]), http_tls_expires_s(p->tls[i]));
    if (p->ca)
        take(arg, AUTHORITY, ca_ends_s(p->ca));
}

static void print_end(void *out, const char *name, int64_t ends_s)
{
    buf_addf(out, "entrepot_certificate_expiry_timestamp_seconds{name=\"%s\"} %lld\n", name, (long long)ends_s);
}

void certificates_print(const struct proxy *p, struct buf *out)
{
    struct http_greetings g = http_greetings();

    if (p->tls_count == 0 && !p->ca)
        return;
    buf_adds(out, "# HELP entrepot_certificate_expiry_timestamp_seconds When the certificate of a TLS listener, or of "
                  "the authority of interception, ends.\n"
                  "# TYPE entrepot_certificate_expiry_timestamp_seconds gauge\n");
    each_certificate(p, print_end, out);
    buf_adds(out, "# HELP entrepot_tls_handshakes_total TLS handshakes of clients, by what encrypts since (kernel, "
                  "process), and failed ones.\n"
                  "# TYPE entrepot_tls_handshakes_total counter\n");
    buf_addf(out,
             "entrepot_tls_handshakes_total{result=\"kernel\"} %llu\n"
             "entrepot_tls_handshakes_total{result=\"process\"} %llu\n"
             "entrepot_tls_handshakes_total{result=\"failed\"} %llu\n",
             (unsigned long long)g.kernel, (unsigned long long)g.process, (unsigned long long)g.failed);
}

static void add_end(void *list, const char *name, int64_t ends_s)
{
    json_array_append_new(list, json_pack("{s:o, s:I}", "name", visible_json(name), "expires", (json_int_t)ends_s));
}

json_t *certificates_json(void *proxy)
{
    json_t *list = json_array();

    each_certificate(proxy, add_end, list);
    return list;
}

/* Our own certificates, and clients' handshakes under them: when they end, for the metrics and `status`. */
#include "proxy/private.h"

#include "base/clock.h"
#include "base/visible.h"
#include "proxy/intercept/ca.h"

#include <string.h>

static const char AUTHORITY[] = "intercept.ca";

/* Under the lock. */
static struct certificate_end *note_end(struct certificates *all, const struct certificates *before, const char *name,
                                        int64_t ends_s)
{
    struct certificate_end *end = &all->list[all->count++];

    *end = (struct certificate_end){.ends_s = ends_s, .noted_s = clock_now_s()};
    snprintf(end->name, sizeof(end->name), "%s", name);
    for (int i = 0; i < before->count; i++)
        if (before->list[i].ends_s == ends_s && strcmp(before->list[i].name, end->name) == 0)
            end->noted_s = before->list[i].noted_s;
    return end;
}

/* Listeners come and go on the main thread; others read what it has noted. */
void certificates_note(struct proxy *p)
{
    struct certificates *all = &p->certificates, before;
    struct ca *ca = atomic_load(&p->ca);

    pthread_mutex_lock(&all->lock);
    before.count = all->count;
    memcpy(before.list, all->list, sizeof(before.list));
    all->count = 0;
    for (int i = 0; i < p->place_count; i++) {
        struct http_tls *tls = p->places[i].tls;
        const char *why;
        if (!tls || http_tls_expires_s(tls) <= 0)
            continue;
        struct certificate_end *end = note_end(all, &before, http_tls_name(tls), http_tls_expires_s(tls));
        end->failed_s = http_tls_failed_s(tls, &why);
        snprintf(end->why, sizeof(end->why), "%s", why);
    }
    if (ca)
        note_end(all, &before, AUTHORITY, ca_ends_s(ca));
    pthread_mutex_unlock(&all->lock);
}

/* Calls `take` for each: the listeners', by address, and the authority's. Whether there is any. */
static bool each_certificate(struct proxy *p, void (*take)(void *arg, const char *name, int64_t ends_s), void *arg)
{
    struct certificates *all = &p->certificates;

    pthread_mutex_lock(&all->lock);
    int count = all->count;
    for (int i = 0; take && i < count; i++)
        take(arg, all->list[i].name, all->list[i].ends_s);
    pthread_mutex_unlock(&all->lock);
    return count > 0;
}

static void print_end(void *out, const char *name, int64_t ends_s)
{
    buf_addf(out, "entrepot_certificate_expiry_timestamp_seconds{name=\"%s\"} %lld\n", name, (long long)ends_s);
}

void certificates_print(struct proxy *p, struct buf *out)
{
    struct http_greetings g = http_greetings();

    if (!each_certificate(p, NULL, NULL))
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

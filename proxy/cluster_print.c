/* Metrics of the nodes, and of the bucket that they share. */
#include "proxy/private.h"

static void cluster_head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_two_ways(struct buf *b, const char *name, const char *first, uint64_t n, const char *second,
                           uint64_t m)
{
    buf_addf(b, "%s{direction=\"%s\"} %llu\n", name, first, (unsigned long long)n);
    buf_addf(b, "%s{direction=\"%s\"} %llu\n", name, second, (unsigned long long)m);
}

static void print_peers(struct peers *all, struct buf *b)
{
    struct peer_view *v = peers_view(all);
    struct peers_source source;
    uint64_t received, sent;
    int64_t ago_ms;
    int failing = 0;

    for (int i = 0; i < v->count; i++)
        failing += peer_failing(v->list[i], &ago_ms) != NULL;
    peers_get_source(all, &source);
    peers_sum(all, &received, &sent);
    cluster_head(b, "entrepot_peers", "gauge", "Nodes of the cluster, with this one.");
    buf_addf(b, "entrepot_peers %d\n", v->count);
    peer_view_unref(v);
    cluster_head(b, "entrepot_peer_resting", "gauge",
                 "Nodes that failed or refused this one, and have not answered it since.");
    buf_addf(b, "entrepot_peer_resting %d\n", failing);
    cluster_head(b, "entrepot_peer_bytes_total", "counter", "Body bytes received from other nodes, and sent to them.");
    print_two_ways(b, "entrepot_peer_bytes_total", "received", received, "sent", sent);
    cluster_head(b, "entrepot_peers_source_up", "gauge", "Whether etcd or DNS tells who the nodes are.");
    buf_addf(b, "entrepot_peers_source_up %d\n", source.ok);
}

static void print_bucket(struct bucket *bucket, struct buf *b)
{
    struct bucket_stats s;

    bucket_get_stats(bucket, &s);
    cluster_head(b, "entrepot_shared_up", "gauge", "Whether the bucket has answered last.");
    buf_addf(b, "entrepot_shared_up %d\n", s.up);
    cluster_head(b, "entrepot_shared_bytes_total", "counter",
                 "Bytes of blobs read from the bucket, and written to it.");
    print_two_ways(b, "entrepot_shared_bytes_total", "read", s.read, "written", s.written);
}

void cluster_print(const struct proxy *p, struct buf *out)
{
    if (p->peers)
        print_peers(p->peers, out);
    if (p->bucket)
        print_bucket(p->bucket, out);
}

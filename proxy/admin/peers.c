/* The nodes of the cluster, and the bucket that they share. */
#include "proxy/admin/pages.h"

#include "base/clock.h"
#include "base/visible.h"

static json_t *peers_text(const char *text)
{
    return *text ? visible_json(text) : json_null();
}

static json_t *peers_time(int64_t since_s)
{
    return since_s > 0 ? json_integer(since_s) : json_null();
}

/* Bytes are from it and to it, as this node has counted them. */
static json_t *peer_json(const struct peer *p)
{
    int64_t rests_ms = MAX(atomic_load(&p->resting_until_ms) - clock_mono_ms(), (int64_t)0), ago_ms;
    const char *why = peer_failing(p, &ago_ms);

    return json_pack("{s:o, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "address",
                     visible_json(p->who.address), "zone", peers_text(p->who.zone), "version",
                     peers_text(p->who.version), "since", peers_time(p->who.since_s), "self", p->is_self, "received",
                     (json_int_t)atomic_load(&p->received), "sent", (json_int_t)atomic_load(&p->sent), "answered",
                     (json_int_t)atomic_load(&p->answered), "failed", (json_int_t)atomic_load(&p->failed), "refused",
                     (json_int_t)atomic_load(&p->refused), "resting_seconds", (json_int_t)((rests_ms + 999) / 1000),
                     "failing", why != NULL, "failed_ago_seconds", why ? json_integer(ago_ms / 1000) : json_null(),
                     "why", why ? visible_json(why) : json_null());
}

/* This one is always among them. */
static json_t *peers_list(const struct peer_view *v, int most)
{
    json_t *list = json_array();

    for (int i = 0; i < v->count; i++)
        if (v->list[i]->is_self || json_array_size(list) + (i < v->self) < (size_t)most)
            json_array_append_new(list, peer_json(v->list[i]));
    return list;
}

static json_t *peers_source_json(struct peers *all)
{
    struct peers_source s;

    peers_get_source(all, &s);
    return json_pack("{s:o, s:b, s:o, s:o}", "from", peers_text(s.from), "ok", s.ok, "why", peers_text(s.why), "since",
                     peers_time(s.since_s));
}

static json_t *bucket_json(const struct admin *a)
{
    const struct config_shared *c = &a->config->cluster.shared;
    struct bucket_stats s;

    bucket_get_stats(a->bucket, &s);
    return json_pack("{s:o, s:o, s:b, s:o, s:I, s:I, s:i, s:I, s:I, s:I}", "url", peers_text(c->s3 ? c->s3 : ""),
                     "name", peers_text(c->bucket ? c->bucket : ""), "up", s.up, "why", peers_text(s.why), "read",
                     (json_int_t)s.read, "written", (json_int_t)s.written, "queued", s.queued, "dropped",
                     (json_int_t)s.dropped, "failed", (json_int_t)s.failed, "lacked", (json_int_t)s.lacked);
}

json_t *admin_cluster(const struct admin *a, int most)
{
    struct peer_view *v = a->peers ? peers_view(a->peers) : NULL;
    json_t *j = json_pack("{s:o, s:i, s:o, s:o}", "source", v ? peers_source_json(a->peers) : json_null(), "nodes",
                          v ? v->count : 1, "peers", v ? peers_list(v, most) : json_null(), "bucket",
                          a->bucket ? bucket_json(a) : json_null());

    peer_view_unref(v);
    return j;
}

void admin_peers(struct admin_job *job)
{
    job->answer = admin_cluster(job->admin, PEERS_MAX);
}

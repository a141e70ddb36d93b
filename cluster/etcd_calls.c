/* The calls of etcd.h: a path and a body each. */
#include "cluster/etcd_private.h"

#include "base/assert.h"
#include "cluster/etcd_json.h"

#include <string.h>

struct etcd_call *etcd_grant(struct etcd *e, int64_t ttl_s, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/lease/grant"};

    return etcd_begin(e, &way, json_pack("{s:o}", "TTL", etcd_json_number(ttl_s)), on_done, arg);
}

/* The lease is unknown: etcd answers without a TTL. */
struct etcd_call *etcd_keep_alive(struct etcd *e, int64_t lease, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/lease/keepalive", .streams = true, .renews = true};

    return etcd_begin(e, &way, json_pack("{s:o}", "ID", etcd_json_number(lease)), on_done, arg);
}

struct etcd_call *etcd_revoke(struct etcd *e, int64_t lease, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/lease/revoke"};

    return etcd_begin(e, &way, json_pack("{s:o}", "ID", etcd_json_number(lease)), on_done, arg);
}

static json_t *put_body(const char *key, const void *value, size_t len, int64_t lease)
{
    return json_pack("{s:o, s:o, s:o}", "key", etcd_json_bytes(key, strlen(key)), "value", etcd_json_bytes(value, len),
                     "lease", etcd_json_number(lease));
}

static json_t *key_body(const char *key)
{
    return json_pack("{s:o}", "key", etcd_json_bytes(key, strlen(key)));
}

struct etcd_call *etcd_put(struct etcd *e, const char *key, const void *value, size_t len, int64_t lease,
                           etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/kv/put"};

    return etcd_begin(e, &way, put_body(key, value, len, lease), on_done, arg);
}

struct etcd_call *etcd_get(struct etcd *e, const char *key, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/kv/range"};

    return etcd_begin(e, &way, key_body(key), on_done, arg);
}

struct etcd_call *etcd_delete(struct etcd *e, const char *key, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/kv/deleterange"};

    return etcd_begin(e, &way, key_body(key), on_done, arg);
}

/* The first key behind another one is the same with a zero byte at its end. */
struct etcd_call *etcd_range(struct etcd *e, const struct etcd_range *r, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/kv/range"};
    _cleanup_free_ char *next = r->after ? xcalloc(1, r->after_len + 1) : NULL;

    if (next)
        memcpy(next, r->after, r->after_len);
    json_t *from = next ? etcd_json_bytes(next, r->after_len + 1) : etcd_json_bytes(r->prefix, strlen(r->prefix));
    json_t *body = json_pack("{s:o, s:o, s:o, s:o}", "key", from, "range_end", etcd_json_end(r->prefix), "limit",
                             etcd_json_number(r->limit), "revision", etcd_json_number(r->revision));
    return etcd_begin(e, &way, body, on_done, arg);
}

static json_t *op_list(const struct etcd_op *ops, int count)
{
    json_t *list = json_array();

    IN_STATE(count >= 0 && count <= ETCD_OPS_MAX);
    for (const struct etcd_op *op = ops; op < ops + count; op++)
        json_array_append_new(
            list, op->kind == ETCD_OP_PUT
                      ? json_pack("{s:o}", "request_put", put_body(op->key, op->value, op->len, op->lease))
                      : json_pack("{s:o}", op->kind == ETCD_OP_GET ? "request_range" : "request_delete_range",
                                  key_body(op->key)));
    return list;
}

struct etcd_call *etcd_txn(struct etcd *e, const struct etcd_txn *txn, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/kv/txn", .once = true};
    json_t *compare = json_pack("{s:o, s:s, s:s, s:o}", "key", etcd_json_bytes(txn->key, strlen(txn->key)), "target",
                                "MOD", "result", "EQUAL", "mod_revision", etcd_json_number(txn->mod_revision));

    return etcd_begin(e, &way,
                      json_pack("{s:[o], s:o, s:o}", "compare", compare, "success", op_list(txn->then, txn->then_count),
                                "failure", op_list(txn->otherwise, txn->otherwise_count)),
                      on_done, arg);
}

struct etcd_call *etcd_watch(struct etcd *e, const struct etcd_watch *w, etcd_done *on_done, void *arg)
{
    static const struct etcd_way way = {.path = "/v3/watch", .streams = true, .lasts = true};
    json_t *create =
        json_pack("{s:o, s:o, s:o, s:b}", "key", etcd_json_bytes(w->prefix, strlen(w->prefix)), "range_end",
                  etcd_json_end(w->prefix), "start_revision", etcd_json_number(w->revision), "progress_notify", 1);
    struct etcd_call *c = etcd_begin(e, &way, json_pack("{s:o}", "create_request", create), on_done, arg);

    if (c)
        c->on_events = w->on_events;
    return c;
}

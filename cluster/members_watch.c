/* Which nodes there are: all keys below a prefix are read, a page at a time, at one revision; then a watch tells what
 * changes from the next revision on.
 *
 *     read a page ─▶ ... ─▶ read the last page ─▶ watch ┬▶ it ended: watch again, from the next revision
 *          ▲                                             │
 *          └── that revision is compacted, a message was too large, the store is another one
 *
 * What is known stays until a reading is complete: a failure takes nobody away.
 */
#include "cluster/members_private.h"

#include "base/assert.h"
#include "base/log.h"

#include <string.h>

enum {
    PAGE_KEYS = 512,
    READ_KEYS_MAX = 4 * PEERS_MAX, /* of one reading, with those that are no nodes */
    GATHER_MS = 100,               /* many changes at once are one */
};

struct members_watch {
    /* set once */
    const struct members_place *place;
    struct etcd *etcd;
    char *prefix;
    void (*on_state)(void *arg, const struct err *err);
    void (*on_missing)(void *arg);
    void *arg;
    /* owned by the loop */
    struct members_retry retry, gather;
    struct etcd_call *call; /* under way */
    struct members_table nodes;
    bool gathering;   /* `nodes` have changed since they were published */
    bool has_read;    /* `nodes` are those of `next` - 1 */
    int64_t next;     /* the revision that is watched from */
    bool has_created; /* the watch has begun */
    /* a reading */
    struct members_table fresh;
    int64_t revision;
    int page, seen;
    char *after; /* the last key of the last page; NULL: the first page is next */
    size_t after_len;
};

static void watch_step(void *arg);

/* ---- the nodes ---- */

/* The address in a key; NULL: it is not one of a node. */
static const char *watch_address(const struct members_watch *w, const struct etcd_kv *kv)
{
    size_t len = strlen(w->prefix);
    bool ok = kv->key_len > len && memcmp(kv->key, w->prefix, len) == 0 && strlen(kv->key) == kv->key_len;

    return ok ? kv->key + len : NULL;
}

static void watch_take_node(struct members_watch *w, struct members_table *t, const struct etcd_kv *kv)
{
    const char *address = watch_address(w, kv);
    struct member m;
    struct err err = {0};

    if (address && kv->deleted) {
        members_table_drop(t, address);
    } else if (!address || !members_read_node(address, kv->value, kv->value_len, &m, &err)) {
        /* the key may be anything: it is not logged */
        log_limited(LOG_LEVEL_WARN, "malformed node", "cluster: a key below %s in etcd is not a node's: %s", w->prefix,
                    address ? err.msg : "its name");
        if (address)
            members_table_drop(t, address);
    } else if (!members_table_put(t, &m)) {
        log_limited(LOG_LEVEL_WARN, "too many nodes", "cluster: etcd has more than %d nodes: the others are not used",
                    (int)PEERS_MAX);
    }
}

static void watch_note_passed_over(const struct etcd_answer *a)
{
    if (a->passed_over > 0)
        log_limited(LOG_LEVEL_WARN, "malformed node", "cluster: %d malformed or large entries of etcd are not used",
                    a->passed_over);
}

static void watch_publish(void *arg)
{
    struct members_watch *w = arg;

    w->gathering = false;
    members_table_publish(&w->nodes, w->place->peers);
    if (!members_table_has(&w->nodes, w->place->self->address))
        w->on_missing(w->arg);
}

static void watch_fail(struct members_watch *w, const struct err *err, const char *doing)
{
    struct err failure = *err;

    err_wrap(&failure, "%s", doing);
    w->on_state(w->arg, &failure);
    members_retry_failed(&w->retry, MEMBERS_RETRY_MAX_MS);
}

/* ---- reading ---- */

static void watch_forget_reading(struct members_watch *w)
{
    members_table_clear(&w->fresh);
    free(w->after);
    w->after = NULL;
    w->seen = 0;
}

static void watch_end_reading(struct members_watch *w)
{
    members_table_clear(&w->nodes);
    w->nodes = w->fresh;
    w->fresh = (struct members_table){0};
    w->next = w->revision + 1;
    w->has_read = true;
    watch_forget_reading(w);
    watch_publish(w);
    watch_step(w);
}

/* Each page has to go on behind the one before. */
static bool is_behind(const struct members_watch *w, const struct etcd_kv *kv)
{
    size_t len = MIN(w->after_len, kv->key_len);
    int order = w->after ? memcmp(kv->key, w->after, len) : 1;

    return order > 0 || (order == 0 && kv->key_len > w->after_len);
}

static void watch_on_page(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct members_watch *w = arg;
    struct err odd = {0};

    ON_LOOP(w->place->loop);
    w->call = NULL;
    if (err && err->code == ERR_TOO_LARGE && w->page > 1) {
        w->page = MAX(1, w->page / 8);
        watch_step(w);
        return;
    }
    if (err) {
        watch_forget_reading(w);
        watch_fail(w, err, "reading the nodes");
        return;
    }
    watch_note_passed_over(a);
    if (!w->after)
        w->revision = a->revision;
    if (a->more && (a->count == 0 || !is_behind(w, &a->kvs[a->count - 1]))) {
        err_set(&odd, ERR_UPSTREAM, "etcd answers with pages that do not go on");
        watch_forget_reading(w);
        watch_fail(w, &odd, "reading the nodes");
        return;
    }
    for (int i = 0; i < a->count; i++)
        watch_take_node(w, &w->fresh, &a->kvs[i]);
    w->seen += a->count + a->passed_over;
    if (!a->more || w->seen >= READ_KEYS_MAX) {
        watch_end_reading(w);
        return;
    }
    const struct etcd_kv *last = &a->kvs[a->count - 1];
    free(w->after);
    w->after = xmalloc(last->key_len);
    memcpy(w->after, last->key, last->key_len);
    w->after_len = last->key_len;
    watch_step(w);
}

/* ---- watching ---- */

/* The store's revision is before ours: it was made again, or this endpoint is behind. */
static void watch_drop_store(struct members_watch *w)
{
    log_limited(LOG_LEVEL_INFO, "another store", "cluster: etcd's revision is before the one known: reading again");
    etcd_cancel(w->call);
    w->call = NULL;
    w->has_read = false;
    members_retry_failed(&w->retry, MEMBERS_RETRY_MAX_MS);
}

static void watch_on_events(void *arg, const struct etcd_answer *a)
{
    struct members_watch *w = arg;

    ON_LOOP(w->place->loop);
    if (!w->has_created && a->revision > 0 && a->revision < w->next - 1) {
        watch_drop_store(w);
        return;
    }
    if (w->has_created && a->count == 0 && a->passed_over == 0)
        w->next = MAX(w->next, a->revision + 1); /* a notice of progress */
    if (!w->has_created) {
        w->has_created = true;
        w->retry.failures = 0;
        w->on_state(w->arg, NULL);
    }
    watch_note_passed_over(a);
    for (int i = 0; i < a->count; i++) {
        watch_take_node(w, &w->nodes, &a->kvs[i]);
        w->next = MAX(w->next, a->kvs[i].mod_revision + 1);
    }
    if (a->count > 0 && !w->gathering) {
        w->gathering = true;
        members_retry_in(&w->gather, GATHER_MS);
    }
}

static void watch_on_end(void *arg, const struct etcd_answer *a UNUSED, const struct err *err)
{
    struct members_watch *w = arg;

    ON_LOOP(w->place->loop);
    w->call = NULL;
    if (err->code == ERR_OUTDATED || err->code == ERR_TOO_LARGE) {
        log_limited(LOG_LEVEL_INFO, "reading again", "cluster: etcd %s: reading the nodes again",
                    err->code == ERR_OUTDATED ? "has compacted what was not read" : "has sent too much at once");
        w->has_read = false;
    }
    if (w->has_created && err->code != ERR_DENIED) /* a member of etcd ends: nothing is wrong yet */
        members_retry_failed(&w->retry, MEMBERS_RETRY_MAX_MS);
    else
        watch_fail(w, err, "watching the nodes");
}

static void watch_step(void *arg)
{
    struct members_watch *w = arg;
    struct err busy = {0};

    IN_STATE(!w->call);
    w->has_created = false;
    if (w->has_read)
        w->call = etcd_watch(
            w->etcd, &(struct etcd_watch){.prefix = w->prefix, .revision = w->next, .on_events = watch_on_events},
            watch_on_end, w);
    else
        w->call = etcd_range(w->etcd,
                             &(struct etcd_range){.prefix = w->prefix,
                                                  .after = w->after,
                                                  .after_len = w->after_len,
                                                  .revision = w->after ? w->revision : 0,
                                                  .limit = w->page},
                             watch_on_page, w);
    if (!w->call) {
        err_set(&busy, ERR_BUSY, "too many calls of etcd are under way");
        watch_fail(w, &busy, "reading the nodes");
    }
}

/* ---- its life ---- */

struct members_watch *members_watch_new(const struct members_place *p, struct etcd *e, const char *prefix,
                                        void (*on_state)(void *arg, const struct err *err),
                                        void (*on_missing)(void *arg), void *arg)
{
    struct members_watch *w = xcalloc(1, sizeof(*w));

    ON_LOOP(p->loop);
    w->place = p;
    w->etcd = e;
    w->prefix = xstrdup(prefix);
    w->page = PAGE_KEYS;
    w->on_state = on_state;
    w->on_missing = on_missing;
    w->arg = arg;
    members_retry_init(&w->retry, p->loop, watch_step, w);
    members_retry_init(&w->gather, p->loop, watch_publish, w);
    watch_step(w);
    return w;
}

void members_watch_free(struct members_watch *w)
{
    if (!w)
        return;
    members_retry_clear(&w->retry);
    members_retry_clear(&w->gather);
    watch_forget_reading(w);
    members_table_clear(&w->nodes);
    free(w->prefix);
    free(w);
}

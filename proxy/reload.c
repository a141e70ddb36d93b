/* Another configuration for the running daemon: at SIGHUP, or asked for on the admin socket.
 *
 *     prepare    the file is read, the files that it names are looked at, addresses are bound; whatever fails refuses
 *                the whole, and nothing has changed
 *     switch     cannot fail: the main thread's parts first, then each serve loop in a turn of its own, since what is
 *                its own needs no lock. A request that has begun goes on under what it has begun with: its site holds
 *                the configuration
 *     retire     listeners that are gone accept nothing more; their connections end with the answer under way, and they
 *                are freed after the last one
 *
 * What needs a restart is kept as it was, and named.
 */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "gc/gc.h"
#include "proxy/intercept/ca.h"
#include "proxy/limits.h"

#include <pthread.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { LOOK_AGAIN_MS = 200 };

/* Someone who waits for the result, on an admin worker. */
struct reload_ask {
    struct reloads *reloads;
    /* under its lock */
    int users;
    bool done;
    json_t *result; /* NULL: refused */
    struct err err;
};

struct reloads {
    struct server *server;
    struct retired *retired; /* the main thread's */
    /* shared, under lock; the main thread alone changes it */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    const struct config *config;        /* in use */
    int64_t tried_s, good_s, refused_s; /* since when each was refused */
    bool good;
    char why[ERR_MSG_MAX]; /* of a refusal */
    json_t *restart;       /* keys */
};

/* ---- its life ---- */

struct reloads *reloads_new(struct server *s)
{
    struct reloads *r = xcalloc(1, sizeof(*r));

    r->server = s;
    r->retired = retired_new(s);
    r->config = config_ref(s->proxy.config);
    r->tried_s = r->good_s = clock_now_s();
    r->good = true;
    r->restart = json_array();
    pthread_mutex_init(&r->lock, NULL);
    cond_init(&r->answered);
    return r;
}

void reloads_free(struct reloads *r)
{
    if (!r)
        return;
    retired_free(r->retired);
    for (int i = 0; i < r->server->proxy.serve_loop_count; i++)
        config_unref(r->server->proxy.serve_loops[i].config);
    config_unref(r->config);
    json_decref(r->restart);
    pthread_cond_destroy(&r->answered);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static const struct config *take_config(struct reloads *r)
{
    pthread_mutex_lock(&r->lock);
    const struct config *c = config_ref(r->config);
    pthread_mutex_unlock(&r->lock);
    return c;
}

static void ask_unref(struct reload_ask *a)
{
    HOLDS(&a->reloads->lock);
    if (--a->users > 0)
        return;
    json_decref(a->result);
    free(a);
}

/* The reference of `result` is taken; NULL: the error. */
static void ask_answer(struct reload_ask *a, json_t *result, const struct err *err)
{
    struct reloads *r = a ? a->reloads : NULL;

    if (!a) {
        json_decref(result);
        return;
    }
    pthread_mutex_lock(&r->lock);
    a->done = true;
    a->result = result;
    if (err)
        a->err = *err;
    pthread_cond_broadcast(&r->answered);
    ask_unref(a);
    pthread_mutex_unlock(&r->lock);
}

/* ---- on the serve loops ---- */

/* What each loop is to change; freed by the main thread after the last one has. */
struct reload_turn {
    struct reloads *reloads;
    const struct config *config;
    struct listener *fresh[LISTENERS_MAX], *gone[LISTENERS_MAX];
    int fresh_count, gone_count;
    const struct listener *metrics;
    struct reload_ask *ask; /* NULL: a signal */
    json_t *result;
    atomic_int left;
    struct reload_share {
        struct reload_turn *turn;
        struct serve_loop *sl;
    } shares[SERVE_LOOPS_MAX];
};

/* Every loop has taken its turn. */
static void turn_over(void *arg)
{
    struct reload_turn *t = arg;

    ON_LOOP(t->reloads->server->loop);
    ask_answer(t->ask, t->result, NULL);
    config_unref(t->config);
    free(t);
}

static void set_loop_config(struct serve_loop *sl, const struct config *c)
{
    const struct config *before = sl->config;

    sl->config = sl->registry.config = config_ref(c);
    if (sl->forward)
        forward_set(sl->forward, c, atomic_load(&sl->proxy->ca));
    config_unref(before);
}

static void switch_loop(void *arg)
{
    struct reload_share *share = arg;
    struct reload_turn *t = share->turn;
    struct serve_loop *sl = share->sl;
    int nth = (int)(sl - sl->proxy->serve_loops);

    ON_LOOP(sl->loop);
    set_loop_config(sl, t->config);
    site_view_clear(&sl->view);
    sl->metrics_listener = t->metrics;
    for (int i = 0; i < t->fresh_count; i++)
        listener_enter(t->fresh[i], nth, sl->loop, sl->http);
    for (int i = 0; i < t->gone_count; i++) {
        status_page_end_events_of(sl->proxy->page, sl->loop, t->gone[i]);
        listener_leave(t->gone[i], sl->loop);
        http_server_part(sl->http, t->gone[i], false);
    }
    if (atomic_fetch_sub(&t->left, 1) == 1)
        loop_post(t->reloads->server->loop, turn_over, t);
}

void reload_begin(struct serve_loop *sl, const struct config *c)
{
    set_loop_config(sl, c);
    sl->metrics_listener = listeners_find(sl->proxy->places, sl->proxy->place_count, PLACE_METRICS);
    sl->cluster_listener = listeners_find(sl->proxy->places, sl->proxy->place_count, PLACE_CLUSTER);
}

/* ---- the switch ---- */

struct gc_options reload_gc_options(const struct config *c)
{
    return (struct gc_options){
        .max_bytes = c->max_size.bytes,
        .max_percent = c->max_size.percent,
        .min_free_bytes = c->min_free.bytes,
        .min_free_percent = c->min_free.percent,
        .high = c->gc_high,
        .low = c->gc_low,
        .blob_max = c->blob_max,
        .grace_ms = c->gc_grace_ms,
        .interval_ms = c->gc_interval_ms,
        .policy = c->gc_lru ? &POLICY_LRU : &POLICY_GDSF,
    };
}

static void switch_loops(struct reloads *r, const struct config *c, const struct listeners_change *change,
                         struct reload_ask *ask, json_t *result)
{
    struct proxy *p = &r->server->proxy;
    struct reload_turn *t = xcalloc(1, sizeof(*t));

    t->reloads = r;
    t->config = config_ref(c);
    t->ask = ask;
    t->result = result;
    t->metrics = listeners_find(p->places, p->place_count, PLACE_METRICS);
    for (int i = 0; i < change->fresh_count; i++)
        t->fresh[t->fresh_count++] = change->fresh[i];
    for (int i = 0; i < change->gone_count; i++)
        t->gone[t->gone_count++] = change->gone[i].listener;
    atomic_init(&t->left, p->serve_loop_count);
    for (int i = 0; i < p->serve_loop_count; i++) {
        t->shares[i] = (struct reload_share){t, &p->serve_loops[i]};
        loop_post(p->serve_loops[i].loop, switch_loop, &t->shares[i]);
    }
}

/* The parts that other threads look into at any time; each has a lock of its own. */
static void switch_shared(struct proxy *p, const struct config *c)
{
    const struct gc_options collector = reload_gc_options(c);

    log_setup(c->log_level, c->log_format);
    sites_replace(p->sites, c);
    grants_set_life(p->grants, c->grant_ttl_ms);
    login_set_for(p->login, c->login_for);
    fetchers_set_offline(p->fetchers, c->offline);
    gc_set_options(p->gc, &collector);
    limits_change(p, c);
    interception_set_hosts(p, c);
}

/* ---- preparing ---- */

static void look_at_certificates(struct proxy *p, bool now)
{
    for (int i = 0; i < p->place_count; i++)
        if (p->places[i].tls)
            http_tls_look(p->places[i].tls, now);
}

/* All that may fail. The configuration is the caller's. */
static struct config *reload_prepare(struct reloads *r, struct listeners_change *change, struct err *err)
{
    struct server *s = r->server;
    struct proxy *p = &s->proxy;
    struct config *c = config_new(s->overrides, err);
    struct ca *ca = atomic_load(&p->ca);

    if (!c)
        return NULL;
    bool ok = retired_has_room(r->retired) ||
              err_set(err, ERR_BUSY, "connections of listeners that were removed earlier are still open: retry later");
    ok = ok && interception_open(p, c, err) && listeners_prepare(p, c, change, err) && record_open(p, c, err);
    /* After `entrepot ca --rotate`; if it fails, the last one stays in use. */
    if (ok && (!ca || ca_reload(ca, err)))
        return c;
    record_open(p, r->config, NULL); /* it may have been renamed, to be rotated */
    listeners_drop(change);
    if (!ca) /* no loop has it yet; the next configuration may name another, or other hosts */
        ca_drop(atomic_exchange(&p->ca, NULL));
    config_unref(c);
    return NULL;
}

/* The keys of changes that need this. */
static json_t *keys_of(const json_t *changes, const char *need)
{
    json_t *out = json_array(), *change;
    size_t i;

    json_array_foreach(changes, i, change)
        if (strcmp(json_string_value(json_object_get(change, "needs")), need) == 0)
            json_array_append(out, json_object_get(change, "key"));
    return out;
}

static char *join_keys(const json_t *keys)
{
    struct buf out = {0};
    json_t *key;
    size_t i;

    json_array_foreach(keys, i, key)
        buf_addf(&out, "%s%s", i ? ", " : "", json_string_value(key));
    return out.data ? out.data : xstrdup("");
}

static void log_result(const json_t *applied, const json_t *restart)
{
    _cleanup_free_ char *done = join_keys(applied), *later = join_keys(restart);

    log_info("configuration reloaded: %s%s%s", *done ? done : "no key has changed",
             *later ? "; these need a restart: " : "", later);
}

/* ---- the whole ---- */

static void note_refused(struct reloads *r, const struct err *err)
{
    log_error("the configuration is not reloaded, and the last one stays in use: %s", err->msg);
    pthread_mutex_lock(&r->lock);
    r->tried_s = clock_now_s();
    if (r->good)
        r->refused_s = r->tried_s;
    r->good = false;
    snprintf(r->why, sizeof(r->why), "%s", err->msg);
    pthread_mutex_unlock(&r->lock);
}

/* Returns the keys of `changes`, for those who asked. */
static json_t *note_good(struct reloads *r, const struct config *c, const json_t *changes)
{
    json_t *applied = keys_of(changes, "reload"), *restart = keys_of(changes, "restart");

    log_result(applied, restart);
    pthread_mutex_lock(&r->lock);
    const struct config *before = r->config;
    r->config = config_ref(c);
    r->good = true;
    r->tried_s = r->good_s = clock_now_s();
    r->why[0] = '\0';
    json_decref(r->restart);
    r->restart = json_incref(restart);
    pthread_mutex_unlock(&r->lock);
    config_unref(before);
    return json_pack("{s:o, s:o}", "applied", applied, "restart", restart);
}

/* `listen` is systemd's: it is named with what needs a restart. */
static void mark_handed_over(json_t *changes)
{
    json_t *change;
    size_t i;

    json_array_foreach(changes, i, change)
        if (strncmp(json_string_value(json_object_get(change, "key")), "listen", 6) == 0)
            json_object_set_new(change, "needs", json_string("restart"));
}

static void reload(struct reloads *r, struct reload_ask *ask)
{
    struct proxy *p = &r->server->proxy;
    struct listeners_change change = {0};
    struct err err = {0};

    if (r->server->stopping) {
        err_set(&err, ERR_CANCELLED, "the daemon is being stopped");
        ask_answer(ask, NULL, &err);
        return;
    }
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_ms() * 1000);
    bool had_authority = atomic_load(&p->ca) != NULL;
    struct config *c = reload_prepare(r, &change, &err);
    if (!c) {
        note_refused(r, &err);
        ask_answer(ask, NULL, &err);
        sd_notify(0, "READY=1");
        return;
    }
    json_t *changes = config_changes(r->config, c);
    if (change.handed_over)
        mark_handed_over(changes);
    config_keep(c, r->config, change.handed_over, had_authority);
    look_at_certificates(p, true);
    switch_shared(p, c);
    limits_set_places(p, change.next, change.next_count);
    listeners_commit(p, &change);
    certificates_note(p);
    json_t *result = note_good(r, c, changes);
    retired_add(r->retired, &change);
    switch_loops(r, c, &change, ask, result);
    json_decref(changes);
    config_unref(c);
    sd_notify(0, "READY=1");
}

void reload_now(struct server *s)
{
    ON_LOOP(s->loop);
    reload(s->proxy.reloads, NULL);
}

void reload_look(struct server *s)
{
    ON_LOOP(s->loop);
    look_at_certificates(&s->proxy, false);
    if (!s->stopping)
        retired_look(s->proxy.reloads->retired);
}

/* ---- for others ---- */

static void reload_on_ask(void *arg)
{
    struct reload_ask *a = arg;

    ON_LOOP(a->reloads->server->loop);
    reload(a->reloads, a);
}

bool reload_ask(void *proxy, json_t **result, struct err *err)
{
    struct proxy *p = proxy;
    struct reloads *r = p->reloads;
    struct reload_ask *a = xcalloc(1, sizeof(*a));

    OFF_LOOPS;
    a->reloads = r;
    a->users = 2;
    loop_post(r->server->loop, reload_on_ask, a);
    pthread_mutex_lock(&r->lock);
    while (!a->done && atomic_load(&p->ready))
        cond_wait_until(&r->answered, &r->lock, clock_mono_ms() + LOOK_AGAIN_MS);
    *result = json_incref(a->result);
    bool ok = *result != NULL;
    if (!ok && a->done)
        *err = a->err;
    else if (!ok)
        err_set(err, ERR_CANCELLED, "the daemon is being stopped");
    ask_unref(a);
    pthread_mutex_unlock(&r->lock);
    return ok;
}

json_t *reload_describe(void *proxy)
{
    struct reloads *r = ((struct proxy *)proxy)->reloads;

    pthread_mutex_lock(&r->lock);
    json_t *j = json_pack("{s:b, s:I, s:I, s:O}", "good", r->good, "time", (json_int_t)r->tried_s, "last_good",
                          (json_int_t)r->good_s, "restart", r->restart);
    if (!r->good)
        json_object_set_new(j, "error", json_string(r->why));
    pthread_mutex_unlock(&r->lock);
    return j;
}

json_t *reload_compare(void *proxy, struct err *err)
{
    struct reloads *r = ((struct proxy *)proxy)->reloads;
    struct config *fresh = config_new(r->server->overrides, err);
    const struct config *c = take_config(r);
    json_t *j = json_pack("{s:o, s:o}", "config", config_json(c), "sources", config_sources_json(c));

    json_object_set_new(j, "file", c->file ? json_string(c->file) : json_null());
    if (fresh)
        json_object_set_new(j, "changes", config_changes(c, fresh));
    else
        json_object_set_new(j, "error", json_string(err->msg));
    config_unref(fresh);
    config_unref(c);
    return j;
}

void reload_each_problem(struct proxy *p, void (*fn)(void *arg, const struct problem *problem), void *arg)
{
    struct reloads *r = p->reloads;
    const struct config *c = take_config(r);
    struct problem problem = {PROBLEM_RELOAD, c->file ? c->file : "the configuration", "", 0};

    pthread_mutex_lock(&r->lock);
    bool good = r->good;
    problem.since_s = r->refused_s;
    snprintf(problem.why, sizeof(problem.why), "%.250s; the last one stays in use", r->why);
    pthread_mutex_unlock(&r->lock);
    if (!good)
        fn(arg, &problem);
    config_unref(c);
}

void reload_print(const struct proxy *p, struct buf *out)
{
    struct reloads *r = p->reloads;

    pthread_mutex_lock(&r->lock);
    buf_addf(
        out,
        "# HELP entrepot_reload_success Whether the last configuration that was read is in use.\n"
        "# TYPE entrepot_reload_success gauge\nentrepot_reload_success %d\n"
        "# HELP entrepot_reload_seconds When a configuration was last read and put to use, in seconds since 1970.\n"
        "# TYPE entrepot_reload_seconds gauge\nentrepot_reload_seconds %lld\n",
        r->good, (long long)r->good_s);
    pthread_mutex_unlock(&r->lock);
}

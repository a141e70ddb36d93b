#include "cluster/ask.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/url.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_TICK_MS = ASK_SILENT_MS / 4,
    ASK_HEADERS_MAX = 4,
    ASK_CONNECT_MS = 1500, /* a lost SYN is sent again after a second; what is silent without one is given up before */
};

/* A list of headers, and what is in them. */
struct ask_headers {
    char *texts[ASK_HEADERS_MAX];
    const char *list[ASK_HEADERS_MAX + 1];
    int count;
};

struct peer_ask {
    struct cluster *cluster;
    struct peer *peer;
    struct transfer_engine *engine;
    struct loop *loop;
    struct transfer *transfer, *life; /* NULL: over, or not under way */
    struct event *tick;
    struct digest digest; /* DIGEST_NONE: not a blob */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    int64_t (*received)(void *arg); /* NULL: it is not about a blob */
    int64_t (*quick)(void *arg);
    void *arg;
    bool paused, hurry;
    bool have, at_once;       /* the answer is what is there; its head comes at once */
    bool begun;               /* its head has come */
    bool has_login;           /* the other node asks a registry first whether it is good */
    int64_t at;               /* the next byte of the blob */
    int64_t begun_ms;         /* monotonic */
    char proof[PROOF_MAX];    /* of the question */
    int64_t moved;            /* bytes since the last tick */
    int64_t due_ms;           /* of the tick; monotonic */
    int ticks;                /* of silence, after which it is given up */
    int silent_ticks;         /* in a row */
    int here;                 /* how often it had what it did not send, in a row */
    int64_t excused_ms;       /* for so long it has waited for others */
    int64_t waited_ms, there; /* in all; bytes of the blob that have come there, as it says */
    int64_t own;              /* ... and here, when it was asked last */
    uint64_t all_before;      /* bytes of blobs that had come here from anybody at the last tick */
    int beside_ticks;         /* of silent_ticks: those in which much came */
    int64_t beside_ms;        /* for so long much has come, while this one did not move */
};

/* ---- the headers ---- */

static void add_header(struct ask_headers *h, char *text)
{
    IN_STATE(h->count < ASK_HEADERS_MAX);
    h->texts[h->count] = text;
    h->list[h->count++] = text;
}

static void clear_headers(struct ask_headers *h)
{
    for (int i = 0; i < h->count; i++)
        secret_free(h->texts[i]);
}

/* The proof comes last: it vouches for the others. */
static void ask_sign(struct cluster *c, struct ask_headers *h, const struct proof_of *of, char *kept)
{
    char proof[PROOF_MAX];

    add_header(h, xasprintf(ASK_HEADER ": %s", of->peer));
    if (!cluster_proofs(c))
        return;
    proof_make(cluster_proofs(c), of, proof);
    if (kept)
        snprintf(kept, PROOF_MAX, "%s", proof);
    add_header(h, xasprintf(PROOF_HEADER ": %s", proof));
}

static char *ask_url(const struct cluster *c, const struct peer *p, const char *target)
{
    return xasprintf("http%s://%s%s", cluster_is_encrypted(c) ? "s" : "", p->who.address, target);
}

static const char *const ANYBODY[] = {"*", NULL}; /* no redirect is followed */

static struct transfer *ask_send(struct peer_ask *a, struct transfer_request *req, const char *target, const char *peer,
                                 const char *accept)
{
    char range[64] = "";
    struct ask_headers h = {0};

    if (req->range_first >= 0)
        snprintf(range, sizeof(range), "bytes=%lld-%lld", (long long)req->range_first, (long long)req->range_last);
    if (accept)
        add_header(&h, xasprintf("Accept: %s", accept));
    ask_sign(a->cluster, &h,
             &(struct proof_of){req->method, target, a->peer->who.address, peer, range,
                                req->authorization ? req->authorization : ""},
             req->on_head ? a->proof : NULL);
    _cleanup_free_ char *url = ask_url(a->cluster, a->peer, target);
    req->url = url;
    req->headers = h.list;
    req->trust = cluster_trust(a->cluster);
    req->shown_to = ANYBODY;
    req->internal = true;
    req->unshared = true;
    req->arg = a;
    struct transfer *t = transfer_start(a->engine, req);
    clear_headers(&h);
    return t;
}

/* ---- its end ---- */

static void ask_free(struct peer_ask *a)
{
    if (a->transfer)
        transfer_cancel(a->transfer);
    if (a->life)
        transfer_cancel(a->life);
    event_free(a->tick);
    peer_unref(a->peer);
    free(a);
}

static const char *refusal_of(const char *peer)
{
    if (strstr(peer, "refused=clock"))
        return "its clock and ours are more than a minute apart";
    if (strstr(peer, "refused=version"))
        return "it cannot read our questions: it is of another version";
    if (strstr(peer, "refused="))
        return "it does not take this node for one of the cluster (cluster.secret_file, tls)";
    return NULL;
}

static const char *ask_why(const struct err *err)
{
    if (strstr(err->msg, "certificate"))
        return "a certificate is not accepted, its or this node's: entrepot doctor says why";
    return err->code == ERR_UPSTREAM ? "it broke off" : "it cannot be reached";
}

static void ask_note_outcome(const struct peer_ask *a, const struct transfer_response *r, const struct err *err)
{
    bool denied = r->status == 401 || r->status == 403, cancelled = err && err->code == ERR_CANCELLED;

    if (cancelled && (r->status == 200 || r->status == 206 || r->status == 0))
        return;
    if (err && !cancelled)
        peer_note_failure(a->peer, ask_why(err));
    else if (!r->peer[0])
        peer_note_failure(a->peer, "what answers there is no node of the cluster, or of another version");
    else if (denied && refusal_of(r->peer))
        peer_note_refusal(a->peer, refusal_of(r->peer));
    else if (!denied && r->status < 500) /* else its registry's answer, which says nothing of the node */
        peer_note_answer(a->peer, a->begun_ms);
}

static void ask_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct peer_ask *a = arg;
    void (*done)(void *arg, const struct transfer_response *r, const struct err *err) = a->on_done;
    void *done_arg = a->arg;

    a->transfer = NULL;
    ask_note_outcome(a, r, err);
    ask_free(a);
    done(done_arg, r, err);
}

/* It is passed over. */
static void ask_give_up(struct peer_ask *a, const char *why, bool rests)
{
    struct transfer_response none = {.content_length = -1, .range_first = -1, .range_last = -1, .range_total = -1};
    void (*done)(void *arg, const struct transfer_response *r, const struct err *e) = a->on_done;
    void *done_arg = a->arg;
    struct err err = {0};

    err_set(&err, ERR_TIMEOUT, "the node %s: %s", a->peer->who.address, why);
    transfer_cancel(a->transfer);
    a->transfer = NULL;
    if (rests)
        peer_note_failure(a->peer, why);
    ask_free(a);
    done(done_arg, &none, &err);
}

/* ---- whether it lives ---- */

static void ask_tick_later(struct peer_ask *a)
{
    a->due_ms = clock_mono_ms() + ASK_TICK_MS;
    event_add(a->tick, &(struct timeval){.tv_usec = ASK_TICK_MS * 1000});
}

/* Whether much has come here since this was asked last. */
static bool much_comes(struct peer_ask *a)
{
    uint64_t before = a->all_before;

    a->all_before = atomic_load(cluster_received(a->cluster));
    return a->all_before - before >= ASK_BESIDE_BYTES;
}

/* Whether the link is in use: one connection of many may stand still then, for a while. */
static bool goes_on_beside(const struct peer_ask *a)
{
    return a->beside_ticks * 2 >= a->silent_ticks && a->beside_ms < ASK_BESIDE_MS;
}

static void note_moving(struct peer_ask *a)
{
    a->silent_ticks = a->beside_ticks = 0;
}

/* How long it may wait for a registry of which nothing comes. Where the link is full all are slow. */
static int64_t longest_excuse(const struct peer_ask *a, bool beside)
{
    int64_t quick = a->quick ? a->quick(a->arg) : 0;
    bool is_quick = quick > 0 && quick + ASK_QUICK_MS > a->begun_ms;

    if (a->digest.alg == DIGEST_NONE)
        return ASK_EXCUSED_TAG_MS;
    if (beside)
        return ASK_EXCUSED_MS;
    return a->hurry || a->have || is_quick ? ASK_SILENT_MS : a->there > 0 ? ASK_STALLED_MS : ASK_EXCUSED_MS;
}

/* Whether it waits for a registry, by what it says. */
static bool ask_may_wait(const struct peer_ask *a, const char *says)
{
    bool before_login = a->has_login && !a->begun, before_head = a->at_once && !a->begun;

    return before_login || (!before_head && strstr(says, "life=waits"));
}

static void ask_take_life(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct peer_ask *a = arg;

    a->life = NULL;
    if (err || r->status != 200 || !a->transfer)
        return; /* the tick counts on */
    bool waits = ask_may_wait(a, r->peer), beside = goes_on_beside(a);
    if (!waits && beside) {
        a->beside_ms += a->silent_ticks * ASK_TICK_MS;
        note_moving(a);
        return;
    }
    a->here = waits ? 0 : a->here + 1;
    if (a->here >= 2) {
        ask_give_up(a, "it does not send what it has", true);
        return;
    }
    const char *got = strstr(r->peer, "got=");
    int64_t there = got ? strtoll(got + 4, NULL, 10) : 0, own = a->received ? a->received(a->arg) : 0;
    /* What comes there comes here, too, from it or from others: else it only says so. */
    bool grows = there >= a->there + ASK_PROGRESS && own > a->own;
    a->waited_ms += a->silent_ticks * ASK_TICK_MS;
    a->excused_ms = grows ? 0 : a->excused_ms + a->silent_ticks * ASK_TICK_MS;
    if (grows) {
        a->there = there;
        a->own = own;
    }
    note_moving(a);
    if (a->excused_ms >= longest_excuse(a, beside) || a->waited_ms >= ASK_WAITED_MS)
        ask_give_up(a, "it waits for too long, for its registry or another node",
                    !a->hurry || a->digest.alg == DIGEST_NONE);
}

static void ask_for_life(struct peer_ask *a)
{
    char digest[DIGEST_TEXT_MAX] = "";

    if (a->digest.alg != DIGEST_NONE)
        digest_format(&a->digest, digest);
    _cleanup_free_ char *target = xasprintf(ASK_LIFE_PATH "?digest=%s&at=%lld", digest, (long long)a->at);
    _cleanup_free_ char *peer = xasprintf("v=%d; hops=%d", ASK_VERSION, (int)ASK_HOPS_MAX);
    struct transfer_request req = {.method = "HEAD",
                                   .range_first = -1,
                                   .connect_timeout_ms = ASK_SILENT_MS,
                                   .total_timeout_ms = ASK_SILENT_MS,
                                   .on_done = ask_take_life};

    a->life = ask_send(a, &req, target, peer, NULL);
}

static const char SILENT[] = "it is silent";

/* Another question has found out. */
static bool is_known_silent(const struct peer *p)
{
    return peer_is_resting(p) && atomic_load(&p->why) == SILENT;
}

static void ask_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct peer_ask *a = arg;
    bool late = clock_mono_ms() - a->due_ms > ASK_TICK_MS; /* what it sent may wait in the kernel: not its fault */
    bool beside = much_comes(a);

    ON_LOOP(a->loop);
    if (a->paused || late || a->moved >= ASK_PROGRESS) {
        note_moving(a);
        a->here = a->paused || late ? a->here : 0;
        a->beside_ms = MAX(a->beside_ms - (a->moved >= ASK_PROGRESS ? ASK_TICK_MS : 0), (int64_t)0);
    } else {
        a->silent_ticks++;
        a->beside_ticks += beside;
    }
    a->moved = 0;
    bool is_late = a->silent_ticks >= a->ticks / 2, goes_on = goes_on_beside(a);
    if (a->silent_ticks >= a->ticks + (goes_on ? a->ticks : 0) || (is_late && !goes_on && is_known_silent(a->peer))) {
        ask_give_up(a, SILENT, true);
        return;
    }
    if (is_late && !a->life)
        ask_for_life(a);
    ask_tick_later(a);
}

/* ---- its answer ---- */

static bool ask_take_head(void *arg, const struct transfer_response *r)
{
    struct peer_ask *a = arg;

    a->begun = true;
    a->moved = ASK_PROGRESS;
    if (r->range_first >= 0)
        a->at = r->range_first;
    return !a->on_head || a->on_head(a->arg, r);
}

static bool ask_take_data(void *arg, const void *data, size_t len)
{
    struct peer_ask *a = arg;

    a->moved += (int64_t)len;
    a->at += (int64_t)len;
    atomic_fetch_add(&a->peer->received, len);
    return !a->on_data || a->on_data(a->arg, data, len);
}

/* ---- the start ---- */

struct peer_ask *ask_start(struct cluster *c, const struct ask *q)
{
    struct peer_ask *a = xcalloc(1, sizeof(*a));
    _cleanup_buf_ struct buf target = {0};
    bool may_login = cluster_is_encrypted(c);
    _cleanup_secret_ char *basic = may_login && q->identity && q->identity->username && q->identity->secret
                                       ? secret_basic(q->identity->username, q->identity->secret)
                                       : NULL;
    const char *authorization = !may_login ? NULL : q->authorization ? q->authorization : basic;

    ON_LOOP(q->loop);
    a->cluster = c;
    a->peer = peer_ref(q->peer);
    a->engine = q->engine;
    a->loop = q->loop;
    a->on_head = q->on_head;
    a->on_data = q->on_data;
    a->received = q->received;
    a->quick = q->quick;
    a->on_done = q->on_done;
    a->arg = q->arg;
    a->own = q->received ? q->received(q->arg) : 0;
    much_comes(a);
    a->has_login = authorization != NULL;
    a->hurry = q->hurry;
    a->have = q->have;
    a->at_once = q->have || q->named;
    a->ticks = q->hurry ? ASK_HURRIED_MS / ASK_TICK_MS : ASK_SILENT_MS / ASK_TICK_MS;
    a->begun_ms = clock_mono_ms();
    a->at = MAX(q->range_first, (int64_t)0);
    if (q->digest)
        a->digest = *q->digest;
    a->tick = event_new(loop_base(q->loop), -1, 0, ask_tick, a);
    buf_addf(&target, "/v2/%s/%s?ns=", q->path, q->object);
    url_encode(&target, q->registry);
    _cleanup_free_ char *peer =
        xasprintf("v=%d; hops=%d; size=%lld; from=%s%s%s%s%s%s", ASK_VERSION, q->hops, (long long)q->size,
                  cluster_config(c)->advertise, q->have ? "; have" : "", q->named ? "; named" : "",
                  q->insist ? "; insist" : "", q->failed ? "; not=" : "", q->failed ? q->failed : "");
    struct transfer_request req = {
        .method = q->method,
        .authorization = authorization,
        .range_first = q->range_first,
        .range_last = q->range_last,
        .bulk = q->bulk,
        .connect_timeout_ms = ASK_CONNECT_MS,
        .on_head = ask_take_head,
        .on_data = ask_take_data,
        .on_done = ask_take_end,
    };
    a->transfer = ask_send(a, &req, target.data, peer, q->accept);
    ask_tick_later(a);
    return a;
}

void ask_pause(struct peer_ask *a, bool pause)
{
    ON_LOOP(a->loop);
    a->paused = pause;
    transfer_pause(a->transfer, pause);
}

void ask_cancel(struct peer_ask *a)
{
    ON_LOOP(a->loop);
    ask_free(a);
}

char *ask_says(const char *digest, int64_t age_s)
{
    return xasprintf("%s %lld", digest, (long long)age_s);
}

bool ask_is_vouched(const struct peer_ask *a, const struct transfer_response *r)
{
    char digest[DIGEST_TEXT_MAX] = "";

    if (!cluster_proofs(a->cluster) || cluster_is_encrypted(a->cluster))
        return true;
    if (r->digest.alg != DIGEST_NONE)
        digest_format(&r->digest, digest);
    _cleanup_free_ char *says = ask_says(digest, r->age);
    return proof_is_answer(cluster_proofs(a->cluster), a->proof, says, r->proof);
}

struct peer *ask_peer(const struct peer_ask *a)
{
    return a->peer;
}

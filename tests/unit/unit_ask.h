/* unit_ask.h - this node, and another one that it asks: a toy that does what the repository is called. */
#ifndef ENTREPOT_TESTS_UNIT_ASK_H
#define ENTREPOT_TESTS_UNIT_ASK_H

#include "tests/unit/unit_toy.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/ask.h"

#define SECRET "0123456789abcdef0123456789abcdef"

enum {
    ROOM_MS = 900, /* of a busy machine */
    DATA = 300000, /* bytes of an answer */
    PATIENCE_MS = 20000,
};

/* ---- the other node ---- */

static struct toy toy;
static struct {
    pthread_mutex_t lock;
    char question[4096], life[4096]; /* the last head of each kind; under lock */
    atomic_int lives;                /* questions whether it lives */
} node = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* An answer with a body of `len` bytes announced, of which `sent` are sent. */
static inline void node_answer(int fd, const char *status, const char *headers, int len, int sent)
{
    static const char body[DATA];
    _cleanup_free_ char *head = xasprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n", status, headers, len);

    toy_say(fd, head);
    (void)!send(fd, body, (size_t)sent, MSG_NOSIGNAL);
}

static inline void node_hang(struct toy_connection *c)
{
    while (recv(c->fd, c->head, sizeof(c->head), 0) > 0)
        ;
}

/* A few bytes at a time, for longer than anybody waits. */
static inline void node_drip(struct toy_connection *c)
{
    toy_say(c->fd, "HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1\r\nContent-Length: 300000\r\n\r\n");
    while (send(c->fd, "drip", 4, MSG_NOSIGNAL) > 0)
        usleep(20000);
}

/* Whether the question is to that repository. */
static inline bool node_is(const char *mode)
{
    _cleanup_free_ char *path = xasprintf(" /v2/%s/", mode);

    pthread_mutex_lock(&node.lock);
    bool is = strstr(node.question, path) != NULL;
    pthread_mutex_unlock(&node.lock);
    return is;
}

static inline bool node_life(struct toy_connection *c)
{
    int n = atomic_fetch_add(&node.lives, 1) + 1;
    bool slowly = node_is("grows-slowly"), grows = slowly || node_is("grows") || node_is("says-that-it-grows"),
         waits = grows || node_is("waits") || node_is("waits-a-little");
    _cleanup_free_ char *text = xasprintf("HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1; life=%s; got=%d\r\n"
                                          "Content-Length: 0\r\n\r\n",
                                          waits ? "waits" : "here",
                                          slowly  ? n * ASK_PROGRESS / 3
                                          : grows ? n * ASK_PROGRESS
                                                  : 5);

    if (node_is("silent")) {
        node_hang(c);
        return false;
    }
    toy_say(c->fd, text);
    return true;
}

static inline void node_flood(struct toy_connection *c)
{
    static const char piece[65536];

    toy_say(c->fd, "HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n");
    while (send(c->fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
        ;
}

static inline bool node_serve(struct toy_connection *c)
{
    bool life = strncmp(c->head, "HEAD /cluster/life?", 19) == 0;

    pthread_mutex_lock(&node.lock);
    snprintf(life ? node.life : node.question, sizeof(node.life), "%.4000s", c->head);
    pthread_mutex_unlock(&node.lock);
    if (life)
        return node_life(c);
    if (node_is("good")) {
        node_answer(c->fd, "206 Part", "Entrepot-Peer: v=1\r\nContent-Range: bytes 1000-300999/400000\r\n", DATA, DATA);
    } else if (node_is("waits-a-little") || node_is("grows") || node_is("grows-slowly")) {
        int least = node_is("waits-a-little") ? 2 : 11;
        for (int i = 0; i < 4000 && atomic_load(&node.lives) < least; i++)
            usleep(5000);
        node_answer(c->fd, "200 OK", "Entrepot-Peer: v=1\r\n", DATA, DATA);
    } else if (node_is("endless")) {
        node_flood(c);
    } else if (node_is("drip")) {
        node_drip(c);
    } else if (node_is("stops")) {
        node_answer(c->fd, "200 OK", "Entrepot-Peer: v=1\r\n", DATA, DATA / 2);
        node_hang(c);
    } else if (node_is("refuses")) {
        node_answer(c->fd, "403 No", "Entrepot-Peer: v=1; refused=clock\r\n", 0, 0);
    } else if (node_is("forbids")) { /* another server */
        node_answer(c->fd, "403 No", "", 0, 0);
    } else if (node_is("reads-no-such-version")) {
        node_answer(c->fd, "403 No", "Entrepot-Peer: v=9; refused=version\r\n", 0, 0);
    } else if (node_is("denies")) { /* its registry does */
        node_answer(c->fd, "403 No", "Entrepot-Peer: v=1\r\n", 0, 0);
    } else if (node_is("stranger")) {
        node_answer(c->fd, "200 OK", "", 10, 10);
    } else if (node_is("fails")) {
        node_answer(c->fd, "500 No", "Entrepot-Peer: v=1\r\n", 0, 0);
    } else if (node_is("lacks")) {
        node_answer(c->fd, "404 No", "Entrepot-Peer: v=1\r\n", 0, 0);
    } else if (node_is("cut")) {
        node_answer(c->fd, "200 OK", "Entrepot-Peer: v=1\r\n", DATA, DATA / 2);
    } else {
        node_hang(c);
    }
    return false;
}

/* ---- this node ---- */

struct fixture {
    pthread_t toy_thread;
    char *dir, *secret_file;
    struct config_cluster config;
    struct cluster *cluster;
    struct peer_view *view;
    struct peer *peer; /* the toy */
    struct loop *loop;
    struct transfer_engine *engine;
};

static inline void write_secret(struct fixture *f)
{
    f->dir = make_folder();
    f->secret_file = xasprintf("%s/secret", f->dir);
    FILE *file = fopen(f->secret_file, "w");
    fputs(SECRET "\n", file);
    fclose(file);
}

static inline int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct member other = {0};
    struct err err = {0};

    toy = (struct toy){.serve = node_serve};
    f->toy_thread = toy_start(&toy);
    atomic_store(&node.lives, 0);
    write_secret(f);
    f->config.advertise = "10.0.0.8:5443";
    f->config.secret_file = f->secret_file;
    f->cluster = cluster_new(&f->config, NULL, &err);
    assert_non_null(f->cluster);
    snprintf(other.address, sizeof(other.address), "127.0.0.1:%d", toy.port);
    peers_set(cluster_peers(f->cluster), &other, 1);
    f->view = peers_view(cluster_peers(f->cluster));
    f->peer = peer_view_find(f->view, other.address);
    f->loop = loop_new("test", &err);
    f->engine = transfer_engine_new(f->loop, &err);
    assert_true(loop_start(f->loop, &err));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    loop_stop(f->loop);
    loop_join(f->loop);
    transfer_engine_end(f->engine);
    while (loop_settle(f->loop))
        ;
    transfer_engine_free(f->engine);
    loop_free(f->loop);
    assert_int_equal(atomic_load(&f->peer->refs), 1); /* the view's */
    peer_view_unref(f->view);
    cluster_free(f->cluster);
    toy_stop(&toy, f->toy_thread);
    remove_tree(f->dir);
    free(f->secret_file);
    free(f);
    return 0;
}

/* ---- a question ---- */

enum stage { NEVER, AT_ONCE, AT_HEAD, AT_DATA };

struct question {
    struct fixture *f;
    struct ask ask;
    struct digest digest;
    enum stage cancel, pause;
    bool refuses; /* the head */
    struct peer_ask *a;
    atomic_int heads, done, dropped;
    atomic_llong bytes;
    int64_t elsewhere; /* what has come from other sources, when it was asked last */
    int64_t quick_ms;  /* when the registry was quick */
    /* good once `done` is 1 */
    int status;
    struct err err;
    int64_t began_ms, took_ms;
};

static inline void question_drop(struct question *q)
{
    ask_cancel(q->a);
    q->a = NULL;
    atomic_fetch_add(&q->dropped, 1);
}

static inline bool question_head(void *arg, const struct transfer_response *r)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    q->status = r->status;
    atomic_fetch_add(&q->heads, 1);
    if (q->pause == AT_HEAD)
        ask_pause(q->a, true);
    bool goes_on = !q->refuses && q->cancel != AT_HEAD; /* when it is dropped the test may free it */
    if (q->cancel == AT_HEAD)
        question_drop(q);
    return goes_on;
}

static inline bool question_data(void *arg, const void *data UNUSED, size_t len)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    atomic_fetch_add(&q->bytes, (long long)len);
    bool goes_on = q->cancel != AT_DATA;
    if (!goes_on)
        question_drop(q);
    return goes_on;
}

static inline void question_done(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    q->status = r->status;
    q->err = err ? *err : (struct err){0};
    q->took_ms = clock_mono_ms() - q->began_ms;
    q->a = NULL;
    atomic_fetch_add(&q->done, 1);
}

static inline int64_t question_received(void *arg)
{
    struct question *q = arg;

    q->elsewhere += strncmp(q->ask.path, "grows", 5) == 0 ? 1000 : 0;
    return q->elsewhere;
}

static inline int64_t question_quick(void *arg)
{
    const struct question *q = arg;

    return q->quick_ms;
}

static inline void question_begin(void *arg)
{
    struct question *q = arg;

    q->began_ms = clock_mono_ms();
    q->a = ask_start(q->f->cluster, &q->ask);
    assert_ptr_equal(ask_peer(q->a), q->f->peer);
    if (q->cancel == AT_ONCE)
        question_drop(q);
}

/* It is freed with the test's end: it stays where it is. */
static inline struct question *question_new(struct fixture *f, const char *mode)
{
    struct question *q = xcalloc(1, sizeof(*q));

    q->f = f;
    digest_of(DIGEST_SHA256, "x", 1, &q->digest);
    q->ask = (struct ask){
        .peer = f->peer,
        .engine = f->engine,
        .loop = f->loop,
        .method = "GET",
        .registry = "docker.io",
        .path = mode,
        .object = "blobs/sha256:00",
        .digest = &q->digest,
        .range_first = 1000,
        .range_last = 300999,
        .size = 400000,
        .hops = 1,
        .on_head = question_head,
        .on_data = question_data,
        .on_done = question_done,
        .received = question_received,
        .quick = question_quick,
        .arg = q,
    };
    return q;
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t end_ms = clock_mono_ms() + PATIENCE_MS;                                                                \
        while (!(condition) && clock_mono_ms() < end_ms)                                                               \
            usleep(2000);                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void question_ask(struct question *q)
{
    loop_post(q->f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
}

static inline struct question *ask_of(struct fixture *f, const char *mode)
{
    struct question *q = question_new(f, mode);

    question_ask(q);
    return q;
}

static inline void is_given_up(const struct question *q, const char *why, int64_t after_ms)
{
    assert_int_equal(q->err.code, ERR_TIMEOUT);
    assert_string_equal(atomic_load(&q->f->peer->why), why);
    assert_true(peer_is_resting(q->f->peer));
    assert_int_equal(atomic_load(&q->f->peer->failed), 1);
    assert_in_range(q->took_ms, after_ms * 3 / 4, after_ms + ROOM_MS);
}

#endif

/* Questions to another node: what is sent, and for how long it is waited for an answer. The node is a toy that does what
 * the repository is called. */
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
static void node_answer(int fd, const char *status, const char *headers, int len, int sent)
{
    static const char body[DATA];
    _cleanup_free_ char *head = xasprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n", status, headers, len);

    toy_say(fd, head);
    (void)!send(fd, body, (size_t)sent, MSG_NOSIGNAL);
}

static void node_hang(struct toy_connection *c)
{
    while (recv(c->fd, c->head, sizeof(c->head), 0) > 0)
        ;
}

/* A few bytes at a time, for longer than anybody waits. */
static void node_drip(struct toy_connection *c)
{
    toy_say(c->fd, "HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1\r\nContent-Length: 300000\r\n\r\n");
    while (send(c->fd, "drip", 4, MSG_NOSIGNAL) > 0)
        usleep(20000);
}

/* Whether the question is to that repository. */
static bool node_is(const char *mode)
{
    _cleanup_free_ char *path = xasprintf(" /v2/%s/", mode);

    pthread_mutex_lock(&node.lock);
    bool is = strstr(node.question, path) != NULL;
    pthread_mutex_unlock(&node.lock);
    return is;
}

static bool node_life(struct toy_connection *c)
{
    int n = atomic_fetch_add(&node.lives, 1) + 1;
    bool grows = node_is("grows"), waits = grows || node_is("waits") || node_is("waits-a-little");
    _cleanup_free_ char *text = xasprintf("HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1; life=%s; got=%d\r\n"
                                          "Content-Length: 0\r\n\r\n",
                                          waits ? "waits" : "here", grows ? n * 1000 : 5);

    if (node_is("silent")) {
        node_hang(c);
        return false;
    }
    toy_say(c->fd, text);
    return true;
}

static void node_flood(struct toy_connection *c)
{
    static const char piece[65536];

    toy_say(c->fd, "HTTP/1.1 200 OK\r\nEntrepot-Peer: v=1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n");
    while (send(c->fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
        ;
}

static bool node_serve(struct toy_connection *c)
{
    bool life = strncmp(c->head, "HEAD /cluster/life?", 19) == 0;

    pthread_mutex_lock(&node.lock);
    snprintf(life ? node.life : node.question, sizeof(node.life), "%.4000s", c->head);
    pthread_mutex_unlock(&node.lock);
    if (life)
        return node_life(c);
    if (node_is("good")) {
        node_answer(c->fd, "206 Part", "Entrepot-Peer: v=1\r\nContent-Range: bytes 1000-300999/400000\r\n", DATA, DATA);
    } else if (node_is("waits-a-little") || node_is("grows")) {
        int least = node_is("grows") ? 11 : 2;
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

static void write_secret(struct fixture *f)
{
    f->dir = make_folder();
    f->secret_file = xasprintf("%s/secret", f->dir);
    FILE *file = fopen(f->secret_file, "w");
    fputs(SECRET "\n", file);
    fclose(file);
}

static int setup(void **state)
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
    f->cluster = cluster_new(&f->config, &err);
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

static int teardown(void **state)
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
    /* good once `done` is 1 */
    int status;
    struct err err;
    int64_t began_ms, took_ms;
};

static void question_drop(struct question *q)
{
    ask_cancel(q->a);
    q->a = NULL;
    atomic_fetch_add(&q->dropped, 1);
}

static bool question_head(void *arg, const struct transfer_response *r)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    q->status = r->status;
    atomic_fetch_add(&q->heads, 1);
    if (q->pause == AT_HEAD)
        ask_pause(q->a, true);
    if (q->cancel == AT_HEAD)
        question_drop(q);
    return !q->refuses && q->cancel != AT_HEAD;
}

static bool question_data(void *arg, const void *data UNUSED, size_t len)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    atomic_fetch_add(&q->bytes, (long long)len);
    if (q->cancel == AT_DATA)
        question_drop(q);
    return q->cancel != AT_DATA;
}

static void question_done(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct question *q = arg;

    assert_int_equal(atomic_load(&q->dropped), 0);
    q->status = r->status;
    q->err = err ? *err : (struct err){0};
    q->took_ms = clock_mono_ms() - q->began_ms;
    q->a = NULL;
    atomic_fetch_add(&q->done, 1);
}

static void question_begin(void *arg)
{
    struct question *q = arg;

    q->began_ms = clock_mono_ms();
    q->a = ask_start(q->f->cluster, &q->ask);
    assert_ptr_equal(ask_peer(q->a), q->f->peer);
    if (q->cancel == AT_ONCE)
        question_drop(q);
}

/* It is freed with the test's end: it stays where it is. */
static struct question *question_new(struct fixture *f, const char *mode)
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

static struct question *ask_of(struct fixture *f, const char *mode)
{
    struct question *q = question_new(f, mode);

    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    return q;
}

static void is_given_up(const struct question *q, const char *why, int64_t after_ms)
{
    assert_int_equal(q->err.code, ERR_TIMEOUT);
    assert_string_equal(atomic_load(&q->f->peer->why), why);
    assert_true(peer_is_resting(q->f->peer));
    assert_int_equal(atomic_load(&q->f->peer->failed), 1);
    assert_in_range(q->took_ms, after_ms * 3 / 4, after_ms + ROOM_MS);
}

/* ---- what is sent ---- */

/* The value of a header of what the toy was sent. The caller frees. */
static char *header_of(const char *head, const char *name)
{
    _cleanup_free_ char *line = xasprintf("\r\n%s: ", name);
    const char *at = strstr(head, line);

    return at ? xasprintf("%.*s", (int)strcspn(at + strlen(line), "\r"), at + strlen(line)) : xstrdup("");
}

/* Its proof vouches for all of it, at the toy alone. */
static void is_proved(const struct fixture *f, const char *head, const char *method, const char *target)
{
    struct proofs *p = proofs_new(SECRET);
    _cleanup_free_ char *line = xasprintf("%s %s HTTP/1.1\r\n", method, target);
    _cleanup_free_ char *peer = header_of(head, ASK_HEADER), *range = header_of(head, "Range"),
                        *authorization = header_of(head, "Authorization"), *proof = header_of(head, PROOF_HEADER);
    struct proof_of of = {method, target, "10.0.0.9:5443", peer, range, authorization};
    struct err err = {0};
    int64_t skew;

    assert_memory_equal(head, line, strlen(line));
    assert_false(proof_check(p, &of, proof, &skew, &err));
    of.to = f->peer->who.address;
    assert_true(proof_check(p, &of, proof, &skew, &err));
    proofs_free(p);
}

static void a_good_answer(void **state)
{
    struct fixture *f = *state;
    struct question *q = ask_of(f, "good");
    struct ask_head h;

    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(q->status, 206);
    assert_int_equal(atomic_load(&q->heads), 1);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    assert_int_equal(atomic_load(&f->peer->received), DATA);
    assert_int_equal(atomic_load(&f->peer->answered), 1);
    assert_false(peer_is_resting(f->peer));
    is_proved(f, node.question, "GET", "/v2/good/blobs/sha256:00?ns=docker.io");
    _cleanup_free_ char *peer = header_of(node.question, ASK_HEADER), *range = header_of(node.question, "Range");
    assert_string_equal(peer, "v=1; hops=1; size=400000; from=10.0.0.8:5443");
    assert_string_equal(range, "bytes=1000-300999");
    assert_true(ask_parse(peer, &h) && h.version == 1 && h.hops == 1 && h.size == 400000 && !h.have);
    assert_string_equal(h.from, "10.0.0.8:5443");
    free(q);
}

/* A login goes over an encrypted connection alone. */
static void no_login_in_the_clear(void **state)
{
    struct fixture *f = *state;
    struct cred_identity id = {.username = "alice", .secret = "wonder"};
    struct question *q = question_new(f, "good");

    q->ask.identity = &id;
    q->ask.authorization = "Bearer secret";
    q->ask.accept = "a/b";
    q->ask.have = true;
    q->ask.hops = 2;
    q->ask.range_first = -1;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    _cleanup_free_ char *authorization = header_of(node.question, "Authorization"),
                        *accept = header_of(node.question, "Accept"), *range = header_of(node.question, "Range"),
                        *peer = header_of(node.question, ASK_HEADER);
    assert_string_equal(authorization, "");
    assert_string_equal(accept, "a/b");
    assert_string_equal(range, "");
    assert_non_null(strstr(peer, "hops=2"));
    assert_non_null(strstr(peer, "; have"));
    assert_null(strcasestr(node.question, "wonder"));
    is_proved(f, node.question, "GET", "/v2/good/blobs/sha256:00?ns=docker.io");
    free(q);
}

/* ---- patience ---- */

static void silent(void **state)
{
    struct question *q = ask_of(*state, "silent");

    is_given_up(q, "it is silent", ASK_SILENT_MS);
    assert_int_equal(atomic_load(&node.lives), 1);
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *target = xasprintf(ASK_LIFE_PATH "?digest=%s&at=1000", digest_format(&q->digest, hex));
    is_proved(*state, node.life, "HEAD", target);
    free(q);
}

static void silent_in_a_hurry(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "silent");

    q->ask.hurry = true;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    is_given_up(q, "it is silent", ASK_HURRIED_MS);
    free(q);
}

static void dead(void **state)
{
    struct fixture *f = *state;
    struct question *q;

    shutdown(toy.listener, SHUT_RDWR);
    q = ask_of(f, "good");
    assert_int_equal(q->err.code, ERR_UNREACHABLE);
    assert_true(q->took_ms < ASK_SILENT_MS + ROOM_MS);
    assert_true(peer_is_resting(f->peer));
    free(q);
}

/* It brings too little for one that has it. */
static void drips(void **state)
{
    struct question *q = ask_of(*state, "drip");

    is_given_up(q, "it does not send what it has", ASK_SILENT_MS + ASK_SILENT_MS / 4);
    assert_true(atomic_load(&q->bytes) > 0);
    free(q);
}

static void stops_in_the_middle(void **state)
{
    struct question *q = ask_of(*state, "stops");

    is_given_up(q, "it does not send what it has", ASK_SILENT_MS + ASK_SILENT_MS / 4);
    assert_int_equal(atomic_load(&q->bytes), DATA / 2);
    assert_non_null(strstr(node.life, "&at=151000 ")); /* the next byte */
    free(q);
}

/* It waits for its registry: so do we. */
static void waits(void **state)
{
    struct fixture *f = *state;
    struct question *q = ask_of(f, "waits-a-little");

    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

static void waits_for_ever(void **state)
{
    struct question *q = ask_of(*state, "waits");

    is_given_up(q, "it waits for its registry for too long", ASK_EXCUSED_MS);
    free(q);
}

/* For as long as something comes there. */
static void waits_while_it_grows(void **state)
{
    struct fixture *f = *state;
    struct question *q = ask_of(f, "grows");

    assert_int_equal(q->err.code, ERR_OK);
    assert_true(q->took_ms > ASK_EXCUSED_MS);
    assert_false(peer_is_resting(f->peer));
    free(q);
}

/* ---- answers that are none ---- */

static void is_refused(struct fixture *f, const char *mode, const char *why)
{
    struct question *q = ask_of(f, mode);

    assert_int_equal(q->status, 403);
    assert_int_equal(atomic_load(&f->peer->refused), 1);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    assert_true(peer_is_resting(f->peer));
    assert_non_null(strstr(atomic_load(&f->peer->why), why));
    free(q);
}

static void refused(void **state)
{
    is_refused(*state, "refuses", "clock");
}

static void refused_version(void **state)
{
    is_refused(*state, "reads-no-such-version", "version");
}

static void counts_as(struct fixture *f, const char *mode, enum err_code code, int failed, int answered)
{
    struct question *q = ask_of(f, mode);

    assert_int_equal(q->err.code, code);
    assert_int_equal(atomic_load(&f->peer->failed), failed);
    assert_int_equal(atomic_load(&f->peer->answered), answered);
    assert_int_equal(atomic_load(&f->peer->refused), 0);
    assert_true(peer_is_resting(f->peer) == (failed > 0));
    free(q);
}

static void lacks(void **state)
{
    counts_as(*state, "lacks", ERR_OK, 0, 1);
}

static void registry_denies(void **state)
{
    counts_as(*state, "denies", ERR_OK, 0, 0);
}

static void stranger(void **state)
{
    counts_as(*state, "stranger", ERR_OK, 1, 0);
}

static void stranger_forbids(void **state)
{
    counts_as(*state, "forbids", ERR_OK, 1, 0);
}

static void fails(void **state)
{
    counts_as(*state, "fails", ERR_OK, 1, 0);
}

static void cut_off(void **state)
{
    counts_as(*state, "cut", ERR_UPSTREAM, 1, 0);
}

/* The caller does not want it: not the node's fault. */
static void head_refused(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "endless");

    q->refuses = true;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    assert_int_equal(q->err.code, ERR_CANCELLED);
    assert_int_equal(atomic_load(&q->bytes), 0);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

/* ---- pause, and cancel ---- */

static void go_on(void *arg)
{
    struct question *q = arg;

    ask_pause(q->a, false);
}

/* A paused one is not given up. */
static void paused(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "good");

    q->pause = AT_HEAD;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->heads) == 1);
    usleep(2 * ASK_SILENT_MS * 1000);
    assert_int_equal(atomic_load(&q->done), 0);
    assert_int_equal(atomic_load(&node.lives), 0);
    loop_post(f->loop, go_on, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    free(q);
}

static void drop_now(void *arg)
{
    question_drop(arg);
}

static void cancelled_at(struct fixture *f, const char *mode, enum stage stage)
{
    struct question *q = question_new(f, mode);

    q->cancel = stage;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->dropped) == 1);
    usleep(20000);
    assert_int_equal(atomic_load(&q->done), 0);
    free(q);
}

static void cancelled(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "silent");

    cancelled_at(f, "good", AT_ONCE);
    cancelled_at(f, "good", AT_HEAD);
    cancelled_at(f, "good", AT_DATA);
    loop_post(f->loop, question_begin, q); /* while it is asked whether it lives */
    WAIT_FOR(atomic_load(&node.lives) == 1);
    loop_post(f->loop, drop_now, q);
    WAIT_FOR(atomic_load(&q->dropped) == 1);
    usleep(ASK_SILENT_MS * 1000);
    assert_int_equal(atomic_load(&q->done), 0);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

/* ---- the value of Entrepot-Peer ---- */

static void parsed(void **state UNUSED)
{
    static const struct {
        const char *value;
        bool good;
        int hops;
        int64_t size;
        bool have;
        const char *from;
    } cases[] = {
        {"v=1; hops=1", true, 1, 0, false, ""},
        {"v=1; hops=2; size=5; from=a:1; have; insist", true, 2, 5, true, "a:1"},
        {"v=1;hops=2;have", true, 2, 0, true, ""},
        {"hops=1; v=7; later=x; ; ;", true, 1, 0, false, ""}, /* of a later version */
        {"v=1; hops=1; size=-5", true, 1, 0, false, ""},
        {"v=1; hops=1; size=99999999999999999999999", true, 1, INT64_MAX, false, ""},
        {"", false, 0, 0, false, ""},
        {"v=1", false, 0, 0, false, ""},
        {"hops=1", false, 0, 0, false, ""},
        {"v=0; hops=1", false, 0, 0, false, ""},
        {"v=1; hops=0", false, 0, 0, false, ""},
        {"v=1; hops=3", false, 0, 0, false, ""},
        {"v=1; hops=-1", false, 0, 0, false, ""},
        {"v=1; hops=4294967297", false, 0, 0, false, ""},
        {"v=4294967297; hops=1", true, 1, 0, false, ""}, /* as of any later version */
        {"v=1x; hops=1", false, 0, 0, false, ""},
        {"v=1; hops=1 2", false, 0, 0, false, ""},
        {"v=1, hops=1", false, 0, 0, false, ""},
        {"V=1; HOPS=1", false, 0, 0, false, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask_head h;
        bool good = ask_parse(cases[i].value, &h);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].value);
        if (!good)
            continue;
        assert_int_equal(h.hops, cases[i].hops);
        assert_true(h.size == cases[i].size);
        assert_true(h.have == cases[i].have);
        assert_string_equal(h.from, cases[i].from);
    }
}

/* The longest that a node writes can be read, and nothing longer. */
static void lengths(void **state UNUSED)
{
    char name[PEER_NAME_MAX + 2];
    struct ask_head h;

    memset(name, 'a', sizeof(name));
    name[PEER_NAME_MAX + 1] = '\0';
    _cleanup_free_ char *over = xasprintf("v=1; hops=1; from=%s", name);
    assert_false(ask_parse(over, &h));
    name[PEER_NAME_MAX] = '\0';
    _cleanup_free_ char *most = xasprintf("v=1; hops=1; from=%s", name);
    assert_true(ask_parse(most, &h) && strcmp(h.from, name) == 0);
    name[253 + 6] = '\0'; /* a host's longest name, and a port */
    _cleanup_free_ char *full = xasprintf("v=1; hops=1; size=%lld; from=%s; have; insist", 1LL << 40, name);
    assert_true(ask_parse(full, &h) && h.have && h.insist);
    _cleanup_free_ char *all =
        xasprintf("v=1; hops=1; size=%lld; from=%s; not=%s; have; named; insist", 1LL << 62, name, name);
    assert_true(ask_parse(all, &h) && h.named && strcmp(h.failed, name) == 0);
    _cleanup_free_ char *far = xasprintf("v=1; hops=1;%*s", (int)ASK_PEER_MAX, "");
    assert_false(ask_parse(far, &h));
}

/* The node that is named instead. */
static void elsewhere(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"v=1", ""},
        {"v=1; elsewhere=", ""},
        {"v=1; elsewhere=10.0.0.9:5443", "10.0.0.9:5443"},
        {"v=1; elsewhere=[fd00::7]:5443; later=1", "[fd00::7]:5443"},
        {"v=1; elsewhere=a b", "a"},
    };
    char out[PEER_NAME_MAX + 1], *long_one = xcalloc(5000, 1);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask_elsewhere(cases[i][0], out);
        assert_string_equal(out, cases[i][1]);
    }
    memset(long_one, 'a', 4999);
    memcpy(long_one, "elsewhere=", 10);
    ask_elsewhere(long_one, out);
    assert_int_equal(strlen(out), PEER_NAME_MAX);
    free(long_one);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsed),
        cmocka_unit_test(lengths),
        cmocka_unit_test(elsewhere),
        WITH_NODE(a_good_answer),
        WITH_NODE(no_login_in_the_clear),
        WITH_NODE(silent),
        WITH_NODE(silent_in_a_hurry),
        WITH_NODE(dead),
        WITH_NODE(drips),
        WITH_NODE(stops_in_the_middle),
        WITH_NODE(waits),
        WITH_NODE(waits_for_ever),
        WITH_NODE(waits_while_it_grows),
        WITH_NODE(refused),
        WITH_NODE(refused_version),
        WITH_NODE(lacks),
        WITH_NODE(registry_denies),
        WITH_NODE(stranger),
        WITH_NODE(stranger_forbids),
        WITH_NODE(fails),
        WITH_NODE(cut_off),
        WITH_NODE(head_refused),
        WITH_NODE(paused),
        WITH_NODE(cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

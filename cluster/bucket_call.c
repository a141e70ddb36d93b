/* A request to the bucket: it waits for the key, is signed, sent, and sent once more if the store's clock differs or
 * the key has been replaced.
 *
 *     start ─▶ key ─▶ sign, send ─▶ answer ┬─▶ done
 *               ▲                          │
 *               └── time or key refused ───┘  (once)
 *
 * Requests are verbatim ones: no redirect is followed, since a signature is for one host. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <openssl/evp.h>
#include <string.h>

struct bucket_call {
    struct bucket_ask ask;
    char *path, *query, *line[ARRAY_LEN(((struct bucket_ask *)NULL)->line)];
    struct digest digest;
    struct transfer *transfer;
    bool waiting; /* for the key, or for its turn on the loop */
    bool dead;    /* cancelled meanwhile */
    bool paused, repeated, flooded, broken;
    uint64_t key_number;
    int64_t began_ms, signed_s;
    int64_t given; /* bytes of the body */
    int status;
    struct buf body;
    struct err err;
};

static void signed_ask(struct bucket_call *c);

static void signed_free(struct bucket_call *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->line); i++)
        free(c->line[i]);
    free(c->path);
    free(c->query);
    buf_free(&c->body);
    free(c);
}

static void signed_end(struct bucket_call *c, const struct transfer_response *r, const struct err *err)
{
    struct bucket_answer a = {.status = c->status, .body = c->body.data ? c->body.data : "", .r = r, .err = err};

    if (c->status >= 300)
        s3_xml_text(a.body, "Code", a.code, sizeof(a.code));
    c->ask.on_done(c->ask.arg, &a);
    signed_free(c);
}

/* ---- the answer ---- */

static bool signed_take_head(void *arg, const struct transfer_response *r)
{
    struct bucket_call *c = arg;

    c->status = r->status;
    return r->status / 100 != 2 || !c->ask.on_head || c->ask.on_head(c->ask.arg, r);
}

static bool signed_take_data(void *arg, const void *data, size_t len)
{
    struct bucket_call *c = arg;

    if (c->status / 100 == 2 && c->ask.on_data)
        return c->ask.on_data(c->ask.arg, data, len);
    c->flooded = c->body.len + len > BUCKET_ANSWER_MAX;
    if (!c->flooded)
        buf_add(&c->body, data, len);
    return !c->flooded;
}

bool bucket_answer_is_of_key(const struct bucket_answer *a)
{
    static const char *const codes[] = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
                                        "InvalidToken",       "TokenRefreshRequired",  "RequestTimeTooSkewed",
                                        "RequestExpired",     "InvalidSecurity",       "NotSignedUp"};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(a->code, codes[i]) == 0)
            return true;
    return a->status == 401;
}

/* HEAD has no body that would name the reason: the Date of the answer shows whether the time may be it. */
static bool signed_is_skewed(struct bucket_call *c, const struct transfer_response *r)
{
    int64_t off = r->date - c->signed_s;

    if ((c->status != 403 && c->status != 400) || r->date <= 0 || llabs(off) < BUCKET_SKEW_S)
        return false;
    atomic_store(&c->ask.b->skew_s, r->date - clock_now_s());
    log_limited_about(LOG_LEVEL_WARN, "bucket-clock", c->ask.b->name,
                      "%s: its clock and this node's differ by %lld s: requests are signed with its time",
                      c->ask.b->name, (long long)llabs(r->date - clock_now_s()));
    return true;
}

static bool signed_is_to_repeat(struct bucket_call *c, const struct transfer_response *r)
{
    struct bucket_answer a = {.status = c->status};

    if (c->repeated || c->status < 400)
        return false;
    if (signed_is_skewed(c, r))
        return true;
    s3_xml_text(c->body.data, "Code", a.code, sizeof(a.code));
    return bucket_answer_is_of_key(&a) && cred_refused(c->ask.b->cred, "", c->key_number, c->began_ms);
}

static void signed_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct bucket_call *c = arg;
    struct err own = {0};

    c->transfer = NULL;
    if (c->flooded && c->status >= 300)
        err = NULL; /* what it says besides does not matter */
    if (c->broken) {
        err_set(&own, ERR_IO, "the blob could not be read");
        err = &own;
    }
    if (err || !signed_is_to_repeat(c, r)) {
        signed_end(c, r, err);
        return;
    }
    c->repeated = true;
    c->given = 0;
    c->status = 0;
    buf_clear(&c->body);
    signed_ask(c);
}

/* ---- the request ---- */

static long signed_give(void *arg, char *out, size_t cap)
{
    struct bucket_call *c = arg;
    int64_t left = c->ask.size - c->given;
    size_t n = left > 0 ? c->ask.on_send(c->ask.arg, c->given, out, (size_t)MIN((int64_t)cap, left)) : 0;

    c->broken = left > 0 && n == 0; /* the connection ends with a body that is too short */
    c->given += (int64_t)n;
    return (long)n;
}

/* Lines in the order of their names, for the signature. */
struct signed_lines {
    const char *list[S3_LINES_MAX];
    int count;
};

static void signed_add(struct signed_lines *l, const char *line)
{
    IN_STATE(l->count < S3_LINES_MAX - 1);
    if (line)
        l->list[l->count++] = line;
}

static char *signed_checksum_line(const struct bucket_call *c)
{
    unsigned char text[64];

    if (!c->ask.whole)
        return NULL;
    EVP_EncodeBlock(text, c->digest.raw, (int)digest_len(&c->digest));
    return xasprintf("x-amz-checksum-sha256: %s", (char *)text);
}

static void signed_send(struct bucket_call *c, const struct signed_lines *l)
{
    struct bucket *b = c->ask.b;
    _cleanup_free_ char *url = xasprintf("%s%s%s%s", b->place.origin, c->path, c->query[0] ? "?" : "", c->query);
    const struct transfer_verbatim v = {
        .has_body = c->ask.size >= 0, .size = c->ask.size, .buffer = BUCKET_SEND_BUFFER, .on_send = signed_give};
    const struct transfer_request r = {.method = c->ask.method,
                                       .url = url,
                                       .headers = l->list,
                                       .range_first = -1,
                                       .bulk = c->ask.bulk,
                                       .trust = &b->trust,
                                       .verbatim = &v,
                                       .named = b->named,
                                       .connect_timeout_ms = BUCKET_STALL_MS,
                                       .stall_timeout_ms = c->ask.bulk ? BUCKET_STALL_MS : 0,
                                       .total_timeout_ms = c->ask.total_ms,
                                       .users = &b->users,
                                       .on_head = signed_take_head,
                                       .on_data = signed_take_data,
                                       .on_done = signed_take_end,
                                       .arg = c};

    c->transfer = transfer_start(c->ask.engine, &r);
    if (c->paused)
        transfer_pause(c->transfer, true);
}

static void sign_and_send(struct bucket_call *c, const struct cred_identity *id)
{
    const struct s3_place *p = &c->ask.b->place;
    char time[S3_TIME_MAX], hex[DIGEST_TEXT_MAX];
    const char *payload = c->ask.whole ? digest_hex(&c->digest, hex) : c->ask.size > 0 ? S3_UNSIGNED : S3_EMPTY;
    _cleanup_free_ char *host = xasprintf("host: %s", p->authority), *checksum = signed_checksum_line(c),
                        *content = xasprintf("x-amz-content-sha256: %s", payload), *date = NULL;
    _cleanup_secret_ char *session = NULL, *authorization = NULL;
    struct signed_lines l = {0};

    c->signed_s = clock_now_s() + atomic_load(&c->ask.b->skew_s);
    date = xasprintf("x-amz-date: %s", s3_time(c->signed_s, time));
    signed_add(&l, host);
    signed_add(&l, checksum);
    signed_add(&l, content);
    signed_add(&l, date);
    if (id->username && id->secret) {
        session = id->session ? xasprintf("x-amz-security-token: %s", id->session) : NULL;
        signed_add(&l, session);
        const struct s3_signing s = {.method = c->ask.method,
                                     .path = c->path,
                                     .query = c->query,
                                     .lines = l.list,
                                     .payload = payload,
                                     .region = p->region,
                                     .service = "s3",
                                     .id = id->username,
                                     .secret = id->secret,
                                     .time = time};
        _cleanup_secret_ char *value = s3_authorization(&s);
        authorization = xasprintf("Authorization: %s", value);
        signed_add(&l, authorization);
    }
    for (size_t i = 0; i < ARRAY_LEN(c->line); i++)
        signed_add(&l, c->line[i]);
    signed_send(c, &l);
}

static void signed_give_up(void *arg)
{
    struct bucket_call *c = arg;

    c->waiting = false;
    if (c->dead)
        signed_free(c);
    else
        signed_end(c, NULL, &c->err);
}

static void signed_take_key(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err)
{
    struct bucket_call *c = arg;

    if (!id) { /* perhaps before bucket_call_start() has returned */
        c->err = *err;
        loop_post(c->ask.loop, signed_give_up, c);
        return;
    }
    c->waiting = false;
    if (c->dead) {
        signed_free(c);
        return;
    }
    c->key_number = number;
    sign_and_send(c, id);
}

static void signed_ask(struct bucket_call *c)
{
    c->waiting = true;
    c->began_ms = clock_mono_ms();
    cred_get(c->ask.b->cred, c->ask.loop, "", signed_take_key, c);
}

struct bucket_call *bucket_call_start(const struct bucket_ask *ask)
{
    struct bucket_call *c = xcalloc(1, sizeof(*c));

    ON_LOOP(ask->loop);
    c->ask = *ask;
    c->path = xstrdup(ask->path);
    c->query = xstrdup(ask->query ? ask->query : "");
    for (size_t i = 0; i < ARRAY_LEN(c->line); i++)
        c->line[i] = ask->line[i] ? xstrdup(ask->line[i]) : NULL;
    if (ask->whole)
        c->digest = *ask->whole;
    signed_ask(c);
    return c;
}

void bucket_call_pause(struct bucket_call *c, bool pause)
{
    ON_LOOP(c->ask.loop);
    c->paused = pause;
    if (c->transfer)
        transfer_pause(c->transfer, pause);
}

void bucket_call_cancel(struct bucket_call *c)
{
    ON_LOOP(c->ask.loop);
    if (c->waiting) {
        c->dead = true;
        return;
    }
    if (c->transfer)
        transfer_cancel(c->transfer);
    signed_free(c);
}

void bucket_answer_describe(const struct bucket *b, const struct bucket_answer *a, char *out, size_t cap)
{
    if (a->err)
        snprintf(out, cap, "%.*s", (int)cap - 1, a->err->msg);
    else
        snprintf(out, cap, "%s answered %d%s%s%s", b->name, a->status, a->code[0] ? " (" : "", a->code,
                 a->code[0] ? ")" : "");
}

#include "proxy/registry/peer.h"

#include "base/assert.h"
#include "base/log.h"
#include "proxy/registry/handlers.h"

#include <stdlib.h>
#include <string.h>

static const char *peer_value_of(const struct http_request *req, const char *name)
{
    const char *value = http_header(req, name);

    return value ? value : "";
}

static void peer_refuse(struct http_request *req, const char *word, const char *why)
{
    log_limited_about(LOG_LEVEL_WARN, "peer refused", word, "a request of another node, %s, is refused: %s",
                      http_client(req), why);
    http_reply_header(req, ASK_HEADER, "v=%d; refused=%s", ASK_VERSION, word);
    http_error(req, 403, "DENIED", "%s", why);
}

bool peer_admit(struct registry *reg, struct http_request *req)
{
    struct proofs *proofs = cluster_proofs(reg->cluster);
    const char *value = peer_value_of(req, "entrepot-peer"), *query = http_query(req);
    _cleanup_free_ char *target = xasprintf("%s%s%s", http_path(req), *query ? "?" : "", query);
    const struct proof_of of = {http_method_name(req),
                                target,
                                cluster_config(reg->cluster)->advertise,
                                value,
                                peer_value_of(req, "range"),
                                peer_value_of(req, "authorization")};
    struct ask_head head;
    struct err why = {0};
    int64_t skew_ms;

    ON_LOOP(http_loop(req));
    bool ok = !proofs || proof_check(proofs, &of, http_header(req, "entrepot-proof"), &skew_ms, &why);
    if (!ok && why.code == ERR_BUSY) {
        http_reply_header(req, ASK_HEADER, "v=%d", ASK_VERSION);
        http_error(req, 503, "UNAVAILABLE", "%s", why.msg);
        return false;
    }
    if (!ok) {
        peer_refuse(req, skew_ms != 0 ? "clock" : "proof", why.msg);
        return false;
    }
    if (!ask_parse(value, &head)) {
        peer_refuse(req, "version", "its question cannot be read: another version?");
        return false;
    }
    note_of(req)->hops = (uint8_t)head.hops;
    note_of(req)->have = head.have || head.named;
    note_of(req)->named = head.named;
    peer_mark(req);
    return true;
}

void peer_mark(struct http_request *req)
{
    size_t len;

    if (note_of(req)->hops > 0 && !http_given_header(req, ASK_HEADER, &len))
        http_reply_header(req, ASK_HEADER, "v=%d", ASK_VERSION);
}

void peer_vouch(struct registry *reg, struct http_request *req, const struct digest *d, int64_t age_s)
{
    char proof[PROOF_MAX], text[DIGEST_TEXT_MAX] = "";

    if (note_of(req)->hops == 0)
        return;
    http_reply_header(req, "Age", "%lld", (long long)age_s);
    if (!cluster_proofs(reg->cluster))
        return;
    if (d->alg != DIGEST_NONE)
        digest_format(d, text);
    _cleanup_free_ char *says = ask_says(text, age_s);
    proof_answer(cluster_proofs(reg->cluster), peer_value_of(req, "entrepot-proof"), says, proof);
    http_reply_header(req, PROOF_HEADER, "%s", proof);
}

int64_t peer_size(struct http_request *req)
{
    struct ask_head head;

    return note_of(req)->hops > 0 && ask_parse(peer_value_of(req, "entrepot-peer"), &head) ? head.size : 0;
}

/* Whether it has what it was asked for, and only has to send it; and bytes of that blob that have come. */
static bool is_here(struct registry *reg, struct http_request *req, int64_t *received)
{
    char text[DIGEST_TEXT_MAX], at[24];
    struct digest d;

    if (!http_query_get(req, "digest", text, sizeof(text)) || !digest_parse(&d, text, strlen(text)) ||
        !http_query_get(req, "at", at, sizeof(at)))
        return false;
    return ingests_has_byte(cache_ingests(reg->cache), &d, MAX(strtoll(at, NULL, 10), 0LL), received) ||
           cache_look(reg->cache, &d) == FILE_KNOWN;
}

bool peer_answer_life(struct registry *reg, struct http_request *req)
{
    int64_t received = 0;

    ON_LOOP(http_loop(req));
    if (strcmp(http_path(req), ASK_LIFE_PATH) != 0)
        return false;
    http_reply_reset(req);
    bool here = is_here(reg, req, &received);
    http_reply_header(req, ASK_HEADER, "v=%d; life=%s; got=%lld; self=%s", ASK_VERSION, here ? "here" : "waits",
                      (long long)received, cluster_config(reg->cluster)->advertise);
    http_reply(req, 200, "text/plain", "", 0);
    return true;
}

bool peer_name_another(struct registry *reg, struct http_request *req, const struct digest *d)
{
    struct takers *takers = cluster_takers(reg->cluster);
    const char *range = peer_value_of(req, "range");
    struct ask_head head;

    ON_LOOP(http_loop(req));
    if (!ask_parse(peer_value_of(req, "entrepot-peer"), &head))
        return false;
    struct peer_view *v = peers_view(cluster_peers(reg->cluster));
    struct peer *who = peer_view_find(v, head.from), *named = NULL;
    const char *failed = head.failed[0] ? head.failed : head.insist ? head.from : NULL;
    /* Of the same zone: homes of other zones are few, and would be sent around. */
    if (who && head.hops == 1 && !head.have && !head.named && strncmp(range, "bytes=", 6) == 0)
        named = takers_choose(takers, d, strtoll(range + 6, NULL, 10), who, failed);
    peer_view_unref(v);
    if (named) {
        http_reply_reset(req);
        http_reply_header(req, ASK_HEADER, "v=%d; elsewhere=%s", ASK_VERSION, named->who.address);
        http_reply(req, 307, "text/plain", "", 0);
        peer_unref(named);
        return true;
    }
    note_of(req)->sending = true;
    takers_begin(takers);
    return false;
}

void peer_note_sent(struct registry *reg, struct http_request *req)
{
    struct ask_head head;

    ON_LOOP(http_loop(req));
    if (note_of(req)->sending)
        takers_end(cluster_takers(reg->cluster));
    if (note_of(req)->hops == 0 || !ask_parse(peer_value_of(req, "entrepot-peer"), &head))
        return;
    struct peer_view *v = peers_view(cluster_peers(reg->cluster));
    struct peer *p = peer_view_find(v, head.from);
    if (p)
        atomic_fetch_add(&p->sent, (uint64_t)http_sent(req));
    peer_view_unref(v);
}

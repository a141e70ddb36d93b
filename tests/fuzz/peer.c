/* What another node says of its question, and its proof (cluster/ask.h, cluster/proof.h): the first line is the value
 * of Entrepot-Peer, the second that of Entrepot-Proof. */
#include "cluster/ask.h"
#include "cluster/proof.h"
#include "tests/fuzz/fuzz.h"

static void check_question(const char *value)
{
    struct ask_head h, again;

    if (!ask_parse(value, &h))
        return;
    MUST(strlen(value) <= ASK_PEER_MAX);
    MUST(h.version >= 1 && h.hops >= 1 && h.hops <= ASK_HOPS_MAX && h.size >= 0);
    MUST(!strchr(h.from, ';') && strlen(h.from) <= PEER_NAME_MAX);
    _cleanup_free_ char *text =
        xasprintf("v=%d; hops=%d; size=%lld; from=%s; not=%s%s%s%s", h.version, h.hops, (long long)h.size, h.from,
                  h.failed, h.have ? "; have" : "", h.named ? "; named" : "", h.insist ? "; insist" : "");
    if (strlen(text) > ASK_PEER_MAX)
        return;
    MUST(ask_parse(text, &again));
    MUST(again.version == h.version && again.hops == h.hops && again.size == h.size && again.have == h.have &&
         again.insist == h.insist && again.named == h.named && strcmp(again.failed, h.failed) == 0 &&
         strcmp(again.from, h.from) == 0);
}

/* Nobody without the secret has a proof, whatever it looks like; with it, none but the one that was made. */
static void check_proof(const char *peer, const char *value)
{
    static struct proofs *mine, *theirs;
    const struct proof_of of = {"GET", "/v2/a/blobs/b", "10.0.0.7:5443", peer, "", ""};
    char right[PROOF_MAX];
    struct err err = {0};
    int64_t skew_ms;

    if (!mine) {
        mine = proofs_new("a secret that no input can know of");
        theirs = proofs_new("another one, of another cluster....");
    }
    MUST(!proof_check(mine, &of, value, &skew_ms, &err));
    MUST(err.code == ERR_DENIED && skew_ms == 0);
    proof_make(theirs, &of, right);
    MUST(!proof_check(mine, &of, right, &skew_ms, &err) && err.code == ERR_DENIED);
    proof_make(mine, &of, right);
    MUST(strlen(right) < PROOF_MAX && strcmp(right, value) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);
    char *second = strchr(text, '\n');

    if (second)
        *second++ = '\0';
    char named[PEER_NAME_MAX + 1];
    ask_elsewhere(text, named);
    MUST(strlen(named) <= PEER_NAME_MAX && !strpbrk(named, "; "));
    check_question(text);
    check_proof(text, second ? second : "");
    return 0;
}

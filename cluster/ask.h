/* ask.h - a request to another node of the cluster: the registry API, at its address for peers.
 *
 *     GET /v2/<repository>/blobs/<digest>?ns=<registry>
 *     Entrepot-Peer: v=1; hops=1; from=10.0.0.7:5443
 *     Entrepot-Proof: …                                  (proof.h, with a shared secret)
 *
 * A home that is busy names another node that has the stripe, or is getting it (takers.h): 307, Entrepot-Peer: v=1;
 * elsewhere=<address>. That one is asked with `named`; if it fails, the home again, with `insist` and not=<address>.
 *
 * `hops` says how far the question has come, so that none goes in a circle: 1, the node may ask another zone's home, 2,
 * it may ask the registry alone; `have`: it answers with what it has, and asks nobody.
 *
 * Patience. A node that is dead, hangs, or sends drop by drop costs ASK_SILENT_MS: if it brings next to nothing for
 * half of that, it is asked on another connection whether it lives, and whether it has what it was asked for:
 *
 *     HEAD /cluster/life?digest=<digest>&at=<offset>  ─▶  Entrepot-Peer: v=1; life=waits   it waits for a registry:
 *                                                         so do we, for ASK_EXCUSED_MS at most while nothing of the
 *                                                         blob comes there (got=<bytes>), and here
 *                                                         v=1; life=here    it has that byte, and should send it
 *                                                         self=<address>    its own, for doctor
 *                                                     ─▶  no answer: it is given up
 *
 * The excuse is shorter, ASK_STALLED_MS, where the blob had begun to come there; and ASK_SILENT_MS where the registry
 * has just sent this node other ranges of the same blob, and had answered at once: the way of the other node is the
 * slow one, or it lies. So it is for one that was asked after another had failed (`hurry`), and for `have`. What `have`
 * and `named` are answered with waits for nothing until its head has come.
 *
 * While much comes here from others, one that lives may be slow for ASK_BESIDE_MS, and no excuse is shorter: where all
 * links are full, one connection of many stands still now and then.
 *
 * One that failed rests (peer_note_failure()); if it was silent, all else that waits for it is given up, too. One that
 * waited and was given up in a hurry does not rest: it may have waited for the very node that failed here. On the loop
 * of its engine.
 */
#ifndef ENTREPOT_CLUSTER_ASK_H
#define ENTREPOT_CLUSTER_ASK_H

#include "cluster/cluster.h"
#include "upstream/cred/cred.h"

enum {
    ASK_VERSION = 1,
    ASK_HOPS_MAX = 2,
    ASK_SILENT_MS = 600,
    ASK_HURRIED_MS = 300,
    ASK_EXCUSED_MS = 1500,
    ASK_STALLED_MS = 900,         /* the same, of what had begun to come there: no slow beginning */
    ASK_EXCUSED_TAG_MS = 3000,    /* of a manifest: each node that asks itself would count as a pull */
    ASK_QUICK_MS = 1000,          /* a registry that was quick with the blob so long before is not slow with it */
    ASK_BESIDE_BYTES = 256 << 10, /* within a quarter of ASK_SILENT_MS: the link is in use */
    ASK_BESIDE_MS = 4000,         /* while much comes from others */
    ASK_WAITED_MS = 60000,        /* whatever comes there */
    ASK_PROGRESS = 16 << 10,      /* bytes within a quarter of ASK_SILENT_MS: less is next to nothing */
    ASK_PEER_MAX = 639,           /* bytes of the value of Entrepot-Peer */
};

#define ASK_HEADER    "Entrepot-Peer"
#define ASK_LIFE_PATH "/cluster/life"
#define ASK_SIZE_MAX  ((int64_t)1 << 40) /* of a blob, as another node says it */

struct ask {
    struct peer *peer; /* a reference is taken */
    struct transfer_engine *engine;
    struct loop *loop;
    const char *method;   /* GET, HEAD */
    const char *registry; /* "docker.io" */
    const char *path;     /* "library/nginx" */
    const char *object;   /* "manifests/latest", "blobs/sha256:…" */
    const char *accept;   /* NULL: none */
    /* the client's own, for private content; NULL: none. Both are sent over an encrypted connection alone. */
    const char *authorization;
    const struct cred_identity *identity;
    const struct digest *digest;     /* of a blob: what `life` is asked about; NULL: another question */
    int64_t range_first, range_last; /* bytes, inclusive; -1: whole */
    int64_t size;                    /* of the blob, which tells the stripes; 0: not known */
    int hops;                        /* 1 or 2 */
    bool hurry;                      /* another one has failed: less patience, so that the sum stays small */
    bool have;                       /* what is there alone */
    bool named;                      /* ... or on its way there: a home has named this node */
    bool insist;                     /* the node itself is to answer, and not to name another */
    const char *failed;              /* the address of one that it had named; NULL: none */
    bool bulk;                       /* as in transfer.h */
    int64_t (*received)(void *arg);  /* bytes of the blob that have come here, from anybody; NULL: another question */
    int64_t (*quick)(void *arg); /* when its registry last sent of it, having answered at once; monotonic, 0: never */
    /* as in transfer.h; a node that was given up is ERR_TIMEOUT */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

struct peer_ask;

/* Callbacks come later, from the loop. */
struct peer_ask *ask_start(struct cluster *c, const struct ask *a);
void ask_pause(struct peer_ask *a, bool pause);
/* No callback comes after this; not to be called once on_done was. */
void ask_cancel(struct peer_ask *a);
struct peer *ask_peer(const struct peer_ask *a);
/* What an answer about a tag says: its digest, and since when that is known. The caller frees. */
char *ask_says(const char *digest, int64_t age_s);
/* Whether the node vouches for it: by the secret, or TLS. */
bool ask_is_vouched(const struct peer_ask *a, const struct transfer_response *r);

/* What another node says of a question: the value of Entrepot-Peer. */
struct ask_head {
    int version, hops;
    int64_t size;
    bool have, named, insist;
    char failed[PEER_NAME_MAX + 1];
    char from[PEER_NAME_MAX + 1];
};
/* The node that an answer names instead of itself; "" none. */
void ask_elsewhere(const char *value, char out[PEER_NAME_MAX + 1]);
/* False: it cannot be read. */
bool ask_parse(const char *value, struct ask_head *out);

#endif

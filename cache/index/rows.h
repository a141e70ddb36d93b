/* rows.h - the rows of the index's tables, and the few changes that keep them true together (layout and invariants:
 * index.h).
 *
 * Everything works on a transaction handed out by index_read() or index_write() and belongs to its thread. Functions
 * that write are idempotent, as index_write() requires.
 */
#ifndef ENTREPOT_CACHE_INDEX_ROWS_H
#define ENTREPOT_CACHE_INDEX_ROWS_H

#include "base/ref.h"
#include "cache/index/index.h"

enum {
    MEDIA_TYPE_MAX =
        127, /* bytes; longer ones are refused where they come in (RFC 6838 §4.2: 127 for a type or subtype) */
    VALIDATOR_MAX = 255,
};

enum blob_flags {
    BLOB_MANIFEST = 1,
    /* where GC finds it; kept by rows_refs.c alone */
    BLOB_IDLE = 2,   /* in `idle`: nothing refers to it */
    BLOB_RANKED = 4, /* in `rank`: an image that may be retired */
    /* Came in under a client's own identity. Only a repository that has proved by itself to contain it opens it: a
     * manifest that names it is no proof, for anybody can write one. */
    BLOB_PRIVATE = 8,
};

struct blob_row {
    int64_t size;          /* bytes */
    int64_t created, used; /* seconds since 1970 */
    uint32_t uses;         /* the coming in among them */
    uint32_t cost_ms;      /* what fetching it took */
    uint32_t flags;        /* enum blob_flags */
    double clock;          /* manifests: the ranking policy's clock when it was last used */
    double rank;      /* with BLOB_RANKED: its key in `rank`; a lower bound of its true rank when it was last weighed */
    int64_t ctime_ns; /* the file's change time when its digest was last verified; 0: it has to be verified first */
    char media_type[MEDIA_TYPE_MAX + 1];
};

struct tag_row {
    struct digest digest;
    int64_t checked_ms; /* when upstream last confirmed it; wall time */
    int64_t changed_ms; /* when it came to point to this digest */
};

enum child_role {
    CHILD_CONTENT = 'c',
    CHILD_FOREIGN = 'f', /* content that registries need not have: engines fetch it from where its URLs say */
    CHILD_SUBJECT = 's',
    CHILD_REFERRER = 'r',
};

struct child {
    enum child_role role;
    struct digest digest;
    int64_t size; /* bytes, as the manifest has it */
};

static inline bool child_is_content(const struct child *c)
{
    return c->role == CHILD_CONTENT || c->role == CHILD_FOREIGN;
}

/* What needs a blob. */
struct holder {
    char kind;                 /* 'm' a manifest, 't' a tag, 'p' a pinned tag */
    struct digest manifest;    /* 'm' */
    uint64_t repo;             /* 't', 'p' */
    char tag[REF_TAG_MAX + 1]; /* 't', 'p'; with a ':' it is a digest: pulled by digest from there */
};

struct totals {
    int64_t bytes, blobs, manifests;
};

/* Repositories by full name ("docker.io/library/nginx"): 0 if it is not known. Only clients with a grant may read
 * a private one (proxy/registry/grant.h). */
uint64_t rows_repo(struct index_txn *t, const char *name, bool *is_private);
uint64_t rows_repo_id(struct index_txn *t, const char *name);
bool rows_intern_repo(struct index_txn *t, const char *name, uint64_t *id, struct err *err);
bool rows_repo_is_private(struct index_txn *t, uint64_t repo);
bool rows_set_repo_private(struct index_txn *t, uint64_t repo, bool is_private, struct err *err);
bool rows_repo_name(struct index_txn *t, uint64_t id, char name[REF_NAME_MAX + 1]);
/* Visits repositories in the order of their names, beginning with this name or what follows it; returning false ends
 * the visit. Some have no images any more. */
void rows_each_repo_from(struct index_txn *t, const char *name,
                         bool (*fn)(void *arg, const char *name, uint64_t repo, bool is_private), void *arg);

bool rows_get_blob(struct index_txn *t, const struct digest *d, struct blob_row *row);
/* Adds or replaces; keeps `idle`, `rank` and the totals. An existing row keeps its created, used and uses. */
bool rows_put_blob(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err);
/* Notes so many uses, the last at `used` (seconds); nothing if the blob is not there. */
bool rows_use_blob(struct index_txn *t, const struct digest *d, int64_t used, uint32_t uses, struct err *err);
/* A public repository has it: it is not private any more. */
bool rows_share_blob(struct index_txn *t, const struct digest *d, struct err *err);
/* The file was found to match its digest when it had this change time. */
bool rows_verified_blob(struct index_txn *t, const struct digest *d, int64_t ctime_ns, struct err *err);
/* Forgets a blob, its links and, for a manifest, the references it held. What held it is the caller's concern: rows in
 * `parent` stay, since what names the blob still does. */
bool rows_drop_blob(struct index_txn *t, const struct digest *d, struct err *err);

/* Adds a manifest and, with it, the references to its children. */
bool rows_put_manifest(struct index_txn *t, const struct digest *d, const struct blob_row *row,
                       const struct child *children, size_t count, struct err *err);
/* Visits the children of a manifest; returning false ends the visit. */
void rows_each_child(struct index_txn *t, const struct digest *d, bool (*fn)(void *arg, const struct child *c),
                     void *arg);
/* Visits what holds a blob; their number is the reference count. */
void rows_each_holder(struct index_txn *t, const struct digest *d, bool (*fn)(void *arg, const struct holder *h),
                      void *arg);
size_t rows_references(struct index_txn *t, const struct digest *d);

bool rows_get_tag(struct index_txn *t, uint64_t repo, const char *tag, struct tag_row *row);
bool rows_put_tag(struct index_txn *t, uint64_t repo, const char *tag, const struct tag_row *row, struct err *err);
/* Drops a tag and its pin. */
bool rows_drop_tag(struct index_txn *t, uint64_t repo, const char *tag, struct err *err);
/* Pins what a tag points to, now and when it moves, or releases it. Errors: ERR_NOT_FOUND (no such tag). */
bool rows_pin(struct index_txn *t, uint64_t repo, const char *tag, bool pin, struct err *err);
bool rows_pinned(struct index_txn *t, uint64_t repo, const char *tag);
/* Visits tags, of one repository or (repo 0) of all. */
void rows_each_tag(struct index_txn *t, uint64_t repo,
                   bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg);

/* The same of one repository, beginning with this tag or what follows it. */
void rows_each_tag_of(struct index_txn *t, uint64_t repo, const char *tag,
                      bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg);
/* The same of all repositories. */
void rows_each_tag_from(struct index_txn *t, uint64_t repo, const char *tag,
                        bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg);

/* How a repository proved to contain a blob: by its bytes, by its registry's answer to HEAD, or by a manifest that
 * names it. PROOF_DELETED: a manifest names it, but it was deleted there since. */
enum proof { PROOF_BYTES = 'b', PROOF_HEAD = 'w', PROOF_NAMED = 'n', PROOF_DELETED = 'd' };
/* `repo` has proved to contain the blob, at `now` (seconds), and so whatever it names if it is a manifest that is here.
 */
bool rows_link(struct index_txn *t, uint64_t repo, const struct digest *d, enum proof proof, int64_t now,
               struct err *err);
/* The registry has deleted it from the repository, which has to prove again that it contains it, whatever manifests
 * there name it: a registry answers 404 then, as long as it is not pushed again. */
bool rows_unlink(struct index_txn *t, uint64_t repo, const struct digest *d, struct err *err);
/* Whether some repository of this registry has sent its bytes: then the registry's answers about its others count, too.
 */
bool rows_sent_by(struct index_txn *t, const char *host, const struct digest *d);
/* Whether the repository may be believed to contain the blob. For a private blob a manifest that names it is not
 * enough: it takes the bytes, or the answer of a registry that has sent them; for anybody can write a manifest that
 * names a digest, and run a registry that confirms it. One row, however many hold the blob. */
bool rows_linked(struct index_txn *t, uint64_t repo, const struct digest *d);
/* The same, by a statement of the repository: it has sent the blob, has answered that it has it, or has an index that
 * names it. The blob's own "subject" is no statement of the subject's repository. */
bool rows_linked_by_itself(struct index_txn *t, uint64_t repo, const struct digest *d);

/* Visits what is unreferenced and was last used at `from` (seconds since 1970) or later, from the longest unused;
 * returning false ends the visit. */
void rows_each_idle(struct index_txn *t, int64_t from, bool (*fn)(void *arg, int64_t used, const struct digest *d),
                    void *arg);
/* Visits the images that may be retired, from the lowest rank, beginning after (`rank`, `after`) if that is not NULL.
 */
void rows_each_ranked(struct index_txn *t, double rank, const struct digest *after,
                      bool (*fn)(void *arg, double rank, const struct digest *d), void *arg);
/* Gives a ranked image another rank (not negative); nothing if it is not ranked. */
bool rows_set_rank(struct index_txn *t, const struct digest *d, double rank, struct err *err);
/* The ranking policy's clock, and whose it is. Another policy's ranks are forgotten: all begin at 0. */
double rows_clock(struct index_txn *t);
bool rows_set_clock(struct index_txn *t, double clock, struct err *err);
bool rows_set_policy(struct index_txn *t, const char *name, struct err *err);
/* What the ranking policy has learned: forgotten, too, with another policy. The number of bytes, at most `room`. */
size_t rows_learned(struct index_txn *t, void *out, size_t room);
bool rows_set_learned(struct index_txn *t, const void *learned, size_t len, struct err *err);
/* Whether the index is being rebuilt from the files; outlives a restart. */
bool rows_is_rebuilding(struct index_txn *t);
bool rows_set_rebuilding(struct index_txn *t, bool rebuilding, struct err *err);
/* Visits all blobs, beginning after `after` if that is not NULL. */
void rows_each_blob(struct index_txn *t, const struct digest *after,
                    bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row), void *arg);
void rows_totals(struct index_txn *t, struct totals *totals);

enum { INGEST_REPOS_MAX = 32 /* others prove it again */ };

/* A blob on its way in, or of which a part is here. */
struct ingest_row {
    int64_t size;    /* bytes; less than 2^56 */
    bool is_private; /* no public repository has proved to contain the blob */
    bool unvouched;  /* some of its bytes are not its registry's, and not verified yet (cache/ingest/ingest.h) */
    /* Those that have: what is here may be served to them. They are of one registry, whose bytes these are. */
    struct ingest_repo {
        uint64_t id;
        enum proof proof;
    } repos[INGEST_REPOS_MAX];
    size_t repo_count;
    char validator[VALIDATOR_MAX + 1]; /* where it comes from, and upstream's validator */
    const uint8_t *bitmap;             /* one bit a segment; borrowed: of a row that was read, until the next write */
    size_t bitmap_len;                 /* bytes */
};

bool rows_put_ingest(struct index_txn *t, const struct digest *d, const struct ingest_row *row, struct err *err);
bool rows_get_ingest(struct index_txn *t, const struct digest *d, struct ingest_row *row);
/* Adds a repository to a row, or what it has proved now; nothing if there are too many. */
void rows_add_ingest_repo(struct ingest_row *row, uint64_t id, enum proof proof);
/* Visits all of them, beginning after `after` if that is not NULL; returning false ends the visit. */
void rows_each_ingest(struct index_txn *t, const struct digest *after, bool (*fn)(void *arg, const struct digest *d),
                      void *arg);
bool rows_has_ingest(struct index_txn *t, const struct digest *d);
/* Bytes of the blob on its way; -1: there is none, or its size is not known. */
int64_t rows_ingest_size(struct index_txn *t, const struct digest *d);
bool rows_drop_ingest(struct index_txn *t, const struct digest *d, struct err *err);

/* A repository through which the blob came, or that has a manifest which names it, or a tag of it. False if none is
 * known.
 */
bool rows_find_repo(struct index_txn *t, const struct digest *d, char name[REF_NAME_MAX + 1]);

/* Something in the tables that contradicts the invariants in index.h, with what rows_repair() needs. */
struct finding {
    enum finding_kind {
        FINDING_PLACE,      /* a blob is not where GC looks for it */
        FINDING_IDLE,       /* a row of `idle` without its blob */
        FINDING_RANK,       /* a row of `rank` without its image */
        FINDING_CHILD,      /* a child row of a manifest that is not stored */
        FINDING_UNHELD,     /* a child, or a tag's manifest, without its row in `parent` */
        FINDING_HELD,       /* a row in `parent` that nothing accounts for */
        FINDING_TOTALS,     /* the totals are not the sum of the blobs */
        FINDING_REPOSITORY, /* a tag of an unknown repository */
        FINDING_LINK,       /* a child that is not linked to a repository its manifest is linked to */
        FINDING_UNREADABLE, /* a row that cannot be decoded; not repaired */
    } kind;
    struct digest digest;
    struct holder holder;
    struct child child;
    int64_t used;
    double rank;
};

/* What it is, in words. */
const char *finding_text(const struct finding *f);
/* Compares the tables with each other and counts every reference again: `found` gets what is wrong. Reads every
 * row: a second or so for 100 000 blobs. Returns how many things are wrong. */
size_t rows_check(struct index_txn *t, void (*found)(void *arg, const struct finding *f), void *arg);
/* Repairs one; true also if it is right by now. */
bool rows_repair(struct index_txn *t, const struct finding *f, struct err *err);

#endif

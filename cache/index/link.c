#include "cache/index/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/index/rows.h"

#include <string.h>

struct learnt_link {
    char *repo;
    struct digest digest;
    bool is_private;
};

/* A public repository contains the blob, according to a registry that has sent its bytes: then it is no secret. The
 * answer of another registry, which anybody may run, is not enough. */
static bool link_share(struct index_txn *t, const struct learnt_link *l, struct err *err)
{
    char host[REF_HOST_MAX + 1];
    struct blob_row row;

    if (l->is_private || !rows_get_blob(t, &l->digest, &row) || !(row.flags & BLOB_PRIVATE))
        return true;
    snprintf(host, sizeof(host), "%.*s", (int)MIN(strcspn(l->repo, "/"), sizeof(host) - 1), l->repo);
    return !rows_sent_by(t, host, &l->digest) || rows_share_blob(t, &l->digest, err);
}

static bool link_apply(struct index_txn *t, void *arg, struct err *err)
{
    const struct learnt_link *l = arg;
    uint64_t repo;

    return rows_intern_repo(t, l->repo, &repo, err) && (!l->is_private || rows_set_repo_private(t, repo, true, err)) &&
           rows_link(t, repo, &l->digest, PROOF_HEAD, clock_now_s(), err) && link_share(t, l, err);
}

static void link_end(void *arg, const struct err *err)
{
    struct learnt_link *l = arg;

    if (err)
        log_limited(LOG_LEVEL_ERROR, "link", "recording that %s contains a blob: %s", l->repo, err->msg);
    free(l->repo);
    free(l);
}

void index_link(struct index *index, const char *repo, const struct digest *d, bool is_private)
{
    struct learnt_link *l = xcalloc(1, sizeof(*l));

    *l = (struct learnt_link){xstrdup(repo), *d, is_private};
    index_write(index, link_apply, link_end, l, NULL);
}

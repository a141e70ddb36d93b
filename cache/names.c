/* What is cached, by name: the repositories, their tags and referrers. */
#include "cache/private.h"

#include <string.h>

/* ---- repositories ---- */

struct cached_repos {
    struct index_txn *t;
    const char *registry; /* NULL: of all */
    const char *from;
    bool (*fn)(void *arg, const char *name);
    void *arg;
};

static bool note_tag(void *arg, uint64_t repo UNUSED, const char *tag UNUSED, const struct tag_row *row UNUSED)
{
    *(bool *)arg = true;
    return false;
}

/* The name of a repository outlives its images. */
static bool has_images(struct index_txn *t, uint64_t repo)
{
    bool found = false;

    rows_each_tag(t, repo, note_tag, &found);
    return found;
}

static bool names_visit_repo(void *arg, const char *name, uint64_t repo, bool is_private)
{
    struct cached_repos *v = arg;
    size_t host = v->registry ? strlen(v->registry) : 0;

    if (v->registry && (strncmp(name, v->registry, host) != 0 || name[host] != '/'))
        return false; /* a registry's repositories stand together */
    if (is_private || !has_images(v->t, repo))
        return true;
    return v->fn(v->arg, v->registry ? name + host + 1 : name);
}

static void names_read_repos(struct index_txn *t, void *arg)
{
    struct cached_repos *v = arg;
    _cleanup_free_ char *from = v->registry ? xasprintf("%s/%s", v->registry, v->from) : xstrdup(v->from);

    v->t = t;
    rows_each_repo_from(t, from, names_visit_repo, v);
}

void cache_each_repo(struct cache *c, const char *registry, const char *from, bool (*fn)(void *arg, const char *name),
                     void *arg)
{
    cache_read(c, names_read_repos, &(struct cached_repos){NULL, registry, from, fn, arg});
}

/* ---- tags ---- */

struct cached_tags {
    const char *repo, *from;
    bool may_be_private, known;
    bool (*fn)(void *arg, const char *tag);
    void *arg;
};

static bool names_visit_tag(void *arg, uint64_t repo UNUSED, const char *tag, const struct tag_row *row UNUSED)
{
    struct cached_tags *v = arg;

    return strchr(tag, ':') || v->fn(v->arg, tag); /* with ':': pulled by digest */
}

static void names_read_tags(struct index_txn *t, void *arg)
{
    struct cached_tags *v = arg;
    bool is_private;
    uint64_t repo = rows_repo(t, v->repo, &is_private);

    v->known = repo != 0 && (!is_private || v->may_be_private);
    if (v->known)
        rows_each_tag_of(t, repo, v->from, names_visit_tag, v);
}

bool cache_each_tag(struct cache *c, const char *repo, bool may_be_private, const char *from,
                    bool (*fn)(void *arg, const char *tag), void *arg)
{
    struct cached_tags v = {repo, from, may_be_private, false, fn, arg};

    cache_read(c, names_read_tags, &v);
    return v.known;
}

/* ---- referrers ---- */

struct cached_referrers {
    struct index_txn *t;
    const char *repo;
    const struct digest *subject;
    bool may_be_private, known;
    uint64_t repo_id;
    bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row);
    void *arg;
};

static bool names_visit_referrer(void *arg, const struct child *c)
{
    struct cached_referrers *v = arg;
    struct blob_row row;

    if (c->role != CHILD_REFERRER || !rows_get_blob(v->t, &c->digest, &row) ||
        !rows_linked_by_itself(v->t, v->repo_id, &c->digest))
        return true;
    return v->fn(v->arg, &c->digest, &row);
}

static void names_read_referrers(struct index_txn *t, void *arg)
{
    struct cached_referrers *v = arg;
    bool is_private;

    v->t = t;
    v->repo_id = rows_repo(t, v->repo, &is_private);
    v->known = v->repo_id != 0 && (!is_private || v->may_be_private);
    if (v->known)
        rows_each_child(t, v->subject, names_visit_referrer, v);
}

bool cache_each_referrer(struct cache *c, const char *repo, bool may_be_private, const struct digest *subject,
                         bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row), void *arg)
{
    struct cached_referrers v = {NULL, repo, subject, may_be_private, false, 0, fn, arg};

    cache_read(c, names_read_referrers, &v);
    return v.known;
}

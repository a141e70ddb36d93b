#include "cache/parts.h"
#include "tests/tools/model/model.h"

#include <stdio.h>

struct shared *S;
struct blob world[BLOBS];
struct cache *cache;
int leases[BLOBS];
char names[TAGS][32];

void fail(const char *what, int blob)
{
    char text[DIGEST_TEXT_MAX] = "";

    if (blob >= 0)
        digest_format(&world[blob].digest, text);
    life_fail("%s %d %s", what, blob, text);
}

/* ---- the world ---- */

static void add_child(struct blob *b, int child, enum child_role role)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->child[i] == child)
            return;
    b->child[b->count] = child;
    b->children[b->count++] = (struct child){role, world[child].digest, (int64_t)world[child].len};
}

void make_blob(int i, uint64_t seed)
{
    struct blob *b = &world[i];
    struct buf text = {0};
    char d[DIGEST_TEXT_MAX];

    b->manifest = i >= LAYERS;
    if (!b->manifest) {
        b->len = 10 + rnd(sizeof(b->data) - 10);
        snprintf(b->data, sizeof(b->data), "layer %d of %llu", i, (unsigned long long)seed);
    } else {
        int kind = i - LAYERS;
        bool index = kind >= 10 && kind < 12, referrer = kind >= 12;
        for (int k = 0; k < (index ? 2 : 1 + (int)rnd(4)); k++)
            add_child(b, index ? LAYERS + (int)rnd(10) : (int)rnd(LAYERS), CHILD_CONTENT);
        if (referrer)
            add_child(b, LAYERS + (int)rnd(12), CHILD_SUBJECT);
        /* a real one, so that it is recognised if its entry is lost */
        buf_addf(&text, "{\"schemaVersion\":2,\"annotations\":{\"n\":\"%d\"},", i);
        const char *before = index ? "\"manifests\":[" : "\"layers\":[";
        if (!index)
            buf_addf(&text, "\"config\":{\"digest\":\"%s\",\"size\":%lld},", digest_format(&b->children[0].digest, d),
                     (long long)b->children[0].size);
        for (size_t k = index ? 0 : 1; k < b->count; k++) {
            if (b->children[k].role != CHILD_CONTENT)
                continue;
            buf_addf(&text, "%s{\"digest\":\"%s\",\"size\":%lld}", before, digest_format(&b->children[k].digest, d),
                     (long long)b->children[k].size);
            before = ",";
        }
        buf_adds(&text, before[0] == ',' ? "]" : index ? "\"manifests\":[]" : "\"layers\":[]");
        for (size_t k = 0; k < b->count; k++)
            if (b->children[k].role == CHILD_SUBJECT)
                buf_addf(&text, ",\"subject\":{\"digest\":\"%s\",\"size\":%lld}",
                         digest_format(&b->children[k].digest, d), (long long)b->children[k].size);
        buf_adds(&text, "}");
        if (text.len > sizeof(b->data))
            abort();
        memcpy(b->data, text.data, text.len);
        b->len = text.len;
        buf_free(&text);
    }
    digest_of(DIGEST_SHA256, b->data, b->len, &b->digest);
}

const char *repo_of(int tag)
{
    return tag % REPOS ? "docker.io/library/one" : "quay.io/org/two";
}

/* ---- the model ---- */

size_t references(const struct model *m, int blob)
{
    size_t n = 0;

    for (int i = LAYERS; i < BLOBS; i++)
        for (size_t k = 0; k < world[i].count && m->stored[i]; k++) {
            const struct child *c = &world[i].children[k];
            n += c->role == CHILD_CONTENT && world[i].child[k] == blob;
            n += c->role == CHILD_SUBJECT && i == blob && m->stored[world[i].child[k]];
        }
    for (int t = 0; t < TAGS; t++)
        n += m->tag[t] == blob ? 1u + m->pinned[t] : 0u;
    return n;
}

void model_sweep(struct model *m, int64_t cutoff)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < BLOBS; i++)
            if (m->stored[i] && m->used[i] <= cutoff && !leases[i] && references(m, i) == 0) {
                m->stored[i] = false;
                changed = true;
            }
    }
    for (int t = 0; t < TAGS; t++)
        if (m->tag[t] >= 0 && !m->stored[m->tag[t]] && !m->pinned[t] && m->checked[t] <= cutoff)
            m->tag[t] = -1;
}

/* ---- comparing ---- */

static void complain(void *arg, const struct finding *f)
{
    char text[DIGEST_TEXT_MAX];

    (void)arg;
    printf("%s %s\n", digest_format(&f->digest, text), finding_text(f));
}

static int index_of(const struct digest *d)
{
    for (int i = 0; i < BLOBS; i++)
        if (digest_eq(&world[i].digest, d))
            return i;
    return -1;
}

static void read_all(struct index_txn *t, void *arg)
{
    struct seen *s = arg;
    struct blob_row row;
    struct tag_row tag;

    for (int i = 0; i < BLOBS; i++) {
        s->m.stored[i] = rows_get_blob(t, &world[i].digest, &row);
        s->m.used[i] = s->m.stored[i] ? row.used : 0;
        s->references[i] = rows_references(t, &world[i].digest);
    }
    for (int i = 0; i < TAGS; i++) {
        uint64_t repo = rows_repo_id(t, repo_of(i));
        bool known = rows_get_tag(t, repo, names[i], &tag);
        s->m.tag[i] = known ? index_of(&tag.digest) : -1;
        s->m.checked[i] = known ? tag.checked_ms / 1000 : 0;
        s->m.pinned[i] = rows_pinned(t, repo, names[i]);
    }
    rows_totals(t, &s->totals);
    s->wrong = rows_check(t, complain, NULL);
}

struct seen look(void)
{
    struct seen s = {0};

    cache_read(cache, read_all, &s);
    if (s.wrong)
        fail("the tables contradict each other", -1);
    return s;
}

void check_references(const struct seen *s, const struct model *m)
{
    int64_t bytes = 0;

    for (int i = 0; i < BLOBS; i++) {
        if (s->references[i] != references(m, i))
            fail("count of references", i);
        bytes += m->stored[i] ? (int64_t)world[i].len : 0;
    }
    if (s->totals.bytes != bytes)
        fail("total of bytes", -1);
}

void check_all(const struct model *m)
{
    struct seen s = look();

    for (int i = 0; i < BLOBS; i++) {
        if (s.m.stored[i] != m->stored[i])
            fail(m->stored[i] ? "is gone" : "is there", i);
        if (store_has_blob(cache_store(cache), &world[i].digest) != m->stored[i])
            fail("file and entry differ", i);
    }
    for (int t = 0; t < TAGS; t++)
        if (s.m.tag[t] != m->tag[t] || s.m.pinned[t] != m->pinned[t])
            fail("tag", t);
    check_references(&s, m);
}

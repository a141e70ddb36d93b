#include "proxy/admin/image_page.h"

#include <string.h>

/* A page ends when it is full, or so many rows were read for it, or its images consist of so many blobs: that keeps the
 * transaction short and the memory bounded. */
enum { LOOKS_MAX = 4096, LEAVES_MAX = 20000 };

void image_grow_tree(struct index_txn *t, uint64_t repo, const char *tag, struct cached_image *i)
{
    i->tree = (struct image_tree){.root = i->row.digest, .repo = repo};
    snprintf(i->tree.tag, sizeof(i->tree.tag), "%s", tag);
    image_tree_grow(&i->tree, t);
}

void image_read(struct index_txn *t, uint64_t repo, struct cached_image *i)
{
    i->stored = rows_get_blob(t, &i->row.digest, &i->blob);
    i->is_private = rows_repo_is_private(t, repo);
    i->pinned = rows_pinned(t, repo, i->tag);
}

const char *image_reference(const struct cached_image *i, char out[REF_TEXT_MAX])
{
    return ref_join(i->name, i->tag, out);
}

static bool is_full(const struct image_page *p)
{
    return p->count == IMAGE_PAGE_MAX || p->looks >= LOOKS_MAX || p->leaves >= LEAVES_MAX;
}

/* An image of the repository at_name. */
static void add_image(struct image_page *p, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct cached_image *i = &p->list[p->count++];

    memset(i, 0, sizeof(*i));
    memcpy(i->name, p->at_name, sizeof(i->name));
    snprintf(i->tag, sizeof(i->tag), "%s", tag);
    i->row = *row;
    image_read(p->t, repo, i);
    if (!p->names_only)
        image_grow_tree(p->t, repo, tag, i);
    p->leaves += i->tree.count;
}

static bool page_visit_tag(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct image_page *p = arg;

    if (strcmp(tag, p->at_tag) == 0)
        return true; /* where the last page ended */
    p->more = is_full(p);
    if (p->more)
        return false;
    p->looks++;
    snprintf(p->at_tag, sizeof(p->at_tag), "%s", tag);
    if (p->digest.alg == DIGEST_NONE || digest_eq(&p->digest, &row->digest))
        add_image(p, repo, tag, row);
    return true;
}

static bool page_visit_repo(void *arg, const char *name, uint64_t repo, bool is_private UNUSED)
{
    struct image_page *p = arg;

    if (p->name[0] && strcmp(name, p->name) != 0)
        return false;
    p->more = is_full(p);
    if (p->more)
        return false;
    p->looks++;
    if (strcmp(name, p->at_name) != 0) {
        snprintf(p->at_name, sizeof(p->at_name), "%s", name);
        p->at_tag[0] = '\0';
    }
    rows_each_tag_of(p->t, repo, p->at_tag, page_visit_tag, p);
    return !p->more;
}

void image_page_fill(struct index_txn *t, void *page)
{
    struct image_page *p = page;
    uint64_t repo = p->tag[0] ? rows_repo_id(t, p->name) : 0;
    struct tag_row row;

    p->read = true;
    p->t = t;
    if (!p->tag[0]) {
        rows_each_repo_from(t, p->at_name[0] ? p->at_name : p->name, page_visit_repo, p);
    } else if (rows_get_tag(t, repo, p->tag, &row)) {
        memcpy(p->at_name, p->name, sizeof(p->name));
        page_visit_tag(p, repo, p->tag, &row);
    }
    p->t = NULL;
}

struct image_page *image_page_new(const char *name, const char *tag, const struct digest *digest)
{
    struct image_page *p = xcalloc(1, sizeof(*p));

    snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
    snprintf(p->tag, sizeof(p->tag), "%s", tag ? tag : "");
    if (digest)
        p->digest = *digest;
    return p;
}

static void clear(struct image_page *p)
{
    for (size_t i = 0; i < p->count; i++)
        image_tree_free(&p->list[i].tree);
    p->count = 0;
}

void image_page_turn(struct image_page *p)
{
    clear(p);
    p->looks = p->leaves = 0;
    p->read = p->more = false;
}

void image_note_arriving(struct cached_image *image, const struct ingest_info *info)
{
    struct image_leaf *l = image_tree_find(&image->tree, &info->digest);

    if (l && !l->stored)
        l->part = MAX(l->part, info->received);
}

/* Of what is arriving, the index may know less: the latest checkpoint. */
static void page_note_arriving(void *arg, const struct ingest_info *info)
{
    struct image_page *p = arg;

    for (size_t i = 0; i < p->count; i++)
        image_note_arriving(&p->list[i], info);
}

void image_page_read(struct cache *cache, struct image_page *p)
{
    image_page_turn(p);
    cache_read(cache, image_page_fill, p);
    if (!p->names_only)
        ingests_each(cache_ingests(cache), page_note_arriving, p);
}

void image_page_free(struct image_page *p)
{
    if (!p)
        return;
    clear(p);
    free(p);
}

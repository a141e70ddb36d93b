/* image_page.h - the images that the index has, page by page, in the order of their references.
 *
 * A page is one view of the index; between two pages it may change, and nothing is held meanwhile. So an image that is
 * there all the time is given exactly once, as it was when its page was read; one that comes or goes meanwhile may be
 * given or not. Any thread that may read the index.
 */
#ifndef ENTREPOT_PROXY_ADMIN_IMAGE_PAGE_H
#define ENTREPOT_PROXY_ADMIN_IMAGE_PAGE_H

#include "proxy/admin/image_tree.h"

enum { IMAGE_PAGE_MAX = 64 /* images */ };

struct cached_image {
    char name[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1];
    struct tag_row row;
    struct blob_row blob;
    bool stored, pinned, is_private;
    struct image_tree tree;
};

struct image_page {
    /* which ones */
    char name[REF_NAME_MAX + 1]; /* of this repository; "": of all */
    char tag[REF_TAG_MAX + 1];   /* with this tag; "": with any */
    struct digest digest;        /* with this digest; DIGEST_NONE: with any */
    bool names_only;             /* without their trees */
    /* the page */
    struct cached_image list[IMAGE_PAGE_MAX];
    size_t count;
    bool read; /* false: the index could not be read */
    bool more; /* there may be */
    /* where the next one begins: after this */
    char at_name[REF_NAME_MAX + 1], at_tag[REF_TAG_MAX + 1];
    /* while it is read */
    struct index_txn *t;
    size_t looks, leaves;
};

/* Before the first page. NULL: any. */
struct image_page *image_page_new(const char *name, const char *tag, const struct digest *digest);
/* Reads the next page in place of the last one. */
void image_page_read(struct cache *cache, struct image_page *p);
/* Its two steps: drops the last one; for index_read(): fills the page (`page` is a struct image_page). */
void image_page_turn(struct image_page *p);
void image_page_fill(struct index_txn *t, void *page);
void image_page_free(struct image_page *p);
/* Fills in the rest of an image whose name, tag and row are set. */
void image_read(struct index_txn *t, uint64_t repo, struct cached_image *i);
/* Makes its tree; `tag`: its own, or "": it is every tag of the repository that points to it. */
void image_grow_tree(struct index_txn *t, uint64_t repo, const char *tag, struct cached_image *i);
/* A blob is arriving: if it is one of the image's, its tree knows how much of it is here. */
void image_note_arriving(struct cached_image *image, const struct ingest_info *info);
/* "name:tag", "name@digest"; returns `out`. */
const char *image_reference(const struct cached_image *i, char out[REF_TEXT_MAX]);

#endif

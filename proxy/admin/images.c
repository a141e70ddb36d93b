/* `ls`: the images, in pieces of some KiB, each made when the connection can take it. */
#include "proxy/admin/pages.h"
#include "proxy/admin/image_describe.h"

#include <string.h>

static void add_row(struct buf *piece, json_t *row, bool first)
{
    _cleanup_free_ char *text = json_dumps(row, JSON_COMPACT);

    json_decref(row);
    buf_adds(piece, first ? "\n" : ",\n");
    buf_adds(piece, text);
}

struct images_answer {
    struct image_page *page; /* has been read */
    bool begun, any;
};

static enum admin_more images_add_page(struct admin_job *job, struct buf *piece)
{
    struct images_answer *l = job->state;
    struct cache *c = job->admin->puller.cache;

    if (!l->begun)
        buf_adds(piece, "{\"images\":[");
    l->begun = true;
    for (size_t i = 0; i < l->page->count; i++) {
        add_row(piece, image_describe(c, &l->page->list[i]), !l->any);
        l->any = true;
    }
    if (!l->page->more) {
        buf_adds(piece, "]}\n");
        return ADMIN_END;
    }
    image_page_read(c, l->page);
    return l->page->read ? ADMIN_MORE : ADMIN_FAILED;
}

static void images_answer_free(void *state)
{
    struct images_answer *l = state;

    image_page_free(l->page);
    free(l);
}

/* ?repository=NAME, and of that ?tag=TAG or ?digest=DIGEST. */
void admin_images(struct admin_job *job)
{
    char name[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1], text[DIGEST_TEXT_MAX];
    struct digest digest = {0};

    if (!admin_parameter(job, "repository", name, sizeof(name)) || !admin_parameter(job, "tag", tag, sizeof(tag)) ||
        !admin_parameter(job, "digest", text, sizeof(text)))
        return;
    if ((text[0] && !digest_parse(&digest, text, strlen(text))) || (!name[0] && tag[0])) {
        admin_error(job, 400,
                    "which images? ?repository=docker.io/library/nginx, with &tag=1.27 or &digest=sha256:...");
        return;
    }
    struct images_answer *l = xcalloc(1, sizeof(*l));
    l->page = image_page_new(name, tag, &digest);
    image_page_read(job->admin->puller.cache, l->page);
    job->state = l;
    job->free_state = images_answer_free;
    if (l->page->read)
        job->produce = images_add_page;
    else
        admin_error(job, 500, "the index cannot be read; see the log");
}

#include "proxy/registry/blob_stored.h"

#include "base/assert.h"
#include "proxy/registry/blob_pieces.h"

/* An answer that is being sent. Belongs to the serve loop. */
struct stored {
    struct cache *cache;
    struct loop *loop;
    struct http_request *req;
    struct digest digest;
    int fd; /* leased */
    struct blob_pieces pieces;
};

static void stored_free(struct stored *s)
{
    close(s->fd);
    cache_release(s->cache, &s->digest);
    blob_pieces_free(&s->pieces);
    free(s);
}

/* Or the client is gone. */
static void stored_sent(void *arg)
{
    struct stored *s = arg;

    ON_LOOP(s->loop);
    if (http_read_failed(s->req))
        cache_suspect(s->cache, &s->digest);
    stored_free(s);
}

/* Gives the connection the next of several pieces, or as many small ones as it has room for. */
static void stored_pump(void *arg)
{
    struct stored *s = arg;
    struct blob_pieces *p = &s->pieces;

    ON_LOOP(s->loop);
    while (!blob_pieces_over(p)) {
        if (!http_stream_can_take(s->req) || http_stream_waiting(s->req) >= BLOB_PIECES_WAITING)
            return;
        if (p->left > 0)
            blob_pieces_give(p, s->req, s->fd, p->first, p->left);
        else
            blob_pieces_turn(p, s->req);
    }
    http_stream_end(s->req, stored_sent, s);
}

bool blob_send_stored(struct registry *reg, struct http_request *req, const struct digest *d)
{
    struct blob_pieces pieces;
    int64_t size;
    int fd = cache_open_blob(reg->cache, d, &size, NULL);

    if (fd < 0)
        return false;
    blob_pieces_choose(&pieces, req, d, size, false);
    if (blob_pieces_answer(&pieces, req)) {
        close(fd);
        cache_release(reg->cache, d);
        blob_pieces_free(&pieces);
        return true;
    }
    struct stored *s = xcalloc(1, sizeof(*s));
    *s = (struct stored){.cache = reg->cache, .loop = http_loop(req), .req = req, .digest = *d, .fd = fd};
    s->pieces = pieces;
    if (!pieces.all) {
        http_reply_file(req, pieces.status, pieces.type, fd, pieces.first, pieces.left, stored_sent, s);
        return true;
    }
    http_on_gone(req, stored_sent, s);
    http_stream(req, pieces.status, s->pieces.type, blob_pieces_length(&s->pieces), stored_pump, s);
    return true;
}

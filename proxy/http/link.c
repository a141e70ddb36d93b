/* A plain socket. Files go from the page cache to the socket by sendfile(2). */
#include "proxy/http/link.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static ssize_t plain_read(struct http_link *l, void *to, size_t cap)
{
    return recv(l->fd, to, cap, 0);
}

static bool plain_has_input(const struct http_link *l UNUSED)
{
    return false;
}

static ssize_t plain_send(struct http_link *l, const void *data, size_t len)
{
    return send(l->fd, data, len, MSG_NOSIGNAL);
}

static ssize_t plain_write(struct http_link *l, struct http_out *out, size_t most)
{
    off_t at = out->at;

    if (evbuffer_get_length(out->data) > 0)
        return evbuffer_write_atmost(out->data, l->fd, (ev_ssize_t)most);
    ssize_t n = sendfile(l->fd, out->fd, &at, MIN(most, (size_t)(out->end - out->at)));
    if (n == 0) {
        errno = EIO; /* the file is shorter than it was */
        return -1;
    }
    out->at += MAX(n, (ssize_t)0);
    return n;
}

static void plain_end_output(struct http_link *l)
{
    shutdown(l->fd, SHUT_WR);
}

static void plain_close(struct http_link *l, bool whole UNUSED)
{
    close(l->fd);
    l->fd = -1;
}

static const struct http_link_kind PLAIN = {
    .read = plain_read,
    .has_input = plain_has_input,
    .send = plain_send,
    .write = plain_write,
    .end_output = plain_end_output,
    .close = plain_close,
};

void http_link_open(struct http_link *l, int fd, char *scratch)
{
    *l = (struct http_link){.kind = &PLAIN, .fd = fd, .scratch = scratch};
}

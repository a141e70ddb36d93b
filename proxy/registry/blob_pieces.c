#include "proxy/registry/blob_pieces.h"

#include "base/assert.h"

#include <string.h>
#include <sys/random.h>

#define BLOB_TYPE "application/octet-stream"

enum {
    PART_HEAD_MAX = 256, /* bytes; of both forms */
};

/* Letters and digits alone, which need no quotes. */
static void make_boundary(char *to)
{
    uint8_t bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        abort();
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* What is between the pieces: before the n-th, or behind the last one. Returns its length. */
static size_t write_part_head(const struct blob_pieces *p, int n, char *to)
{
    const char *newline = n > 0 ? "\r\n" : "";

    if (n == p->count)
        return (size_t)snprintf(to, PART_HEAD_MAX, "%s--%s--\r\n", newline, p->boundary);
    return (size_t)snprintf(
        to, PART_HEAD_MAX, "%s--%s\r\nContent-Type: " BLOB_TYPE "\r\nContent-Range: bytes %lld-%lld/%lld\r\n\r\n",
        newline, p->boundary, (long long)p->all[n].first, (long long)p->all[n].last, (long long)p->size);
}

/* Headers that every answer has. Whether the client has the blob already. */
static bool describe(struct http_request *req, const struct digest *d, char etag[DIGEST_TEXT_MAX + 2])
{
    char text[DIGEST_TEXT_MAX];

    snprintf(etag, DIGEST_TEXT_MAX + 2, "\"%s\"", digest_format(d, text));
    http_reply_header(req, "Docker-Content-Digest", "%s", text);
    http_reply_header(req, "ETag", "%s", etag);
    http_reply_header(req, "Accept-Ranges", "bytes");
    /* A blob never changes under its digest. */
    http_reply_header(req, "Cache-Control", "max-age=31536000, immutable");
    return http_is_known(req, text);
}

static void choose_one(struct blob_pieces *p, struct range range)
{
    p->next = 1;
    p->first = range.first;
    p->left = p->size < 0 ? INT64_MAX : range.last - range.first + 1;
}

static void choose_several(struct blob_pieces *p, struct ranges *ranges)
{
    p->all = ranges->all;
    p->count = ranges->count;
    ranges->all = NULL;
    make_boundary(p->boundary);
    snprintf(p->type, sizeof(p->type), "multipart/byteranges; boundary=%s", p->boundary);
}

void blob_pieces_choose(struct blob_pieces *p, struct http_request *req, const struct digest *d, int64_t size,
                        bool relayed)
{
    char etag[DIGEST_TEXT_MAX + 2];
    const char *range = http_header(req, "range"), *if_range = http_header(req, "if-range");
    _cleanup_ranges_ struct ranges ranges = {0};

    *p = (struct blob_pieces){.status = 200, .size = size, .type = BLOB_TYPE};
    if (describe(req, d, etag)) {
        p->status = 304;
        return;
    }
    /* Another validator asks for the whole blob (RFC 9110 §13.1.5). Without a known size there are no ranges. */
    if (http_method(req) != HTTP_METHOD_GET || size < 0 || (if_range && strcmp(if_range, etag) != 0))
        range = NULL;
    enum range_verdict verdict = ranges_parse(range, size, &ranges);
    if (verdict == RANGE_PARTS && relayed && !ranges_ascend(&ranges)) {
        ranges_free(&ranges);
        verdict = ranges_parse(NULL, size, &ranges);
    }
    if (verdict == RANGE_PARTS)
        choose_several(p, &ranges);
    else
        choose_one(p, ranges.one);
    if (verdict == RANGE_OUTSIDE)
        http_reply_header(req, "Content-Range", "bytes */%lld", (long long)size);
    else if (verdict == RANGE_PART)
        http_reply_header(req, "Content-Range", "bytes %lld-%lld/%lld", (long long)ranges.one.first,
                          (long long)ranges.one.last, (long long)size);
    p->status = verdict == RANGE_WHOLE ? 200 : verdict == RANGE_OUTSIDE ? 416 : 206;
}

void blob_pieces_free(struct blob_pieces *p)
{
    free(p->all);
    p->all = NULL;
}

bool blob_pieces_answer(const struct blob_pieces *p, struct http_request *req)
{
    if (p->status == 304)
        http_reply_head(req, 304, NULL, -1);
    else if (p->status == 416)
        http_error(req, 416, "RANGE_INVALID", "the blob has %lld bytes", (long long)p->size);
    else if (http_method(req) == HTTP_METHOD_HEAD)
        http_reply_head(req, p->status, p->type, p->size);
    else
        return false;
    return true;
}

int64_t blob_pieces_length(const struct blob_pieces *p)
{
    char head[PART_HEAD_MAX];
    int64_t sum = 0;

    if (!p->all)
        return p->size < 0 ? -1 : p->left;
    for (int i = 0; i < p->count; i++)
        sum += (int64_t)write_part_head(p, i, head) + p->all[i].last - p->all[i].first + 1;
    return sum + (int64_t)write_part_head(p, p->count, head);
}

struct range blob_pieces_begin(const struct blob_pieces *p)
{
    return p->all ? p->all[0] : (struct range){p->first, p->size < 0 ? INT64_MAX - 1 : p->first + p->left - 1};
}

bool blob_pieces_over(const struct blob_pieces *p)
{
    return p->left == 0 && p->next > p->count;
}

void blob_pieces_turn(struct blob_pieces *p, struct http_request *req)
{
    char head[PART_HEAD_MAX];

    IN_STATE(p->left == 0 && p->next <= p->count);
    http_stream_data(req, head, write_part_head(p, p->next, head));
    if (p->next < p->count) {
        p->first = p->all[p->next].first;
        p->left = p->all[p->next].last - p->first + 1;
    }
    p->next++;
}

void blob_pieces_give(struct blob_pieces *p, struct http_request *req, int fd, int64_t at, int64_t n)
{
    p->left -= n;
    if (!p->all || !http_stream_small(req, fd, at, n))
        http_stream_file(req, fd, at, n);
}

bool blob_pieces_ascend(const struct blob_pieces *p)
{
    const struct ranges all = {.all = p->all, .count = p->count};

    return ranges_ascend(&all);
}

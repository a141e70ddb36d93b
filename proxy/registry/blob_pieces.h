/* blob_pieces.h - which bytes of a blob an answer has: all of them, one range, or several ranges, each behind a header
 * of its own (multipart/byteranges, RFC 9110 §14.6):
 *
 *     --boundary CRLF header, bytes, CRLF --boundary CRLF header, bytes, ... CRLF --boundary-- CRLF
 *
 * Belongs to the serve loop of the request. */
#ifndef ENTREPOT_PROXY_REGISTRY_BLOB_PIECES_H
#define ENTREPOT_PROXY_REGISTRY_BLOB_PIECES_H

#include "base/digest.h"
#include "proxy/http/http.h"
#include "proxy/http/range.h"

enum {
    BLOB_PIECES_WAITING = 32 << 10, /* bytes of small pieces that are copied for a client before it takes them */
};

struct blob_pieces {
    int status;        /* 200, 206, 304 or 416 */
    int64_t size;      /* of the blob, in bytes; -1: not known */
    int64_t first;     /* where the piece begins that is being sent */
    int64_t left;      /* bytes of it that are still to be sent; of a blob whose size is not known INT64_MAX */
    struct range *all; /* several ranges; NULL: one piece without a header */
    int count;         /* of `all` */
    int next;          /* in `all`; `count`: what ends the body; beyond: nothing */
    char boundary[33]; /* random, so that no blob can contain it */
    char type[80];     /* Content-Type */
};

/* Decides what to send, and sets the headers that every answer of a blob has. `relayed`: its bytes come once, in their
 * order. Freed by blob_pieces_free(). */
void blob_pieces_choose(struct blob_pieces *p, struct http_request *req, const struct digest *d, int64_t size,
                        bool relayed);
void blob_pieces_free(struct blob_pieces *p);
/* Answers a request that gets no bytes of the blob (HEAD, 304, 416). False: it gets some. */
bool blob_pieces_answer(const struct blob_pieces *p, struct http_request *req);
/* The answer's Content-Length; -1: not known. */
int64_t blob_pieces_length(const struct blob_pieces *p);
/* What is sent first. */
struct range blob_pieces_begin(const struct blob_pieces *p);
/* Everything has been given. */
bool blob_pieces_over(const struct blob_pieces *p);
/* Nothing of the current piece is left: gives the stream the header of the next one, whose bytes are due (first, left),
 * or what ends the body. */
void blob_pieces_turn(struct blob_pieces *p, struct http_request *req);
/* Gives the stream `n` bytes of the current piece, which lie at `at` in its file. */
void blob_pieces_give(struct blob_pieces *p, struct http_request *req, int fd, int64_t at, int64_t n);
/* Whether the bytes may come from elsewhere from here on, where they come once and in their order. */
bool blob_pieces_ascend(const struct blob_pieces *p);

#endif

/* err.h - one idiom for failure.
 *
 * A function that can fail takes `struct err *err` last and returns bool (or a pointer): on false (NULL), *err has the
 * error. The message gains context on the way up, outermost first:
 *
 *     reading manifest of docker.io/library/nginx:latest: upstream answered 503
 *
 * An error is handled or passed on, once; it is logged where it is handled. `err` may be NULL if it is not needed.
 */
#ifndef ENTREPOT_BASE_ERR_H
#define ENTREPOT_BASE_ERR_H

#include "base/mem.h"

#include <stdbool.h>

enum err_code {
    ERR_OK = 0,
    ERR_INVALID,     /* the caller's input is wrong: a name, a number, a document */
    ERR_NOT_FOUND,   /* what was requested does not exist */
    ERR_IO,          /* the disk or a file failed */
    ERR_NO_SPACE,    /* no room on the disk */
    ERR_CORRUPT,     /* what the cache holds is damaged */
    ERR_OUTDATED,    /* what the cache holds was written by a version too old to be read */
    ERR_UNVERIFIED,  /* a file changed since its digest was verified */
    ERR_DIGEST,      /* bytes do not match their digest */
    ERR_DENIED,      /* upstream refuses the identity (401, 403) */
    ERR_UPSTREAM,    /* upstream's answer is not usable: 5xx, wrong length, not a manifest */
    ERR_UNREACHABLE, /* upstream cannot be reached: DNS, connect, TLS, reset */
    ERR_TIMEOUT,     /* upstream took too long */
    ERR_RATE_LIMIT,  /* upstream answered 429 */
    ERR_TOO_LARGE,   /* over a limit of ours */
    ERR_CANCELLED,   /* it was cancelled */
    ERR_UNSUPPORTED, /* not supported */
    ERR_BUSY,        /* busy: retry later */
};

enum {
    ERR_SOURCE_MAX = 400,
    ERR_MSG_MAX = 2560 /* it holds a registry's message, and what went wrong with each endpoint (upstream/transfer.h) */
};

struct err {
    enum err_code code;
    int status;      /* upstream's HTTP status, where one was the cause; else 0 */
    int retry_after; /* seconds; upstream's Retry-After; else 0 */
    bool of_limits;  /* ERR_NO_SPACE: by the cache's own limits; the disk itself may have room */
    /* where upstream's failure came from, for those who run it: URL, status, host, ids of the request there; else "" */
    char source[ERR_SOURCE_MAX];
    char msg[ERR_MSG_MAX];
};

/* Sets *err; always returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with ": " and the text of errno; ENOSPC and EDQUOT turn ERR_IO into ERR_NO_SPACE. */
bool err_errno(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts context before the message; always returns false. Of a text that is too long, the context is shortened, not the
 * cause. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends to the message; always returns false. A message that gets too long is cut between characters. */
bool err_append(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Whether upstream could not be reached or gave no usable answer: that says nothing about the content, cached content
 * may be served, and a retry may succeed. */
bool err_is_passing(const struct err *err);
/* A short name of the code, for logs and JSON. */
const char *err_name(enum err_code code);

#endif

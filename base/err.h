/* err.h - one idiom for failure.
 *
 * A function that can fail takes `struct err *err` last and returns bool (or a pointer): false (NULL) means that *err
 * says what happened. The message gains context on the way up, outermost first:
 *
 *     reading manifest of docker.io/library/nginx:latest: upstream answered 503
 *
 * An error is handled or passed on, once; it is logged where it is handled. `err` may be NULL when nobody wants to
 * know.
 */
#ifndef ENTREPOT_BASE_ERR_H
#define ENTREPOT_BASE_ERR_H

#include "base/mem.h"

#include <stdbool.h>

enum err_code {
    ERR_OK = 0,
    ERR_INVALID,     /* the caller's input is wrong: a name, a number, a document */
    ERR_NOT_FOUND,   /* what was asked for is not there */
    ERR_IO,          /* the disk or a file failed */
    ERR_NO_SPACE,    /* no room on the disk */
    ERR_CORRUPT,     /* what the cache holds is damaged */
    ERR_OUTDATED,    /* what the cache holds was written by a version too old to be read */
    ERR_UNVERIFIED,  /* a file changed since its digest was verified */
    ERR_DIGEST,      /* bytes do not match their digest */
    ERR_DENIED,      /* upstream refuses the identity (401, 403) */
    ERR_UPSTREAM,    /* upstream's answer is of no use: 5xx, wrong length, not a manifest */
    ERR_UNREACHABLE, /* upstream cannot be reached: DNS, connect, TLS, reset */
    ERR_TIMEOUT,     /* upstream took too long */
    ERR_RATE_LIMIT,  /* upstream answered 429 */
    ERR_TOO_LARGE,   /* over a limit of ours */
    ERR_CANCELLED,   /* nobody waits for it any more */
    ERR_UNSUPPORTED, /* we do not do this */
    ERR_BUSY,        /* somebody else is at it: again in a while */
};

enum { ERR_MSG_MAX = 2560 /* bytes; upstream/transfer.h: what a registry says, what went wrong with each endpoint */ };

struct err {
    enum err_code code;
    int status;      /* upstream's HTTP status, where one was the cause; else 0 */
    int retry_after; /* seconds upstream asked us to wait; else 0 */
    char msg[ERR_MSG_MAX];
};

/* Sets *err; always returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with ": " and the text of errno; ENOSPC and EDQUOT turn ERR_IO into ERR_NO_SPACE. */
bool err_errno(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts context before the message; always returns false. Where there is no room for all, the context is shortened,
 * not the cause. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts more behind the message; always returns false. However a message gets too long, it is cut between characters. */
bool err_append(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Whether upstream could not be asked, or its answer is of no use: it says nothing about what was asked for, what is
 * kept may be served, and later it may be different. */
bool err_is_passing(const struct err *err);
/* A short word for the code, for logs and JSON. */
const char *err_name(enum err_code code);

#endif

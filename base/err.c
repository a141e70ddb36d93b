#include "base/err.h"

#include "base/visible.h"

#include <errno.h>
#include <string.h>

enum { WHAT_LEAST = 64 /* bytes of context that are kept if there are any */ };

/* Appends; what does not fit is cut off between characters. */
static void err_add(struct err *err, const char *fmt, va_list ap)
{
    size_t used = strlen(err->msg);

    text_print(err->msg + used, sizeof(err->msg) - used, fmt, ap);
}

static void err_fill(struct err *err, enum err_code code, const char *fmt, va_list ap)
{
    err->code = code;
    err->status = 0;
    err->retry_after = 0;
    err->of_limits = false;
    err->source[0] = '\0';
    err->msg[0] = '\0';
    err_add(err, fmt, ap);
}

/* "what: why". If it is too long, the end of `what` is cut, and `why` only where it leaves no space for a few words of
 * `what`. */
static void err_lead(struct err *err, const char *why, const char *fmt, va_list ap)
{
    static const char cut[] = "...";
    const size_t cap = sizeof(err->msg) - sizeof(": ") - strlen(cut);
    char what[ERR_MSG_MAX];

    vsnprintf(what, sizeof(what), fmt, ap);
    size_t due = MIN(strlen(why), cap - WHAT_LEAST);
    bool whole = strlen(what) <= cap - due;
    if (!whole)
        what[text_whole(what, cap - due)] = '\0';
    err->msg[0] = '\0';
    err_append(err, "%s%s%s%s", what, whole ? "" : cut, what[0] ? ": " : "", why);
}

bool err_append(struct err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    err_add(err, fmt, ap);
    va_end(ap);
    return false;
}

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    err_fill(err, code, fmt, ap);
    va_end(ap);
    return false;
}

bool err_errno(struct err *err, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    if (!err)
        return false;
    if (code == ERR_IO && (saved == ENOSPC || saved == EDQUOT))
        code = ERR_NO_SPACE;
    err_set(err, code, "%s", "");
    va_start(ap, fmt);
    err_lead(err, strerror(saved), fmt, ap);
    va_end(ap);
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    char inner[ERR_MSG_MAX];
    va_list ap;

    if (!err)
        return false;
    memcpy(inner, err->msg, sizeof(inner));
    va_start(ap, fmt);
    err_lead(err, inner, fmt, ap);
    va_end(ap);
    return false;
}

bool err_is_passing(const struct err *err)
{
    return err->code == ERR_UPSTREAM || err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT ||
           err->code == ERR_RATE_LIMIT || err->code == ERR_BUSY;
}

const char *err_name(enum err_code code)
{
    static const char *const names[] = {
        [ERR_OK] = "ok",
        [ERR_INVALID] = "invalid",
        [ERR_NOT_FOUND] = "not found",
        [ERR_IO] = "I/O",
        [ERR_NO_SPACE] = "no space",
        [ERR_CORRUPT] = "corrupt",
        [ERR_UNVERIFIED] = "unverified",
        [ERR_DIGEST] = "digest mismatch",
        [ERR_DENIED] = "denied",
        [ERR_UPSTREAM] = "upstream",
        [ERR_UNREACHABLE] = "unreachable",
        [ERR_TIMEOUT] = "timeout",
        [ERR_RATE_LIMIT] = "rate limit",
        [ERR_TOO_LARGE] = "too large",
        [ERR_CANCELLED] = "cancelled",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_BUSY] = "busy",
    };
    return (size_t)code < ARRAY_LEN(names) ? names[code] : "unknown";
}

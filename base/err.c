#include "base/err.h"

#include "base/visible.h"

#include <errno.h>
#include <string.h>

/* Appends; what does not fit is cut off between characters. */
static void err_add(struct err *err, const char *fmt, va_list ap)
{
    size_t used = strlen(err->msg), room = sizeof(err->msg) - used;

    if (vsnprintf(err->msg + used, room, fmt, ap) >= (int)room)
        err->msg[text_whole(err->msg, sizeof(err->msg) - 1)] = '\0';
}

static void fill(struct err *err, enum err_code code, const char *fmt, va_list ap)
{
    err->code = code;
    err->status = 0;
    err->retry_after = 0;
    err->msg[0] = '\0';
    err_add(err, fmt, ap);
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
    fill(err, code, fmt, ap);
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
    va_start(ap, fmt);
    fill(err, code, fmt, ap);
    va_end(ap);
    return err_append(err, ": %s", strerror(saved));
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    char inner[ERR_MSG_MAX];
    va_list ap;

    if (!err)
        return false;
    memcpy(inner, err->msg, sizeof(inner));
    err->msg[0] = '\0';
    va_start(ap, fmt);
    err_add(err, fmt, ap);
    va_end(ap);
    return err_append(err, ": %s", inner);
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

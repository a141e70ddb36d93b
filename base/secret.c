#include "base/secret.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>

void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void secret_clear_buf(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_free(b);
}

char *secret_read(const char *file, struct err *err)
{
    _cleanup_free_ char *text = xmalloc(SECRET_MAX + 1);
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = fd >= 0 ? 1 : -1;
    char *out = NULL;

    while (n > 0 && len <= SECRET_MAX) {
        n = io_read(fd, text + len, SECRET_MAX + 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        err_errno(err, ERR_IO, "reading %s", file);
    } else if (len > SECRET_MAX || memchr(text, '\0', len)) {
        err_set(err, ERR_INVALID, "%s is not text of at most %d bytes", file, (int)SECRET_MAX);
    } else {
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
            len--;
        out = len > 0 ? xstrndup(text, len) : NULL;
        if (!out)
            err_set(err, ERR_INVALID, "%s is empty", file);
    }
    explicit_bzero(text, SECRET_MAX + 1);
    return out;
}

char *secret_basic(const char *username, const char *password)
{
    _cleanup_free_ char *pair = xasprintf("%s:%s", username, password);
    size_t len = strlen(pair);
    _cleanup_free_ char *b64 = xmalloc(len / 3 * 4 + 8);

    EVP_EncodeBlock((unsigned char *)b64, (const unsigned char *)pair, (int)len);
    char *value = xasprintf("Basic %s", b64);
    explicit_bzero(pair, len);
    explicit_bzero(b64, strlen(b64));
    return value;
}

#include "base/base64.h"

#include "base/secret.h"

#include <openssl/evp.h>
#include <string.h>

char *base64url_encode(const void *data, size_t len)
{
    char *out = xmalloc(len / 3 * 4 + 8);
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)out, data, (int)len);

    for (char *p = out; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    while (n > 0 && out[n - 1] == '=')
        out[--n] = '\0';
    return out;
}

char *base64_decode(const char *text, size_t *len)
{
    size_t n = text ? strlen(text) : 0;
    char *out = n > 0 && n % 4 == 0 && n < SECRET_MAX ? xcalloc(1, n / 4 * 3 + 1) : NULL;
    int got = out ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n) : -1;

    if (got < 0) {
        free(out);
        return NULL;
    }
    *len = (size_t)got - (text[n - 1] == '=') - (text[n - 2] == '=');
    out[*len] = '\0';
    return out;
}

char *base64url_decode(const char *text, size_t *len)
{
    size_t n = text ? strlen(text) : 0;

    if (n >= SECRET_MAX || n % 4 == 1)
        return NULL;
    _cleanup_secret_ char *padded = xasprintf("%s%.*s", text ? text : "", (int)((4 - n % 4) % 4), "==");
    for (char *p = padded; *p; p++) {
        if (*p == '+' || *p == '/')
            return NULL;
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    }
    return base64_decode(padded, len);
}

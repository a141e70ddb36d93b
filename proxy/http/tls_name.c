#include "proxy/http/tls_name.h"

#include "base/mem.h"
#include "proxy/http/tls.h"

#include <ctype.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

enum { LABEL_MAX = 63, EXT_HEAD = 5 /* bytes: the list's length, the kind of name, the name's length */ };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int slot; /* of a session's host */

static void free_host(void *parent UNUSED, void *host, CRYPTO_EX_DATA *ad UNUSED, int idx UNUSED, long argl UNUSED,
                      void *argp UNUSED)
{
    free(host);
}

static void take_slot(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_host);
    if (slot < 0)
        abort(); /* as without memory anywhere */
}

/* Labels of letters, digits and hyphens (RFC 1123 §2.1); the last one is no number, so that it is no address either. */
static bool is_dns_name(const char *host)
{
    bool number = false;

    for (const char *p = host;; p++) {
        size_t len = strcspn(p, ".");
        if (len == 0 || len > LABEL_MAX || p[0] == '-' || p[len - 1] == '-')
            return false;
        if (strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-") < len)
            return false;
        number = strspn(p, "0123456789") >= len;
        p += len;
        if (*p == '\0')
            return !number;
    }
}

/* A list with one name (of kind 0, host_name): other kinds were never defined. */
bool tls_name_read(const unsigned char *ext, size_t len, char host[TLS_NAME_MAX + 1])
{
    if (len <= EXT_HEAD || len > EXT_HEAD + TLS_NAME_MAX || ((size_t)ext[0] << 8 | ext[1]) != len - 2 || ext[2] != 0 ||
        ((size_t)ext[3] << 8 | ext[4]) != len - EXT_HEAD)
        return false;
    for (size_t i = EXT_HEAD; i < len; i++)
        *host++ = (char)tolower(ext[i]);
    *host = '\0';
    host -= len - EXT_HEAD;
    return strlen(host) == len - EXT_HEAD && is_dns_name(host);
}

/* The context decides on the certificate, and has the keys of tickets: a session is resumed for no other host. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const struct tls_chooser *chooser = arg;
    const unsigned char *ext;
    char host[TLS_NAME_MAX + 1];
    size_t len;

    *alert = SSL_AD_UNRECOGNIZED_NAME;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len) != 1 || !tls_name_read(ext, len, host))
        return SSL_CLIENT_HELLO_ERROR;
    SSL_CTX *ctx = chooser->choose(chooser->arg, host);
    if (!ctx)
        return SSL_CLIENT_HELLO_ERROR;
    bool set = SSL_set_SSL_CTX(ssl, ctx) != NULL;
    SSL_CTX_free(ctx);
    free(SSL_get_ex_data(ssl, slot)); /* a second hello (RFC 8446 §4.1.2) */
    return set && SSL_set_ex_data(ssl, slot, xstrdup(host)) == 1 ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

void tls_name_decides(SSL_CTX *ctx, struct tls_chooser *chooser)
{
    pthread_once(&once, take_slot);
    SSL_CTX_set_client_hello_cb(ctx, on_hello, chooser);
}

const char *http_tls_host(const SSL *ssl)
{
    pthread_once(&once, take_slot);
    return SSL_get_ex_data(ssl, slot);
}

#include "config/trust.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

void trust_copy(struct trust *to, const struct trust *from)
{
    *to = (struct trust){
        .ca = from->ca ? xstrdup(from->ca) : NULL,
        .ca_only = from->ca_only,
        .client_cert = from->client_cert ? xstrdup(from->client_cert) : NULL,
        .client_key = from->client_key ? xstrdup(from->client_key) : NULL,
    };
}

void trust_clear(struct trust *t)
{
    free(t->ca);
    free(t->client_cert);
    free(t->client_key);
    memset(t, 0, sizeof(*t));
}

/* For a key with a passphrase OpenSSL would prompt at the terminal. */
static int no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *arg UNUSED)
{
    return 0;
}

static bool bad(struct err *err, const char *file)
{
    unsigned long code = ERR_peek_error();
    const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    err_set(err, ERR_IO, "%s: %s", file, why ? why : "is no PEM file");
    ERR_clear_error();
    return false;
}

static bool check_client(SSL_CTX *ctx, const struct trust *t, const char **key, struct err *err)
{
    const char *key_file = t->client_key ? t->client_key : t->client_cert;

    if (!t->client_cert)
        return true;
    *key = "client_cert";
    if (SSL_CTX_use_certificate_chain_file(ctx, t->client_cert) != 1)
        return bad(err, t->client_cert);
    *key = t->client_key ? "client_key" : "client_cert";
    return SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 || bad(err, key_file);
}

bool trust_check(const struct trust *t, const char **key, struct err *err)
{
    if (!t->ca && !t->client_cert)
        return true;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        abort();
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    *key = "ca";
    bool ok = !t->ca || SSL_CTX_load_verify_file(ctx, t->ca) == 1 || bad(err, t->ca);
    ok = ok && check_client(ctx, t, key, err);
    SSL_CTX_free(ctx);
    return ok;
}

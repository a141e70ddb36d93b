#include "base/tls_files.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>

/* For a key with a passphrase OpenSSL would prompt at the terminal. */
static int tls_no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static bool tls_bad(struct err *err, const char *file)
{
    unsigned long code = ERR_peek_error(), last = ERR_peek_last_error();
    const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    if (ERR_GET_LIB(last) == ERR_LIB_X509 && ERR_GET_REASON(last) == X509_R_KEY_VALUES_MISMATCH)
        why = "is not the key of the certificate";
    else if (ERR_GET_LIB(last) == ERR_LIB_X509 && ERR_GET_REASON(last) == X509_R_KEY_TYPE_MISMATCH)
        why = "is a key of another type than the certificate's";
    else if (ERR_GET_REASON(code) == ERR_R_UNSUPPORTED ||
             (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE))
        why = "no PEM of that kind is in it";
    err_set(err, ERR_IO, "%s: %s", file, why ? why : "is no PEM file");
    ERR_clear_error();
    return false;
}

static bool load_key(SSL_CTX *ctx, const char *file, const bool *asked, struct err *err)
{
    bool ok = SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1;

    if (!ok && *asked) {
        ERR_clear_error();
        return err_set(err, ERR_IO, "%s: has a passphrase: only a key without one can be used", file);
    }
    return ok || tls_bad(err, file);
}

/* A folder, a device or a FIFO would block, or end in a puzzle. */
static bool is_readable_file(const char *file, struct err *err)
{
    struct stat st;

    if (stat(file, &st) != 0)
        return err_set(err, ERR_IO, "%s: %s", file, strerror(errno));
    return S_ISREG(st.st_mode) || err_set(err, ERR_IO, "%s: not a file", file);
}

static bool load_client_ca(SSL_CTX *ctx, const char *file, struct err *err)
{
    if (!is_readable_file(file, err))
        return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (!names || SSL_CTX_load_verify_file(ctx, file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_bad(err, file);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

static bool load_all(const struct tls_files *f, SSL_CTX *ctx, const bool *asked, const char **fault, struct err *err)
{
    *fault = "cert";
    if (!is_readable_file(f->cert, err))
        return false;
    if (SSL_CTX_use_certificate_chain_file(ctx, f->cert) != 1)
        return tls_bad(err, f->cert);
    *fault = "key";
    if (!is_readable_file(f->key, err) || !load_key(ctx, f->key, asked, err))
        return false;
    *fault = "client_ca";
    return !f->client_ca || load_client_ca(ctx, f->client_ca, err);
}

bool tls_files_load(const struct tls_files *f, struct ssl_ctx_st *ctx, const char **fault, struct err *err)
{
    bool asked = false;

    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, tls_no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
    bool ok = load_all(f, ctx, &asked, fault, err);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    return ok;
}

bool tls_files_check(const struct tls_files *f, const char **fault, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx)
        abort(); /* as without memory anywhere */
    bool ok = tls_files_load(f, ctx, fault, err);
    SSL_CTX_free(ctx);
    return ok;
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 1099511628211u;
}

uint64_t tls_files_stamp(const struct tls_files *f)
{
    const char *const files[] = {f->cert, f->key, f->client_ca};
    uint64_t sum = 14695981039346656037u;
    struct stat st;

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (!files[i] || stat(files[i], &st) != 0) {
            sum = mix(sum, 1);
            continue;
        }
        sum = mix(mix(sum, st.st_dev), st.st_ino);
        sum = mix(mix(sum, (uint64_t)st.st_size), (uint64_t)st.st_mode);
        sum = mix(mix(sum, (uint64_t)st.st_ctim.tv_sec), (uint64_t)st.st_ctim.tv_nsec);
        sum = mix(mix(sum, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
    }
    return sum;
}

bool tls_files_key_is_open(const struct tls_files *f)
{
    struct stat st;

    return stat(f->key, &st) == 0 && (st.st_mode & S_IROTH);
}

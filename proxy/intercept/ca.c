#include "proxy/intercept/ca.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/ref.h"
#include "base/tls_files.h"
#include "config/config.h"
#include "proxy/http/tls.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { REMAKE_SHARE = 7 /* of a week: a day */, ENDS_SOON_S = 30 * 86400, DAY_S = 86400, HOST_MAX = 253 };

/* A host and its certificate; in place of an empty one, host is NULL. */
struct ca_leaf {
    char *host;
    SSL_CTX *ctx;
    int64_t until_s; /* then another one is made */
    uint64_t used;   /* the count of uses at the last one */
};

struct ca {
    /* set once */
    char *cert, *key;
    struct authority_files files;
    EVP_PKEY *leaf_key;
    bool made; /* its files, when it was opened */
    /* shared, under `lock` */
    pthread_mutex_t lock;
    char **hosts; /* NULL-terminated */
    struct authority *authority;
    struct ca_leaf leaves[CA_CONTEXTS_MAX];
    uint64_t uses;
};

/* ---- whom it speaks for ---- */

/* Lower case. False: it is not a DNS name. */
static bool take_name(const char *host, char out[HOST_MAX + 1])
{
    size_t len = strnlen(host, HOST_MAX + 1);

    if (len > HOST_MAX)
        return false;
    for (size_t i = 0; i <= len; i++)
        out[i] = (char)tolower((unsigned char)host[i]);
    return authority_is_dns_name(out);
}

static bool is_wanted(struct ca *ca, const char *name)
{
    char canonical[HOST_MAX + 1];
    bool wanted = false;

    strcpy(canonical, name);
    ref_canonical_host(canonical);
    pthread_mutex_lock(&ca->lock);
    for (char *const *h = ca->hosts; *h && !wanted; h++)
        wanted = config_host_matches(*h, canonical);
    pthread_mutex_unlock(&ca->lock);
    return wanted;
}

static struct authority *take_authority(struct ca *ca)
{
    pthread_mutex_lock(&ca->lock);
    struct authority *a = authority_ref(ca->authority);
    pthread_mutex_unlock(&ca->lock);
    return a;
}

int64_t ca_ends_s(struct ca *ca)
{
    struct authority *a = take_authority(ca);
    struct authority_about about = {0};

    authority_describe(a, 0, &about);
    authority_unref(a);
    return about.ends_s;
}

bool ca_speaks_for(struct ca *ca, const char *host)
{
    char name[HOST_MAX + 1];

    if (!take_name(host, name) || !is_wanted(ca, name))
        return false;
    struct authority *a = take_authority(ca);
    bool ok = authority_permits(a, name);
    authority_unref(a);
    return ok;
}

/* ---- certificates ---- */

static void leaf_clear(struct ca_leaf *l)
{
    free(l->host);
    SSL_CTX_free(l->ctx); /* connections under it hold it, too */
    memset(l, 0, sizeof(*l));
}

/* A place that this host has, that is empty, or that was used least recently. Under the lock. */
static struct ca_leaf *leaf_place(struct ca *ca, const char *name)
{
    struct ca_leaf *place = &ca->leaves[0];

    HOLDS(&ca->lock);
    for (int i = 0; i < CA_CONTEXTS_MAX; i++) {
        struct ca_leaf *l = &ca->leaves[i];
        if (l->host && strcmp(l->host, name) == 0)
            return l;
        if (l->used < place->used)
            place = l;
    }
    return place;
}

static SSL_CTX *leaf_take(struct ca *ca, struct ca_leaf *l)
{
    HOLDS(&ca->lock);
    l->used = ++ca->uses;
    SSL_CTX_up_ref(l->ctx);
    return l->ctx;
}

static SSL_CTX *leaf_find(struct ca *ca, const char *name)
{
    SSL_CTX *ctx = NULL;

    pthread_mutex_lock(&ca->lock);
    struct ca_leaf *l = leaf_place(ca, name);
    int64_t left = l->until_s - clock_now_s();
    /* A clock that was set back makes it begin in the future. */
    if (l->host && strcmp(l->host, name) == 0 && left > 0 && left <= AUTHORITY_LEAF_S)
        ctx = leaf_take(ca, l);
    pthread_mutex_unlock(&ca->lock);
    return ctx;
}

static SSL_CTX *leaf_make(struct ca *ca, const struct authority *a, const char *name, int64_t *ends_s)
{
    X509 *cert = authority_issue(a, ca->leaf_key, name, ends_s), *issuer;

    if (!cert)
        return NULL;
    SSL_CTX *ctx = http_tls_context();
    bool ok = SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, ca->leaf_key) == 1;
    X509_free(cert);
    for (int i = 0; ok && (issuer = authority_chain(a, i)); i++)
        ok = SSL_CTX_add1_chain_cert(ctx, issuer) == 1;
    if (ok)
        return ctx;
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

/* Others may have made one meanwhile, which is then replaced; under another authority, it serves this connection only.
 */
static void leaf_keep(struct ca *ca, const struct authority *a, const char *name, SSL_CTX *ctx, int64_t ends_s)
{
    pthread_mutex_lock(&ca->lock);
    if (a == ca->authority) {
        struct ca_leaf *l = leaf_place(ca, name);
        int64_t margin = (ends_s - clock_now_s()) / REMAKE_SHARE; /* less where the authority itself ends soon */
        leaf_clear(l);
        SSL_CTX_up_ref(ctx);
        *l = (struct ca_leaf){.host = xstrdup(name), .ctx = ctx, .until_s = ends_s - margin, .used = ++ca->uses};
    }
    pthread_mutex_unlock(&ca->lock);
}

struct ssl_ctx_st *ca_context(struct ca *ca, const char *host)
{
    char name[HOST_MAX + 1];
    int64_t ends_s;

    if (!take_name(host, name))
        return NULL;
    if (!is_wanted(ca, name))
        return NULL;
    SSL_CTX *ctx = leaf_find(ca, name);
    if (ctx)
        return ctx;
    struct authority *a = take_authority(ca);
    ctx = authority_permits(a, name) ? leaf_make(ca, a, name, &ends_s) : NULL;
    if (ctx)
        leaf_keep(ca, a, name, ctx, ends_s);
    authority_unref(a);
    return ctx;
}

/* ---- the authority ---- */

/* Hosts that were configured after it was made. Their clients are not served from the cache: they have to be told why.
 */
static void warn_of_hosts(const struct ca *ca, const struct authority *a)
{
    _cleanup_free_ char *hosts = authority_unpermitted(a, (const char *const *)ca->hosts);

    if (hosts)
        log_warn("interception: the authority %s was made for other hosts; these are not opened: %s; `entrepot ca "
                 "--rotate` makes one for them, which clients have to trust",
                 ca->cert, hosts);
    if (!authority_is_constrained(a))
        log_warn("interception: the authority %s has no name constraints: with its key any host can be "
                 "imitated towards clients that trust it",
                 ca->cert);
}

static void log_authority(const struct ca *ca, const struct authority *a, bool made)
{
    struct authority_about about;

    authority_describe(a, 0, &about);
    log_info("interception: authority %s%s, SHA-256 %s", ca->cert, made ? " made" : "", about.fingerprint);
    int64_t left = about.ends_s - clock_now_s();
    if (left < ENDS_SOON_S)
        log_warn("interception: the authority %s expires in %lld d; `entrepot ca --rotate` makes another one, which "
                 "clients have to trust",
                 ca->cert, (long long)(left / DAY_S));
    if (tls_files_key_is_open(&(struct tls_files){.key = ca->key}))
        log_warn("interception: every user of this machine can read the key %s (chmod o-r)", ca->key);
    warn_of_hosts(ca, a);
}

/* A key may be too weak, or of a kind that cannot sign: better now than at each connection. */
static bool can_issue(struct ca *ca, const struct authority *a, struct err *err)
{
    int64_t ends_s;
    SSL_CTX *ctx = leaf_make(ca, a, "localhost", &ends_s);

    SSL_CTX_free(ctx);
    return ctx ||
           err_set(err, ERR_INVALID, "%s: servers cannot use what it signs (P-256 and SHA-256 are usual)", ca->key);
}

bool ca_reload(struct ca *ca, struct err *err)
{
    bool made;
    struct authority *a = authority_ensure(&ca->files, (const char *const *)ca->hosts, &made, err)
                              ? authority_load(&ca->files, err)
                              : NULL;

    if (!a || !can_issue(ca, a, err)) {
        authority_unref(a);
        return err_wrap(err, "interception");
    }
    log_authority(ca, a, made);
    ca->made = ca->made || (made && !ca->authority);
    pthread_mutex_lock(&ca->lock);
    struct authority *old = ca->authority;
    ca->authority = a;
    for (int i = 0; i < CA_CONTEXTS_MAX; i++)
        leaf_clear(&ca->leaves[i]);
    pthread_mutex_unlock(&ca->lock);
    authority_unref(old);
    return true;
}

static char **copy_list(const char *const *list)
{
    size_t count = 0;

    while (list[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(list[i]);
    return copy;
}

void ca_set_hosts(struct ca *ca, const char *const *hosts)
{
    char **fresh = copy_list(hosts);

    pthread_mutex_lock(&ca->lock);
    char **old = ca->hosts;
    ca->hosts = fresh;
    pthread_mutex_unlock(&ca->lock);
    config_free_hosts(old);
    warn_of_hosts(ca, ca->authority);
}

struct ca *ca_open(const struct authority_files *files, const char *const *hosts, struct err *err)
{
    struct ca *ca = xcalloc(1, sizeof(*ca));

    ca->cert = xstrdup(files->cert);
    ca->key = xstrdup(files->key);
    ca->files = (struct authority_files){ca->cert, ca->key};
    ca->hosts = copy_list(hosts);
    ca->leaf_key = authority_new_key();
    pthread_mutex_init(&ca->lock, NULL);
    if (ca_reload(ca, err))
        return ca;
    ca_free(ca);
    return NULL;
}

/* Its hosts are those of a configuration that was refused, and nobody has seen it. */
void ca_drop(struct ca *ca)
{
    const char *const files[] = {ca ? ca->key : NULL, ca ? ca->cert : NULL}; /* a key alone would be no authority */

    for (size_t i = 0; ca && ca->made && i < ARRAY_LEN(files); i++)
        if (unlink(files[i]) != 0)
            log_warn("interception: removing %s of an authority that is not used: %s", files[i], strerror(errno));
    ca_free(ca);
}

void ca_free(struct ca *ca)
{
    if (!ca)
        return;
    for (int i = 0; i < CA_CONTEXTS_MAX; i++)
        leaf_clear(&ca->leaves[i]);
    authority_unref(ca->authority);
    EVP_PKEY_free(ca->leaf_key);
    for (char **h = ca->hosts; *h; h++)
        free(*h);
    free(ca->hosts);
    free(ca->cert);
    free(ca->key);
    pthread_mutex_destroy(&ca->lock);
    free(ca);
}

/* The files of the authority of interception: replaced, broken, of other hosts. */
#include "tests/unit/unit_ca.h"

static void rotation_keeps_the_old_one_for_a_while(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    struct err err = {0};
    struct authority_about about = {0}, before = {0};

    chmod(h->key, 0640);
    chmod(h->cert, 0640);
    X509 *old = read_cert(h->cert);
    if (!authority_rotate(&h->files, HOSTS, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(mode_of(h->key), 0640);
    assert_int_equal(mode_of(h->cert), 0640);

    struct authority *a = authority_load(&h->files, &err);
    assert_true(authority_describe(a, 0, &about) && authority_describe(a, 1, &before));
    assert_string_not_equal(about.fingerprint, before.fingerprint);
    assert_string_not_equal(about.name, before.name);
    assert_true(about.replaced_s == 0 && before.replaced_s > 0);
    assert_false(authority_describe(a, 2, &before));
    authority_unref(a);

    /* The daemon goes on with the old one until it reloads. */
    X509 *new = read_cert(h->cert);
    for (int i = 0; i < 2; i++) {
        SSL_CTX *ctx = ca_context(ca, "ghcr.io");
        assert_int_equal(judged(i ? new : old, SSL_CTX_get0_certificate(ctx), "ghcr.io"), 0);
        assert_int_not_equal(judged(i ? old : new, SSL_CTX_get0_certificate(ctx), "ghcr.io"), 0);
        SSL_CTX_free(ctx);
        assert_true(ca_reload(ca, &err));
    }
    X509_free(new);
    X509_free(old);

    clock_advance(29 * (int64_t)DAY_MS);
    assert_true(ca_reload(ca, &err));
    a = authority_load(&h->files, &err);
    assert_true(authority_describe(a, 1, &before));
    authority_unref(a);
    clock_advance(2 * (int64_t)DAY_MS);
    assert_true(ca_reload(ca, &err));
    a = authority_load(&h->files, &err);
    assert_true(authority_describe(a, 0, &before));
    assert_string_equal(before.fingerprint, about.fingerprint);
    assert_false(authority_describe(a, 1, &before));
    authority_unref(a);
    clock_advance(-31 * (int64_t)DAY_MS);
    ca_free(ca);
}

/* kill -9 between the renames of key and certificate; and at the very first start. */
static void a_crash_between_the_files(void **state)
{
    struct home *h = *state;
    char *fresh = xasprintf("%s.new", h->cert), *old = xasprintf("%s/old", h->dir);
    struct err err = {0};
    bool made;

    for (int first = 0; first < 2; first++) {
        ca_free(open_ca(h));
        rename(h->cert, old);
        assert_true(authority_rotate(&h->files, HOSTS, &err));
        X509 *new = read_cert(h->cert), *now;
        rename(h->cert, fresh);
        if (!first)
            rename(old, h->cert);
        if (!authority_ensure(&h->files, HOSTS, &made, &err))
            fail_msg("%s", err.msg);
        assert_false(made);
        now = read_cert(h->cert);
        assert_int_equal(X509_cmp(new, now), 0);
        X509_free(now);
        X509_free(new);
        ca_free(open_ca(h));
    }
    free(fresh);
    free(old);
}

/* The certificate of the key that is in place must not go before that key does: a second crash would leave the key
 * without one. */
static void a_rotation_after_a_crash(void **state)
{
    struct home *h = *state;
    _cleanup_free_ char *fresh = xasprintf("%s.new", h->cert), *old = xasprintf("%s/old", h->dir);
    struct authority_about about = {0};
    struct err err = {0};

    ca_free(open_ca(h));
    rename(h->cert, old);
    assert_true(authority_rotate(&h->files, HOSTS, &err));
    struct authority *a = authority_load(&h->files, &err);
    assert_true(authority_describe(a, 0, &about));
    _cleanup_free_ char *midway = xstrdup(about.fingerprint);
    authority_unref(a);
    rename(h->cert, fresh);
    rename(old, h->cert);
    assert_true(authority_rotate(&h->files, HOSTS, &err));
    a = authority_load(&h->files, &err);
    assert_non_null(a);
    assert_true(authority_describe(a, 1, &about));
    assert_string_equal(about.fingerprint, midway);
    authority_unref(a);
}

/* ---- what is wrong ---- */

static void refused(const struct home *h, const char *what)
{
    struct err err = {0};

    if (ca_open(&h->files, HOSTS, &err))
        fail_msg("opened: %s", what);
    if (!strstr(err.msg, what))
        fail_msg("\"%s\" has no \"%s\"", err.msg, what);
}

static char *text_of(const char *file)
{
    char *text = xcalloc(1, 65536);
    FILE *f = fopen(file, "r");

    assert_non_null(f);
    (void)!fread(text, 1, 65535, f);
    fclose(f);
    return text;
}

static void faults_are_told(void **state)
{
    struct home *h = *state;
    EVP_PKEY *other = authority_new_key();

    ca_free(open_ca(h));
    char *cert = text_of(h->cert), *key = text_of(h->key);
    struct authority *a = authority_load(&h->files, NULL);
    EVP_PKEY *own = read_private(h->key);
    int64_t ends_s;
    X509 *leaf = authority_issue(a, own, "ghcr.io", &ends_s);
    authority_unref(a);

    unlink(h->key);
    refused(h, "ca.crt without");
    write_text(h->key, "-----BEGIN NONSENSE-----\n");
    refused(h, "ca.key: not a key");
    write_text(h->key, "");
    refused(h, "ca.key is empty");
    FILE *f = fopen(h->key, "w");
    PEM_write_PKCS8PrivateKey(f, other, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    refused(h, "is not the key of the certificate");
    f = fopen(h->key, "w");
    PEM_write_PKCS8PrivateKey(f, own, EVP_aes_128_cbc(), "test", 4, NULL, NULL);
    fclose(f);
    refused(h, "has a passphrase");
    write_text(h->key, key);
    f = fopen(h->cert, "w");
    PEM_write_X509(f, leaf);
    fclose(f);
    refused(h, "it is not an authority's");
    write_text(h->cert, "nonsense");
    refused(h, "ca.crt: not a certificate (PEM); `entrepot ca --rotate`");
    unlink(h->cert);
    refused(h, "ca.key without");
    assert_int_equal(mkdir(h->cert, 0700), 0);
    refused(h, "ca.crt: not a file");
    rmdir(h->cert);
    assert_int_equal(mkfifo(h->cert, 0600), 0);
    refused(h, "ca.crt: not a file");
    unlink(h->cert);
    write_text(h->cert, cert);
    clock_advance(3660 * (int64_t)DAY_MS);
    refused(h, "has expired; `entrepot ca --rotate`");
    clock_advance(-3660 * (int64_t)DAY_MS);
    clock_advance(-(int64_t)DAY_MS);
    refused(h, "is not valid yet");
    clock_advance((int64_t)DAY_MS);
    ca_free(open_ca(h));
    X509_free(leaf);
    EVP_PKEY_free(own);
    EVP_PKEY_free(other);
    free(cert);
    free(key);
}

/* A failed reload changes nothing. */
static void a_broken_reload(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    struct err err = {0};

    long first = serial_of(ca, "ghcr.io");
    write_text(h->key, "broken");
    assert_false(ca_reload(ca, &err));
    assert_true(serial_of(ca, "ghcr.io") == first);
    ca_free(ca);
}

/* A registry that was configured after the authority was made is not opened; the others are. */
static void hosts_that_it_was_not_made_for(void **state)
{
    static const char *const more[] = {"ghcr.io", "new.example.com", NULL}, *const none[] = {"*", NULL};
    struct home *h = *state;
    struct err err = {0};

    ca_free(open_ca(h));
    struct ca *ca = ca_open(&h->files, more, &err);
    assert_non_null(ca);
    assert_true(ca_speaks_for(ca, "ghcr.io"));
    assert_false(ca_speaks_for(ca, "new.example.com"));
    assert_null(ca_context(ca, "new.example.com"));
    assert_false(ca_speaks_for(ca, "docker.io")); /* permitted, but not configured any more */
    assert_true(authority_rotate(&h->files, more, &err));
    assert_true(ca_reload(ca, &err));
    assert_true(ca_speaks_for(ca, "new.example.com"));
    ca_free(ca);
    assert_false(authority_rotate(&h->files, none, &err)); /* it would have no constraints */
}

/* ---- an authority that somebody else has made ---- */

static X509 *make_authority(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *cert = X509_new();
    X509V3_CTX ctx;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3 * 86400L);
    X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
    static const int nids[] = {NID_basic_constraints, NID_key_usage, NID_subject_key_identifier,
                               NID_authority_key_identifier};
    const char *const values[] = {"critical,CA:TRUE", "critical,keyCertSign", "hash", "keyid"};
    for (size_t i = 0; i < ARRAY_LEN(nids); i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nids[i], values[i]);
        assert_non_null(e);
        X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(cert, issuer_key, EVP_PKEY_get_id(issuer_key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0);
    return cert;
}

/* An intermediate one, of whatever key: what is sent leads to its root, its files stay as they are, and what it issues
 * ends with it. */
static void an_intermediate_authority(void **state)
{
    EVP_PKEY *root_key = EVP_RSA_gen(2048), *keys[] = {EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_RSA_gen(2048)};
    struct home *h = *state;
    X509 *root = make_authority("Example root", root_key, NULL, root_key);

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        X509 *middle = make_authority("Example issuer", keys[i], root, root_key);
        FILE *f = fopen(h->cert, "w");
        PEM_write_X509(f, middle);
        PEM_write_X509(f, root);
        fclose(f);
        f = fopen(h->key, "w");
        PEM_write_PKCS8PrivateKey(f, keys[i], NULL, NULL, 0, NULL, NULL);
        fclose(f);
        struct ca *ca = open_ca(h);
        SSL_CTX *ctx = ca_context(ca, "ghcr.io"), *again = ca_context(ca, "ghcr.io");
        assert_non_null(ctx);
        assert_ptr_equal(ctx, again); /* not made again for each connection, though less than a week is left */
        STACK_OF(X509) *sent = NULL;
        SSL_CTX_get0_chain_certs(ctx, &sent);
        assert_int_equal(judged_behind(root, SSL_CTX_get0_certificate(ctx), sent, "ghcr.io"), 0);
        assert_null(ca_context(ca, "evil.example")); /* constraints or not */
        assert_true(ASN1_TIME_compare(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx)), X509_get0_notAfter(middle)) <=
                    0);
        SSL_CTX_free(again);
        SSL_CTX_free(ctx);
        ca_free(ca);
        X509_free(middle);
        EVP_PKEY_free(keys[i]);
    }
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    X509 *middle = make_authority("Example issuer", weak, root, root_key);
    FILE *f = fopen(h->cert, "w");
    PEM_write_X509(f, middle);
    fclose(f);
    f = fopen(h->key, "w");
    PEM_write_PKCS8PrivateKey(f, weak, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    refused(h, "servers cannot use what it signs");
    X509_free(middle);
    EVP_PKEY_free(weak);
    X509_free(root);
    EVP_PKEY_free(root_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rotation_keeps_the_old_one_for_a_while),
        CASE(a_crash_between_the_files),
        CASE(a_rotation_after_a_crash),
        CASE(faults_are_told),
        CASE(a_broken_reload),
        CASE(hosts_that_it_was_not_made_for),
        CASE(an_intermediate_authority),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

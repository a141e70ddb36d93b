/* What the authority of interception signs for and what not, and what clients make of it. */
#include "tests/unit/unit_ca.h"

static void it_is_made_with_its_constraints(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    X509 *root = read_cert(h->cert);
    int critical;

    assert_int_equal(mode_of(h->key), 0600);
    assert_int_equal(mode_of(h->cert), 0644);
    assert_int_equal(X509_check_ca(root), 1);
    assert_int_equal(X509_get_pathlen(root), 0);
    assert_int_equal(X509_get_key_usage(root), KU_KEY_CERT_SIGN);
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(root, NID_name_constraints, &critical, NULL);
    assert_int_equal(critical, 1);
    assert_int_equal(sk_GENERAL_SUBTREE_num(nc->permittedSubtrees), 4);
    assert_int_equal(sk_GENERAL_SUBTREE_num(nc->excludedSubtrees), 2);
    NAME_CONSTRAINTS_free(nc);
    int days, seconds;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(root));
    assert_in_range(days, 3650, 3653);
    X509_free(root);
    ca_free(ca);

    /* It is the same after a restart. */
    struct authority_about first, again;
    struct authority *a = authority_load(&h->files, NULL);
    assert_true(authority_describe(a, 0, &first));
    assert_false(authority_describe(a, 1, &again));
    authority_unref(a);
    ca_free(open_ca(h));
    a = authority_load(&h->files, NULL);
    assert_true(authority_describe(a, 0, &again));
    assert_string_equal(first.fingerprint, again.fingerprint);
    assert_int_equal(strlen(first.fingerprint), 32 * 3 - 1);
    authority_unref(a);
}

static void clients_accept_what_it_issues(void **state)
{
    static const char *const hosts[] = {"docker.io", "registry-1.docker.io", "index.docker.io",
                                        "GHCR.io",   "eu.pkg.dev",           "0123.dkr.ecr.eu-1.amazonaws.com"};
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    X509 *root = read_cert(h->cert);

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        assert_true(ca_speaks_for(ca, hosts[i]));
        SSL_CTX *ctx = ca_context(ca, hosts[i]);
        assert_non_null(ctx);
        X509 *leaf = SSL_CTX_get0_certificate(ctx);
        assert_int_equal(judged(root, leaf, hosts[i]), 0);
        assert_int_equal(judged(root, leaf, "other.pkg.dev"), X509_V_ERR_HOSTNAME_MISMATCH);
        assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
        int days, seconds;
        ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(leaf), X509_get0_notAfter(leaf));
        assert_int_equal(days, 7);
        assert_int_equal(seconds, 3600);
        SSL_CTX_free(ctx);
    }
    X509_free(root);
    ca_free(ca);
}

/* A host of 64 bytes and more does not fit a common name. */
static void long_hosts(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    X509 *root = read_cert(h->cert);
    char host[300];

    for (size_t len = 60; len <= 253; len++) {
        memset(host, 'a', len);
        for (size_t i = 50; i < len - 10; i += 51)
            host[i] = '.';
        strcpy(host + len - 8, ".pkg.dev");
        SSL_CTX *ctx = ca_context(ca, host);
        assert_non_null(ctx);
        assert_int_equal(judged(root, SSL_CTX_get0_certificate(ctx), host), 0);
        SSL_CTX_free(ctx);
        len += len > 70 && len < 250 ? 17 : 0;
    }
    X509_free(root);
    ca_free(ca);
}

static void hostile_names_get_nothing(void **state)
{
    static const char *const names[] = {
        "",
        ".",
        "*",
        "*.io",
        "*.pkg.dev",
        "docker.*",
        "10.0.0.1",
        "127.1",
        "0x7f.1",
        "::1",
        "[::1]",
        "::ffff:1.2.3.4",
        "1",
        "docker.io.evil",
        "docker.io.evil.example",
        "evil-docker.io",
        "xdocker.io",
        "docker.io.",
        ".docker.io",
        "docker.io:443",
        "docker.io/",
        "docker.io/x",
        "user@docker.io",
        "docker.io ",
        " docker.io",
        "docker.io\n",
        "docker.io\r\nHost: x",
        "docker.io,DNS:evil.example",
        "docker.io\x01",
        "d\303\266cker.io",
        "auth.docker.io",
        "www.ghcr.io",
        "pkg.dev",
        ".pkg.dev",
        "a..pkg.dev",
        "-a.pkg.dev",
        "a-.pkg.dev",
        "a_b.pkg.dev",
        "evil/.pkg.dev",
        "a.pkg.dev.evil",
        "a.pkg.devil",
        "amazonaws.com",
        "x.s3.amazonaws.com",
        "dkr.ecr.eu-1.amazonaws.com",
        "localhost",
        "xn--docker",
        "docker",
        "io",
    };
    struct home *h = *state;
    struct ca *ca = open_ca(h);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (ca_speaks_for(ca, names[i]) || ca_context(ca, names[i]))
            fail_msg("\"%s\"", names[i]);
    size_t len = 64 << 10;
    char *big = xmalloc(len + 9);
    for (int dots = 0; dots < 2; dots++) {
        for (size_t i = 0; i < len; i++)
            big[i] = dots && i % 20 == 19 ? '.' : 'a';
        strcpy(big + len, ".pkg.dev");
        assert_false(ca_speaks_for(ca, big));
        assert_null(ca_context(ca, big));
    }
    free(big);
    ca_free(ca);
}

/* Signed with the authority's own key, as by a thief. */
static X509 *forge(const struct home *h, const char *names)
{
    X509 *root = read_cert(h->cert), *cert = X509_new();
    EVP_PKEY *key = read_private(h->key);
    X509V3_CTX ctx;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
    X509_set_pubkey(cert, key);
    X509_set_issuer_name(cert, X509_get_subject_name(root));
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509V3_set_ctx(&ctx, root, cert, NULL, NULL, 0);
    static const int nids[] = {NID_subject_alt_name, NID_subject_key_identifier, NID_authority_key_identifier};
    const char *const values[] = {names, "hash", "keyid"};
    for (size_t i = 0; i < ARRAY_LEN(nids); i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nids[i], values[i]);
        assert_non_null(e);
        X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    X509_free(root);
    EVP_PKEY_free(key);
    return cert;
}

static void clients_refuse_what_a_thief_signs(void **state)
{
    static const struct {
        const char *names;
        int why;
    } cases[] = {
        {"DNS:ghcr.io", 0},
        {"DNS:auth.docker.io", 0},
        {"DNS:evil.example", X509_V_ERR_PERMITTED_VIOLATION},
        {"DNS:docker.io.evil", X509_V_ERR_PERMITTED_VIOLATION},
        {"DNS:xghcr.io", X509_V_ERR_PERMITTED_VIOLATION},
        {"DNS:ghcr.io,DNS:evil.example", X509_V_ERR_PERMITTED_VIOLATION},
        {"DNS:*.io", X509_V_ERR_PERMITTED_VIOLATION},
        {"DNS:ghcr.io,IP:127.0.0.1", X509_V_ERR_EXCLUDED_VIOLATION},
        {"IP:10.0.0.1", X509_V_ERR_EXCLUDED_VIOLATION},
        {"IP:fd00::1", X509_V_ERR_EXCLUDED_VIOLATION},
    };
    struct home *h = *state;

    ca_free(open_ca(h));
    X509 *root = read_cert(h->cert);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        X509 *cert = forge(h, cases[i].names);
        int why = judged(root, cert, NULL);
        if (why != cases[i].why)
            fail_msg("%s: %s", cases[i].names, X509_verify_cert_error_string(why));
        X509_free(cert);
    }
    X509_free(root);
}

/* ---- the certificates that are kept ---- */

static void the_last_ones_are_kept(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    char host[32];

    long used = serial_of(ca, "ghcr.io"), unused = serial_of(ca, "docker.io");
    for (int i = 0; i < CA_CONTEXTS_MAX + 10; i++) {
        snprintf(host, sizeof(host), "h%d.pkg.dev", i);
        serial_of(ca, host);
        assert_true(serial_of(ca, "ghcr.io") == used);
    }
    assert_true(serial_of(ca, "docker.io") != unused);
    ca_free(ca);
}

static void they_are_remade_before_their_end(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);

    long first = serial_of(ca, "ghcr.io");
    clock_advance(5 * (int64_t)DAY_MS);
    assert_true(serial_of(ca, "ghcr.io") == first);
    clock_advance((int64_t)DAY_MS + 1000);
    assert_true(serial_of(ca, "ghcr.io") != first);
    clock_advance(-6 * (int64_t)DAY_MS - 1000);
    ca_free(ca);
}

/* ---- threads ---- */

static void *ask_for_contexts(void *arg)
{
    char host[32];

    for (int i = 0; i < 60; i++) {
        snprintf(host, sizeof(host), "h%d.pkg.dev", i % 5);
        SSL_CTX *ctx = ca_context(arg, host);
        if (!ctx || !ca_speaks_for(arg, host))
            return arg;
        SSL_CTX_free(ctx);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct home *h = *state;
    struct ca *ca = open_ca(h);
    pthread_t threads[4];
    struct err err;
    void *fault;

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_contexts, ca), 0);
    for (int i = 0; i < 5; i++)
        assert_true(authority_rotate(&h->files, HOSTS, &err) && ca_reload(ca, &err));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    ca_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_is_made_with_its_constraints),
        CASE(clients_accept_what_it_issues),
        CASE(long_hosts),
        CASE(hostile_names_get_nothing),
        CASE(clients_refuse_what_a_thief_signs),
        CASE(the_last_ones_are_kept),
        CASE(they_are_remade_before_their_end),
        CASE(many_threads),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

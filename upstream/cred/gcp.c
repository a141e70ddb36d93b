/* credentials: {provider: gcp}: Google Artifact Registry ("Authenticate to Artifact Registry for Docker"): the user
 * oauth2accesstoken with an access token, of the metadata server ("Access Compute Engine metadata") or for a service
 * account's key (RFC 7523: a JWT of our own, signed with RS256, for a token). */
#include "upstream/cred/private.h"

#include "base/clock.h"
#include "base/url.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define METADATA  "http://metadata.google.internal"
#define TOKEN_URI "https://oauth2.googleapis.com/token"
#define SCOPE     "https://www.googleapis.com/auth/cloud-platform.read-only"
#define GRANT     "urn:ietf:params:oauth:grant-type:jwt-bearer"

enum { ASSERTION_S = 600 /* Google allows an hour at most */ };

static bool gcp_take_token(struct cred_task *t, const json_t *doc, const char *what, struct err *err)
{
    int64_t life_s = cred_json_number(doc, "expires_in", 300);

    t->id.secret = cred_json_text(doc, "access_token");
    t->id.username = xstrdup("oauth2accesstoken");
    t->life_ms = MAX(life_s, (int64_t)10) * 1000;
    return t->id.secret || err_set(err, ERR_UPSTREAM, "%s sent no access token", what);
}

static bool gcp_ask_metadata(struct cred_task *t, struct err *err)
{
    static const char *const headers[] = {"Metadata-Flavor: Google", NULL};
    _cleanup_free_ char *url = xasprintf("%s/computeMetadata/v1/instance/service-accounts/default/token",
                                         t->o->metadata_endpoint ? t->o->metadata_endpoint : METADATA);
    const struct cred_http r = {.method = "GET", .url = url, .headers = headers, .direct = true, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "Google's metadata server", err);
    bool ok = doc && gcp_take_token(t, doc, "Google's metadata server", err);

    json_decref(doc);
    return ok;
}

/* Without this, OpenSSL would prompt on the terminal for a passphrase, and wait. */
static int gcp_no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *arg UNUSED)
{
    return -1;
}

/* RS256 (RFC 7518 §3.3) over `text`; the caller frees. */
static char *sign(const char *pem, const char *text, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, gcp_no_passphrase, NULL) : NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    char *out = NULL;

    if (key && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_size(key) <= (int)sizeof(signature) &&
        EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)text, strlen(text)) == 1)
        out = base64url_encode(signature, len);
    else
        err_set(err, ERR_INVALID, "the private_key cannot be used to sign");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return out;
}

/* header.claims.signature */
static char *make_assertion(const json_t *key, const char *audience, struct err *err)
{
    const char *email = json_string_value(json_object_get(key, "client_email"));
    const char *id = json_string_value(json_object_get(key, "private_key_id"));
    const char *pem = json_string_value(json_object_get(key, "private_key"));
    int64_t now = clock_now_s();

    if (!email || !pem) {
        err_set(err, ERR_INVALID, "it has no client_email and private_key");
        return NULL;
    }
    json_t *head = json_pack("{s:s, s:s, s:s}", "alg", "RS256", "typ", "JWT", "kid", id ? id : "");
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", email, "scope", SCOPE, "aud", audience, "iat",
                               (json_int_t)now, "exp", (json_int_t)now + ASSERTION_S);
    _cleanup_free_ char *head_text = json_dumps(head, JSON_COMPACT), *claims_text = json_dumps(claims, JSON_COMPACT);
    json_decref(head);
    json_decref(claims);
    _cleanup_free_ char *a = base64url_encode(head_text, strlen(head_text)),
                        *b = base64url_encode(claims_text, strlen(claims_text));
    _cleanup_free_ char *text = xasprintf("%s.%s", a, b);
    _cleanup_free_ char *signature = sign(pem, text, err);
    return signature ? xasprintf("%s.%s", text, signature) : NULL;
}

static bool gcp_exchange(struct cred_task *t, const json_t *key, struct err *err)
{
    static const char *const form[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    const char *token_uri = json_string_value(json_object_get(key, "token_uri"));
    const char *uri = t->o->token_endpoint ? t->o->token_endpoint : token_uri ? token_uri : TOKEN_URI;
    _cleanup_secret_ char *assertion = make_assertion(key, token_uri ? token_uri : TOKEN_URI, err);
    _cleanup_secret_buf_ struct buf body = {0};

    if (!assertion)
        return false;
    /* The key file names the URL. It is the operator's, but secrets are sent unencrypted only if the configuration
     * names the endpoint. */
    if (!t->o->token_endpoint && !url_is_https(uri))
        return err_set(err, ERR_INVALID, "its token_uri is not https");
    url_add_param(&body, "grant_type", GRANT);
    url_add_param(&body, "assertion", assertion);
    const struct cred_http r = {.method = "POST", .url = uri, .headers = form, .body = body.data, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "Google's token service", err);
    bool ok = doc && gcp_take_token(t, doc, "Google's token service", err);
    json_decref(doc);
    return ok;
}

static bool gcp_ask(struct cred_task *t, struct err *err)
{
    if (!t->o->key_file)
        return gcp_ask_metadata(t, err);
    _cleanup_secret_ char *text = secret_read(t->o->key_file, err);
    json_t *key = text ? json_loads(text, 0, NULL) : NULL;
    bool ok = text && (json_is_object(key) ? gcp_exchange(t, key, err) : err_set(err, ERR_INVALID, "it is not JSON"));

    json_decref(key);
    return ok || err_wrap(err, "the key in %s", t->o->key_file);
}

const struct cred_backend CRED_GCP = {"gcp", CRED_FOR_HOST, 2000, gcp_ask};

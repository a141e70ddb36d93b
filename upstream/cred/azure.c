/* credentials: {provider: azure}: Azure Container Registry ("Azure Container Registry authentication", and the OAuth
 * flow in Azure/acr docs/AAD-OAuth.md): an access token of Microsoft Entra, of a managed identity ("How to use managed
 * identities ... to acquire an access token"), a federated token (workload identity) or a service principal's secret,
 * is exchanged at the registry for a refresh token; with that, tokens for each scope are requested (upstream/token.c).
 */
#include "upstream/cred/private.h"

#include "base/clock.h"
#include "base/url.h"

#include <jansson.h>
#include <string.h>

#define METADATA  "http://169.254.169.254"
#define AUTHORITY "https://login.microsoftonline.com"
#define RESOURCE  "https://management.azure.com/"

enum { LIFE_UNSAID_S = 1800 };

static const char *const FORM[] = {"Content-Type: application/x-www-form-urlencoded", NULL};

static const char *env_or(const char *configured, const char *name)
{
    const char *env = getenv(name);

    return configured ? configured : env && *env ? env : NULL;
}

static char *token_of(const json_t *doc, const char *key, const char *what, struct err *err)
{
    char *token = doc ? cred_json_text(doc, key) : NULL;

    if (doc && !token)
        err_set(err, ERR_UPSTREAM, "%s sent no %s", what, key);
    return token;
}

/* ---- an access token of Entra ---- */

static char *azure_ask_metadata(struct cred_task *t, struct err *err)
{
    static const char *const headers[] = {"Metadata: true", NULL};
    const char *client = env_or(t->o->client_id, "AZURE_CLIENT_ID");
    _cleanup_buf_ struct buf url = {0};

    buf_addf(&url, "%s/metadata/identity/oauth2/token?api-version=2018-02-01&resource=",
             t->o->metadata_endpoint ? t->o->metadata_endpoint : METADATA);
    url_encode(&url, RESOURCE);
    if (client) {
        buf_adds(&url, "&client_id=");
        url_encode(&url, client);
    }
    const struct cred_http r = {.method = "GET", .url = url.data, .headers = headers, .direct = true, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "Azure's metadata service", err);
    char *token = token_of(doc, "access_token", "Azure's metadata service", err);
    json_decref(doc);
    return token;
}

/* grant_type=client_credentials, with a secret or a federated token (RFC 7523 §2.2). */
static char *ask_entra(struct cred_task *t, const char *federated_file, struct err *err)
{
    const char *tenant = env_or(t->o->tenant, "AZURE_TENANT_ID"), *client = env_or(t->o->client_id, "AZURE_CLIENT_ID");
    const char *authority = env_or(t->o->token_endpoint, "AZURE_AUTHORITY_HOST");
    _cleanup_secret_ char *secret =
        secret_read(t->o->client_secret_file ? t->o->client_secret_file : federated_file, err);
    _cleanup_buf_ struct buf url = {0};
    _cleanup_secret_buf_ struct buf body = {0};

    if (!secret)
        return NULL;
    if (!tenant || !client) {
        err_set(err, ERR_INVALID, "tenant and client_id are required");
        return NULL;
    }
    authority = authority ? authority : AUTHORITY;
    buf_addf(&url, "%.*s/", (int)(strlen(authority) - (authority[strlen(authority) - 1] == '/')), authority);
    url_encode(&url, tenant);
    buf_adds(&url, "/oauth2/v2.0/token");
    url_add_param(&body, "grant_type", "client_credentials");
    url_add_param(&body, "client_id", client);
    url_add_param(&body, "scope", RESOURCE ".default");
    if (t->o->client_secret_file) {
        url_add_param(&body, "client_secret", secret);
    } else {
        url_add_param(&body, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        url_add_param(&body, "client_assertion", secret);
    }
    const struct cred_http r = {.method = "POST", .url = url.data, .headers = FORM, .body = body.data, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "Microsoft Entra", err);
    char *token = token_of(doc, "access_token", "Microsoft Entra", err);
    json_decref(doc);
    return token;
}

/* ---- the registry's refresh token ---- */

/* Seconds until the JWT expires; its signature is not checked: it only times the renewal. */
static int64_t life_of(const char *jwt)
{
    const char *from = strchr(jwt, '.'), *to = from ? strchr(from + 1, '.') : NULL;
    _cleanup_free_ char *part = to ? xstrndup(from + 1, (size_t)(to - from - 1)) : NULL;
    size_t len;
    _cleanup_free_ char *claims = base64url_decode(part, &len);
    json_t *doc = claims ? json_loads(claims, 0, NULL) : NULL;
    int64_t ends = cred_json_number(doc, "exp", 0);
    json_decref(doc);
    return ends > clock_now_s() ? ends - clock_now_s() : LIFE_UNSAID_S;
}

static bool azure_exchange(struct cred_task *t, const char *token, struct err *err)
{
    const char *tenant = env_or(t->o->tenant, "AZURE_TENANT_ID");
    _cleanup_free_ char *own = xasprintf("https://%s", t->host);
    _cleanup_free_ char *url = xasprintf("%s/oauth2/exchange", t->o->api_endpoint ? t->o->api_endpoint : own);
    _cleanup_secret_buf_ struct buf body = {0};

    url_add_param(&body, "grant_type", "access_token");
    url_add_param(&body, "service", t->host);
    if (tenant)
        url_add_param(&body, "tenant", tenant);
    url_add_param(&body, "access_token", token);
    const struct cred_http r = {.method = "POST", .url = url, .headers = FORM, .body = body.data, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "the registry's token exchange", err);
    t->id.secret = token_of(doc, "refresh_token", "the registry's token exchange", err);
    json_decref(doc);
    if (!t->id.secret)
        return false;
    t->id.is_identity_token = true;
    t->life_ms = MIN(life_of(t->id.secret), (int64_t)3 * 3600) * 1000;
    return true;
}

static bool azure_ask(struct cred_task *t, struct err *err)
{
    const char *federated = env_or(NULL, "AZURE_FEDERATED_TOKEN_FILE");
    _cleanup_secret_ char *token =
        t->o->client_secret_file || federated ? ask_entra(t, federated, err) : azure_ask_metadata(t, err);

    return token && azure_exchange(t, token, err);
}

const struct cred_backend CRED_AZURE = {"azure", CRED_FOR_HOST, 2000, azure_ask};

/* An AWS access key, from the places and in the order of the SDKs ("Standardized credential providers", AWS SDKs and
 * Tools Reference Guide): environment, web identity (IRSA), shared credentials file, ECS and EKS container endpoint,
 * EC2 instance metadata (IMDSv2). Runs on cred workers. */
#include "upstream/cred/aws.h"

#include "base/clock.h"
#include "base/url.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char *const IMDS = "http://169.254.169.254", *const ECS = "http://169.254.170.2";

enum {
    IMDS_TIMEOUT_MS = 2000,
    AWS_REREAD_MS = 60000,     /* a key without an expiry: files change */
    AWS_LIFE_MAX_MS = 3600000, /* of one with */
    AWS_EARLY_MS = 60000,      /* it is in use a while longer */
};

void aws_key_clear(struct aws_key *k)
{
    secret_free(k->id);
    secret_free(k->secret);
    secret_free(k->session);
    memset(k, 0, sizeof(*k));
}

static bool aws_is_whole(struct aws_key *k)
{
    /* All but the secret become headers. */
    if (k->id && k->id[0] && k->secret && k->secret[0] && !strpbrk(k->id, "\r\n") &&
        (!k->session || !strpbrk(k->session, "\r\n")))
        return true;
    aws_key_clear(k);
    return false;
}

/* "2030-01-02T03:04:05Z"; 0: something else. */
static int64_t aws_time(const char *text)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

    return end ? MAX((int64_t)timegm(&tm), (int64_t)0) : 0;
}

/* ---- environment ---- */

static char *aws_from_env(const char *name)
{
    const char *text = getenv(name);

    return text && *text ? xstrdup(text) : NULL;
}

static bool aws_take_env(struct aws_key *k)
{
    k->id = aws_from_env("AWS_ACCESS_KEY_ID");
    k->secret = aws_from_env("AWS_SECRET_ACCESS_KEY");
    k->session = aws_from_env("AWS_SESSION_TOKEN");
    return aws_is_whole(k);
}

/* ---- web identity: sts:AssumeRoleWithWebIdentity (AWS STS API Reference), which needs no signature ---- */

/* The text of an element: keys have no characters that XML escapes. */
static char *xml_text(const char *doc, const char *element)
{
    _cleanup_free_ char *open = xasprintf("<%s>", element);
    const char *at = doc ? strstr(doc, open) : NULL;

    if (!at)
        return NULL;
    at += strlen(open);
    return xstrndup(at, strcspn(at, "<"));
}

static bool assume_role(struct cred_task *t, const char *region, const char *role, const char *token_file,
                        struct aws_key *k, struct err *err)
{
    static const char *const form[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    const char *session = getenv("AWS_ROLE_SESSION_NAME");
    _cleanup_secret_ char *token = secret_read(token_file, err);
    _cleanup_free_ char *own =
        xasprintf("https://sts.%s.amazonaws.com%s/", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    _cleanup_secret_buf_ struct buf body = {0}, out = {0};
    int status = 0;

    if (!token)
        return false;
    url_add_param(&body, "Action", "AssumeRoleWithWebIdentity");
    url_add_param(&body, "Version", "2011-06-15");
    url_add_param(&body, "RoleArn", role);
    url_add_param(&body, "RoleSessionName", session && *session ? session : "entrepot");
    url_add_param(&body, "WebIdentityToken", token);
    const struct cred_http r = {.method = "POST",
                                .url = t->o->token_endpoint ? t->o->token_endpoint : own,
                                .headers = form,
                                .body = body.data,
                                .stop = t->stop};
    if (!cred_http(&r, &status, &out, err))
        return err_wrap(err, "AWS STS");
    if (status != 200)
        return err_set(err, ERR_DENIED, "AWS STS answered %d to AssumeRoleWithWebIdentity", status);
    k->id = xml_text(out.data, "AccessKeyId");
    k->secret = xml_text(out.data, "SecretAccessKey");
    k->session = xml_text(out.data, "SessionToken");
    _cleanup_free_ char *ends = xml_text(out.data, "Expiration");
    k->ends_s = aws_time(ends);
    return aws_is_whole(k) || err_set(err, ERR_UPSTREAM, "AWS STS sent no credentials");
}

/* ---- shared credentials file ---- */

static bool take_line(const char *line, size_t len, struct aws_key *k)
{
    static const char *const names[] = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"};
    char **const places[] = {&k->id, &k->secret, &k->session};
    const char *eq = memchr(line, '=', len);

    for (size_t i = 0; eq && i < ARRAY_LEN(names); i++) {
        size_t name = strlen(names[i]);
        if (strncmp(line, names[i], name) != 0 || strspn(line + name, " \t") != (size_t)(eq - line) - name)
            continue;
        const char *v = eq + 1 + strspn(eq + 1, " \t"), *end = line + len;
        while (end > v && strchr(" \t\r", end[-1]))
            end--;
        secret_free(*places[i]);
        *places[i] = xstrndup(v, (size_t)MAX(end - v, 0));
        return true;
    }
    return false;
}

static bool aws_take_file(struct cred_task *t, struct aws_key *k)
{
    const char *file = getenv("AWS_SHARED_CREDENTIALS_FILE"), *home = getenv("HOME"), *env = getenv("AWS_PROFILE");
    const char *profile = t->o->profile ? t->o->profile : env && *env ? env : "default";
    _cleanup_free_ char *path = file && *file ? xstrdup(file) : home ? xasprintf("%s/.aws/credentials", home) : NULL;
    _cleanup_secret_ char *text = path ? secret_read(path, NULL) : NULL;
    bool inside = false;

    for (const char *p = text; p && *p;) {
        size_t len = strcspn(p, "\n"), name = strlen(profile);
        if (*p == '[')
            inside = len >= name + 2 && strncmp(p + 1, profile, name) == 0 && p[name + 1] == ']';
        else if (inside)
            take_line(p, len, k);
        p += len;
        p += *p == '\n';
    }
    return aws_is_whole(k);
}

/* ---- metadata: containers and instances ---- */

static bool take_json(const json_t *doc, struct aws_key *k)
{
    k->id = cred_json_text(doc, "AccessKeyId");
    k->secret = cred_json_text(doc, "SecretAccessKey");
    k->session = cred_json_text(doc, "Token");
    k->ends_s = aws_time(json_string_value(json_object_get(doc, "Expiration")));
    return aws_is_whole(k);
}

/* Only what the SDKs allow: https, loopback, and the addresses of ECS and EKS. */
static bool may_ask(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
                                        "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
    const char *host = strncasecmp(url, "http://", 7) == 0 ? url + 7 : "";

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        size_t len = strlen(hosts[i]);
        if (strncasecmp(host, hosts[i], len) == 0 && strchr(":/?", host[len]))
            return true;
    }
    return url_is_https(url);
}

static bool take_container(struct cred_task *t, const char *relative, const char *full, struct aws_key *k,
                           struct err *err)
{
    const char *token_file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
               *from_env = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    const char *base = t->o->metadata_endpoint ? t->o->metadata_endpoint : ECS;
    _cleanup_free_ char *url = relative ? xasprintf("%s%s", base, relative) : xstrdup(full);
    _cleanup_secret_ char *token = token_file && *token_file ? secret_read(token_file, err)
                                   : from_env && *from_env   ? xstrdup(from_env)
                                                             : NULL;
    _cleanup_secret_ char *line = token ? xasprintf("Authorization: %s", token) : NULL;
    const char *const headers[] = {line, NULL};

    if (token_file && *token_file && !token)
        return false;
    if (!relative && !may_ask(url))
        return err_set(err, ERR_INVALID, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this machine");
    const struct cred_http r = {.method = "GET", .url = url, .headers = headers, .direct = true, .stop = t->stop};
    json_t *doc = cred_http_json(&r, "the container's credentials endpoint", err);
    bool ok = doc && (take_json(doc, k) || err_set(err, ERR_UPSTREAM, "the container's endpoint sent no credentials"));
    json_decref(doc);
    return ok;
}

/* A page of the instance's metadata, always with a session token (IMDSv2): a server that can be tricked into sending a
 * GET cannot be tricked into a PUT. */
static bool imds(struct cred_task *t, const char *method, const char *path, const char *header, struct buf *out,
                 struct err *err)
{
    _cleanup_free_ char *url = xasprintf("%s%s", t->o->metadata_endpoint ? t->o->metadata_endpoint : IMDS, path);
    const char *const headers[] = {header, NULL};
    const struct cred_http r = {.method = method,
                                .url = url,
                                .headers = headers,
                                .body = strcmp(method, "PUT") == 0 ? "" : NULL,
                                .direct = true,
                                .timeout_ms = IMDS_TIMEOUT_MS,
                                .stop = t->stop};
    int status = 0;

    if (!cred_http(&r, &status, out, err))
        return err_wrap(err, "the instance's metadata");
    if (status != 200 || !out->data)
        return err_set(err, ERR_UPSTREAM, "the instance's metadata service answered %d for %s", status, path);
    out->data[strcspn(out->data, "\r\n")] = '\0';
    return true;
}

static bool take_instance(struct cred_task *t, struct aws_key *k, struct err *err)
{
    static const char where[] = "/latest/meta-data/iam/security-credentials/";
    _cleanup_secret_buf_ struct buf token = {0}, role = {0};

    if (!imds(t, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 300", &token, err))
        return false;
    _cleanup_secret_ char *header = xasprintf("X-aws-ec2-metadata-token: %s", token.data);
    if (!imds(t, "GET", where, header, &role, err))
        return false;
    _cleanup_free_ char *path = xasprintf("%s%s", where, role.data);
    _cleanup_free_ char *url = xasprintf("%s%s", t->o->metadata_endpoint ? t->o->metadata_endpoint : IMDS, path);
    const char *const headers[] = {header, NULL};
    const struct cred_http r = {.method = "GET",
                                .url = url,
                                .headers = headers,
                                .direct = true,
                                .timeout_ms = IMDS_TIMEOUT_MS,
                                .stop = t->stop};
    json_t *doc = cred_http_json(&r, "the instance's metadata service", err);
    bool ok = doc && (take_json(doc, k) || err_set(err, ERR_UPSTREAM, "the instance's metadata holds no credentials"));
    json_decref(doc);
    return ok;
}

bool aws_find_key(struct cred_task *t, const char *region, struct aws_key *k, struct err *err)
{
    const char *role = getenv("AWS_ROLE_ARN"), *token_file = getenv("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");

    memset(k, 0, sizeof(*k));
    if (aws_take_env(k))
        return true;
    if (role && *role && token_file && *token_file)
        return assume_role(t, region, role, token_file, k, err);
    if (aws_take_file(t, k))
        return true;
    if ((relative && *relative) || (full && *full))
        return take_container(t, relative && *relative ? relative : NULL, full, k, err);
    return take_instance(t, k, err);
}

/* ---- the key as an identity (cred_new_aws) ---- */

static bool aws_ask(struct cred_task *t, struct err *err)
{
    const char *env = getenv("AWS_REGION");
    const char *region = t->o->region ? t->o->region : env && *env ? env : "us-east-1"; /* STS is everywhere */
    struct aws_key key;

    if (!aws_find_key(t, region, &key, err))
        return false;
    t->id = (struct cred_identity){.username = key.id, .secret = key.secret, .session = key.session};
    t->life_ms = AWS_REREAD_MS;
    if (key.ends_s > 0)
        t->life_ms = MIN(MAX((key.ends_s - clock_now_s()) * 1000 - AWS_EARLY_MS, (int64_t)AWS_EARLY_MS),
                         (int64_t)AWS_LIFE_MAX_MS);
    return true;
}

const struct cred_backend CRED_AWS = {"aws", CRED_FOR_HOST, 2000, aws_ask};

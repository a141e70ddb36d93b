/* credentials: {provider: ecr}: Amazon ECR and ECR Public. GetAuthorizationToken (Amazon ECR API Reference, version
 * 2015-09-21; ECR Public, version 2020-10-30), signed with Signature Version 4 by libcurl. What it gives is base64 of
 * "AWS:password", good for twelve hours. */
#include "upstream/cred/aws.h"

#include "base/clock.h"

#include <jansson.h>
#include <string.h>

#define PUBLIC_HOST "public.ecr.aws"

struct ecr_place {
    char region[64];
    const char *suffix, *service, *target;
    const char *endpoint; /* NULL: from region and suffix */
};

/* <account>.dkr.ecr.<region>.amazonaws.com[.cn], with ecr-fips too ("Private registries", Amazon ECR User Guide). */
static bool find_place(const struct cred_task *t, struct ecr_place *p, struct err *err)
{
    const char *at = strstr(t->host, ".dkr.ecr"), *env = getenv("AWS_REGION");
    const char *label = at ? strchr(at + 8, '.') : NULL;

    memset(p, 0, sizeof(*p));
    p->suffix = "";
    p->service = "ecr";
    p->target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
    p->endpoint = t->o->api_endpoint;
    if (strcmp(t->host, PUBLIC_HOST) == 0) {
        p->service = "ecr-public";
        p->target = "SpencerFrontendService.GetAuthorizationToken";
        if (!p->endpoint)
            p->endpoint = "https://api.ecr-public.us-east-1.amazonaws.com/";
        snprintf(p->region, sizeof(p->region), "us-east-1");
        return true;
    }
    if (!env || !*env)
        env = getenv("AWS_DEFAULT_REGION");
    if (t->o->region)
        snprintf(p->region, sizeof(p->region), "%s", t->o->region);
    else if (label)
        snprintf(p->region, sizeof(p->region), "%.*s", (int)strcspn(label + 1, "."), label + 1);
    else if (env && *env)
        snprintf(p->region, sizeof(p->region), "%s", env);
    else
        return err_set(err, ERR_INVALID, "%s contains no region: set credentials.region", t->host);
    if (strspn(p->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(p->region))
        return err_set(err, ERR_INVALID, "\"%.40s\" is not a region", p->region);
    p->suffix = strncmp(p->region, "cn-", 3) == 0 ? ".cn" : "";
    return true;
}

static bool ecr_take_token(struct cred_task *t, const json_t *doc, struct err *err)
{
    const json_t *data = json_object_get(doc, "authorizationData");
    const json_t *entry = json_is_array(data) ? json_array_get(data, 0) : data; /* ECR Public has no list */
    size_t len;
    _cleanup_secret_ char *pair = base64_decode(json_string_value(json_object_get(entry, "authorizationToken")), &len);
    char *colon = pair ? strchr(pair, ':') : NULL;
    int64_t left_s = cred_json_number(entry, "expiresAt", 0) - clock_now_s();

    if (!colon)
        return err_set(err, ERR_UPSTREAM, "ECR sent no authorization token");
    t->id.username = xstrndup(pair, (size_t)(colon - pair));
    t->id.secret = xstrdup(colon + 1);
    t->life_ms = MAX(MIN(left_s, (int64_t)12 * 3600), (int64_t)60) * 1000;
    return true;
}

/* Requests a token for the account in the host name. */
static char *make_body(const struct cred_task *t)
{
    size_t digits = strspn(t->host, "0123456789");

    return digits == 12 && t->host[digits] == '.' ? xasprintf("{\"registryIds\":[\"%.12s\"]}", t->host) : xstrdup("{}");
}

static bool ecr_ask(struct cred_task *t, struct err *err)
{
    struct aws_key key;
    struct ecr_place p;

    if (!find_place(t, &p, err) || !aws_find_key(t, p.region, &key, err))
        return false;
    _cleanup_free_ char *own = xasprintf("https://api.ecr.%s.amazonaws.com%s/", p.region, p.suffix);
    _cleanup_free_ char *aws = xasprintf("%s:%s", p.region, p.service),
                        *target = xasprintf("X-Amz-Target: %s", p.target);
    _cleanup_free_ char *body = make_body(t);
    _cleanup_secret_ char *session = key.session ? xasprintf("X-Amz-Security-Token: %s", key.session) : NULL;
    const char *const headers[] = {"Content-Type: application/x-amz-json-1.1", target, session, NULL};
    const struct cred_http r = {.method = "POST",
                                .url = p.endpoint ? p.endpoint : own,
                                .headers = headers,
                                .body = body,
                                .aws = aws,
                                .access_key = key.id,
                                .secret_key = key.secret,
                                .stop = t->stop};
    json_t *doc = cred_http_json(&r, "Amazon ECR", err);
    bool ok = doc && ecr_take_token(t, doc, err);
    json_decref(doc);
    aws_key_clear(&key);
    return ok;
}

const struct cred_backend CRED_ECR = {"ecr", CRED_FOR_HOST, 2000, ecr_ask};

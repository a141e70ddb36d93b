#include "cluster/s3.h"

#include "base/url.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { S3_HASH = 32, S3_HASH_HEX = 2 * S3_HASH + 1 };

/* ---- where things are ---- */

/* Segments are encoded once; S3 does not normalize paths. */
static void s3_add_path(struct buf *out, const char *path)
{
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        _cleanup_free_ char *segment = xstrndup(p, len);
        url_encode(out, segment);
        p += len;
        if (*p == '/') {
            buf_adds(out, "/");
            p++;
        }
    }
}

/* "General purpose bucket naming rules" (Amazon S3 User Guide), but for what other stores allow as well. */
static bool s3_is_bucket(const char *bucket)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    return bucket && bucket[0] && bucket[0] != '.' && strlen(bucket) <= 255 &&
           strspn(bucket, letters) == strlen(bucket);
}

static bool s3_is_region(const char *region)
{
    return region[0] && strlen(region) <= S3_REGION_MAX &&
           strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(region);
}

bool s3_place_set(struct s3_place *p, const char *url, const char *bucket, const char *prefix, const char *region,
                  struct err *err)
{
    char host[256], authority[272];
    _cleanup_buf_ struct buf base = {0};

    memset(p, 0, sizeof(*p));
    if (!url || (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0) || strchr(url, '@') ||
        strpbrk(url, "?# \r\n\t") || !url_host(url, host, sizeof(host)) ||
        !url_authority(url, authority, sizeof(authority)))
        return err_set(err, ERR_INVALID, "the URL of the store is not https://HOST[:PORT][/PATH]");
    if (!s3_is_bucket(bucket))
        return err_set(err, ERR_INVALID, "\"%.80s\" is no name of a bucket", bucket ? bucket : "");
    if (region && !s3_is_region(region))
        return err_set(err, ERR_INVALID, "\"%.80s\" is no region", region);
    if (prefix && (strlen(prefix) > 512 || prefix[0] == '/' || strpbrk(prefix, "\r\n")))
        return err_set(err, ERR_INVALID, "\"%.80s\" is no prefix of objects", prefix);
    size_t origin = url_origin_len(url), path = strlen(url + origin);
    while (path > 0 && url[origin + path - 1] == '/')
        path--;
    buf_add(&base, url + origin, path);
    buf_addf(&base, "/%s/", bucket);
    s3_add_path(&base, prefix ? prefix : "");
    *p = (struct s3_place){.origin = xstrndup(url, origin),
                           .authority = xstrdup(authority),
                           .host = xstrdup(host),
                           .base = xstrdup(base.data),
                           .region = xstrdup(region ? region : "us-east-1")};
    return true;
}

void s3_place_clear(struct s3_place *p)
{
    free(p->origin);
    free(p->authority);
    free(p->host);
    free(p->base);
    free(p->region);
    memset(p, 0, sizeof(*p));
}

char *s3_blob_path(const struct s3_place *p, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];

    digest_hex(d, hex);
    return xasprintf("%sblobs/%s/%.2s/%s", p->base, digest_alg_name(d), hex, hex);
}

/* ---- the signature ---- */

static void s3_to_hex(const unsigned char *raw, char out[S3_HASH_HEX])
{
    for (int i = 0; i < S3_HASH; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

static void s3_hmac(const void *key, size_t len, const char *text, unsigned char out[S3_HASH])
{
    unsigned size = S3_HASH;

    if (!HMAC(EVP_sha256(), key, (int)len, (const unsigned char *)text, strlen(text), out, &size))
        abort();
}

static void s3_signing_key(const struct s3_signing *s, unsigned char key[S3_HASH])
{
    _cleanup_free_ char *first = xasprintf("AWS4%s", s->secret), *day = xasprintf("%.8s", s->time);

    s3_hmac(first, strlen(first), day, key);
    explicit_bzero(first, strlen(first));
    s3_hmac(key, S3_HASH, s->region, key);
    s3_hmac(key, S3_HASH, s->service, key);
    s3_hmac(key, S3_HASH, "aws4_request", key);
}

/* Values without what is around them, and with one space where there are several. */
static void s3_add_value(struct buf *out, const char *value)
{
    bool gap = false;

    value += strspn(value, " \t");
    for (const char *p = value; *p; p++) {
        if (*p == ' ' || *p == '\t') {
            gap = true;
            continue;
        }
        if (gap)
            buf_adds(out, " ");
        gap = false;
        buf_add(out, p, 1);
    }
}

static void s3_add_names(struct buf *out, const struct s3_signing *s)
{
    for (const char *const *l = s->lines; *l; l++)
        buf_addf(out, "%s%.*s", l == s->lines ? "" : ";", (int)strcspn(*l, ":"), *l);
}

static void s3_canonical(const struct s3_signing *s, char out[S3_HASH_HEX])
{
    _cleanup_buf_ struct buf text = {0};
    struct digest d;

    buf_addf(&text, "%s\n%s\n%s\n", s->method, s->path, s->query);
    for (const char *const *l = s->lines; *l; l++) {
        size_t name = strcspn(*l, ":");
        buf_addf(&text, "%.*s:", (int)name, *l);
        s3_add_value(&text, *l + name + 1);
        buf_adds(&text, "\n");
    }
    buf_adds(&text, "\n");
    s3_add_names(&text, s);
    buf_addf(&text, "\n%s", s->payload);
    digest_of(DIGEST_SHA256, text.data, text.len, &d);
    explicit_bzero(text.data, text.len); /* it may hold a session's token */
    s3_to_hex(d.raw, out);
}

char *s3_authorization(const struct s3_signing *s)
{
    unsigned char key[S3_HASH], raw[S3_HASH];
    char canonical[S3_HASH_HEX], signature[S3_HASH_HEX];
    _cleanup_buf_ struct buf names = {0};

    s3_canonical(s, canonical);
    s3_add_names(&names, s);
    _cleanup_free_ char *scope = xasprintf("%.8s/%s/%s/aws4_request", s->time, s->region, s->service);
    _cleanup_free_ char *to_sign = xasprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", s->time, scope, canonical);
    s3_signing_key(s, key);
    s3_hmac(key, sizeof(key), to_sign, raw);
    explicit_bzero(key, sizeof(key));
    s3_to_hex(raw, signature);
    return xasprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", s->id, scope, names.data,
                     signature);
}

const char *s3_time(int64_t now_s, char out[S3_TIME_MAX])
{
    const time_t when = (time_t)now_s;
    struct tm tm;

    gmtime_r(&when, &tm);
    if (strftime(out, S3_TIME_MAX, "%Y%m%dT%H%M%SZ", &tm) == 0)
        snprintf(out, S3_TIME_MAX, "19700101T000000Z");
    return out;
}

/* ---- answers ---- */

bool s3_xml_text(const char *doc, const char *element, char *out, size_t cap)
{
    static const struct {
        const char *escape;
        char is;
    } escapes[] = {{"&amp;", '&'}, {"&lt;", '<'},   {"&gt;", '>'},    {"&quot;", '"'}, {"&apos;", '\''},
                   {"&#34;", '"'}, {"&#39;", '\''}, {"&#x27;", '\''}, {"&#x22;", '"'}};
    _cleanup_free_ char *open = xasprintf("<%s>", element), *close_tag = xasprintf("</%s>", element);
    const char *p = doc ? strstr(doc, open) : NULL, *end = p ? strstr(p, close_tag) : NULL;
    size_t n = 0;

    out[0] = '\0';
    if (!end)
        return false;
    for (p += strlen(open); p < end; n++) {
        char c = *p;
        size_t len = 1;
        for (size_t i = 0; c == '&' && len == 1 && i < ARRAY_LEN(escapes); i++)
            if (strncmp(p, escapes[i].escape, strlen(escapes[i].escape)) == 0) {
                len = strlen(escapes[i].escape);
                c = escapes[i].is;
            }
        if (n + 1 >= cap || c < ' ' || c > '~' || (*p == '&' && len == 1)) {
            out[0] = '\0';
            return false;
        }
        out[n] = c;
        p += len;
    }
    out[n] = '\0';
    return n > 0;
}

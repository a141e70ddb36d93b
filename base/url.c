#include "base/url.h"

#include "base/visible.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

void url_redact(struct buf *out, const char *url)
{
    const char *host = strstr(url, "://");
    size_t end = strcspn(url, "?#");

    if (!host || host > url + end) {
        buf_adds(out, "(not a URL)");
        return;
    }
    host += 3;
    buf_add(out, url, (size_t)(host - url));
    const char *path = host + strcspn(host, "/?#");
    const char *at = memrchr(host, '@', (size_t)(path - host));
    buf_add(out, at ? at + 1 : host, (size_t)(url + end - (at ? at + 1 : host)));
}

void url_encode(struct buf *out, const char *text)
{
    char *encoded = curl_easy_escape(NULL, text, 0);

    buf_adds(out, encoded);
    explicit_bzero(encoded, strlen(encoded)); /* it may be a password */
    curl_free(encoded);
}

void url_add_param(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s%s=", out->len ? "&" : "", name);
    url_encode(out, value);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool url_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t cap)
{
    size_t n = 0;

    if (!memchr(text, '%', len) && !(plus_is_space && memchr(text, '+', len))) { /* nearly always: as it is */
        bool fits = len < cap && text_is_plain(text, len);
        memmove(out, text, fits ? len : 0);
        if (fits)
            out[len] = '\0';
        return fits;
    }
    for (size_t i = 0; i < len; i++) {
        int c = plus_is_space && text[i] == '+' ? ' ' : (unsigned char)text[i];
        if (text[i] == '%') {
            int high = len - i > 2 ? hex_digit(text[i + 1]) : -1, low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || n + 1 >= cap)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

size_t url_origin_len(const char *url)
{
    const char *host = strstr(url, "://");

    return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : strlen(url);
}

void url_query_without(struct buf *out, const char *query, const char *name)
{
    size_t begun = out->len, name_len = strlen(name);

    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&");
        bool same = strncmp(p, name, name_len) == 0 && (len == name_len || p[name_len] == '=');
        if (len > 0 && !same) {
            if (out->len > begun)
                buf_add(out, "&", 1);
            buf_add(out, p, len);
        }
        p += len + (p[len] == '&');
    }
}

const char *url_split_v2(const char *url, size_t *base_len)
{
    const char *host = strstr(url, "://"), *end = url + strlen(url);
    const char *p = host ? strchr(host + 3, '/') : NULL;

    while (p && !(strncmp(p, "/v2", 3) == 0 && (p[3] == '/' || p[3] == '\0')))
        p = strchr(p + 1, '/');
    const char *base_end = p ? p : end;
    while (base_end > url && base_end[-1] == '/')
        base_end--;
    *base_len = (size_t)(base_end - url);
    if (!p)
        return end;
    p += 3;
    return p + strspn(p, "/");
}

bool url_is_https(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0;
}

/* Host and port as written; NULL: there is none. Borrowed. */
static const char *find_authority(const char *url, size_t *len)
{
    const char *host = strstr(url, "://");

    if (!host)
        return NULL;
    host += 3;
    *len = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', *len);
    if (!at)
        return host;
    *len -= (size_t)(at + 1 - host);
    return at + 1;
}

bool url_host(const char *url, char *out, size_t cap)
{
    size_t len;
    const char *host = find_authority(url, &len);

    if (!host)
        return false;
    if (*host == '[') {
        const char *end = memchr(host, ']', len);
        if (!end)
            return false;
        host++;
        len = (size_t)(end - host);
    } else {
        len = MIN(strcspn(host, ":"), len);
    }
    if (len == 0 || len >= cap)
        return false;
    memcpy(out, host, len);
    out[len] = '\0';
    return true;
}

bool url_authority(const char *url, char *out, size_t cap)
{
    const char *usual = url_is_https(url) ? ":443" : ":80";
    size_t len;
    const char *host = find_authority(url, &len);

    if (!host)
        return false;
    if (len > strlen(usual) && strncmp(host + len - strlen(usual), usual, strlen(usual)) == 0)
        len -= strlen(usual);
    if (len == 0 || len >= cap)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)host[i]);
    out[len] = '\0';
    return true;
}

char *url_resolve(const char *url, const char *reference)
{
    CURLU *u = curl_url();
    char *whole = NULL, *copy = NULL;

    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
        !curl_url_set(u, CURLUPART_URL, reference, CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME) &&
        !curl_url_get(u, CURLUPART_URL, &whole, 0))
        copy = xstrdup(whole);
    curl_free(whole);
    curl_url_cleanup(u);
    return copy;
}

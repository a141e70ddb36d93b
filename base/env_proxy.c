#include "base/env_proxy.h"

#include "base/cidr.h"
#include "base/mem.h"
#include "base/secret.h"

#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 255 };

/* A URL's parts, as libcurl parses it. */
struct target {
    char scheme[16], host[HOST_MAX + 1]; /* without brackets, and without a dot at its end */
    int port;
};

/* ---- URLs ---- */

/* "[::1]" and "::1" alike. False if it is too long. */
static bool copy_host(char *out, size_t cap, const char *host, size_t len)
{
    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len > 1 && host[len - 1] == '.')
        len--;
    if (len >= cap)
        return false;
    memcpy(out, host, len);
    out[len] = '\0';
    return true;
}

static bool read_parts(CURLU *u, struct target *t)
{
    char *scheme = NULL, *host = NULL, *port = NULL;

    bool ok = !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) && !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
              !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) && strlen(scheme) < sizeof(t->scheme) &&
              copy_host(t->host, sizeof(t->host), host, strlen(host));
    if (ok) {
        snprintf(t->scheme, sizeof(t->scheme), "%s", scheme);
        t->port = atoi(port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return ok;
}

static bool proxy_resolve(const char *url, const char *location, struct target *t)
{
    CURLU *u = curl_url();

    bool ok = u && !curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) &&
              (!location || !curl_url_set(u, CURLUPART_URL, location,
                                          CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_ALLOW_SPACE)) &&
              read_parts(u, t);
    curl_url_cleanup(u);
    return ok;
}

/* ---- no_proxy ---- */

/* Removes a port from the end: -1 there is none, 0 it is not a number. An IPv6 address has one only after brackets. */
static int cut_port(char *entry)
{
    char *colon = strrchr(entry, ':'), *end;

    if (!colon || (entry[0] == '[' ? colon[-1] != ']' : strchr(entry, ':') != colon))
        return -1;
    *colon = '\0';
    long n = strtol(colon + 1, &end, 10);
    return *end == '\0' && n > 0 && n < 65536 ? (int)n : 0;
}

/* "corp.example" and ".corp.example": the host, and what ends in it; "*.corp.example": the latter. */
static bool is_in_domain(const char *domain, const char *host)
{
    bool below = strncmp(domain, "*.", 2) == 0;

    domain += below ? 2 : *domain == '.';
    size_t len = strlen(domain), host_len = strlen(host);
    if (len == 0 || len > host_len || strcasecmp(host + host_len - len, domain) != 0)
        return false;
    return len == host_len ? !below : host[host_len - len - 1] == '.';
}

/* "10.0.0.0/8", "[fd00::]/8". */
static bool proxy_is_in_net(const char *entry, const struct ip *address)
{
    const char *slash = strchr(entry, '/');
    char host[HOST_MAX + 1];
    struct cidr net;

    if (!copy_host(host, sizeof(host), entry, (size_t)(slash - entry)))
        return false;
    _cleanup_free_ char *plain = xasprintf("%s%s", host, slash);
    return cidr_parse(plain, &net) && cidr_has(&net, address);
}

static bool proxy_matches(char *entry, const char *host, int port)
{
    const struct ip address = ip_parse(host);
    char name[HOST_MAX + 1];

    if (strcmp(entry, "*") == 0)
        return true;
    if (strchr(entry, '/'))
        return proxy_is_in_net(entry, &address);
    int only = cut_port(entry);
    if ((only >= 0 && only != port) || !copy_host(name, sizeof(name), entry, strlen(entry)))
        return false;
    if (address.bits == 0)
        return is_in_domain(name, host);
    struct cidr one;
    return cidr_parse(name, &one) && cidr_has(&one, &address);
}

bool proxy_is_exempt(const char *no_proxy, const char *host, int port)
{
    char plain[HOST_MAX + 1];

    if (!copy_host(plain, sizeof(plain), host, strlen(host)))
        return false;
    while (*no_proxy) {
        no_proxy += strspn(no_proxy, ", \t");
        size_t len = strcspn(no_proxy, ", \t");
        _cleanup_free_ char *entry = xstrndup(no_proxy, len);
        if (len > 0 && proxy_matches(entry, plain, port))
            return true;
        no_proxy += len;
    }
    return false;
}

/* ---- the choice ---- */

static const char *proxy_from_env(const char *name)
{
    const char *text = getenv(name);

    return text && *text ? text : NULL;
}

static const char *first_of(const char *a, const char *b)
{
    const char *text = proxy_from_env(a);

    return text ? text : proxy_from_env(b);
}

static bool proxy_is_loopback(const char *host)
{
    const struct ip a = ip_parse(host);
    static const uint8_t one[16] = {[15] = 1};

    if (a.bits == 0)
        return is_in_domain("localhost", host);
    return a.bits == 32 ? a.raw[0] == 127 : memcmp(a.raw, one, sizeof(one)) == 0;
}

const char *proxy_for(const char *url, const char *location)
{
    const char *http = proxy_from_env("http_proxy"), *https = first_of("https_proxy", "HTTPS_PROXY"),
               *all = first_of("all_proxy", "ALL_PROXY"), *none = first_of("no_proxy", "NO_PROXY");
    struct target t;

    if (!http && !getenv("REQUEST_METHOD"))
        http = proxy_from_env("HTTP_PROXY");
    if ((!http && !https && !all) || !proxy_resolve(url, location, &t) || proxy_is_loopback(t.host))
        return NULL;
    const char *proxy = strcmp(t.scheme, "https") == 0 ? https : http;
    if (!proxy)
        proxy = all;
    return proxy && none && proxy_is_exempt(none, t.host, t.port) ? NULL : proxy;
}

char *proxy_login(const char *proxy)
{
    CURLU *u = curl_url();
    char *user = NULL, *password = NULL, *scheme = NULL, *value = NULL;

    if (u && strchr(proxy, '@') &&
        !curl_url_set(u, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) &&
        !curl_url_get(u, CURLUPART_USER, &user, CURLU_URLDECODE) && !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
        strncmp(scheme, "http", 4) == 0) {
        curl_url_get(u, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
        value = secret_basic(user, password ? password : "");
    }
    curl_free(user);
    curl_free(password);
    curl_free(scheme);
    curl_url_cleanup(u);
    return value;
}

const char *proxy_name(const char *proxy, char out[PROXY_NAME_MAX])
{
    const char *host = strstr(proxy, "://");

    host = host ? host + 3 : proxy;
    size_t len = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', strlen(host)); /* a password may contain the characters that end a host */
    if (at) {
        host = at + 1;
        len = strcspn(host, "/?#");
    }
    snprintf(out, PROXY_NAME_MAX, "%.*s", (int)MIN(len, (size_t)PROXY_NAME_MAX - 1), host);
    return out;
}

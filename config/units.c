/* What single values of the configuration look like: sizes, times, addresses, endpoints. */
#include "config/config.h"

#include "base/ref.h"
#include "base/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

enum { DIGITS_MAX = 15 }; /* a double holds that many exactly */

/* "12" or "1.5": no sign, no exponent, no hexadecimal, all of which strtod(3) would take. */
static bool units_number(const char *text, double *out, const char **end)
{
    size_t whole = strspn(text, "0123456789"), part = 0;

    if (whole > 0 && text[whole] == '.')
        part = 1 + strspn(text + whole + 1, "0123456789");
    if (whole == 0 || part == 1 || whole + part > DIGITS_MAX)
        return false;
    *out = strtod(text, NULL);
    *end = text + whole + part;
    return true;
}

bool config_parse_amount(const char *text, struct amount *out)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    const char *unit;
    double n;

    if (!units_number(text, &n, &unit))
        return false;
    unit += strspn(unit, " ");
    if (strcmp(unit, "%") == 0) {
        *out = (struct amount){.bytes = -1, .percent = n};
        return n <= 100;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(unit, units[i].unit) == 0) {
            double bytes = n * (double)((int64_t)1 << units[i].shift);
            if (bytes >= 9e18)
                return false;
            *out = (struct amount){.bytes = (int64_t)bytes};
            return true;
        }
    return false;
}

bool config_parse_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    const char *unit;
    double n;

    if (!units_number(text, &n, &unit))
        return false;
    if (n == 0 && *unit == '\0') {
        *ms = 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(unit, units[i].unit) == 0) {
            if (n * units[i].ms >= 1e15)
                return false;
            *ms = (int64_t)(n * units[i].ms);
            return true;
        }
    return false;
}

static bool is_ip(int family, const char *text, size_t len)
{
    char host[INET6_ADDRSTRLEN + 1];
    unsigned char ip[16];

    if (len >= sizeof(host))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)len, text);
    return inet_pton(family, host, ip) == 1;
}

bool config_is_address(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0)
        return text[5] == '/' && strlen(text + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
    if (!colon)
        return false;
    size_t host = (size_t)(colon - text), digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] || atoi(colon + 1) > 65535)
        return false;
    if (host == 0 || (host == 1 && *text == '*') || (host == 9 && strncmp(text, "localhost", 9) == 0))
        return true;
    if (text[0] == '[')
        return text[host - 1] == ']' && is_ip(AF_INET6, text + 1, host - 2);
    return is_ip(AF_INET, text, host) || is_ip(AF_INET6, text, host);
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return has;
}

/* Characters that would not be sent as they are in the file, and behind /v2/ those that no repository's name has. */
static const char *path_fault(const char *url)
{
    size_t base_len;
    const char *prefix = url_split_v2(url, &base_len);
    size_t len = strlen(prefix);

    for (const char *p = strchr(strstr(url, "://") + 3, '/'); p; p = strchr(p + 1, '/'))
        if (strncmp(p, "/./", 3) == 0 || strncmp(p, "/../", 4) == 0 || strcmp(p, "/.") == 0 || strcmp(p, "/..") == 0)
            return "has a path with . or .. in it";
    while (len > 0 && prefix[len - 1] == '/')
        len--;
    if (len > 0 && !ref_is_path(prefix, len))
        return "has a path behind /v2/ that cannot begin a repository's name: lower case, digits, and ._-/ between";
    return NULL;
}

const char *config_endpoint_fault(const char *url, bool insecure)
{
    const char *fault = NULL;
    bool http = strncasecmp(url, "http://", 7) == 0;

    if (!http && strncasecmp(url, "https://", 8) != 0)
        return "begins with neither https:// nor http://";
    if (http && !insecure)
        return "is not encrypted: set insecure: true to allow that";
    for (const char *p = url; *p; p++)
        if (!isgraph((unsigned char)*p))
            return "holds a space or a character that no URL has";
    CURLU *u = curl_url();
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, 0);
    if (rc != CURLUE_OK || !has_part(u, CURLUPART_HOST))
        fault = "is not a URL";
    else if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        fault = "holds a user or password: those belong under credentials";
    else if (has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT) || strpbrk(url, "?#"))
        fault = "has a query or a fragment: an endpoint is scheme, host, port and path";
    else
        fault = path_fault(url);
    curl_url_cleanup(u);
    return fault;
}

#include "proxy/intercept/hop.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void hop_note(struct buf *named, const char *connection)
{
    buf_adds(named, ",");
    for (const char *p = connection; *p; p++)
        if (!isspace((unsigned char)*p))
            buf_add(named, &(char){(char)tolower((unsigned char)*p)}, 1);
    buf_adds(named, ",");
}

static bool hop_is_token(const char *name, size_t len)
{
    return len > 0 &&
           strspn(name, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") >= len;
}

static bool hop_is_named(const struct buf *named, const char *name, size_t len)
{
    for (const char *p = named->len > 0 ? strchr(named->data, ',') : NULL; p; p = strchr(p + 1, ','))
        if (strncasecmp(p + 1, name, len) == 0 && p[1 + len] == ',')
            return true;
    return false;
}

bool hop_passes(const struct buf *named, const char *name, size_t len)
{
    static const char *const own[] = {"connection",     "keep-alive", "te",     "trailer",       "transfer-encoding",
                                      "content-length", "upgrade",    "expect", "http2-settings"};
    static const char proxy[] = "proxy-";

    if (!hop_is_token(name, len))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strlen(own[i]) == len && strncasecmp(own[i], name, len) == 0)
            return false;
    if (len >= strlen(proxy) && strncasecmp(name, proxy, strlen(proxy)) == 0)
        return false;
    return len > 0 && !hop_is_named(named, name, len);
}

bool hop_trails(const char *name, size_t len)
{
    static const char *const controls[] = {
        "age",
        "allow",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expires",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "range",
        "retry-after",
        "set-cookie",
        "set-cookie2",
        "vary",
        "www-authenticate",
        "authentication-info",
    };
    static const char *const begins[] = {"access-control-", "content-", "if-", "sec-", "x-forwarded-"};

    if (!hop_passes(&(struct buf){0}, name, len))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(controls); i++)
        if (strlen(controls[i]) == len && strncasecmp(controls[i], name, len) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(begins); i++)
        if (strlen(begins[i]) <= len && strncasecmp(begins[i], name, strlen(begins[i])) == 0)
            return strncasecmp(name, "content-digest", MAX(len, (size_t)14)) == 0;
    return true;
}

bool hop_is_login(const char *authorization)
{
    return authorization &&
           (strncasecmp(authorization, "Negotiate", 9) == 0 || strncasecmp(authorization, "NTLM", 4) == 0);
}

void hop_free_lines(char **list)
{
    for (char **h = list; *h; h++) {
        explicit_bzero(*h, strlen(*h));
        free(*h);
    }
    free(list);
}

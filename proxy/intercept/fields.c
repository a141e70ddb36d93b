#include "proxy/intercept/fields.h"

#include "base/mem.h"
#include "proxy/intercept/hop.h"

#include <string.h>
#include <strings.h>

static bool is_trailer_list(const char *name, size_t len)
{
    return len == strlen("trailer") && strncasecmp(name, "trailer", len) == 0;
}

/* Whether the client takes trailers (RFC 9110 §10.1.4): as it gets those of the server, so do we. */
static bool takes_trailers(const struct http_request *req)
{
    static const char *const word[] = {"trailers", NULL};

    return http_header_has(req, "te", word);
}

char **fields_of_request(const struct http_request *req, bool loses_tls)
{
    enum { OWN = 5 }; /* what is added, and NULL */
    _cleanup_buf_ struct buf named = {0};
    const char *name, *value;
    bool chunked = http_body_length(req) < 0;
    int n = 0, count = 0;

    for (; http_header_at(req, count, &name, &value); count++)
        if (strcmp(name, "connection") == 0)
            hop_note(&named, value);
    char **list = xcalloc((size_t)count + OWN, sizeof(*list));
    if (*http_host(req)) /* of the target, where that is a URL (RFC 9112 §3.2.2) */
        list[n++] = xasprintf("Host: %s", http_host(req));
    for (int i = 0; http_header_at(req, i, &name, &value); i++)
        if (strcmp(name, "host") != 0 &&
            (hop_passes(&named, name, strlen(name)) || (chunked && is_trailer_list(name, strlen(name)))))
            list[n++] = *value ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);
    if (loses_tls && !http_header(req, "x-forwarded-proto"))
        list[n++] = xstrdup("X-Forwarded-Proto: https");
    if (takes_trailers(req)) {
        list[n++] = xstrdup("TE: trailers");
        list[n++] = xstrdup("Connection: TE");
    }
    return list;
}

char **fields_of_trailers(const struct http_request *req)
{
    const char *name, *value;
    size_t bytes = 0;
    int n = 0, count = 0;

    for (; http_trailer_at(req, count, &name, &value); count++)
        bytes += strlen(name) + strlen(value) + strlen(": \r\n");
    if (count == 0 || bytes > FIELDS_TRAILER_BYTES)
        return NULL;
    char **list = xcalloc((size_t)count + 1, sizeof(*list));
    for (int i = 0; http_trailer_at(req, i, &name, &value); i++) {
        if (!hop_trails(name, strlen(name)))
            continue;
        char *line = list[n++] = xasprintf("%s: %s", name, value), *to = line;
        for (const char *p = line; *p; p++) /* libcurl sends them as they are */
            if ((unsigned char)*p >= 0x20 && *p != 0x7f)
                *to++ = *p;
        *to = '\0';
    }
    return list;
}

/* ---- the answer ---- */

static void reply_line(struct http_request *req, const char *line, size_t len)
{
    const char *value = line + len + 1;
    _cleanup_free_ char *name = xstrndup(line, len);

    http_reply_header(req, name, "%s", value + strspn(value, " \t"));
}

void fields_reply(struct http_request *req, const char *const *lines, bool names_trailers)
{
    _cleanup_buf_ struct buf named = {0};

    for (const char *const *l = lines; *l; l++)
        if (strncasecmp(*l, "connection:", 11) == 0)
            hop_note(&named, *l + 11);
    for (const char *const *l = lines; *l; l++) {
        size_t len = strcspn(*l, ":");
        if (hop_passes(&named, *l, len) || (names_trailers && is_trailer_list(*l, len)))
            reply_line(req, *l, len);
    }
}

void fields_reply_trailers(struct http_request *req, const char *const *lines)
{
    for (; lines && *lines; lines++) {
        size_t len = strcspn(*lines, ":");
        if (hop_trails(*lines, len))
            reply_line(req, *lines, len);
    }
}

char **fields_copy(const char *const *lines)
{
    size_t n = 0;

    while (lines && lines[n])
        n++;
    char **list = lines ? xcalloc(n + 1, sizeof(*list)) : NULL;
    for (size_t i = 0; i < n; i++)
        list[i] = xstrdup(lines[i]);
    return list;
}

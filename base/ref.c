#include "base/ref.h"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* One separator inside a component: a dot, one or two underscores, or any number of dashes. Returns its length, 0 if
 * none. */
static size_t separator(const char *s, size_t len)
{
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return len > 1 && s[1] == '_' ? 2 : 1;
    size_t n = 0;
    while (n < len && s[n] == '-')
        n++;
    return n;
}

static bool component_valid(const char *s, size_t len)
{
    size_t i = 0;

    if (len == 0 || !is_lower_alnum(s[0]))
        return false;
    while (i < len) {
        if (is_lower_alnum(s[i])) {
            i++;
            continue;
        }
        size_t n = separator(s + i, len - i);
        if (n == 0 || i + n >= len || !is_lower_alnum(s[i + n]))
            return false;
        i += n;
    }
    return true;
}

bool ref_is_path(const char *s, size_t len)
{
    if (len == 0 || len > REF_PATH_MAX)
        return false;
    while (len > 0) {
        const char *slash = memchr(s, '/', len);
        size_t n = slash ? (size_t)(slash - s) : len;
        if (!component_valid(s, n))
            return false;
        if (slash && n + 1 == len)
            return false; /* ends with a slash */
        s += slash ? n + 1 : n;
        len -= slash ? n + 1 : n;
    }
    return true;
}

bool ref_is_tag(const char *s, size_t len)
{
    if (len == 0 || len > REF_TAG_MAX || !(is_alnum(s[0]) || s[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(s[i]) && s[i] != '_' && s[i] != '.' && s[i] != '-')
            return false;
    return true;
}

bool ref_is_host(const char *s, size_t len)
{
    return memchr(s, '.', len) || memchr(s, ':', len) || (len == 9 && memcmp(s, "localhost", 9) == 0);
}

static bool port_valid(const char *s, size_t len)
{
    unsigned port = 0;

    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    return port > 0 && port <= 65535;
}

static bool ipv6_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] != ':' && s[i] != '.' && !(s[i] >= '0' && s[i] <= '9') && !((s[i] | 32) >= 'a' && (s[i] | 32) <= 'f'))
            return false;
    return len >= 2;
}

bool ref_host_valid(const char *s, size_t len)
{
    size_t n = 0;

    if (len == 0 || len > REF_HOST_MAX)
        return false;
    if (s[0] == '[') {
        const char *end = memchr(s, ']', len);
        if (!end || !ipv6_valid(s + 1, (size_t)(end - s) - 1))
            return false;
        n = (size_t)(end - s) + 1;
    } else {
        const char *colon = memchr(s, ':', len);
        n = colon ? (size_t)(colon - s) : len;
        char before = '.';
        for (size_t i = 0; i < n; before = s[i++])
            if (!is_alnum(s[i]) && !(s[i] == '-' && before != '.') && !(s[i] == '.' && before != '.' && before != '-'))
                return false;
        if (n == 0 || before == '.' || before == '-')
            return false;
    }
    return n == len || (s[n] == ':' && port_valid(s + n + 1, len - n - 1));
}

/* Cuts "@digest" and ":tag" off the end; *len is then the length of the name. */
static bool split_suffixes(struct ref *ref, const char *text, size_t *len, struct err *err)
{
    const char *at = memchr(text, '@', *len);

    if (at) {
        size_t n = *len - (size_t)(at - text) - 1;
        if (!digest_parse(&ref->digest, at + 1, n))
            return err_set(err, ERR_INVALID, "'%s': what follows '@' is not a digest (sha256:<64 hex digits>)", text);
        *len = (size_t)(at - text);
    }
    const char *colon = memrchr(text, ':', *len);
    const char *slash = memrchr(text, '/', *len);
    if (!colon || (slash && slash > colon))
        return true;
    size_t n = *len - (size_t)(colon - text) - 1;
    if (!ref_is_tag(colon + 1, n))
        return err_set(err, ERR_INVALID, "'%s': '%.*s' is not a tag (letters, digits, '_', '.', '-'; at most %d)", text,
                       (int)n, colon + 1, REF_TAG_MAX);
    memcpy(ref->tag, colon + 1, n);
    *len = (size_t)(colon - text);
    return true;
}

#define USUAL_PORT ":443"

void ref_canonical_host(char *host)
{
    for (char *p = host; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 32 : *p);
    size_t len = strlen(host);
    if (len > strlen(USUAL_PORT) && strcmp(host + len - strlen(USUAL_PORT), USUAL_PORT) == 0)
        host[len - strlen(USUAL_PORT)] = '\0';
    if (strcmp(host, "index.docker.io") == 0 || strcmp(host, "registry-1.docker.io") == 0)
        strcpy(host, REF_DEFAULT_HOST);
}

static bool split_host(struct ref *ref, const char *text, size_t len, struct err *err)
{
    const char *slash = memchr(text, '/', len);
    size_t n = slash ? (size_t)(slash - text) : 0;
    const char *prefix = "";

    if (slash && ref_is_host(text, n)) {
        if (!ref_host_valid(text, n))
            return err_set(err, ERR_INVALID, "'%s': '%.*s' is not a registry host", text, (int)n, text);
        memcpy(ref->host, text, n);
        ref_canonical_host(ref->host);
        text += n + 1;
        len -= n + 1;
    } else {
        strcpy(ref->host, REF_DEFAULT_HOST);
    }
    if (strcmp(ref->host, REF_DEFAULT_HOST) == 0 && !memchr(text, '/', len))
        prefix = "library/";
    if (strlen(prefix) + len > REF_PATH_MAX)
        return err_set(err, ERR_INVALID, "'%.*s...': a repository's name has at most %d bytes, this has %zu", 40, text,
                       REF_PATH_MAX, strlen(prefix) + len);
    if (!ref_is_path(text, len))
        return err_set(err, ERR_INVALID,
                       "'%.*s' is not a repository name (lower-case letters, digits, '.', '_', '-', '/')",
                       (int)MIN(len, 200), text);
    int total = snprintf(ref->path, sizeof(ref->path), "%s%.*s", prefix, (int)len, text);
    if (strlen(ref->host) + 1 + (size_t)total > REF_NAME_MAX)
        return err_set(err, ERR_INVALID, "the repository name is longer than %d bytes", REF_NAME_MAX);
    return true;
}

bool ref_parse(struct ref *ref, const char *text, struct err *err)
{
    size_t len = strlen(text);

    memset(ref, 0, sizeof(*ref));
    if (len == 0 || len >= REF_TEXT_MAX)
        return err_set(err, ERR_INVALID, "an image reference has 1 to %d bytes, this has %zu", REF_TEXT_MAX - 1, len);
    if (!split_suffixes(ref, text, &len, err) || !split_host(ref, text, len, err))
        return false;
    if (!ref->tag[0] && ref->digest.alg == DIGEST_NONE)
        strcpy(ref->tag, REF_DEFAULT_TAG);
    return true;
}

const char *ref_name(const struct ref *ref, char *out)
{
    snprintf(out, REF_TEXT_MAX, "%s/%s", ref->host, ref->path);
    return out;
}

const char *ref_format(const struct ref *ref, char *out)
{
    char digest[DIGEST_TEXT_MAX] = "";

    if (ref->digest.alg != DIGEST_NONE)
        digest_format(&ref->digest, digest);
    snprintf(out, REF_TEXT_MAX, "%s/%s%s%s%s%s", ref->host, ref->path, ref->tag[0] ? ":" : "", ref->tag,
             digest[0] ? "@" : "", digest);
    return out;
}

const char *ref_join(const char *name, const char *tag, char out[REF_TEXT_MAX])
{
    snprintf(out, REF_TEXT_MAX, "%s%c%s", name, strchr(tag, ':') ? '@' : ':', tag);
    return out;
}

const char *ref_digest_tag(const struct digest *d, char out[REF_TAG_MAX + 1])
{
    char text[DIGEST_TEXT_MAX];

    snprintf(out, REF_TAG_MAX + 1, "%.*s", (int)REF_TAG_MAX, digest_format(d, text));
    return out;
}

enum { STATEMENT_HEX = 64 };

const char *ref_referrers_tag(const struct digest *d, char out[REF_TAG_MAX + 1])
{
    char text[DIGEST_TEXT_MAX];
    size_t alg = strcspn(digest_format(d, text), ":");

    snprintf(out, REF_TAG_MAX + 1, "%.*s-%.*s", (int)alg, text, (int)STATEMENT_HEX, text + alg + 1);
    return out;
}

bool ref_is_statement_tag(const char *tag)
{
    size_t alg = strlen("sha256-");

    if (strncmp(tag, "sha256-", alg) != 0 && strncmp(tag, "sha512-", alg) != 0)
        return false;
    size_t hex = strspn(tag + alg, "0123456789abcdef");
    return hex >= STATEMENT_HEX && (tag[alg + hex] == '\0' || tag[alg + hex] == '.');
}

const char *ref_tag(const struct ref *ref, char out[REF_TAG_MAX + 1])
{
    if (ref->digest.alg != DIGEST_NONE)
        return ref_digest_tag(&ref->digest, out);
    memcpy(out, ref->tag, REF_TAG_MAX + 1);
    return out;
}

#include "upstream/challenge.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* token68 characters are accepted, too: they end at the same places. */
static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~/", c));
}

static const char *skip(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == ',')
        p++;
    return p;
}

/* Reads a token, or a quoted string with its escapes undone; NULL if there is none or it is too long. */
static const char *challenge_read_value(const char *p, char *out, size_t cap)
{
    size_t n = 0;

    if (*p != '"') { /* an unquoted realm may have any character of a URL */
        for (; *p && !strchr(", \t\"", *p); p++) {
            if (n + 1 >= cap)
                return NULL;
            out[n++] = *p;
        }
        out[n] = '\0';
        return n > 0 ? p : NULL;
    }
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (!*p || n + 1 >= cap)
            return NULL;
        out[n++] = *p;
    }
    out[n] = '\0';
    return p + 1;
}

static void challenge_keep(struct challenge *c, const char *name, const char *value)
{
    const struct {
        const char *name;
        char *to;
        size_t size;
    } parts[] = {{"realm", c->realm, sizeof(c->realm)},
                 {"service", c->service, sizeof(c->service)},
                 {"scope", c->scope, sizeof(c->scope)}};
    size_t len = strlen(value);

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (strcasecmp(name, parts[i].name) != 0)
            continue;
        if (len < parts[i].size)
            memcpy(parts[i].to, value, len + 1);
        else
            c->too_long = true;
    }
}

/* The parameters of one challenge; returns where the next one begins, or NULL. */
static const char *read_params(const char *p, struct challenge *c)
{
    for (;;) {
        char name[64], value[CHALLENGE_MAX];
        const char *start = p = skip(p);
        size_t n = 0;
        while (is_token(*p) && n + 1 < sizeof(name))
            name[n++] = *p++;
        name[n] = '\0';
        if (n == 0)
            return NULL;
        const char *eq = p + strspn(p, " \t");
        if (*eq != '=')
            return start; /* a scheme: the next challenge */
        p = eq + 1 + strspn(eq + 1, " \t");
        p = challenge_read_value(p, value, sizeof(value));
        if (!p)
            return NULL;
        challenge_keep(c, name, value);
    }
}

void challenge_parse(struct challenge *best, const char *text)
{
    const char *p = skip(text);

    memset(best, 0, sizeof(*best));
    while (p && *p) {
        struct challenge c = {0};
        size_t n = 0;
        while (is_token(p[n]))
            n++;
        if (n == 0)
            return;
        if (n == 6 && strncasecmp(p, "Bearer", 6) == 0)
            c.scheme = CHALLENGE_BEARER;
        else if (n == 5 && strncasecmp(p, "Basic", 5) == 0)
            c.scheme = CHALLENGE_BASIC;
        p = read_params(p + n, &c);
        if (c.scheme == CHALLENGE_BEARER)
            best->too_long = best->too_long || c.too_long;
        if (c.scheme == CHALLENGE_BEARER && c.realm[0] == '\0')
            continue;
        if (c.scheme > best->scheme) {
            c.too_long = best->too_long;
            *best = c;
        }
    }
}

static void challenge_add_param(struct buf *out, const char *glue, const char *name, const char *value)
{
    if (!*value)
        return;
    buf_addf(out, "%s%s=\"", glue, name);
    for (; *value; value++)
        buf_addf(out, "%s%c", strchr("\\\"", *value) ? "\\" : "", *value);
    buf_adds(out, "\"");
}

void challenge_format(const struct challenge *c, struct buf *out)
{
    if (c->scheme == CHALLENGE_NONE)
        return;
    bool bearer = c->scheme == CHALLENGE_BEARER;
    buf_adds(out, bearer ? "Bearer" : "Basic");
    challenge_add_param(out, " ", "realm",
                        *c->realm || bearer ? c->realm : "registry"); /* RFC 7617 §2: Basic requires one */
    if (bearer) {
        challenge_add_param(out, ",", "service", c->service);
        challenge_add_param(out, ",", "scope", c->scope);
    }
}

void challenge_add_invalid_token(char *text, size_t cap)
{
    static const char error[] = ",error=\"invalid_token\"";
    size_t len = strlen(text);

    if (strncasecmp(text, "Bearer ", 7) != 0 || strcasestr(text, "error=") || strcasestr(text, ", Basic") ||
        text[len - 1] != '"' || len + sizeof(error) > cap)
        return;
    memcpy(text + len, error, sizeof(error));
}

/* Which images may be pulled: policy.allow and policy.deny.
 *
 *     [HOST/]PATH[:TAG][@DIGEST]      docker.io and library/ are filled in, as in a reference; `*` alone is every name
 *
 *     *    anything within a component of the name, or in a tag or digest     **   across slashes, too
 *     ?    one character that is no slash
 */
#include "config/read.h"

#include "base/ref.h"

#include <ctype.h>
#include <string.h>

/* ---- patterns ---- */

/* Backtracking is bounded by the number of stars (STARS_MAX). */
static bool glob(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern == '*') {
            bool across = pattern[1] == '*';
            const char *rest = pattern + 1 + across;
            for (;; text++) {
                if (glob(rest, text))
                    return true;
                if (!*text || (*text == '/' && !across))
                    return false;
            }
        }
        if (!*text || (*pattern == '?' ? *text == '/' : *pattern != *text))
            return false;
    }
    return *text == '\0';
}

enum { STARS_MAX = 8, NAME_LONGEST = REF_NAME_MAX + 64 };

/* The name in full, as requests get theirs: hosts by the names of their upstreams. `*` alone stays. */
static char *fill_in(const struct config *c, const char *name)
{
    size_t first = strcspn(name, "/");
    bool has_host = name[first] == '/' && (ref_is_host(name, first) || memchr(name, '*', first));
    char host[NAME_LONGEST];

    if (strcmp(name, "*") == 0 || strcmp(name, "**") == 0)
        return xstrdup("**");
    if (!has_host)
        return xasprintf(REF_DEFAULT_HOST "/%s%s", name[first] == '/' ? "" : "library/", name);
    snprintf(host, sizeof(host), "%.*s", (int)MIN(first, sizeof(host) - 1), name);
    ref_canonical_host(host);
    config_name_alias(c, host);
    bool is_hub = strcmp(host, REF_DEFAULT_HOST) == 0 && !strchr(name + first + 1, '/') && !strstr(name + first, "**");
    return xasprintf("%s%s%s", host, is_hub ? "/library" : "", name + first);
}

/* What is wrong with it, as a text that follows it; NULL: nothing. */
static const char *pattern_fault(const char *text)
{
    int stars = 0;

    for (const char *p = text; *p; p++) {
        stars += *p == '*' && p[1] != '*';
        if (!isalnum((unsigned char)*p) && !strchr("*?._-/:@+[]", *p))
            return "has a character that no image's name has";
    }
    if (strncmp(text, "http:", 5) == 0 || strncmp(text, "https:", 6) == 0)
        return "is a URL, not a pattern of images";
    if (stars > STARS_MAX || strlen(text) >= NAME_LONGEST)
        return "is too long, or has too many stars";
    if (text[0] == '/' || strstr(text, "//"))
        return "has an empty part";
    return NULL;
}

static bool take_pattern(const struct config *c, const char *text, struct config_image_pattern *out)
{
    const char *at = strchr(text, '@'), *end = at ? at : text + strlen(text), *colon = NULL;

    for (const char *p = text; p < end; p++)
        colon = *p == ':' ? p : *p == '/' ? NULL : colon;
    _cleanup_free_ char *name = xstrndup(text, (size_t)((colon ? colon : end) - text));
    if (!*name || (colon && colon + 1 == end) || (at && !at[1]))
        return false;
    const char *slash = strchr(name, '/');
    bool has_host = slash && ref_is_host(name, (size_t)(slash - name));
    for (const char *p = has_host ? slash : name; *p; p++)
        if (isupper((unsigned char)*p))
            return false;
    out->text = xstrdup(text);
    out->name = fill_in(c, name);
    out->tag = colon ? xstrndup(colon + 1, (size_t)(end - colon - 1)) : NULL;
    out->digest = at ? xstrdup(at + 1) : NULL;
    return true;
}

static bool take_patterns(struct config_reading *r, const char *key, char *const *texts, int count,
                          struct config_image_pattern *out)
{
    char path[32];

    for (int i = 0; i < count; i++) {
        const char *fault = pattern_fault(texts[i]);
        snprintf(path, sizeof(path), "%s[%d]", key, i);
        if (!fault && !take_pattern(r->c, texts[i], &out[i]))
            fault = "is not a pattern such as docker.io/library/*, ghcr.io/org/**, *:latest (names are in lower case)";
        if (fault)
            return config_bad(r, "policy", 0, path, "\"%s\" %s", texts[i], fault);
    }
    return true;
}

bool config_take_policy(struct config_reading *r, const struct yaml_config *y)
{
    struct config_policy *p = &r->c->policy;

    return take_patterns(r, "allow", y->policy_allow, y->policy_allow_count, p->allow) &&
           take_patterns(r, "deny", y->policy_deny, y->policy_deny_count, p->deny);
}

static void free_patterns(struct config_image_pattern *list)
{
    for (int i = 0; list[i].text; i++) {
        free(list[i].text);
        free(list[i].name);
        free(list[i].tag);
        free(list[i].digest);
    }
}

void config_free_policy(struct config *c)
{
    free_patterns(c->policy.allow);
    free_patterns(c->policy.deny);
}

/* ---- what they say ---- */

bool config_has_policy(const struct config *c)
{
    return c->policy.allow[0].text || c->policy.deny[0].text;
}

/* A tag that is denied says nothing about its content: that has a digest of its own. */
static bool is_denied(const struct config_image_pattern *p, const struct config_image *im)
{
    if (!glob(p->name, im->name) || (p->tag && (!im->tag || !glob(p->tag, im->tag))))
        return false;
    return !p->digest || (im->digest && glob(p->digest, im->digest));
}

/* Engines ask for a tag, and then for what it names by digest: a tag that is allowed allows what is by digest in its
 * repository. A digest that is allowed allows what it lists. */
static bool is_allowed(const struct config_image_pattern *p, const struct config_image *im)
{
    if (!glob(p->name, im->name))
        return false;
    if (im->tag)
        return !p->digest && (!p->tag || glob(p->tag, im->tag));
    if (!p->digest || !im->digest || im->is_part)
        return true;
    return glob(p->digest, im->digest) || (im->is_listed_by && im->is_listed_by(im->arg, p->digest));
}

bool config_admits(const struct config *c, const struct config_image *im, const char **why)
{
    *why = "";
    for (int i = 0; c->policy.deny[i].text; i++)
        if (is_denied(&c->policy.deny[i], im)) {
            *why = c->policy.deny[i].text;
            return false;
        }
    for (int i = 0; c->policy.allow[i].text; i++)
        if (is_allowed(&c->policy.allow[i], im))
            return true;
    return !c->policy.allow[0].text;
}

const char *config_denies_digest(const struct config *c, const char *name, const char *digest)
{
    for (const struct config_image_pattern *p = c->policy.deny; p->text; p++)
        if (p->digest && !p->tag && glob(p->name, name) && glob(p->digest, digest))
            return p->text;
    return NULL;
}

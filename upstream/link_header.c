#include "upstream/link_header.h"

#include "base/buf.h"

#include <string.h>
#include <strings.h>

static void link_header_skip_space(const char **p)
{
    *p += strspn(*p, " \t");
}

/* A token, or a quoted string (RFC 9110 §5.6.4). A quote that is never closed ends with the text. */
static void link_header_read_value(const char **p, struct buf *out)
{
    if (**p != '"') {
        size_t len = strcspn(*p, " \t;,");
        buf_add(out, *p, len);
        *p += len;
        return;
    }
    for ((*p)++; **p && **p != '"'; (*p)++) {
        if (**p == '\\' && (*p)[1])
            (*p)++;
        buf_add(out, *p, 1);
    }
    *p += **p == '"';
}

/* One or more relation types, between spaces, in any case (RFC 8288 §3.3). */
static bool names_next(const struct buf *rel)
{
    const char *p = rel->data ? rel->data : "";

    while (*p) {
        size_t len = strcspn(p, " \t");
        if (len == strlen("next") && strncasecmp(p, "next", len) == 0)
            return true;
        p += len;
        link_header_skip_space(&p);
    }
    return false;
}

enum relation { REL_NONE, REL_NEXT, REL_OTHER };

/* The parameters of one link; the first `rel` is the one that counts. */
static enum relation read_parameters(const char **p)
{
    enum relation found = REL_NONE;

    for (link_header_skip_space(p); **p == ';'; link_header_skip_space(p)) {
        _cleanup_buf_ struct buf value = {0};
        (*p)++;
        link_header_skip_space(p);
        const char *name = *p;
        size_t len = strcspn(name, " \t=;,");
        *p += len;
        link_header_skip_space(p);
        if (**p == '=') {
            (*p)++;
            link_header_skip_space(p);
            link_header_read_value(p, &value);
        }
        if (found == REL_NONE && len == strlen("rel") && strncasecmp(name, "rel", len) == 0)
            found = names_next(&value) ? REL_NEXT : REL_OTHER;
    }
    return found;
}

char *link_header_next(const char *value, bool *named)
{
    char *bare = NULL;

    *named = false;
    for (const char *p = value; *p;) {
        if (*p != '<') { /* between links, or what is none */
            p++;
            continue;
        }
        const char *end = strchr(p, '>');
        if (!end)
            break;
        const char *target = p + 1;
        p = end + 1;
        enum relation rel = read_parameters(&p);
        if (rel == REL_NEXT) {
            free(bare);
            *named = true;
            return xstrndup(target, (size_t)(end - target));
        }
        if (rel == REL_NONE && !bare)
            bare = xstrndup(target, (size_t)(end - target));
    }
    return bare;
}

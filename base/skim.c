#include "base/skim.h"

#include "base/document.h"

#include <string.h>
#include <strings.h>

static const char *skim_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* From the first quote to after the last; NULL: it does not end. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p < end ? p + 1 : NULL;
}

static const char *skip_nested(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            if (!p)
                return NULL;
            continue;
        }
        if ((*p == '{' || *p == '[') && ++depth > DOCUMENT_DEPTH_MAX)
            return NULL;
        if ((*p == '}' || *p == ']') && --depth == 0)
            return p + 1;
        p++;
    }
    return NULL;
}

static const char *skip_value(const char *p, const char *end)
{
    const char *from = p;

    if (p < end && *p == '"')
        return skip_string(p, end);
    if (p < end && (*p == '{' || *p == '['))
        return skip_nested(p, end);
    while (p < end && !strchr(",}] \t\r\n", *p))
        p++;
    return p > from && p < end ? p : NULL;
}

static void skim_note(const struct span *name, const struct span *value, const char *const *names, size_t count,
                      struct span *values)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == name->len && strncasecmp(names[i], name->data, name->len) == 0)
            values[i] = *value;
}

/* A member and its separator; NULL: it is not plain. */
static const char *take_member(const char *p, const char *end, const char *const *names, size_t count,
                               struct span *values)
{
    const char *name = p, *behind = *p == '"' ? skip_string(p, end) : NULL;

    if (!behind || memchr(name, '\\', (size_t)(behind - name)))
        return NULL;
    p = skim_skip_space(behind, end);
    if (p == end || *p != ':')
        return NULL;
    const char *value = skim_skip_space(p + 1, end);
    p = skip_value(value, end);
    if (!p)
        return NULL;
    skim_note(&(struct span){name + 1, (size_t)(behind - name) - 2}, &(struct span){value, (size_t)(p - value)}, names,
              count, values);
    return skim_skip_space(p, end);
}

bool skim_members(const struct span *object, const char *const *names, size_t count, struct span *values)
{
    const char *end = object->data + object->len, *p = skim_skip_space(object->data, end);

    memset(values, 0, count * sizeof(*values));
    if (p == end || *p != '{')
        return false;
    do {
        p = skim_skip_space(p + 1, end);
        p = p < end ? take_member(p, end, names, count, values) : NULL;
    } while (p && p < end && *p == ',');
    return p && p < end && *p == '}' && skim_skip_space(p + 1, end) == end;
}

bool skim_text(const struct span *value, char *out, size_t cap)
{
    size_t len = value->len;

    if (!value->data || len < 2 || value->data[0] != '"' || len - 2 >= cap)
        return false;
    for (size_t i = 1; i < len - 1; i++)
        if (value->data[i] < 0x20 || value->data[i] > 0x7e || value->data[i] == '\\')
            return false;
    memcpy(out, value->data + 1, len - 2);
    out[len - 2] = '\0';
    return true;
}

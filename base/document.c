#include "base/document.h"

#include "base/visible.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double WHOLE_MAX = 9007199254740992.0; /* 2^53: beyond it, a double is not exact */

/* Digits that int64_t always holds; limits within which a double is finite. */
enum { INTEGER_MAX = 18, REAL_MAX = 200, EXPONENT_MAX = 100 };

/* ---- what jansson refuses is replaced, in place, by something of the same length ---- */

/* The code unit of "\uXXXX" at `p`, -1 if there is none. */
static int code_unit(const char *p, size_t left)
{
    char hex[5] = "";

    if (left < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    memcpy(hex, p + 2, 4);
    for (int i = 0; i < 4; i++)
        if (!isxdigit((unsigned char)hex[i]))
            return -1;
    return (int)strtol(hex, NULL, 16);
}

/* An escape; returns its length. NUL and half a surrogate pair become U+FFFD. */
static size_t soften_escape(char *p, size_t left)
{
    int unit = code_unit(p, left);

    if (unit < 0)
        return MIN(left, (size_t)2);
    int next = unit >= 0xd800 && unit < 0xdc00 ? code_unit(p + 6, left - 6) : -1;
    if (next >= 0xdc00 && next < 0xe000)
        return 12;
    if (unit == 0 || (unit >= 0xd800 && unit < 0xe000))
        memcpy(p + 2, "fffd", 4);
    return 6;
}

/* A string, from its first quote; returns the length up to its last one. */
static size_t soften_string(char *p, size_t left)
{
    size_t i = 1;
    unsigned code;

    while (i < left && p[i] != '"') {
        if (p[i] == '\\') {
            i += soften_escape(p + i, left - i);
            continue;
        }
        size_t n = utf8_next(p + i, left - i, &code);
        if (n == 0)
            p[i] = '?';
        i += MAX(n, (size_t)1);
    }
    return MIN(i + 1, left);
}

/* A number out of range becomes -1, which document_number() refuses. */
static size_t soften_number(char *p, size_t left)
{
    size_t n = 0, exponent = 0;
    bool real = false;

    for (; n < left && p[n] && strchr("+-.0123456789eE", p[n]); n++) {
        exponent = p[n] == 'e' || p[n] == 'E' ? n + 1 : exponent;
        real = real || exponent > 0 || p[n] == '.';
    }
    if (n > (real ? REAL_MAX : INTEGER_MAX) || (exponent > 0 && strtol(p + exponent, NULL, 10) > EXPONENT_MAX)) {
        memset(p, ' ', n);
        memcpy(p, "-1", 2);
    }
    return n;
}

static bool soften(char *p, size_t len, struct err *err)
{
    size_t depth = 0;

    for (size_t i = 0; i < len;) {
        if (p[i] == '"') {
            i += soften_string(p + i, len - i);
            continue;
        }
        if (p[i] == '-' || isdigit((unsigned char)p[i])) {
            i += soften_number(p + i, len - i);
            continue;
        }
        if ((p[i] == '{' || p[i] == '[') && ++depth > DOCUMENT_DEPTH_MAX)
            return err_set(err, ERR_INVALID, "nested deeper than %d", (int)DOCUMENT_DEPTH_MAX);
        if ((p[i] == '}' || p[i] == ']') && depth > 0)
            depth--;
        i++;
    }
    return true;
}

json_t *document_read(const void *data, size_t len, struct err *err)
{
    _cleanup_free_ char *text = xmalloc(len + 1);
    json_error_t why;

    memcpy(text, data, len);
    text[len] = '\0';
    if (!soften(text, len, err))
        return NULL;
    json_t *doc = json_loadb(text, len, 0, &why);
    if (json_is_object(doc))
        return doc;
    err_set(err, ERR_INVALID, "not a JSON object: %s", doc ? "another kind of value" : why.text);
    json_decref(doc);
    return NULL;
}

/* ---- looking into it ---- */

json_t *document_get(const json_t *object, const char *key)
{
    json_t *value, *found = NULL;
    const char *name;

    json_object_foreach((json_t *)object, name, value)
        if (strcasecmp(name, key) == 0)
            found = value;
    return json_is_null(found) ? NULL : found;
}

const char *document_text(const json_t *object, const char *key)
{
    return json_string_value(document_get(object, key));
}

int64_t document_number(const json_t *object, const char *key)
{
    const json_t *value = document_get(object, key);
    double n = json_is_number(value) ? json_number_value(value) : -1;

    return n >= 0 && n <= WHOLE_MAX && floor(n) == n ? (int64_t)n : -1;
}

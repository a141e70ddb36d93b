#include "base/visible.h"

#include <stdint.h>
#include <string.h>

size_t utf8_next(const char *text, size_t len, unsigned *code)
{
    const unsigned char *p = (const unsigned char *)text;
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf8 ? 0 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;

    if (n == 0 || n > len)
        return 0;
    *code = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3fu);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[n] || *code > 0x10ffff || surrogate ? 0 : n;
}

/* ---- sixteen bytes at a time ---- */

typedef signed char bytes16 __attribute__((vector_size(16)));

/* The next sixteen bytes; fewer at the end, filled up with what is plain and simple. */
static bytes16 next_bytes(const char *text, size_t left)
{
    bytes16 bytes = (bytes16){0} + 'a';

    if (left >= sizeof(bytes))
        memcpy(&bytes, text, sizeof(bytes));
    else
        memcpy(&bytes, text, left);
    return bytes;
}

static bool any_of(bytes16 found)
{
    uint64_t halves[2];

    memcpy(halves, &found, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

bool text_is_plain(const char *text, size_t len)
{
    bytes16 bad = {0};

    for (size_t i = 0; i < len; i += sizeof(bad)) {
        bytes16 b = next_bytes(text + i, len - i);
        bad |= ((b >= 0) & (b < ' ')) | (b == 0x7f);
    }
    return !any_of(bad);
}

bool text_is_simple(const char *text, size_t len)
{
    bytes16 bad = {0};

    for (size_t i = 0; i < len; i += sizeof(bad)) {
        bytes16 b = next_bytes(text + i, len - i);
        bad |= (b < ' ') | (b == 0x7f) | (b == '"') | (b == '\\'); /* bytes over 0x7f are negative */
    }
    return !any_of(bad);
}

/* ---- characters ---- */

size_t text_whole(const char *text, size_t len)
{
    size_t at = len; /* index of the last character's first byte */

    while (at > 0 && len - at < 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at == 0 || (unsigned char)text[at - 1] < 0xc0)
        return len; /* ASCII, or not UTF-8 */
    unsigned char first = (unsigned char)text[--at];
    size_t due = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    return len - at < due ? at : len;
}

void text_print(char *out, size_t cap, const char *fmt, va_list ap)
{
    if (vsnprintf(out, cap, fmt, ap) >= (int)cap)
        out[text_whole(out, cap - 1)] = '\0';
}

bool utf8_is_hidden(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static bool may_stay(unsigned c, enum visible_as as)
{
    if (c == '\n' || c == '\t')
        return as == VISIBLE_TEXT || as == VISIBLE_JSON;
    return !utf8_is_hidden(c) && !(as == VISIBLE_STRING && (c == '"' || c == '\\'));
}

static void add_escape(struct buf *b, unsigned c, bool is_utf8, enum visible_as as)
{
    if (as == VISIBLE_STRING && (c == '"' || c == '\\'))
        buf_addf(b, "\\%c", (int)c);
    else if (as == VISIBLE_STRING || as == VISIBLE_JSON)
        buf_addf(b, "\\u%04x", is_utf8 ? c : 0xfffd);
    else
        buf_addf(b, is_utf8 && c >= 0x80 ? "\\u%04x" : "\\x%02x", c);
}

void buf_add_visible(struct buf *b, const char *text, size_t len, enum visible_as as)
{
    for (size_t at = 0, n; at < len; at += n) {
        unsigned c = 0;
        size_t seen = utf8_next(text + at, len - at, &c);
        n = MAX(seen, (size_t)1);
        if (seen > 0 && may_stay(c, as))
            buf_add(b, text + at, n);
        else
            add_escape(b, seen > 0 ? c : (unsigned char)text[at], seen > 0, as);
    }
}

void buf_add_json(struct buf *b, const char *text)
{
    buf_add_visible(b, text, strlen(text), VISIBLE_STRING);
}

char *visible_line(const char *text)
{
    struct buf b = {0};

    buf_add_visible(&b, text, strlen(text), VISIBLE_LINE);
    return b.data ? b.data : xstrdup("");
}

json_t *visible_json(const char *text)
{
    json_t *j = json_string(text);

    if (j)
        return j;
    _cleanup_free_ char *shown = visible_line(text);
    return json_string(shown);
}

#include "upstream/refusal.h"

#include "base/buf.h"
#include "base/document.h"
#include "base/visible.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { SECRET_MIN = 6, TOKEN_MIN = 16, DETAIL_MAX = 512 };

#define LEFT_OUT "[...]"

/* ---- what it says ---- */

static void add(struct buf *out, const char *glue, const char *text)
{
    if (!text || !*text)
        return;
    if (out->len > 0)
        buf_adds(out, glue);
    buf_adds(out, text);
}

static void add_detail(struct buf *out, const json_t *detail)
{
    if (json_is_string(detail)) {
        add(out, ": ", json_string_value(detail));
    } else if (json_object_size(detail) > 0 || json_array_size(detail) > 0) {
        _cleanup_free_ char *text = json_dumps(detail, JSON_COMPACT);
        if (text && strlen(text) <= DETAIL_MAX)
            add(out, ": ", text);
    }
}

static void add_error(struct buf *out, const json_t *e)
{
    _cleanup_buf_ struct buf one = {0};

    add(&one, "", document_text(e, "code"));
    add(&one, ": ", document_text(e, "message"));
    add_detail(&one, document_get(e, "detail"));
    add(out, "; ", one.data);
}

static void read_errors(struct buf *out, const json_t *doc)
{
    static const char *const others[] = {"message", "details", "error_description", "detail", "error"};
    const json_t *list = document_get(doc, "errors"), *e;
    size_t i;

    json_array_foreach(list, i, e) {
        if (out->len > REFUSAL_MAX)
            break;
        add_error(out, e);
    }
    for (i = 0; i < ARRAY_LEN(others) && out->len == 0; i++)
        add(out, "", document_text(doc, others[i]));
}

/* ---- what of it is passed on ---- */

/* The length of a character that would drive a terminal or turn a line around: controls, C1 controls, line and
 * paragraph separators, directional marks; 0 if it is none. */
static size_t control(const unsigned char *p)
{
    if (*p < 0x20 || *p == 0x7f)
        return 1;
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
        return 2;
    bool marks =
        p[0] == 0xe2 && ((p[1] == 0x80 && ((p[2] >= 0x8e && p[2] <= 0x8f) || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
                         (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
    return marks ? 3 : 0;
}

static size_t token(const char *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || (p[n] && strchr("-._~+/=", p[n])))
        n++;
    return n;
}

/* The length of a secret that begins at `p`: one that was sent, or what looks like a token (a JWT, or anything after
 * the name of a scheme). */
static size_t secret(const char *p, const char *before, const char *const *secrets)
{
    for (; *secrets; secrets++)
        if (strlen(*secrets) >= SECRET_MIN && strncmp(p, *secrets, strlen(*secrets)) == 0)
            return strlen(*secrets);
    bool after_scheme = before && (strncasecmp(before, "bearer ", 7) == 0 || strncasecmp(before, "basic ", 6) == 0);
    if (strncmp(p, "eyJ", 3) != 0 && !after_scheme)
        return 0;
    size_t n = token(p);
    return n >= TOKEN_MIN ? n : 0;
}

static void clean(struct buf *out, const char *text, const char *const *secrets)
{
    const char *word = text, *before = NULL; /* this word and the one before it */

    for (const char *p = text; *p;) {
        size_t n = control((const unsigned char *)p);
        if (n > 0 || *p == ' ') {
            if (out->len > 0 && out->data[out->len - 1] != ' ')
                buf_adds(out, " ");
            p += MAX(n, (size_t)1);
            before = word;
            word = p;
            continue;
        }
        n = secret(p, p == word ? before : NULL, secrets);
        if (n == 0 && *p == '?' && memmem(word, (size_t)(p - word), "://", 3))
            n = strcspn(p, " \"'<>,;)\t\r\n"); /* a URL's query */
        if (n > 0)
            buf_adds(out, LEFT_OUT);
        else
            buf_add(out, p, 1);
        p += MAX(n, (size_t)1);
    }
}

/* Cut between characters. */
static void cut(char out[REFUSAL_MAX + 1], const struct buf *text)
{
    size_t len = text->len > REFUSAL_MAX ? text_whole(text->data, REFUSAL_MAX - 3) : text->len;

    memcpy(out, text->data, len);
    strcpy(out + len, len < text->len ? "..." : "");
}

void refusal_text(char out[REFUSAL_MAX + 1], const void *body, size_t len, const char *const *secrets)
{
    _cleanup_buf_ struct buf said = {0}, fit = {0};
    json_t *doc = len > 0 ? document_read(body, len, NULL) : NULL;

    out[0] = '\0';
    if (doc)
        read_errors(&said, doc);
    json_decref(doc);
    if (said.len > 0)
        clean(&fit, said.data, secrets);
    while (fit.len > 0 && fit.data[fit.len - 1] == ' ')
        fit.data[--fit.len] = '\0';
    if (fit.len > 0)
        cut(out, &fit);
}

void refusal_code(char out[REFUSAL_CODE_MAX + 1], const void *body, size_t len)
{
    json_t *doc = len > 0 ? document_read(body, len, NULL) : NULL;
    const char *code = document_text(json_array_get(document_get(doc, "errors"), 0), "code");

    snprintf(out, REFUSAL_CODE_MAX + 1, "%s", code ? code : "");
    json_decref(doc);
}

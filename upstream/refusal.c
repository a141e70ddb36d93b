#include "upstream/refusal.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/document.h"
#include "base/secret.h"
#include "base/visible.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { SLASHES_MAX = 16, SECRET_MIN = 6, TOKEN_MIN = 16, DETAIL_MAX = 512 };

#define LEFT_OUT "[...]"

/* ---- reading it ---- */

static void refusal_add(struct buf *out, const char *glue, const char *text)
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
        refusal_add(out, ": ", json_string_value(detail));
    } else if (json_object_size(detail) > 0 || json_array_size(detail) > 0) {
        _cleanup_free_ char *text = json_dumps(detail, JSON_COMPACT);
        if (text && strlen(text) <= DETAIL_MAX)
            refusal_add(out, ": ", text);
    }
}

static void add_error(struct buf *out, const json_t *e)
{
    _cleanup_buf_ struct buf one = {0};

    refusal_add(&one, "", document_text(e, "code"));
    refusal_add(&one, ": ", document_text(e, "message"));
    add_detail(&one, document_get(e, "detail"));
    refusal_add(out, "; ", one.data);
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
        refusal_add(out, "", document_text(doc, others[i]));
}

/* ---- what is passed on ---- */

/* The length of a character that is not to be shown (visible.h); 0 if it is another one. */
static size_t control(const char *p)
{
    unsigned code = 0;
    size_t n = utf8_next(p, strnlen(p, 4), &code);

    return n > 0 && utf8_is_hidden(code) ? n : 0;
}

static size_t token(const char *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || (p[n] && strchr("-._~+/=", p[n])))
        n++;
    return n;
}

/* A character as JSON escapes it by its number, without the first backslash: "u00e9", "ud83d\ude00". */
static void escape_of(unsigned code, char out[16])
{
    if (code < 0x10000)
        snprintf(out, 16, "u%04x", code);
    else
        snprintf(out, 16, "u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

/* The length at `p` of the character that `secret` begins with: as it is, behind any number of backslashes, or as JSON
 * (\n, \u00e9) or a URL (%C3%A9) writes it. *used bytes of the secret are that character. */
static size_t written(const char *p, const char *secret, size_t *used)
{
    static const char escapes[] = "n\nt\tr\rf\fb\b";
    size_t slashes = 0;
    char text[16];
    unsigned code = 0;

    while (slashes < SLASHES_MAX && p[slashes] == '\\')
        slashes++;
    const char *at = p + slashes;
    *used = 1;
    snprintf(text, sizeof(text), "%%%02x", (unsigned char)*secret);
    if (strncasecmp(at, text, 3) == 0)
        return slashes + 3;
    if (*at == *secret)
        return slashes + 1;
    if (slashes == 0)
        return 0;
    for (const char *e = escapes; *e; e += 2)
        if (*at == e[0] && *secret == e[1])
            return slashes + 1;
    *used = utf8_next(secret, strlen(secret), &code);
    escape_of(code, text);
    return *used > 0 && strncasecmp(at, text, strlen(text)) == 0 ? slashes + strlen(text) : 0;
}

/* The length of this secret at `p`, however it is escaped; 0: it is not there. Backslashes are ignored: JSON inside
 * JSON has any number of them. */
static size_t match(const char *p, const char *secret)
{
    size_t len = 0, used, n;

    for (secret += strspn(secret, "\\"); *secret; secret += used, secret += strspn(secret, "\\")) {
        n = written(p + len, secret, &used);
        if (n == 0)
            return 0;
        len += n;
    }
    return len;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c);
}

/* The length of a secret that begins at `p`: one that was sent (a short one only as a whole word), or what looks like a
 * token (a JWT, or anything after the name of a scheme). */
static size_t secret(const char *text, const char *p, const char *before, const char *const *secrets)
{
    size_t n;

    for (; *secrets; secrets++) {
        n = match(p, *secrets);
        if (n > 0 && (strlen(*secrets) >= SECRET_MIN || ((p == text || !is_word(p[-1])) && !is_word(p[n]))))
            return n;
    }
    bool after_scheme = before && (strncasecmp(before, "bearer ", 7) == 0 || strncasecmp(before, "basic ", 6) == 0);
    if (strncmp(p, "eyJ", 3) != 0 && !after_scheme)
        return 0;
    n = token(p);
    return n >= TOKEN_MIN ? n : 0;
}

static void clean(struct buf *out, const char *text, const char *const *secrets)
{
    const char *word = text, *before = NULL; /* this word and the one before it */

    for (const char *p = text; *p && out->len <= REFUSAL_MAX;) { /* bounded by what is passed on */
        size_t hidden = secret(text, p, p == word ? before : NULL, secrets), n = control(p);
        if (hidden == 0 && (n > 0 || *p == ' ')) {
            if (out->len > 0 && out->data[out->len - 1] != ' ')
                buf_adds(out, " ");
            p += MAX(n, (size_t)1);
            before = word;
            word = p;
            continue;
        }
        n = hidden;
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

void refusal_text(char out[REFUSAL_MAX + 1], const void *body, size_t len, const char *authorization,
                  const char *secret_sent)
{
    const char *value = authorization ? strchr(authorization, ' ') : NULL, *secrets[5] = {NULL};
    size_t pair_len;
    _cleanup_buf_ struct buf message = {0}, fit = {0};
    int n = 0;

    value += value ? strspn(value, " ") : 0;
    _cleanup_secret_ char *pair = value ? base64_decode(value, &pair_len) : NULL;
    const char *password = pair ? strchr(pair, ':') : NULL;
    const char *const all[] = {value, password ? pair : NULL, password ? password + 1 : NULL, secret_sent};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] && *all[i])
            secrets[n++] = all[i];
    json_t *doc = len > 0 ? document_read(body, len, NULL) : NULL;
    out[0] = '\0';
    if (doc)
        read_errors(&message, doc);
    json_decref(doc);
    if (message.len > 0)
        clean(&fit, message.data, secrets);
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

bool refusal_says_expired(const char *body, size_t len)
{
    static const char WORD[] = "expired";

    for (size_t i = 0; i + sizeof(WORD) - 1 <= len; i++)
        if (strncasecmp(body + i, WORD, sizeof(WORD) - 1) == 0)
            return true;
    return false;
}

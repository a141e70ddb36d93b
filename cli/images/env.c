/* Variables in compose files (compose-spec, "Interpolation"). */
#include "cli/images/list.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 255, NESTING_MAX = 8, EXPANDED_MAX = 64 << 10 };

struct env_expansion {
    const char *(*look)(void *arg, const char *name);
    void *arg;
    struct err *err;
};

static bool env_expand(const struct env_expansion *x, const char *text, size_t len, int depth, struct buf *out);

/* Bytes of a name at the start. */
static size_t name_length(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && (isalnum((unsigned char)text[n]) || text[n] == '_'))
        n++;
    return n > 0 && isdigit((unsigned char)text[0]) ? 0 : n;
}

/* The offset of the brace that closes the one opened before `text`; len: not found. */
static size_t closing(const char *text, size_t len)
{
    int open = 1;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '$' && i + 1 < len && text[i + 1] == '{')
            open++;
        else if (text[i] == '}' && --open == 0)
            return i;
    }
    return len;
}

/* Expands the text between braces. */
static bool env_expand_braces(const struct env_expansion *x, const char *text, size_t len, int depth, struct buf *out)
{
    char name[NAME_MAX_LEN + 1];
    size_t n = name_length(text, len);

    if (n == 0 || n > NAME_MAX_LEN)
        return err_set(x->err, ERR_INVALID, "${%.*s}: not a variable name", (int)MIN(len, (size_t)64), text);
    snprintf(name, sizeof(name), "%.*s", (int)n, text);
    const char *value = x->look(x->arg, name), *rest = text + n;
    size_t left = len - n;
    bool colon = left > 0 && *rest == ':';
    if (colon) {
        rest++;
        left--;
    }
    bool given = value && (!colon || *value);
    if (left == 0 && !colon) {
        buf_adds(out, value ? value : "");
        return true;
    }
    char op = left > 0 ? *rest : '\0';
    if (op == '-' && !given)
        return env_expand(x, rest + 1, left - 1, depth + 1, out);
    if (op == '+')
        return !given || env_expand(x, rest + 1, left - 1, depth + 1, out);
    if (op == '?' && !given)
        return err_set(x->err, ERR_INVALID, "%s is not set: %.*s", name, (int)MIN(left - 1, (size_t)128), rest + 1);
    if (op != '-' && op != '?')
        return err_set(x->err, ERR_INVALID, "${%.*s}: invalid syntax", (int)MIN(len, (size_t)64), text);
    buf_adds(out, value);
    return true;
}

static bool env_expand(const struct env_expansion *x, const char *text, size_t len, int depth, struct buf *out)
{
    if (depth > NESTING_MAX)
        return err_set(x->err, ERR_INVALID, "variables are nested more than %d deep", (int)NESTING_MAX);
    for (size_t i = 0; i < len; i++) {
        size_t left = len - i - 1, n;
        char name[NAME_MAX_LEN + 1];
        if (out->len > EXPANDED_MAX)
            return err_set(x->err, ERR_TOO_LARGE, "the expanded text is too long");
        if (text[i] != '$' || left == 0) {
            buf_add(out, &text[i], 1);
        } else if (text[i + 1] == '$') {
            buf_adds(out, "$");
            i++;
        } else if (text[i + 1] == '{') {
            n = closing(text + i + 2, left - 1);
            if (n == left - 1)
                return err_set(x->err, ERR_INVALID, "${ without a closing }");
            if (!env_expand_braces(x, text + i + 2, n, depth, out))
                return false;
            i += n + 2;
        } else if ((n = name_length(text + i + 1, left)) > 0 && n <= NAME_MAX_LEN) {
            snprintf(name, sizeof(name), "%.*s", (int)n, text + i + 1);
            const char *value = x->look(x->arg, name);
            buf_adds(out, value ? value : "");
            i += n;
        } else {
            return err_set(x->err, ERR_INVALID, "$ without a variable name; write $$ for a literal $");
        }
    }
    return true;
}

char *image_env_expand(const char *text, const char *(*look)(void *arg, const char *name), void *arg, struct err *err)
{
    const struct env_expansion x = {look, arg, err};
    struct buf out = {0};

    if (!env_expand(&x, text, strlen(text), 0, &out)) {
        buf_free(&out);
        return NULL;
    }
    buf_add(&out, "", 1);
    return out.data;
}

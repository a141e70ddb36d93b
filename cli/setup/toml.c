#include "cli/setup/toml.h"

#include "base/array.h"

#include <string.h>

enum { TOML_DEPTH_MAX = 32 /* lists and inline tables within each other */ };

struct toml_reader {
    const char *begin, *p, *end;
    const char *wrong; /* what is not understood at `p` */
};

static bool toml_wrong(struct toml_reader *r, const char *what)
{
    if (!r->wrong)
        r->wrong = what;
    return false;
}

static bool toml_at(const struct toml_reader *r, const char *text)
{
    size_t len = strlen(text);

    return (size_t)(r->end - r->p) >= len && memcmp(r->p, text, len) == 0;
}

static void toml_skip_blanks(struct toml_reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
}

static bool toml_skip_line_end(struct toml_reader *r)
{
    if (toml_at(r, "\r\n"))
        r->p += 2;
    else if (r->p < r->end && *r->p == '\n')
        r->p++;
    else
        return r->p == r->end;
    return true;
}

/* Blanks and a comment, up to the line's end. */
static void toml_skip_comment(struct toml_reader *r)
{
    toml_skip_blanks(r);
    if (r->p < r->end && *r->p == '#')
        while (r->p < r->end && *r->p != '\n' && !toml_at(r, "\r\n"))
            r->p++;
}

static void toml_skip_lines(struct toml_reader *r)
{
    do {
        toml_skip_comment(r);
    } while (r->p < r->end && toml_skip_line_end(r));
}

/* ---- values: only their ends are found ---- */

static bool toml_skip_text(struct toml_reader *r)
{
    char quote = *r->p;
    char three[4] = {quote, quote, quote, '\0'};
    bool many = toml_at(r, three);

    r->p += many ? 3 : 1;
    for (; r->p < r->end; r->p++) {
        if (quote == '"' && *r->p == '\\' && r->p + 1 < r->end) {
            r->p++;
        } else if (many ? toml_at(r, three) : *r->p == quote) {
            r->p += many ? 3 : 1;
            for (int i = 0; many && i < 2 && r->p < r->end && *r->p == quote; i++) /* quotes before the end */
                r->p++;
            return true;
        } else if (!many && *r->p == '\n') {
            break;
        }
    }
    return toml_wrong(r, "a text does not end");
}

static bool toml_skip_bare(struct toml_reader *r)
{
    const char *from = r->p;

    while (r->p < r->end &&
           (strchr("+-_.:", *r->p)
                ? *r->p != '\0'
                : (*r->p >= '0' && *r->p <= '9') || (*r->p >= 'a' && *r->p <= 'z') || (*r->p >= 'A' && *r->p <= 'Z')))
        r->p++;
    return r->p > from || toml_wrong(r, "a value is missing");
}

/* A key, quoted or bare; appended to `out` (may be NULL). */
static bool toml_read_key(struct toml_reader *r, struct buf *out)
{
    const char *from = r->p;
    bool quoted = r->p < r->end && (*r->p == '"' || *r->p == '\'');

    if (quoted ? !toml_skip_text(r) : r->p == r->end)
        return toml_wrong(r, "a key is missing");
    while (!quoted && r->p < r->end &&
           (*r->p == '-' || *r->p == '_' || (*r->p >= '0' && *r->p <= '9') || (*r->p >= 'a' && *r->p <= 'z') ||
            (*r->p >= 'A' && *r->p <= 'Z')))
        r->p++;
    if (r->p == from)
        return toml_wrong(r, "a key is missing");
    size_t len = (size_t)(r->p - from) - (quoted ? 2 : 0);
    if (quoted && (memchr(from, '\\', len + 2) || memchr(from, '\n', len + 2)))
        return toml_wrong(r, "a key has escapes");
    if (out)
        buf_add(out, from + quoted, len);
    return true;
}

static bool toml_read_keys(struct toml_reader *r, struct buf *out)
{
    for (;;) {
        toml_skip_blanks(r);
        if (!toml_read_key(r, out))
            return false;
        toml_skip_blanks(r);
        if (r->p == r->end || *r->p != '.')
            return true;
        r->p++;
        if (out)
            buf_adds(out, TOML_DOT);
    }
}

static bool toml_skip_value(struct toml_reader *r, int depth);

/* A list or an inline table. */
static bool toml_skip_group(struct toml_reader *r, int depth)
{
    bool table = *r->p == '{';
    char close = table ? '}' : ']';

    r->p++;
    for (;;) {
        toml_skip_lines(r);
        if (r->p < r->end && *r->p == close) {
            r->p++;
            return true;
        }
        if (table && (!toml_read_keys(r, NULL) || r->p == r->end || *r->p++ != '='))
            return toml_wrong(r, "an inline table is not understood");
        toml_skip_blanks(r);
        if (!toml_skip_value(r, depth + 1))
            return false;
        toml_skip_lines(r);
        if (r->p < r->end && *r->p == ',')
            r->p++;
        else if (r->p == r->end || *r->p != close)
            return toml_wrong(r, "a list or an inline table does not end");
    }
}

static bool toml_skip_value(struct toml_reader *r, int depth)
{
    if (depth > TOML_DEPTH_MAX)
        return toml_wrong(r, "it is nested too deeply");
    if (r->p == r->end)
        return toml_wrong(r, "a value is missing");
    if (*r->p == '"' || *r->p == '\'')
        return toml_skip_text(r);
    if (*r->p == '[' || *r->p == '{')
        return toml_skip_group(r, depth);
    return toml_skip_bare(r);
}

/* ---- entries ---- */

static bool toml_read_header(struct toml_reader *r, struct toml_entry *e, struct buf *path)
{
    bool element = toml_at(r, "[[");

    e->kind = element ? TOML_ELEMENT : TOML_TABLE;
    r->p += element ? 2 : 1;
    if (!toml_read_keys(r, path))
        return false;
    if (!toml_at(r, element ? "]]" : "]"))
        return toml_wrong(r, "a table's name does not end");
    r->p += element ? 2 : 1;
    return true;
}

static bool toml_read_value(struct toml_reader *r, const struct toml_file *f, int table, struct toml_entry *e,
                            struct buf *path)
{
    e->kind = TOML_VALUE;
    e->table = table;
    if (table >= 0)
        buf_addf(path, "%s" TOML_DOT, f->list[table].path);
    if (!toml_read_keys(r, path))
        return false;
    if (r->p == r->end || *r->p != '=')
        return toml_wrong(r, "a key has no value");
    r->p++;
    toml_skip_blanks(r);
    e->value = (size_t)(r->p - r->begin);
    if (!toml_skip_value(r, 0))
        return false;
    e->value_end = (size_t)(r->p - r->begin);
    return true;
}

static bool toml_read_entry(struct toml_reader *r, struct toml_file *f, int *table)
{
    _cleanup_buf_ struct buf path = {0};
    struct toml_entry e = {.table = -1};
    const char *line = r->p;

    while (line > r->begin && line[-1] != '\n')
        line--;
    e.begin = (size_t)(line - r->begin);
    e.line = 1;
    for (const char *p = r->begin; p < line; p++)
        e.line += *p == '\n';
    if (!(*r->p == '[' ? toml_read_header(r, &e, &path) : toml_read_value(r, f, *table, &e, &path)))
        return false;
    toml_skip_comment(r);
    if (!toml_skip_line_end(r))
        return toml_wrong(r, "something follows a value");
    e.end = (size_t)(r->p - r->begin);
    e.path = xstrndup(path.data, path.len);
    *ARRAY_NEXT(f->list, f->count, f->cap) = e;
    if (e.kind != TOML_VALUE)
        *table = (int)f->count;
    f->count++;
    return true;
}

bool toml_read(struct toml_file *f, const struct setup_text *text, struct err *err)
{
    const char *data = text->bytes.len > 0 ? text->bytes.data : "";
    struct toml_reader r = {data, data, data + text->bytes.len, NULL};
    int table = -1, line = 1;

    *f = (struct toml_file){.text = &text->bytes};
    if (toml_at(&r, "\xef\xbb\xbf"))
        r.p += 3;
    if (memchr(data, '\0', text->bytes.len))
        return err_set(err, ERR_INVALID, "it is not TOML");
    for (toml_skip_lines(&r); r.p < r.end; toml_skip_lines(&r))
        if (!toml_read_entry(&r, f, &table)) {
            for (const char *p = data; p < r.p; p++)
                line += *p == '\n';
            toml_free(f);
            return err_set(err, ERR_INVALID, "line %d is not understood: %s", line, r.wrong);
        }
    return true;
}

void toml_free(struct toml_file *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->list[i].path);
    free(f->list);
    *f = (struct toml_file){0};
}

const struct toml_entry *toml_find(const struct toml_file *f, enum toml_kind kind, const char *path)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].kind == kind && strcmp(f->list[i].path, path) == 0)
            return &f->list[i];
    return NULL;
}

bool toml_is_below(const char *path, const char *above)
{
    size_t len = strlen(above);

    return strncmp(path, above, len) == 0 && (path[len] == '\0' || path[len] == TOML_DOT[0]);
}

const struct toml_entry *toml_find_closed(const struct toml_file *f, const char *path)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct toml_entry *e = &f->list[i];
        const char *table = e->table >= 0 ? f->list[e->table].path : "";
        if (e->kind == TOML_ELEMENT && toml_is_below(path, e->path))
            return e;
        if (e->kind != TOML_VALUE)
            continue;
        if (toml_is_below(path, e->path)) /* an inline table, or no table at all */
            return e;
        /* a.b.c = … in the table a, and the path a.b or a.b.d: a.b is defined by its keys. */
        const char *key = e->path + (*table ? strlen(table) + 1 : 0), *dot = strchr(key, TOML_DOT[0]);
        if (!dot)
            continue;
        _cleanup_free_ char *defined = xstrndup(e->path, (size_t)(dot - e->path));
        if (toml_is_below(path, defined))
            return e;
    }
    return NULL;
}

/* ---- plain values ---- */

static char *plain_text(const char *from, const char *to)
{
    size_t len = (size_t)(to - from);

    if (len < 2 || (*from != '"' && *from != '\'') || (len > 2 && from[1] == *from) || memchr(from, '\n', len) ||
        (*from == '"' && memchr(from, '\\', len)))
        return NULL;
    return xstrndup(from + 1, len - 2);
}

char *toml_text(const struct toml_file *f, const struct toml_entry *value)
{
    return plain_text(f->text->data + value->value, f->text->data + value->value_end);
}

bool toml_each_text(const struct toml_file *f, const struct toml_entry *value,
                    bool (*each)(void *arg, const char *text), void *arg)
{
    const char *data = f->text->data;
    struct toml_reader r = {data, data + value->value, data + value->value_end - 1, NULL};

    if (*r.p != '[')
        return false;
    r.p++;
    for (toml_skip_lines(&r); r.p < r.end; toml_skip_lines(&r)) {
        const char *from = r.p;
        if ((*r.p != '"' && *r.p != '\'') || !toml_skip_text(&r))
            return false;
        _cleanup_free_ char *text = plain_text(from, r.p);
        if (!text)
            return false;
        if (!each(arg, text))
            return true;
        toml_skip_lines(&r);
        if (r.p < r.end && *r.p++ != ',')
            return false;
    }
    return true;
}

/* ---- changes ---- */

/* The blanks at the beginning of an entry's line; the caller frees them. */
static char *toml_indent(const struct setup_text *text, const struct toml_entry *e)
{
    const char *line = text->bytes.data + e->begin;

    return xstrndup(line, strspn(line, " \t"));
}

void toml_add_key(struct buf *out, const struct setup_text *text, const struct toml_file *f,
                  const struct toml_entry *table, const char *line)
{
    size_t next = (size_t)(table - f->list) + 1;
    bool has_keys = next < f->count && f->list[next].kind == TOML_VALUE;
    _cleanup_free_ char *indent = toml_indent(text, has_keys ? &f->list[next] : table);
    const char *nl = setup_line_end(text);
    bool ended = table->end > 0 && text->bytes.data[table->end - 1] == '\n';
    _cleanup_free_ char *insert = xasprintf("%s%s%s%s%s", ended ? "" : nl, indent, has_keys ? "" : "  ", line, nl);

    setup_splice(out, &text->bytes, table->end, 0, insert);
}

void toml_add_section(struct buf *out, const struct setup_text *text, const char *lines)
{
    const char *nl = setup_line_end(text);
    size_t len = text->bytes.len;

    if (len > 0) {
        buf_add(out, text->bytes.data, len);
        if (text->bytes.data[len - 1] != '\n')
            buf_adds(out, nl);
        buf_adds(out, nl);
    }
    for (const char *end; *lines; lines = end + 1) {
        end = strchr(lines, '\n');
        buf_add(out, lines, (size_t)(end - lines));
        buf_adds(out, nl);
    }
}

void toml_add_item(struct buf *out, const struct setup_text *text, const struct toml_entry *value, const char *item)
{
    const char *list = text->bytes.data + value->value + 1;
    size_t blanks = strspn(list, " \t\r\n");
    bool empty = list[blanks] == ']', comment = list[blanks] == '#';
    _cleanup_free_ char *between = xstrndup(list, comment ? 0 : blanks);
    _cleanup_free_ char *insert =
        empty ? xasprintf("\"%s\"", item) : xasprintf("%s\"%s\",%s", between, item, *between ? "" : " ");

    setup_splice(out, &text->bytes, value->value + 1, 0, insert);
}

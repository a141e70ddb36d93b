/* On which line of a YAML text a key stands.
 *
 * libcyaml says where most mistakes are, but not where a value is that is well-formed and yet impossible. This walks
 * the text after libcyaml has read it (so it is YAML, without aliases), keeping the path of keys and list entries it is
 * in: by indentation in block style, by brackets in flow style. It is good enough for a message; nothing else rests on
 * it.
 */
#include "config/yaml.h"

#include <stdbool.h>
#include <string.h>

enum { DEPTH_MAX = 16, KEY_MAX = 64, PATH_MAX_LEN = DEPTH_MAX * (KEY_MAX + 2) };

struct level {
    bool list, flow;
    int column, entry;
    char key[KEY_MAX];
};

struct walk {
    const char *p, *line_start, *wanted;
    int line, skip; /* how many matches of the whole path to pass over */
    struct level levels[DEPTH_MAX];
    int depth, flows;
    size_t best; /* length of the longest part of `wanted` that was seen */
    int best_line;
    bool found;
};

static int column(const struct walk *w)
{
    return (int)(w->p - w->line_start);
}

static struct level *top(struct walk *w)
{
    return w->depth > 0 ? &w->levels[w->depth - 1] : NULL;
}

static void push(struct walk *w, bool list, bool flow, int col)
{
    if (w->depth < DEPTH_MAX)
        w->levels[w->depth++] = (struct level){.list = list, .flow = flow, .column = col};
    w->flows += flow;
}

/* We are at a key or an entry: is it what is looked for, or a part of the way there? */
static void arrive(struct walk *w)
{
    char path[PATH_MAX_LEN] = "";
    size_t len = 0;

    for (int i = 0; i < w->depth && len < sizeof(path); i++)
        len += w->levels[i].list
                   ? (size_t)snprintf(path + len, sizeof(path) - len, "[%d]", w->levels[i].entry)
                   : (size_t)snprintf(path + len, sizeof(path) - len, "%s%s", i ? "." : "", w->levels[i].key);
    if (len >= sizeof(path) || strncmp(w->wanted, path, len) != 0 || !strchr(".[", w->wanted[len]))
        return; /* strchr finds the NUL too: the whole path */
    bool whole = w->wanted[len] == '\0';
    if (len > w->best || (whole && !w->found)) {
        w->best = len;
        w->best_line = w->line;
    }
    w->found = whole && w->skip-- == 0;
}

static void skip_line(struct walk *w)
{
    w->p += strcspn(w->p, "\n");
}

/* "- " begins an entry; what was deeper has ended. */
static void take_dash(struct walk *w)
{
    int col = column(w);

    while (top(w) && top(w)->column > col)
        w->depth--;
    if (top(w) && top(w)->list && top(w)->column == col)
        top(w)->entry++;
    else
        push(w, true, false, col);
    arrive(w);
    w->p++;
}

static void take_key(struct walk *w, const char *key, size_t len, int col)
{
    if (w->flows == 0) {
        while (top(w) && (top(w)->column > col || (top(w)->list && top(w)->column == col)))
            w->depth--;
        if (!top(w) || top(w)->list || top(w)->column < col)
            push(w, false, false, col);
    }
    if (!top(w) || top(w)->list)
        return;
    snprintf(top(w)->key, KEY_MAX, "%.*s", (int)MIN(len, (size_t)KEY_MAX - 1), key);
    arrive(w);
}

static void take_bracket(struct walk *w)
{
    char c = *w->p++;

    if (c == '{' || c == '[') {
        push(w, c == '[', true, 0);
    } else if (c == ',') {
        if (top(w) && top(w)->list)
            top(w)->entry++;
    } else if (w->flows > 0) {
        w->flows--;
        w->depth -= w->depth > 0;
    }
}

/* Past a scalar in quotes; lines in it count. */
static void skip_quoted(struct walk *w)
{
    char quote = *w->p++;

    for (; *w->p && *w->p != quote; w->p++) {
        if (*w->p == '\n') {
            w->line++;
            w->line_start = w->p + 1;
        }
        if (quote == '"' && *w->p == '\\' && w->p[1] && w->p[1] != '\n')
            w->p++;
    }
    w->p += *w->p != '\0';
}

static void skip_plain(struct walk *w)
{
    const char *ends = w->flows > 0 ? "\n,[]{}" : "\n";

    for (; *w->p && !strchr(ends, *w->p); w->p++) {
        if (*w->p == ':' && (w->p[1] == '\0' || strchr(" \t\r\n", w->p[1]) || strchr(ends, w->p[1])))
            return;
        if (w->p[0] == ' ' && w->p[1] == '#')
            return;
    }
}

static void take_scalar(struct walk *w)
{
    const char *start = w->p;
    int col = column(w);
    bool quoted = *start == '"' || *start == '\'';

    if (top(w) && top(w)->list && top(w)->flow)
        arrive(w);
    if (quoted)
        skip_quoted(w);
    else
        skip_plain(w);
    const char *end = w->p;
    w->p += strspn(w->p, " \t");
    if (*w->p != ':')
        return;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    take_key(w, start + quoted, (size_t)(end - start) - 2 * quoted, col);
    w->p++;
}

static struct walk walk_to(const char *text, const char *path, int nth)
{
    struct walk w = {.p = text, .line_start = text, .wanted = path, .line = 1, .skip = nth};

    while (*w.p && !w.found && w.depth < DEPTH_MAX) {
        if (*w.p == '\n') {
            w.line++;
            w.line_start = ++w.p;
        } else if (strchr(" \t\r", *w.p)) {
            w.p++;
        } else if (*w.p == '#' || (column(&w) == 0 && strncmp(w.p, "---", 3) == 0)) {
            skip_line(&w);
        } else if (w.flows == 0 && *w.p == '-' && strchr(" \n", w.p[1])) {
            take_dash(&w);
        } else if (strchr("{[", *w.p) || (w.flows > 0 && strchr("}],", *w.p))) {
            take_bracket(&w);
        } else {
            take_scalar(&w);
        }
    }
    return w;
}

int config_yaml_line(const char *text, const char *path, int nth)
{
    static const char listed[] = "credentials[0]";
    struct walk w = walk_to(text, path, nth);
    const char *at = strstr(path, listed);

    if (!w.found && at) { /* in the file they may be no list (lists.c) */
        char plain[PATH_MAX_LEN];
        snprintf(plain, sizeof(plain), "%.*s%s", (int)(at - path + 11), path, at + sizeof(listed) - 1);
        struct walk p = walk_to(text, plain, nth);
        w = p.found || p.best_line > w.best_line ? p : w;
    }
    return MAX(w.best_line, 1);
}

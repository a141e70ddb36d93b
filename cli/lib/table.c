/* Rows under headings, each column as wide as its widest cell. */
#include "cli/lib/cli.h"

#include "base/visible.h"

#include <string.h>

/* In characters, not bytes, so that UTF-8 lines up. */
static int width_of(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += (*text & 0xC0) != 0x80;
    return n;
}

void cli_table_add(struct cli_table *t, const char *const *cells)
{
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 32;
        t->cells = xrealloc(t->cells, t->cap * (size_t)t->columns * sizeof(*t->cells));
    }
    for (int i = 0; i < t->columns; i++)
        t->cells[t->count * (size_t)t->columns + (size_t)i] = visible_line(cells[i]);
    t->count++;
}

static void print_row(const struct cli_table *t, const char *const *cells, const int *widths)
{
    _cleanup_buf_ struct buf line = {0};

    for (int i = 0; i < t->columns; i++) {
        int gap = widths[i] - width_of(cells[i]);
        bool right = strchr(t->right, 'a' + i) != NULL;
        buf_addf(&line, "%s%*s%s%*s", i ? "  " : "", right ? gap : 0, "", cells[i], right ? 0 : gap, "");
    }
    while (line.len > 0 && line.data[line.len - 1] == ' ')
        line.len--;
    cli_say(stdout, "%.*s", (int)line.len, line.data ? line.data : "");
}

void cli_table_print(struct cli_table *t)
{
    int widths[CLI_COLUMNS_MAX] = {0};

    for (int i = 0; i < t->columns; i++)
        widths[i] = width_of(t->headings[i]);
    for (size_t k = 0; k < t->count * (size_t)t->columns; k++)
        widths[k % (size_t)t->columns] = MAX(widths[k % (size_t)t->columns], width_of(t->cells[k]));
    print_row(t, t->headings, widths);
    for (size_t r = 0; r < t->count; r++)
        print_row(t, (const char *const *)t->cells + r * (size_t)t->columns, widths);
    for (size_t k = 0; k < t->count * (size_t)t->columns; k++)
        free(t->cells[k]);
    free(t->cells);
    t->cells = NULL;
    t->count = t->cap = 0;
}

/* All output of the commands: text from outside can neither send control sequences to the terminal nor forge a line. */
#include "cli/lib/cli.h"

#include "base/clock.h"
#include "base/size.h"
#include "base/visible.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The errno of the first failed write to stdout; the stream itself remembers only that one failed. */
static int first_fault;

static void write_out(FILE *to, const char *data, size_t len)
{
    if (fwrite(data, 1, len, to) < len && to == stdout && first_fault == 0)
        first_fault = errno;
}

void cli_flush(void)
{
    if (fflush(stdout) != 0 && first_fault == 0)
        first_fault = errno;
}

bool cli_stdout_failed(int *why)
{
    cli_flush();
    *why = first_fault ? first_fault : EIO;
    return first_fault != 0 || ferror(stdout);
}

void cli_write(const void *data, size_t len)
{
    write_out(stdout, data, len);
}

void cli_say(FILE *to, const char *fmt, ...)
{
    _cleanup_buf_ struct buf shown = {0};
    _cleanup_free_ char *line = NULL;
    va_list ap;

    va_start(ap, fmt);
    int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    if (n < 0) {
        line = NULL;
        return;
    }
    buf_add_visible(&shown, line, (size_t)n, VISIBLE_LINE);
    buf_adds(&shown, "\n");
    write_out(to, shown.data, shown.len);
}

void cli_say_text(FILE *to, const char *text, size_t len)
{
    _cleanup_buf_ struct buf shown = {0};

    buf_add_visible(&shown, text, len, VISIBLE_TEXT);
    write_out(to, shown.data ? shown.data : "", shown.len);
}

static bool wants_colours(void)
{
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && (!none || !*none) && term && strcmp(term, "dumb") != 0;
}

void cli_say_marked(const char *before, enum cli_colour colour, const char *word, const char *after)
{
    static const char *const starts[] = {"", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
    bool colours = colour != CLI_PLAIN && wants_colours();
    _cleanup_buf_ struct buf line = {0};

    buf_add_visible(&line, before, strlen(before), VISIBLE_LINE);
    buf_adds(&line, colours ? starts[colour] : "");
    buf_adds(&line, word);
    buf_adds(&line, colours ? "\x1b[0m" : "");
    buf_add_visible(&line, after, strlen(after), VISIBLE_LINE);
    buf_adds(&line, "\n");
    write_out(stdout, line.data, line.len);
}

static void dump(FILE *to, const json_t *j, size_t flags)
{
    _cleanup_buf_ struct buf shown = {0};
    _cleanup_free_ char *text = json_dumps(j, flags | JSON_REAL_PRECISION(6));

    buf_add_visible(&shown, text ? text : "null", text ? strlen(text) : 4, VISIBLE_JSON);
    buf_adds(&shown, "\n");
    write_out(to, shown.data, shown.len);
}

void cli_print_json(const json_t *j)
{
    dump(stdout, j, JSON_INDENT(2));
}

void cli_print_event(FILE *to, const json_t *j)
{
    dump(to, j, JSON_COMPACT);
    if (to == stdout)
        cli_flush();
    else
        fflush(to);
}

int cli_fail(const struct err *err)
{
    cli_say(stderr, "entrepot: %s", err->msg);
    return EXIT_FAILED;
}

/* ---- readable values ---- */

int64_t cli_bytes(const json_t *object, const char *key)
{
    const json_t *n = json_object_get(object, key);

    return json_is_integer(n) ? json_integer_value(n) : -1;
}

const char *cli_size(int64_t bytes, char out[CLI_TEXT])
{
    return size_text(bytes, out);
}

const char *cli_ago(int64_t unix_s, char out[CLI_TEXT])
{
    int64_t s = MAX(clock_now_s() - unix_s, (int64_t)0);

    if (unix_s == 0)
        snprintf(out, CLI_TEXT, "-");
    else if (s < 120)
        snprintf(out, CLI_TEXT, "%lld s ago", (long long)s);
    else if (s < 7200)
        snprintf(out, CLI_TEXT, "%lld min ago", (long long)s / 60);
    else if (s < 2 * 86400)
        snprintf(out, CLI_TEXT, "%lld h ago", (long long)s / 3600);
    else
        snprintf(out, CLI_TEXT, "%lld d ago", (long long)s / 86400);
    return out;
}

const char *cli_short(const char *digest, char out[CLI_TEXT])
{
    const char *colon = digest ? strchr(digest, ':') : NULL;

    snprintf(out, CLI_TEXT, "%.*s", colon ? (int)(colon - digest) + 13 : 20, digest ? digest : "-");
    return out;
}

const char *cli_text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s ? s : "-";
}

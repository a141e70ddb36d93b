/* `top`: on a terminal a screen that is drawn again each second, else once. */
#include "cli/lib/cli.h"

#include "base/buf.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot top [--once] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Shows pulls and downloads in flight, each second again; q ends it. If the output is no terminal, once.\n\n"
    "  --once             show them once\n\n"
    "Examples:\n"
    "  entrepot top\n"
    "  entrepot top --once\n";

enum { TOP_MS = 1000, BAR = 20 };

static volatile sig_atomic_t ended;

static void top_end(int sig UNUSED)
{
    ended = 1;
}

/* ---- one screen ---- */

struct top_screen {
    struct buf text;
    int columns, rows; /* 0: any number */
    int lines;
};

/* A line is cut, not wrapped: the screen is drawn over the one before. */
static void top_line(struct top_screen *s, const char *text)
{
    size_t len = strlen(text), at = 0;

    if (s->rows > 0 && s->lines >= s->rows - 1)
        return;
    for (int n = 0; at < len && (s->columns == 0 || n < s->columns - 1); n++)
        for (at++; at < len && ((unsigned char)text[at] & 0xc0) == 0x80; at++)
            ;
    buf_add(&s->text, text, at);
    buf_adds(&s->text, "\n");
    s->lines++;
}

static void top_print(struct top_screen *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void top_print(struct top_screen *s, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (char *c = line; *c; c++) /* text from outside draws nothing of its own */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    top_line(s, line);
}

static void add_bar(char out[BAR + 1], int64_t part, int64_t whole)
{
    int full = whole > 0 ? (int)MIN(part * BAR / whole, (int64_t)BAR) : 0;

    memset(out, '#', (size_t)full);
    memset(out + full, '.', (size_t)(BAR - full));
    out[BAR] = '\0';
}

static void top_pulls(struct top_screen *s, const json_t *list)
{
    char sent[CLI_TEXT], size[CLI_TEXT], bar[BAR + 1];
    size_t i;
    json_t *p;

    top_print(s, "%zu pulls", json_array_size(list));
    json_array_foreach(list, i, p) {
        int64_t got = cli_bytes(p, "bytes_from_cache") + cli_bytes(p, "bytes_from_peers") +
                      cli_bytes(p, "bytes_from_shared") + cli_bytes(p, "bytes_from_upstream");
        add_bar(bar, got, cli_bytes(p, "size"));
        top_print(s, "  [%s] %9s of %9s  %3lld/%-3lld  %s %s  %s", bar, cli_size(got, sent),
                  cli_size(cli_bytes(p, "size"), size), (long long)cli_bytes(p, "blobs_done"),
                  (long long)cli_bytes(p, "blobs"), cli_text(p, "client"), cli_text(p, "engine"), cli_text(p, "image"));
    }
}

static void top_transfers(struct top_screen *s, const json_t *list)
{
    char got[CLI_TEXT], size[CLI_TEXT], digest[CLI_TEXT], bar[BAR + 1];
    size_t i;
    json_t *t;

    top_print(s, "%zu downloads", json_array_size(list));
    json_array_foreach(list, i, t) {
        add_bar(bar, cli_bytes(t, "received"), cli_bytes(t, "size"));
        top_print(s, "  [%s] %9s of %9s  %s  %lld waiting  %s", bar, cli_size(cli_bytes(t, "received"), got),
                  cli_size(cli_bytes(t, "size"), size), cli_short(cli_text(t, "digest"), digest),
                  (long long)cli_bytes(t, "followers"), cli_text(t, "image"));
    }
}

static bool top_draw(const struct cli_options *o, bool live, struct err *err)
{
    struct top_screen s = {0};
    struct winsize window;
    json_t *answer;

    if (!cli_ask(o, "/v1/pulls/now", NULL, &answer, err))
        return false;
    if (o->json) {
        cli_print_event(stdout, answer);
        json_decref(answer);
        return true;
    }
    if (live && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0) {
        s.columns = window.ws_col;
        s.rows = window.ws_row;
    }
    top_pulls(&s, json_object_get(answer, "pulls"));
    top_transfers(&s, json_object_get(answer, "transfers"));
    if (live)
        cli_write("\033[H\033[J", 6);
    cli_say_text(stdout, s.text.data ? s.text.data : "", s.text.len);
    cli_flush();
    buf_free(&s.text);
    json_decref(answer);
    return true;
}

/* ---- the terminal ---- */

/* Whether `q` was pressed, or a signal came, within a second. */
static bool top_wait(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char c = 0;

    if (poll(&in, isatty(STDIN_FILENO) ? 1 : 0, TOP_MS) > 0)
        return ended || read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 'Q';
    return ended;
}

static bool top_live(const struct cli_options *o, struct err *err)
{
    const struct sigaction end = {.sa_handler = top_end};
    struct termios before, raw;
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0, ok;
    int why;

    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    cli_write("\033[?1049h\033[?25l", 14); /* a screen of its own, without a cursor */
    do
        ok = top_draw(o, true, err);
    while (ok && !cli_stdout_failed(&why) && !top_wait());
    cli_write("\033[?25h\033[?1049l", 14);
    cli_flush();
    if (is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return ok || ended;
}

int cmd_top(int argc, char **argv)
{
    struct cli_options o = {0};
    struct err err = {0};
    bool once = false;
    const struct cli_option options[] = {{"once", .flag = &once}, {0}};

    int rc = cli_parse(&o, &(struct cli_syntax){.usage = USAGE, .options = options}, argc, argv);
    if (rc >= 0)
        return rc;
    const char *term = getenv("TERM");
    bool live = !once && !o.json && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
    bool ok = live ? top_live(&o, &err) : top_draw(&o, false, &err);
    return ok ? EXIT_DONE : cli_fail(&err);
}

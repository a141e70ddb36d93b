#include "cli/pull_progress.h"

#include "base/clock.h"
#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BLOBS_MAX = 256, REDRAW_MS = 100, DIGEST_SHOWN = 12, BAR_MAX = 30, LINE_MAX_BYTES = 512 };

struct blob {
    char digest[160], kind[16];
    int64_t size, received;
    int64_t since_ms, since_received; /* what the rate is counted from */
    bool running;
};

struct pull_progress {
    bool live;
    struct blob blobs[BLOBS_MAX]; /* on their way */
    int count;
    int drawn; /* lines below what stays */
    int64_t drawn_ms;
    int images, done, failed;
    int64_t bytes;
};

/* How many live lines there are, for the signal's handler. */
static volatile sig_atomic_t lines_drawn;

/* Ctrl-C: the daemon notices that nobody listens; here only the screen is left to be put in order. */
static void on_interrupt(int sig)
{
    static const char up[] = "\033[A", erase[] = "\r\033[J";
    ssize_t n = 0;

    for (int i = 0; i < lines_drawn && n >= 0; i++)
        n = write(STDOUT_FILENO, up, sizeof(up) - 1);
    if (n >= 0)
        n = write(STDOUT_FILENO, erase, sizeof(erase) - 1);
    _exit(128 + sig);
}

bool pull_progress_is_live(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

struct pull_progress *pull_progress_new(bool live)
{
    struct pull_progress *p = xcalloc(1, sizeof(*p));

    p->live = live;
    if (live) {
        struct sigaction act = {.sa_handler = on_interrupt};
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
    }
    return p;
}

/* ---- the live lines ---- */

static void size_of_screen(int *columns, int *rows)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;

    *columns = known ? size.ws_col : 80;
    *rows = known ? size.ws_row : 24;
}

static void erase(struct pull_progress *p)
{
    if (p->drawn > 0)
        printf("\033[%dA\r\033[J", p->drawn);
    p->drawn = 0;
    fflush(stdout);
    lines_drawn = 0;
}

/* A line never wraps: it could not be taken back. */
static void put(struct pull_progress *p, const char *text, int columns)
{
    printf("%.*s\n", MAX(columns - 1, 1), text);
    p->drawn++;
}

static void draw_blob(struct pull_progress *p, const struct blob *b, int columns)
{
    char got[CLI_TEXT], size[CLI_TEXT], rate[CLI_TEXT], line[LINE_MAX_BYTES], bar[BAR_MAX + 1];
    const char *colon = strchr(b->digest, ':');
    int64_t ms = MAX(clock_mono_ms() - b->since_ms, (int64_t)1);
    int width = MAX(MIN(columns - 62, (int)BAR_MAX), 5),
        full = b->size > 0 ? (int)(MIN(b->received, b->size) * width / b->size) : 0;

    memset(bar, ' ', sizeof(bar));
    memset(bar, '=', (size_t)full);
    if (full < width)
        bar[full] = '>';
    bar[width] = '\0';
    snprintf(line, sizeof(line), "  %.*s %-8s [%s] %9s / %-9s %9s/s", (int)DIGEST_SHOWN, colon ? colon + 1 : b->digest,
             b->kind, bar, cli_size(b->received, got), b->size > 0 ? cli_size(b->size, size) : "?",
             cli_size((b->received - b->since_received) * 1000 / ms, rate));
    put(p, line, columns);
}

static void draw(struct pull_progress *p)
{
    int columns, rows, waiting = 0, hidden = 0;
    char line[LINE_MAX_BYTES], size[CLI_TEXT];

    size_of_screen(&columns, &rows);
    erase(p);
    for (int i = 0; i < p->count; i++) {
        if (!p->blobs[i].running)
            waiting++;
        else if (p->drawn < rows - 3)
            draw_blob(p, &p->blobs[i], columns);
        else
            hidden++;
    }
    snprintf(line, sizeof(line), "  %d of %d images, %d on their way, %d waiting, %s so far", p->done + p->failed,
             p->images, p->count - waiting + hidden, waiting, cli_size(p->bytes, size));
    put(p, line, columns);
    fflush(stdout);
    lines_drawn = p->drawn;
    p->drawn_ms = clock_mono_ms();
}

/* ---- what happens ---- */

static struct blob *find(struct pull_progress *p, const char *digest)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->blobs[i].digest, digest) == 0)
            return &p->blobs[i];
    return NULL;
}

static void note_blob(struct pull_progress *p, const json_t *e, const char *status)
{
    const char *digest = cli_text(e, "digest");
    struct blob *b = find(p, digest);
    bool ended = strcmp(status, "done") == 0 || strcmp(status, "exists") == 0 || strcmp(status, "failed") == 0;

    if (ended) {
        p->bytes += strcmp(status, "done") == 0 ? json_integer_value(json_object_get(e, "size")) : 0;
        if (b)
            *b = p->blobs[--p->count];
        return;
    }
    if (!b && p->count < BLOBS_MAX) {
        b = &p->blobs[p->count++];
        *b = (struct blob){.since_ms = clock_mono_ms()};
        snprintf(b->digest, sizeof(b->digest), "%s", digest);
        snprintf(b->kind, sizeof(b->kind), "%s", cli_text(e, "kind"));
    }
    if (!b)
        return;
    b->size = json_integer_value(json_object_get(e, "size"));
    b->received = json_integer_value(json_object_get(e, "received"));
    if (!b->running && strcmp(status, "pulling") == 0) {
        b->since_ms = clock_mono_ms();
        b->since_received = b->received;
    }
    b->running = b->running || strcmp(status, "pulling") == 0;
}

/* The lines that stay. Failures are said at the end, on stderr, by the caller. */
static void print_lasting(struct pull_progress *p, const json_t *e, const char *event, const char *status)
{
    char size[CLI_TEXT], fetched[CLI_TEXT], digest[CLI_TEXT];
    bool done = strcmp(status, "done") == 0;

    if (strcmp(event, "note") == 0)
        printf("%s: %s\n", cli_text(e, "reference"), cli_text(e, "text"));
    else if (strcmp(event, "image") == 0 && done)
        printf("%s: done, %s, %s, %s of it fetched\n", cli_text(e, "reference"),
               cli_short(cli_text(e, "digest"), digest), cli_size(json_integer_value(json_object_get(e, "size")), size),
               cli_size(json_integer_value(json_object_get(e, "fetched")), fetched));
    else if (strcmp(event, "image") == 0 && strcmp(status, "failed") == 0)
        printf("%s: failed\n", cli_text(e, "reference"));
    else if (strcmp(event, "image") == 0 && !p->live)
        printf("%s: %s\n", cli_text(e, "reference"), status);
    else if (strcmp(event, "blob") == 0 && !p->live && (done || strcmp(status, "exists") == 0))
        printf("%s: %s %s %s, %s\n", cli_text(e, "reference"), cli_text(e, "kind"),
               cli_short(cli_text(e, "digest"), digest), done ? "fetched" : "is here",
               cli_size(json_integer_value(json_object_get(e, "size")), size));
}

void pull_progress_event(struct pull_progress *p, const json_t *e)
{
    const char *event = cli_text(e, "event"), *status = cli_text(e, "status");
    bool image = strcmp(event, "image") == 0, blob = strcmp(event, "blob") == 0;
    bool lasts =
        strcmp(event, "note") == 0 || (image && strcmp(status, "resolving") != 0 && strcmp(status, "pulling") != 0);

    p->images += image && strcmp(status, "resolving") == 0;
    p->done += image && strcmp(status, "done") == 0;
    p->failed += image && strcmp(status, "failed") == 0;
    if (blob)
        note_blob(p, e, status);
    if (p->live && lasts)
        erase(p);
    print_lasting(p, e, event, status);
    if (p->live && (lasts || clock_mono_ms() - p->drawn_ms >= REDRAW_MS))
        draw(p);
    if (!p->live)
        fflush(stdout);
}

void pull_progress_free(struct pull_progress *p)
{
    erase(p);
    fflush(stdout);
    free(p);
}

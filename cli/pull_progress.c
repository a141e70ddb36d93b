#include "cli/pull_progress.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "cli/lib/cli.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { REDRAW_MS = 100, RATE_MS = 1000, DIGEST_SHOWN = 12, BAR_MAX = 30, LINE_MAX_BYTES = 512 };

struct progress_blob {
    char digest[160], kind[16];
    int64_t size, received;
    int64_t rate, counted, counted_ms; /* bytes a second, of the last RATE_MS */
    bool running;
};

struct pull_progress {
    /* set once */
    bool live;
    pthread_t screen;
    /* shared, under lock */
    pthread_mutex_t lock;
    bool over;
    struct progress_blob *blobs; /* being transferred, or waiting */
    size_t count, cap;
    int drawn; /* progress lines on the screen */
    int images, done, failed;
    int64_t bytes;
};

bool pull_progress_is_live(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

/* ---- the progress lines ---- */

static void size_of_screen(int *columns, int *rows)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;

    *columns = known ? size.ws_col : 80;
    *rows = known ? size.ws_row : 24;
}

static void move_up(const char *before, int lines)
{
    char text[32];

    snprintf(text, sizeof(text), "%s\033[%dA", before, lines);
    fputs(text, stdout);
}

/* Between drawings the cursor is at the first progress line, so that no wrapped lines need counting: a window made
 * narrower wraps them before SIGWINCH. Holding the lock. */
static void progress_erase(struct pull_progress *p)
{
    HOLDS(&p->lock);
    for (int i = 0; i < p->drawn; i++)
        fputs("\r\033[K\n",
              stdout); /* line by line: some terminals save a screen that is cleared as a whole to their scrollback */
    if (p->drawn > 0)
        move_up("\033[J", p->drawn);
    p->drawn = 0;
}

/* A line never wraps: it could not be erased. */
static void progress_put(struct pull_progress *p, const char *text, int columns)
{
    cli_say(stdout, "%.*s", MAX(columns - 1, 1), text);
    p->drawn++;
}

/* The rate over the last second, so that a stalled transfer shows 0. */
static void progress_measure(struct progress_blob *b)
{
    int64_t now = clock_mono_ms(), ms = now - b->counted_ms;

    if (ms < RATE_MS)
        return;
    b->rate = MAX(b->received - b->counted, (int64_t)0) * 1000 / ms;
    b->counted = b->received;
    b->counted_ms = now;
}

static void draw_blob(struct pull_progress *p, struct progress_blob *b, int columns)
{
    char got[CLI_TEXT], size[CLI_TEXT], rate[CLI_TEXT], line[LINE_MAX_BYTES], bar[BAR_MAX + 1];
    const char *colon = strchr(b->digest, ':');
    int width = MAX(MIN(columns - 62, (int)BAR_MAX), 5),
        full = b->size > 0 ? (int)(MIN(b->received, b->size) * width / b->size) : 0;

    progress_measure(b);
    memset(bar, ' ', sizeof(bar));
    memset(bar, '=', (size_t)full);
    if (full < width)
        bar[full] = '>';
    bar[width] = '\0';
    snprintf(line, sizeof(line), "  %.*s %-8s [%s] %9s / %-9s %9s/s", (int)DIGEST_SHOWN, colon ? colon + 1 : b->digest,
             b->kind, bar, cli_size(b->received, got), b->size > 0 ? cli_size(b->size, size) : "?",
             cli_size(b->rate, rate));
    progress_put(p, line, columns);
}

static void progress_draw(struct pull_progress *p)
{
    size_t waiting = 0;
    int columns, rows;
    char line[LINE_MAX_BYTES], size[CLI_TEXT];

    size_of_screen(&columns, &rows);
    progress_erase(p);
    fputs("\033[?7l", stdout); /* no wrapping (DECAWM): the width may have changed */
    for (size_t i = 0; i < p->count; i++) {
        if (!p->blobs[i].running)
            waiting++;
        else if (p->drawn < rows - 3)
            draw_blob(p, &p->blobs[i], columns);
    }
    snprintf(line, sizeof(line), "  %d of %d images, %zu transferring, %zu waiting, %s so far", p->done + p->failed,
             p->images, p->count - waiting, waiting, cli_size(p->bytes, size));
    progress_put(p, line, columns);
    move_up("\033[?7h", p->drawn);
    fputs("\r", stdout);
    cli_flush();
}

/* ---- the thread that draws ---- */

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

/* Ctrl-C: the daemon notices the closed connection; only the screen needs cleaning up. Signals are handled on this
 * thread alone, so they never interrupt a drawing. Holding the lock. */
static void on_signal(struct pull_progress *p, int sig)
{
    HOLDS(&p->lock);
    if (sig == SIGWINCH)
        return;
    progress_erase(p);
    cli_flush();
    fputs("entrepot: stopped; what was fetched is kept, and the same command resumes there\n", stderr);
    _exit(128 + sig);
}

static void *run_screen(void *arg)
{
    struct pull_progress *p = arg;
    const struct timespec pause = {.tv_nsec = REDRAW_MS * 1000000L};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++)
        sigaddset(&set, SIGNALS[i]);
    for (bool over = false; !over;) {
        int sig = sigtimedwait(&set, NULL, &pause);
        pthread_mutex_lock(&p->lock);
        if (sig > 0)
            on_signal(p, sig);
        over = p->over;
        if (!over)
            progress_draw(p);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

struct pull_progress *pull_progress_new(bool live)
{
    struct pull_progress *p = xcalloc(1, sizeof(*p));
    sigset_t set;

    pthread_mutex_init(&p->lock, NULL);
    if (!live)
        return p;
    setvbuf(stdout, NULL, _IOFBF, 64 << 10); /* one write(2) per drawing */
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++)
        sigaddset(&set, SIGNALS[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    p->live = pthread_create(&p->screen, NULL, run_screen, p) == 0;
    if (!p->live)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return p;
}

/* ---- events ---- */

static struct progress_blob *progress_find(struct pull_progress *p, const char *digest)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->blobs[i].digest, digest) == 0)
            return &p->blobs[i];
    return NULL;
}

static void note_blob(struct pull_progress *p, const json_t *e, const char *status)
{
    const char *digest = cli_text(e, "digest");
    struct progress_blob *b = progress_find(p, digest);
    bool ended = strcmp(status, "done") == 0 || strcmp(status, "exists") == 0 || strcmp(status, "failed") == 0;

    if (ended) {
        p->bytes += strcmp(status, "done") == 0 ? json_integer_value(json_object_get(e, "size")) : 0;
        if (b)
            *b = p->blobs[--p->count];
        return;
    }
    if (!b) {
        b = ARRAY_NEXT(p->blobs, p->count, p->cap);
        p->count++;
        *b = (struct progress_blob){.counted_ms = clock_mono_ms()};
        snprintf(b->digest, sizeof(b->digest), "%s", digest);
        snprintf(b->kind, sizeof(b->kind), "%s", cli_text(e, "kind"));
    }
    if (!b->running) { /* a resumed one starts from the bytes that are cached */
        b->counted = json_integer_value(json_object_get(e, "received"));
        b->counted_ms = clock_mono_ms();
    }
    b->running = b->running || strcmp(status, "pulling") == 0;
    b->size = cli_bytes(e, "size");
    b->received = json_integer_value(json_object_get(e, "received"));
}

/* Permanent lines. The caller prints the reasons of failures at the end, to stderr. */
static void print_lasting(struct pull_progress *p, const json_t *e, const char *event, const char *status)
{
    char size[CLI_TEXT], fetched[CLI_TEXT], digest[CLI_TEXT];
    bool done = strcmp(status, "done") == 0;
    const char *why = json_string_value(json_object_get(e, "unchecked"));

    if (strcmp(event, "note") == 0)
        cli_say(stdout, "%s: %s", cli_text(e, "reference"), cli_text(e, "text"));
    else if (strcmp(event, "image") == 0 && done)
        cli_say(stdout, "%s: done, %s, %s, %s of it fetched%s%s", cli_text(e, "reference"),
                cli_short(cli_text(e, "digest"), digest), cli_size(cli_bytes(e, "size"), size),
                cli_size(cli_bytes(e, "fetched"), fetched), why ? "; its tag could not be checked: " : "",
                why ? why : "");
    else if (strcmp(event, "image") == 0 && strcmp(status, "failed") == 0)
        cli_say(stdout, "%s: failed", cli_text(e, "reference"));
    else if (strcmp(event, "image") == 0 && !p->live)
        cli_say(stdout, "%s: %s", cli_text(e, "reference"), status);
    else if (strcmp(event, "blob") == 0 && !p->live && (done || strcmp(status, "exists") == 0))
        cli_say(stdout, "%s: %s %s %s, %s", cli_text(e, "reference"), cli_text(e, "kind"),
                cli_short(cli_text(e, "digest"), digest), done ? "fetched" : "is cached",
                cli_size(cli_bytes(e, "size"), size));
}

void pull_progress_event(struct pull_progress *p, const json_t *e)
{
    const char *event = cli_text(e, "event"), *status = cli_text(e, "status");
    bool image = strcmp(event, "image") == 0, blob = strcmp(event, "blob") == 0;
    bool lasts =
        strcmp(event, "note") == 0 || (image && strcmp(status, "resolving") != 0 && strcmp(status, "pulling") != 0);

    pthread_mutex_lock(&p->lock);
    p->images += image && strcmp(status, "resolving") == 0;
    p->done += image && strcmp(status, "done") == 0;
    p->failed += image && strcmp(status, "failed") == 0;
    if (blob)
        note_blob(p, e, status);
    if (p->live && lasts)
        progress_erase(p);
    print_lasting(p, e, event, status);
    if (p->live && lasts)
        progress_draw(p);
    if (!p->live)
        cli_flush();
    pthread_mutex_unlock(&p->lock);
}

void pull_progress_free(struct pull_progress *p)
{
    pthread_mutex_lock(&p->lock);
    p->over = true;
    progress_erase(p);
    cli_flush();
    pthread_mutex_unlock(&p->lock);
    if (p->live)
        pthread_join(p->screen, NULL);
    pthread_mutex_destroy(&p->lock);
    free(p->blobs);
    free(p);
}

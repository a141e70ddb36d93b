#include "proxy/seen/line.h"

#include "base/visible.h"

#include <string.h>
#include <time.h>

#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

/* ---- values ---- */

static void add_number(struct buf *out, int64_t n)
{
    char digits[24];
    int at = sizeof(digits);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        digits[--at] = '-';
    buf_add(out, digits + at, sizeof(digits) - (size_t)at);
}

/* Milliseconds, with the tenths that a hit consists of: 0.3 */
static void add_millis(struct buf *out, int64_t us)
{
    if (us < 0) {
        ADD(out, "null");
        return;
    }
    add_number(out, us / 1000);
    if (us < 1000000) {
        char tenth[] = {'.', (char)('0' + us / 100 % 10)};
        buf_add(out, tenth, sizeof(tenth));
    }
}

#define BYTES(c)       (0x0101010101010101U * (c))
#define HAS_ZERO(w)    (((w)-BYTES(1)) & ~(w)&BYTES(0x80))
#define HAS_LESS(w, c) (((w)-BYTES(c)) & ~(w)&BYTES(0x80))

/* Whether all of it is printable ASCII without quotes and backslashes: nearly always. Eight bytes at a time. */
static bool is_simple(const char *text, size_t len)
{
    size_t i = 0;

    for (; i + 8 <= len; i += 8) {
        uint64_t w;
        memcpy(&w, text + i, sizeof(w));
        if ((w & BYTES(0x80)) | HAS_LESS(w, 0x20) | HAS_ZERO(w ^ BYTES('"')) | HAS_ZERO(w ^ BYTES('\\')) |
            HAS_ZERO(w ^ BYTES(0x7f)))
            return false;
    }
    for (; i < len; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

static void add_text(struct buf *out, const char *text, size_t len)
{
    size_t shown = len > ACCESS_PATH_MAX ? text_whole(text, ACCESS_PATH_MAX) : len;

    if (is_simple(text, shown))
        buf_add(out, text, shown);
    else
        buf_add_visible(out, text, shown, VISIBLE_STRING);
}

static void add_header(struct buf *out, const char *text)
{
    size_t len = strnlen(text, ACCESS_TEXT_MAX + 1);

    add_text(out, text, len > ACCESS_TEXT_MAX ? text_whole(text, ACCESS_TEXT_MAX) : len);
}

/* ---- time ---- */

static void note_second(struct access_second *s, int64_t now)
{
    time_t sec = (time_t)now;
    struct tm tm;

    if (s->json_s == now && s->json[0])
        return;
    gmtime_r(&sec, &tm);
    s->json_s = now;
    strftime(s->json, sizeof(s->json), "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(s->common, sizeof(s->common), "[%d/%b/%Y:%H:%M:%S +0000]", &tm);
}

static void add_time(struct buf *out, struct access_second *s, int64_t at_ms)
{
    int ms = (int)(at_ms % 1000);
    char end[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};

    note_second(s, at_ms / 1000);
    buf_adds(out, s->json);
    buf_add(out, end, sizeof(end));
}

/* ---- json ---- */

static void add_pair(struct buf *out, const char *key, size_t key_len, const char *text)
{
    buf_add(out, key, key_len);
    if (!text) {
        ADD(out, "null");
        return;
    }
    ADD(out, "\"");
    add_header(out, text);
    ADD(out, "\"");
}

#define PAIR(out, key, text) add_pair(out, ",\"" key "\":", sizeof(",\"" key "\":") - 1, text)

void access_line_json(struct buf *out, struct access_second *s, const struct access_line *l)
{
    ADD(out, "{\"time\":\"");
    add_time(out, s, l->at_ms);
    ADD(out, "\"");
    PAIR(out, "id", l->id);
    PAIR(out, "client", l->client);
    PAIR(out, "user_agent", l->user_agent);
    PAIR(out, "method", l->method);
    PAIR(out, "upstream", l->upstream);
    ADD(out, ",\"repository\":");
    if (l->repository) {
        ADD(out, "\"");
        add_text(out, l->repository, strlen(l->repository));
        ADD(out, "\"");
    } else {
        ADD(out, "null");
    }
    PAIR(out, "reference", l->reference);
    PAIR(out, "range", l->range);
    ADD(out, ",\"status\":");
    add_number(out, l->status);
    ADD(out, ",\"bytes\":");
    add_number(out, l->bytes);
    if (l->cache) {
        ADD(out, ",\"cache\":\"");
        add_text(out, l->cache, MIN(l->cache_len, (size_t)ACCESS_TEXT_MAX));
        ADD(out, "\"");
    } else {
        ADD(out, ",\"cache\":null");
    }
    ADD(out, ",\"first_byte_ms\":");
    add_millis(out, l->first_us);
    ADD(out, ",\"duration_ms\":");
    add_millis(out, l->duration_us);
    ADD(out, ",\"upstream_ms\":");
    add_millis(out, l->waited_us);
    ADD(out, "}\n");
}

/* ---- common ---- */

static void add_common(struct buf *out, struct access_second *s, const struct access_line *l)
{
    note_second(s, l->at_ms / 1000);
    add_header(out, l->client ? l->client : "-");
    ADD(out, " - - ");
    buf_adds(out, s->common);
    ADD(out, " \"");
    add_header(out, l->method ? l->method : "-");
    ADD(out, " ");
    add_text(out, l->path ? l->path : "-", strlen(l->path ? l->path : "-"));
    if (l->ns) {
        ADD(out, "?ns=");
        add_header(out, l->ns);
    }
    ADD(out, " HTTP/1.1\" ");
    add_number(out, l->status);
    ADD(out, " ");
    add_number(out, l->bytes);
}

void access_line_common(struct buf *out, struct access_second *s, const struct access_line *l)
{
    add_common(out, s, l);
    ADD(out, "\n");
}

/* ---- journal ---- */

/* A value with a newline would need the binary form; escaped it has none. */
static void line_add_field(struct buf *out, const char *name, const char *text)
{
    if (!text)
        return;
    buf_adds(out, name);
    add_header(out, text);
    buf_add(out, "", 1);
}

static void add_number_field(struct buf *out, const char *name, int64_t n)
{
    if (n < 0)
        return;
    buf_adds(out, name);
    add_number(out, n);
    buf_add(out, "", 1);
}

void access_line_journal(struct buf *out, struct access_second *s, const struct access_line *l)
{
    char cache[ACCESS_TEXT_MAX + 1];

    ADD(out, "MESSAGE=");
    add_common(out, s, l);
    buf_add(out, "", 1);
    ADD(out, "PRIORITY=6\0SYSLOG_IDENTIFIER=entrepot\0");
    line_add_field(out, "ENTREPOT_ID=", l->id);
    line_add_field(out, "ENTREPOT_CLIENT=", l->client);
    line_add_field(out, "ENTREPOT_USER_AGENT=", l->user_agent);
    line_add_field(out, "ENTREPOT_METHOD=", l->method);
    line_add_field(out, "ENTREPOT_UPSTREAM=", l->upstream);
    line_add_field(out, "ENTREPOT_REPOSITORY=", l->repository);
    line_add_field(out, "ENTREPOT_REFERENCE=", l->reference);
    line_add_field(out, "ENTREPOT_RANGE=", l->range);
    if (l->cache) {
        snprintf(cache, sizeof(cache), "%.*s", (int)MIN(l->cache_len, (size_t)ACCESS_TEXT_MAX), l->cache);
        line_add_field(out, "ENTREPOT_CACHE=", cache);
    }
    add_number_field(out, "ENTREPOT_STATUS=", l->status);
    add_number_field(out, "ENTREPOT_BYTES=", l->bytes);
    add_number_field(out, "ENTREPOT_FIRST_BYTE_MS=", l->first_us < 0 ? -1 : l->first_us / 1000);
    add_number_field(out, "ENTREPOT_DURATION_MS=", l->duration_us / 1000);
    add_number_field(out, "ENTREPOT_UPSTREAM_MS=", l->waited_us < 0 ? -1 : l->waited_us / 1000);
    buf_add(out, "", 1);
}

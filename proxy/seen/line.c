#include "proxy/seen/line.h"

#include "base/visible.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum {
    /* More than a line is long whose texts are shown as they are. With so much room in the buffer put() need not look:
     * a line costs a fraction of the time that buf_add() would take. */
    PUT_ROOM = 12 << 10,
    ABSENT = UINT16_MAX,
    ALIGN = 8,
    KEY_ROOM = 24,
};

/* ---- the fields ---- */

enum access_text {
    TEXT_ID,
    TEXT_CLIENT,
    TEXT_USER_AGENT,
    TEXT_METHOD,
    TEXT_UPSTREAM,
    TEXT_REPOSITORY,
    TEXT_REFERENCE,
    TEXT_RANGE,
    TEXT_PATH,
    TEXT_NS,
    TEXT_CACHE,
    ACCESS_TEXTS
};

struct access_packed {
    uint32_t size; /* with the texts, and what aligns the next one */
    uint32_t epoch;
    int64_t at_ms, bytes, first_us, duration_us, waited_us;
    int32_t status;
    uint16_t text_len; /* of all texts */
    uint16_t len[ACCESS_TEXTS];
    char text[];
};

_Static_assert(sizeof(struct access_packed) + (ACCESS_TEXTS - 2) * ACCESS_TEXT_MAX + 2 * ACCESS_PATH_MAX + ALIGN <=
                   (size_t)ACCESS_PACKED_MAX,
               "a packed line");

enum access_kind { FIELD_TEXT, FIELD_STATUS, FIELD_BYTES, FIELD_MICROS };

/* In the order in which JSON has them, behind the time. The journal's names are the same in capitals. */
static const struct access_field {
    char key[KEY_ROOM]; /* as JSON has it, with what is before and behind its name */
    uint8_t key_len;
    enum access_kind kind;
    size_t at; /* enum access_text, or the offset of microseconds */
} FIELDS[] = {
#define FIELD(name, kind, at)                                                                                          \
    {                                                                                                                  \
        ",\"" name "\":", sizeof(",\"" name "\":") - 1, kind, at                                                       \
    }
    FIELD("id", FIELD_TEXT, TEXT_ID),
    FIELD("client", FIELD_TEXT, TEXT_CLIENT),
    FIELD("user_agent", FIELD_TEXT, TEXT_USER_AGENT),
    FIELD("method", FIELD_TEXT, TEXT_METHOD),
    FIELD("upstream", FIELD_TEXT, TEXT_UPSTREAM),
    FIELD("repository", FIELD_TEXT, TEXT_REPOSITORY),
    FIELD("reference", FIELD_TEXT, TEXT_REFERENCE),
    FIELD("range", FIELD_TEXT, TEXT_RANGE),
    FIELD("status", FIELD_STATUS, 0),
    FIELD("bytes", FIELD_BYTES, 0),
    FIELD("cache", FIELD_TEXT, TEXT_CACHE),
    FIELD("first_byte_ms", FIELD_MICROS, offsetof(struct access_packed, first_us)),
    FIELD("duration_ms", FIELD_MICROS, offsetof(struct access_packed, duration_us)),
    FIELD("upstream_ms", FIELD_MICROS, offsetof(struct access_packed, waited_us)),
#undef FIELD
};

/* ---- packing: the loops ---- */

/* Cut where no character is split, at `max`. */
static size_t shown_len(const char *text, size_t len, size_t max)
{
    return len > max ? text_whole(text, max) : len;
}

static char *pack_text(struct access_packed *p, enum access_text which, char *to, const char *text, size_t max)
{
    size_t len = text ? strnlen(text, max + 1) : 0;

    p->len[which] = ABSENT;
    if (!text)
        return to;
    len = shown_len(text, len, max);
    p->len[which] = (uint16_t)len;
    memcpy(to, text, len);
    return to + len;
}

void access_pack(struct buf *out, const struct access_line *line, uint32_t epoch, bool paths)
{
    struct access_packed *p = (struct access_packed *)buf_reserve(out, ACCESS_PACKED_MAX);
    char *to = p->text;

    p->epoch = epoch;
    p->at_ms = line->at_ms;
    p->bytes = line->bytes;
    p->first_us = line->first_us;
    p->duration_us = line->duration_us;
    p->waited_us = line->waited_us;
    p->status = line->status;
    to = pack_text(p, TEXT_ID, to, line->id, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_CLIENT, to, line->client, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_USER_AGENT, to, line->user_agent, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_METHOD, to, line->method, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_UPSTREAM, to, line->upstream, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_REPOSITORY, to, line->repository, ACCESS_PATH_MAX);
    to = pack_text(p, TEXT_REFERENCE, to, line->reference, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_RANGE, to, line->range, ACCESS_TEXT_MAX);
    to = pack_text(p, TEXT_PATH, to, paths ? line->path : NULL, ACCESS_PATH_MAX);
    to = pack_text(p, TEXT_NS, to, paths ? line->ns : NULL, ACCESS_TEXT_MAX);
    p->len[TEXT_CACHE] = ABSENT;
    if (line->cache) { /* its end is not marked */
        size_t len = shown_len(line->cache, line->cache_len, ACCESS_TEXT_MAX);
        p->len[TEXT_CACHE] = (uint16_t)len;
        memcpy(to, line->cache, len);
        to += len;
    }
    p->text_len = (uint16_t)(to - p->text);
    p->size = (uint32_t)((size_t)(to - (char *)p) + ALIGN - 1) & ~(uint32_t)(ALIGN - 1);
    out->len += p->size;
}

const struct access_packed *access_packed_first(const char *bytes, size_t len)
{
    return len > 0 ? (const struct access_packed *)bytes : NULL;
}

const struct access_packed *access_packed_next(const struct access_packed *p, const char *end)
{
    const char *next = (const char *)p + p->size;

    return next < end ? (const struct access_packed *)next : NULL;
}

uint32_t access_packed_epoch(const struct access_packed *p)
{
    return p->epoch;
}

/* ---- values: the log's thread ---- */

/* A line being formatted. */
struct access_view {
    const struct access_packed *p;
    const char *text[ACCESS_TEXTS]; /* NULL: there is none */
    bool simple;                    /* nothing of them is to be escaped: nearly always */
};

static void view_open(struct access_view *v, const struct access_packed *p)
{
    const char *at = p->text;

    v->p = p;
    v->simple = text_is_simple(p->text, p->text_len);
    for (int i = 0; i < ACCESS_TEXTS; i++) {
        v->text[i] = p->len[i] == ABSENT ? NULL : at;
        at += p->len[i] == ABSENT ? 0 : p->len[i];
    }
}

static void put(struct buf *out, const void *data, size_t len)
{
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

#define ADD(out, literal) put(out, literal, sizeof(literal) - 1)

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
    put(out, digits + at, sizeof(digits) - (size_t)at);
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
        put(out, tenth, sizeof(tenth));
    }
}

static void add_text(struct buf *out, const struct access_view *v, size_t which)
{
    const char *text = v->text[which];

    if (!text) {
        ADD(out, "-");
    } else if (v->simple) {
        put(out, text, v->p->len[which]);
    } else {
        buf_add_visible(out, text, v->p->len[which], VISIBLE_STRING);
        buf_reserve(out, PUT_ROOM);
    }
}

static int64_t field_micros(const struct access_packed *p, const struct access_field *f)
{
    int64_t us;

    memcpy(&us, (const char *)p + f->at, sizeof(us));
    return us;
}

/* ---- time ---- */

static void note_second(struct access_second *s, int64_t now)
{
    time_t sec = (time_t)now;
    struct tm tm;

    if (s->at_s == now && s->json[0])
        return;
    gmtime_r(&sec, &tm);
    s->at_s = now;
    strftime(s->json, sizeof(s->json), "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(s->common, sizeof(s->common), "[%d/%b/%Y:%H:%M:%S +0000]", &tm);
}

static void add_time(struct buf *out, struct access_second *s, int64_t at_ms)
{
    int ms = (int)(at_ms % 1000);
    char end[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};

    note_second(s, at_ms / 1000);
    put(out, s->json, strlen(s->json));
    put(out, end, sizeof(end));
}

/* ---- formats ---- */

static void access_add_json(struct buf *out, struct access_second *s, const struct access_view *v)
{
    ADD(out, "{\"time\":\"");
    add_time(out, s, v->p->at_ms);
    ADD(out, "\"");
    for (const struct access_field *f = FIELDS; f < FIELDS + ARRAY_LEN(FIELDS); f++) {
        memcpy(out->data + out->len, f->key, KEY_ROOM); /* so many bytes that it is two instructions */
        out->len += f->key_len;
        if (f->kind == FIELD_STATUS) {
            add_number(out, v->p->status);
        } else if (f->kind == FIELD_BYTES) {
            add_number(out, v->p->bytes);
        } else if (f->kind == FIELD_MICROS) {
            add_millis(out, field_micros(v->p, f));
        } else if (v->text[f->at]) {
            ADD(out, "\"");
            add_text(out, v, f->at);
            ADD(out, "\"");
        } else {
            ADD(out, "null");
        }
    }
    ADD(out, "}\n");
}

static void access_add_common(struct buf *out, struct access_second *s, const struct access_view *v)
{
    note_second(s, v->p->at_ms / 1000);
    add_text(out, v, TEXT_CLIENT);
    ADD(out, " - - ");
    put(out, s->common, strlen(s->common));
    ADD(out, " \"");
    add_text(out, v, TEXT_METHOD);
    ADD(out, " ");
    add_text(out, v, TEXT_PATH);
    if (v->text[TEXT_NS]) {
        ADD(out, "?ns=");
        add_text(out, v, TEXT_NS);
    }
    ADD(out, " HTTP/1.1\" ");
    add_number(out, v->p->status);
    ADD(out, " ");
    add_number(out, v->p->bytes);
}

/* ENTREPOT_USER_AGENT= */
static void add_journal_name(struct buf *out, const struct access_field *f)
{
    ADD(out, "ENTREPOT_");
    for (const char *c = f->key + strlen(",\""); *c != '"'; c++)
        out->data[out->len++] = (char)toupper((unsigned char)*c);
    ADD(out, "=");
}

/* A value with a newline would need the binary form; escaped it has none. What is not known has no field. */
static void access_add_journal(struct buf *out, struct access_second *s, const struct access_view *v)
{
    ADD(out, "MESSAGE=");
    access_add_common(out, s, v);
    put(out, "", 1);
    ADD(out, "PRIORITY=6\0SYSLOG_IDENTIFIER=entrepot\0");
    for (const struct access_field *f = FIELDS; f < FIELDS + ARRAY_LEN(FIELDS); f++) {
        int64_t n = f->kind == FIELD_STATUS   ? v->p->status
                    : f->kind == FIELD_BYTES  ? v->p->bytes
                    : f->kind == FIELD_MICROS ? field_micros(v->p, f)
                                              : 0;
        if (f->kind == FIELD_TEXT ? !v->text[f->at] : n < 0)
            continue;
        add_journal_name(out, f);
        if (f->kind == FIELD_TEXT)
            add_text(out, v, f->at);
        else
            add_number(out, f->kind == FIELD_MICROS ? n / 1000 : n);
        put(out, "", 1);
    }
    put(out, "", 1);
}

void access_format_line(struct buf *out, struct access_second *s, const struct access_packed *p,
                        enum access_format format)
{
    struct access_view v;

    view_open(&v, p);
    buf_reserve(out, PUT_ROOM);
    if (format == ACCESS_JSON) {
        access_add_json(out, s, &v);
    } else if (format == ACCESS_JOURNAL) {
        access_add_journal(out, s, &v);
    } else {
        access_add_common(out, s, &v);
        ADD(out, "\n");
    }
    out->data[out->len] = '\0';
}

/* Sources, and what they do to an ingest: honest ones, and others. */
#include "tests/tools/model/arriving.h"

#include <string.h>

void slot_stop(struct slot *s, enum err_code code, bool discard)
{
    struct err err = {0};

    err_set(&err, code, "the model stops it");
    S->gens[s->gen].dropping = S->gens[s->gen].dropping || discard || slot_is_nobodys(s) || s->size < 0;
    s->told_to_stop = true;
    s->discard = discard;
    ingest_stop(s->i, rnd(3) ? &err : NULL, discard);
    slot_notice(s);
}

void slot_link(struct slot *s)
{
    bool private = s->wants_private && rnd(10) > 0;
    _cleanup_free_ char *repo = xasprintf("%s/%s/app", HOST_NAMES[s->host], private ? "team" : "library");

    ingest_also_link(s->i, repo, rnd(2) ? PROOF_BYTES : PROOF_HEAD, private);
    s->is_linked = s->is_linked || !s->over;
    if (!s->over && !private)
        slot_share(s);
    slot_allow(s);
    if (ingest_is_public(s->i) != s->is_public)
        life_fail("blob %d is public: not %d", s->blob, s->is_public);
}

static int64_t announced(const struct slot *s, enum lie lie)
{
    int64_t size = world[s->blob].size;

    if (s->unknown && rnd(5) > 0)
        return -1;
    return lie == OTHER_SIZE ? (int64_t)rnd(MIN((uint64_t)size * 2 + 100, (uint64_t)CAP - SEG)) : size;
}

/* Whether the size contradicts what is here. */
static bool contradicts(const struct slot *s, int64_t size)
{
    bool beyond = false;

    for (int k = 0; size >= 0 && k < SEGS; k++)
        beyond = beyond || (s->end[k] > size && s->end[k] > seg_start(k));
    return beyond || (size >= 0 && s->size >= 0 && size != s->size);
}

static bool describe(struct slot *s, int64_t size)
{
    char tag[VALIDATOR_MAX + 1];
    struct err err = {0};
    bool wrong = contradicts(s, size);

    snprintf(tag, sizeof(tag), "\"%0*d\"", rnd(20) ? 3 : VALIDATOR_MAX - 2, (int)rnd(1000));
    if (ingest_describe(s->i, size, tag, &err) == wrong)
        life_fail("blob %d: size %lld is %s, of %lld", s->blob, (long long)size, wrong ? "accepted" : "refused",
                  (long long)s->size);
    if (wrong && err.code != ERR_CORRUPT)
        life_fail("blob %d: a wrong size is error %d", s->blob, err.code);
    if (wrong && rnd(2))
        slot_stop(s, ERR_CORRUPT, true);
    if (wrong)
        return false;
    if (size >= 0)
        s->size = S->gens[s->gen].size = size;
    slot_allow(s);
    return true;
}

static int sources_of(const struct slot *s)
{
    int n = 0;

    for (int k = 0; k < SOURCES; k++)
        n += s->sources[k].on;
    return n;
}

/* Which range it brings. */
static bool aim(struct slot *s, struct source *c)
{
    int64_t size = s->size >= 0 ? s->size : world[s->blob].size, from = rnd(2) ? 0 : (int64_t)rnd((uint64_t)size + 1);

    if (s->size < 0)
        from = 0;
    if (!slot_gap(s, from, &c->at, &c->end) && !slot_gap(s, 0, &c->at, &c->end))
        return false;
    c->end = MIN(c->end, s->size >= 0 ? s->size : size);
    int64_t piece = (c->at / SEG + 1 + (int64_t)rnd(8)) * SEG, more = (int64_t)rnd(SEG);
    if (s->size >= 0 && rnd(2))
        c->end = MIN(c->end, piece);
    if (c->lie == FROM_ZERO) {
        c->at = 0;
        c->end = size;
    } else if (c->lie == ANYWHERE) {
        c->at = (int64_t)rnd((uint64_t)size + 1);
        c->end = c->at + (int64_t)rnd((uint64_t)(size - c->at) + 1);
    } else if (c->lie == TOO_MANY) {
        c->end = MIN(c->end + more, (int64_t)CAP);
    }
    c->shift = (int64_t)rnd(CAP / 2);
    return true;
}

static void need_room(struct slot *s)
{
    int64_t need = slot_received(s);

    if (s->size <= 0)
        return;
    for (int k = 0; k < SOURCES; k++)
        if (s->sources[k].on)
            need += MAX(MIN(s->sources[k].end, s->size) - s->sources[k].at, (int64_t)0);
    ingest_need_room(s->i, s->whole ? s->size : need);
}

void slot_add_source(struct slot *s)
{
    int k = 0;

    while (s && k < SOURCES && s->sources[k].on)
        k++;
    if (!s || k == SOURCES || (s->size < 0 && sources_of(s) > 0))
        return;
    struct source c = {.on = true, .lie = rnd(6) ? HONEST : (enum lie)rnd(LIES)};
    slot_link(s);
    if (!describe(s, announced(s, c.lie)))
        return;
    slot_notice(s);
    if (s->over || !aim(s, &c))
        return;
    s->sources[k] = c;
    need_room(s);
}

static void source_bytes(const struct slot *s, const struct source *c, uint8_t *to, int64_t len)
{
    int64_t from = c->lie == OTHER_PLACE ? (c->at + c->shift) % (CAP - len) : MIN(c->at, CAP - len);

    memcpy(to, world[s->blob].bytes + from, (size_t)len);
    if (c->lie == WRONG_BYTES && len > 0)
        to[rnd((uint64_t)len)] ^= 1;
}

/* It was not written: the source is dropped, or the ingest. */
static void refused(struct slot *s, struct source *c, const struct err *err, bool broke)
{
    bool too_many = s->size >= 0 && err->code == ERR_UPSTREAM;
    bool no_room = err->code == ERR_NO_SPACE && (broke || (s->size < 0 && room_scarce));

    if (!too_many && !no_room && !broke)
        life_fail("blob %d: writing fails: %s", s->blob, err->msg);
    c->on = false;
    if (broke || no_room || (sources_of(s) == 0 && rnd(2)))
        slot_stop(s, err->code, broke || no_room);
}

static void bring(struct slot *s, struct source *c)
{
    static uint8_t data[1 << 18];
    int64_t some = 1 + (int64_t)rnd(rnd(3) ? sizeof(data) : SEG / 8), len = MIN(c->end - c->at, some);
    int64_t limit = s->size >= 0 ? s->size : INT64_MAX;
    struct err err = {0};

    source_bytes(s, c, data, len);
    bool ok = ingest_write(s->i, c->at, data, (size_t)len, &err), broke = disk_has_failed_write();
    if (ok && c->at + len > limit)
        life_fail("blob %d: more bytes are accepted than were announced", s->blob);
    if (ok && broke)
        life_fail("blob %d: a write that failed is accepted", s->blob);
    if (!ok) {
        slot_write_some(s, c->at, data, c->at + len > limit ? 0 : len);
        refused(s, c, &err, broke);
        return;
    }
    slot_write(s, c->at, data, len);
    slot_notice(s);
    c->at += len;
    if (room_bound && s->size >= 0 && !s->over && s->i->arrived > MAX(s->i->room, s->resumed))
        life_fail("blob %d: %lld bytes are on the disk, in room for %lld", s->blob, (long long)s->i->arrived,
                  (long long)s->i->room);
}

static void source_end(struct slot *s, struct source *c)
{
    c->on = false;
    if (s->size >= 0 || s->over || rnd(4) == 0)
        return;
    ingest_end_of_unknown(s->i); /* or so it seems */
    s->size = S->gens[s->gen].size = slot_present(s, 0);
    for (int k = 0; k < SEGS; k++)
        if (seg_start(k) >= s->size)
            s->end[k] = S->gens[s->gen].end[k] = seg_start(k);
    slot_notice(s);
}

void slot_bring(struct slot *s)
{
    struct source *c = s ? &s->sources[rnd(SOURCES)] : NULL;

    if (!c || !c->on || !s->owned)
        return;
    slot_notice(s);
    if (s->finished || s->over) {
        struct err err = {0};
        if (ingest_write(s->i, c->at, "x", 1, &err) || (err.code != ERR_CANCELLED && err.code != ERR_UPSTREAM))
            life_fail("blob %d: bytes are accepted after the end", s->blob);
        c->on = false;
        return;
    }
    s->blocked = ingest_is_ahead(s->i);
    if (s->blocked)
        return;
    if (c->at < c->end)
        bring(s, c);
    if (c->on && (c->at >= c->end || rnd(20) == 0))
        source_end(s, c);
}

#include "tests/tools/model/arriving.h"

#include "base/io.h"

#include <string.h>
#include <sys/stat.h>

struct slot slots[SLOTS];
struct cache *cache;
struct pool *pool;
struct loop *near, *far;

/* ---- which bytes are here ---- */

int64_t slot_received(const struct slot *s)
{
    int64_t n = 0;

    for (int k = 0; k < SEGS; k++)
        n += s->end[k] - seg_start(k);
    return n;
}

bool slot_is_whole(const struct slot *s)
{
    return s->size >= 0 && slot_received(s) == s->size;
}

int64_t slot_present(const struct slot *s, int64_t at)
{
    int64_t to = at;

    while (to < CAP && s->end[to / SEG] > to) {
        to = s->end[to / SEG];
        if (to % SEG != 0)
            break;
    }
    return to - at;
}

bool slot_gap(const struct slot *s, int64_t from, int64_t *first, int64_t *end)
{
    int64_t limit = s->size >= 0 ? s->size : CAP, k;

    from = MAX(from, slot_present(s, 0));
    from += slot_present(s, from);
    if (s->size >= 0 && from >= s->size)
        return false;
    *first = s->end[from / SEG];
    for (k = from / SEG + 1; seg_start(k) < limit && s->end[k] == seg_start(k);)
        k++;
    *end = seg_start(k) < limit ? seg_start(k) : s->size >= 0 ? s->size : INT64_MAX;
    return true;
}

bool slot_is_nobodys(const struct slot *s)
{
    return !s->is_public && !s->is_linked;
}

void slot_allow(struct slot *s)
{
    for (int k = 0; !slot_is_nobodys(s) && s->size >= 0 && seg_start(k) < s->size; k++)
        if (s->end[k] == seg_end(s->size, k))
            S->gens[s->gen].may_keep[k] = true;
}

void slot_share(struct slot *s)
{
    s->is_public = S->gens[s->gen].may_be_public = true;
}

/* Of the segment that `at` is in, up to `to`. */
static void write_segment(struct slot *s, int64_t at, int64_t to, const uint8_t *data)
{
    int64_t k = at / SEG, from = s->end[k];

    if (at > from || to <= from)
        return; /* it does not continue it, or is here */
    memcpy(S->bytes[s->gen] + from, data + (from - at), (size_t)(to - from));
    s->end[k] = S->gens[s->gen].end[k] = to;
}

void slot_write(struct slot *s, int64_t offset, const uint8_t *data, int64_t len)
{
    for (int64_t at = offset, to; at < offset + len; at = to) {
        to = MIN(seg_start(at / SEG + 1), offset + len);
        write_segment(s, at, to, data + (at - offset));
    }
    slot_allow(s);
}

static int64_t real_end(struct slot *s, int64_t k)
{
    pthread_mutex_lock(&s->i->lock);
    int64_t end = seg_start(k) + MIN(ingest_present(s->i, seg_start(k)), (int64_t)SEG);
    pthread_mutex_unlock(&s->i->lock);
    return end;
}

void slot_write_some(struct slot *s, int64_t offset, const uint8_t *data, int64_t len)
{
    for (int64_t at = offset, to; at < offset + len; at = to) {
        to = MIN(seg_start(at / SEG + 1), offset + len);
        int64_t there = real_end(s, at / SEG);
        if (there > s->end[at / SEG] && there <= to)
            write_segment(s, at, there, data + (at - offset));
    }
    slot_allow(s);
}

static void drop_fronts(struct slot *s)
{
    for (int k = 0; k < SEGS; k++)
        if (s->end[k] < seg_end(s->size, k))
            s->end[k] = S->gens[s->gen].end[k] = seg_start(k);
}

/* ---- what is stored ---- */

struct stored_look {
    int blob;
    bool found;
    struct blob_row row;
};

static void look_stored(struct index_txn *t, void *arg)
{
    struct stored_look *l = arg;

    l->found = rows_get_blob(t, &world[l->blob].digest, &l->row);
}

void check_stored(int blob, bool is_public, bool exact)
{
    const struct blob *b = &world[blob];
    _cleanup_free_ uint8_t *bytes = xmalloc((size_t)b->size + 1);
    struct stored_look l = {.blob = blob};
    struct file_info info;

    index_read(cache_index(cache), look_stored, &l);
    if (!l.found || l.row.size != b->size)
        life_fail("blob %d is stored, and has no row, or another size", blob);
    _cleanup_close_ int fd = store_open_blob(cache_store(cache), &b->digest, &info, NULL);
    if (fd < 0 || io_pread(fd, (char *)bytes, (size_t)b->size + 1, 0) != b->size ||
        memcmp(bytes, b->bytes, (size_t)b->size) != 0)
        life_fail("blob %d is stored with wrong bytes", blob);
    if (exact && ((l.row.flags & BLOB_PRIVATE) != 0) == is_public)
        life_fail("blob %d is stored as %s", blob, is_public ? "private" : "public");
    if (exact && info.is_private == is_public)
        life_fail("the file of blob %d is %s", blob, is_public ? "private" : "public");
}

/* ---- events ---- */

static void note_paused(struct slot *s)
{
    struct gen *g = &S->gens[s->gen];

    if (!s->told_to_stop && !s->refused)
        life_fail("blob %d was paused by nobody", s->blob);
    if (s->discard || slot_is_nobodys(s) || s->size < 0)
        life_fail("blob %d was paused, not dropped", s->blob);
    for (int k = 0; seg_start(k) < s->size; k++)
        g->kept[k] = s->end[k] == seg_end(s->size, k);
    g->is_public = g->is_public || s->is_public;
}

static void note_failed(struct slot *s, const struct err *err)
{
    bool stopped = (s->told_to_stop || s->refused) && (s->discard || slot_is_nobodys(s) || s->size < 0);
    bool wrong = err->code == ERR_DIGEST && slot_is_whole(s) && !gen_is_right(s->gen);

    if (!stopped && !wrong && !disk_sync_failed(S->gens[s->gen].inode))
        life_fail("blob %d failed: %s", s->blob, err->msg);
}

static void on_finished(void *arg, enum ingest_state state, const struct err *err)
{
    struct slot *s = arg;

    slot_notice(s);
    if (s->finished)
        life_fail("blob %d finished twice", s->blob);
    s->finished = true;
    if (state == INGEST_PAUSED) {
        note_paused(s);
        return;
    }
    S->current[s->blob] = -1;
    if (state == INGEST_FAILED) {
        note_failed(s, err);
        return;
    }
    if (!slot_is_whole(s) || !gen_is_right(s->gen))
        life_fail("blob %d was verified with wrong bytes", s->blob);
    if (state == INGEST_STORED) {
        check_stored(s->blob, s->is_public, !S->stored[s->blob]);
        S->stored[s->blob] = true;
    } else if (!disk_sync_failed(S->gens[s->gen].inode)) {
        life_fail("blob %d was not kept: %s", s->blob, err->msg);
    }
}

static void on_deserted(void *arg)
{
    struct slot *s = arg;

    if (s->i->over || s->finished || ingest_followers(s->i) != 0)
        life_fail("blob %d is not deserted", s->blob);
    s->desertion = false;
    s->deserted++;
}

static void on_drained(void *arg)
{
    struct slot *s = arg;

    if (s->finished)
        life_fail("blob %d is drained after its end", s->blob);
    s->drained++;
    s->blocked = false;
}

static void on_wanted(void *arg)
{
    struct slot *s = arg;

    if (s->finished)
        life_fail("blob %d is wanted after its end", s->blob);
    s->want = false;
    s->wanted++;
}

/* ---- begin and end ---- */

/* One segment of a part that is resumed: it was whole, may be resumed, and is on the disk. */
static void check_resumed_segment(struct slot *s, int64_t k)
{
    static char there[SEG];
    const struct gen *g = &S->gens[s->gen];
    size_t len = (size_t)(seg_end(g->size, k) - seg_start(k));

    if (!g->may_keep[k] || g->end[k] != seg_end(g->size, k))
        life_fail("blob %d: segment %lld was never whole, or nobody's, and is resumed", s->blob, (long long)k);
    if (io_pread(s->i->fd, there, len, seg_start(k)) != (ssize_t)len ||
        memcmp(there, S->bytes[s->gen] + seg_start(k), len) != 0)
        life_fail("blob %d: segment %lld is promised, and not on the disk", s->blob, (long long)k);
}

static void slot_resume(struct slot *s)
{
    struct gen *g = &S->gens[s->gen];

    if (g->host != s->host || g->size != ingest_size(s->i))
        life_fail("blob %d: a part of another registry, or size, is resumed", s->blob);
    s->is_public = ingest_is_public(s->i);
    s->is_linked = s->i->earlier_count > 0;
    if (s->is_public && !g->may_be_public)
        life_fail("blob %d: a part of private repositories is resumed as public", s->blob);
    if (!s->is_public && g->is_public && !g->unsure && !g->dropping)
        life_fail("blob %d: a part of a public repository is resumed as private", s->blob);
    if (!s->is_public && !s->is_linked)
        life_fail("blob %d: a part of nobody is resumed", s->blob);
    s->size = g->size;
    for (int64_t k = 0; k < SEGS; k++) {
        bool has = real_end(s, k) > seg_start(k);
        if (has)
            check_resumed_segment(s, k);
        else if (g->kept[k] && !g->unsure && !g->dropping && !gen_is_whole(g))
            life_fail("blob %d: segment %lld was kept, and is missing", s->blob, (long long)k);
    }
    for (int64_t k = 0; k < SEGS; k++)
        s->end[k] = g->end[k] = real_end(s, k);
    s->resumed = slot_received(s);
}

static void slot_start(struct slot *s, uint64_t inode)
{
    int old = S->current[s->blob];

    for (int k = 0; old >= 0 && k < SEGS; k++) {
        const struct gen *g = &S->gens[old];
        if (g->kept[k] && g->host == s->host && !g->unsure && !g->dropping && !gen_is_whole(g))
            life_fail("blob %d: what was kept is not resumed", s->blob);
    }
    S->current[s->blob] = s->gen = gen_new(s->blob, s->host, inode);
    s->size = S->gens[s->gen].size = ingest_size(s->i);
    for (int k = 0; k < SEGS; k++)
        s->end[k] = seg_start(k);
    if (old >= 0)
        gen_free(old);
}

struct slot *slot_begin(int blob, int host)
{
    const struct ingest_events events = {on_finished, on_deserted, on_drained, on_wanted, NULL};
    struct ingest_events mine = events;
    int old = S->current[blob], place = 0;
    struct err err;
    struct stat st;

    while (place < SLOTS && slots[place].i)
        place++;
    if (place == SLOTS)
        return NULL;
    struct slot *s = mine.arg = &slots[place];
    *s = (struct slot){.blob = blob, .host = host, .gen = old, .size = -1, .owned = true};
    if (old >= 0 && S->gens[old].host != host)
        S->gens[old].unsure = true; /* before the part is emptied: a crash may come */
    s->i = ingest_begin(cache_ingests(cache), &world[blob].digest, HOST_NAMES[host], near, &mine, &err);
    if (!s->i)
        life_fail("blob %d cannot begin: %s", blob, err.msg);
    fstat(s->i->fd, &st);
    disk_watch(s->i->fd);
    bool any = ingest_resumed(s->i) > 0; /* a row that promises nothing may be of an earlier part, after a crash */
    if (any && old < 0)
        life_fail("blob %d: what was dropped is resumed", blob);
    if (any ||
        (old >= 0 && S->gens[old].host == host && ingest_size(s->i) >= 0 && S->gens[old].size == ingest_size(s->i)))
        slot_resume(s);
    else
        slot_start(s, st.st_ino);
    if (ingest_resumed(s->i) != s->resumed)
        life_fail("blob %d: %lld bytes are resumed of %lld", blob, (long long)ingest_resumed(s->i),
                  (long long)s->resumed);
    S->gens[s->gen].unsure = S->gens[s->gen].unsure || S->stored[blob];
    return s;
}

void slot_disown(struct slot *s)
{
    ingest_unref(s->i);
    s->owned = false;
    slot_reap(s);
}

void slot_reap(struct slot *s)
{
    int gen = s->gen;

    if (s->owned || s->holds > 0)
        return;
    for (int k = 0; k < FOLLOWERS; k++)
        if (s->readers[k].f)
            return;
    s->i = NULL;
    gen_free(gen);
}

void slot_notice(struct slot *s)
{
    struct gen *g = &S->gens[s->gen];

    if (s->i->over && !s->over) {
        enum ingest_state state = ingest_state(s->i);
        s->over = true;
        if (state == INGEST_RECEIVING || state == INGEST_PAUSED)
            drop_fronts(s);
        else
            g->dropping = true;
    }
    if (s->checkpointing && (s->over || !s->i->checkpointing)) {
        bool counts = !s->over && !S->stored[s->blob] && !disk_sync_failed(g->inode);
        for (int k = 0; counts && k < SEGS; k++)
            g->kept[k] = g->kept[k] || s->keeping[k];
        s->checkpointing = false;
    }
    g->unsure = g->unsure || disk_sync_failed(g->inode);
}

/* ---- checks ---- */

int slot_followers(const struct slot *s)
{
    int n = s->holds;

    for (int k = 0; k < FOLLOWERS; k++)
        n += s->readers[k].f != NULL;
    return n;
}

static void check_gap(struct slot *s)
{
    int64_t from = rnd(2) ? 0 : (int64_t)rnd((uint64_t)(s->size > 0 ? s->size : CAP / 4)), first, end, a, b;
    bool expected = slot_gap(s, from, &first, &end), is = ingest_gap(s->i, from, &a, &b);

    if (is != expected || (is && (a != first || b != end)))
        life_fail("blob %d: from %lld on [%lld, %lld) is said to be missing, and [%lld, %lld) is", s->blob,
                  (long long)from, is ? (long long)a : 0, is ? (long long)b : 0, expected ? (long long)first : 0,
                  expected ? (long long)end : 0);
}

void slot_check(struct slot *s)
{
    slot_notice(s);
    if (ingest_size(s->i) != s->size)
        life_fail("blob %d: size %lld in place of %lld", s->blob, (long long)ingest_size(s->i), (long long)s->size);
    if (ingest_received(s->i) != slot_received(s))
        life_fail("blob %d: %lld bytes received in place of %lld", s->blob, (long long)ingest_received(s->i),
                  (long long)slot_received(s));
    if (ingest_followers(s->i) != slot_followers(s))
        life_fail("blob %d: %d followers in place of %d", s->blob, ingest_followers(s->i), slot_followers(s));
    if (!s->over && s->i->arrived != ingest_received(s->i))
        life_fail("blob %d: %lld bytes are counted as arriving", s->blob, (long long)s->i->arrived);
    if (!s->over)
        check_gap(s);
}

/* ---- turns ---- */

void check_all_settled(void)
{
    for (int k = 0; k < SLOTS; k++)
        if (slots[k].i)
            slot_check_settled(&slots[k]);
}

void turn_loops(void)
{
    for (bool any = true; any;) {
        any = loop_settle(near);
        any = loop_settle(far) || any;
    }
}

void turn_all(void)
{
    for (bool any = true; any;) {
        turn_loops();
        any = pool_settle(pool);
        any = index_wait_written(cache_index(cache)) || any;
        any = loop_settle(near) || any;
    }
    check_all_settled();
    for (int k = 0; k < SLOTS; k++) {
        const struct slot *s = &slots[k];
        if (s->i && !s->finished && (slot_is_whole(s) || s->told_to_stop))
            life_fail("blob %d: nothing is missing, or it was stopped, and it does not end", s->blob);
    }
}

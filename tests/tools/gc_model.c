/* gc_model DIR SEED OPERATIONS: random operations on a cache, each checked against a simple model, with kill -9 in
 * between.
 *
 * A child process works on the cache and is killed at random moments (tests/tools/model/life.h). The next child opens
 * the cache, checks that nothing is lost that a crash may not lose, takes over what it finds, and goes on. After every
 * operation: the tables agree with each other, every reference count equals the references of the model, nothing
 * referenced is gone, nothing unreferenced past its grace stays after a sweep, and the total of bytes is exact. Prints
 * the seed and what was done; exit 1 at the first difference.
 */
#include "cache/private.h"
#include "tests/tools/model/model.h"

#include <stdio.h>
#include <time.h>

static struct pool *pool;
static struct gc *gc;
static const char *folder;

/* ---- operations ---- */

struct change {
    int blob, tag;
};

static bool apply_blob(struct index_txn *t, void *arg, struct err *err)
{
    const struct blob *b = &world[((struct change *)arg)->blob];
    struct blob_row row = {.size = (int64_t)b->len, .created = clock_now_s(), .used = clock_now_s(), .cost_ms = 10};

    row.flags = b->manifest ? BLOB_MANIFEST : 0;
    return b->manifest ? rows_put_manifest(t, &b->digest, &row, b->children, b->count, err)
                       : rows_put_blob(t, &b->digest, &row, err);
}

static bool apply_tag(struct index_txn *t, void *arg, struct err *err)
{
    const struct change *c = arg;
    struct tag_row row = {world[c->blob].digest, clock_now_ms(), clock_now_ms()};
    uint64_t repo;

    return rows_intern_repo(t, repo_of(c->tag), &repo, err) && rows_put_tag(t, repo, names[c->tag], &row, err);
}

static bool apply_untag(struct index_txn *t, void *arg, struct err *err)
{
    const struct change *c = arg;

    return rows_drop_tag(t, rows_repo_id(t, repo_of(c->tag)), names[c->tag], err);
}

static void change(bool (*apply)(struct index_txn *t, void *arg, struct err *err), int blob, int tag)
{
    struct change c = {blob, tag};
    struct err err;

    if (!index_write_wait(cache_index(cache), apply, &c, &err))
        fail(err.msg, blob);
}

static void put(int blob)
{
    struct file_info info;
    struct err err;

    if (!store_write_blob(cache_store(cache), &world[blob].digest, world[blob].data, world[blob].len, false, &info,
                          &err))
        fail(err.msg, blob);
    change(apply_blob, blob, -1);
    if (!S->m.stored[blob])
        S->m.used[blob] = clock_now_s();
    S->m.stored[blob] = true;
}

static void add_image(void)
{
    int m = LAYERS + (int)rnd(IMAGES), t = (int)rnd(TAGS);

    for (size_t k = 0; k < world[m].count; k++)
        if (world[m].children[k].role == CHILD_CONTENT && !world[world[m].child[k]].manifest && rnd(8))
            put(world[m].child[k]);
    put(m);
    if (rnd(3) == 0)
        return;
    change(apply_tag, m, t);
    S->m.tag[t] = m;
    S->m.checked[t] = clock_now_s();
}

static void tag(void)
{
    int m = LAYERS + (int)rnd(IMAGES), t = (int)rnd(TAGS);

    change(apply_tag, m, t);
    S->m.tag[t] = m;
    S->m.checked[t] = clock_now_s();
}

static void untag(void)
{
    int t = (int)rnd(TAGS);

    change(apply_untag, 0, t);
    S->m.tag[t] = -1;
    S->m.pinned[t] = false;
}

static void pin(void)
{
    int t = (int)rnd(TAGS);
    bool on = rnd(4) == 0;
    struct err err;

    if (gc_pin(gc, repo_of(t), names[t], NULL, on, &err) != (S->m.tag[t] >= 0))
        fail("pinning", t);
    S->m.pinned[t] = on && S->m.tag[t] >= 0;
}

static void use(void)
{
    int i = (int)rnd(BLOBS);

    if (!S->m.stored[i])
        return;
    cache_touch(cache, &world[i].digest);
    S->m.used[i] = clock_now_s();
}

static void lease(void)
{
    int i = (int)rnd(BLOBS);

    if (leases[i] && rnd(3)) {
        leases[i]--;
        cache_release(cache, &world[i].digest);
    } else if (rnd(3) == 0) {
        leases[i]++;
        leases_take(cache->leases, &world[i].digest);
    }
}

static void release_all(void)
{
    for (int i = 0; i < BLOBS; i++)
        for (; leases[i]; leases[i]--)
            cache_release(cache, &world[i].digest);
}

static void pass_time(void)
{
    int64_t ms = (int64_t)rnd(GRACE_S * 700);

    clock_advance(ms);
    S->clock_ms += ms;
}

static void sweep(void)
{
    struct gc_report r;
    struct err err;

    if (!gc_collect(gc, rnd(5) == 0, -1, &r, &err)) /* a dry run changes nothing ... */
        fail(err.msg, -1);
    gc_report_free(&r);
    if (!gc_collect(gc, false, -1, &r, &err))
        fail(err.msg, -1);
    gc_report_free(&r);
    model_sweep(&S->m, clock_now_s() - GRACE_S);
}

static void remove_tag(void)
{
    int t = (int)rnd(TAGS);
    struct gc_report r;
    struct err err;
    bool may = S->m.tag[t] >= 0 && !S->m.pinned[t];

    if (gc_remove(gc, repo_of(t), names[t], &r, &err) != may)
        fail("rm", t);
    gc_report_free(&r);
    if (!may)
        return;
    struct model m = S->m;
    int root = m.tag[t];
    m.tag[t] = -1;
    /* what only it held, whatever its age; other loose ends stay */
    struct seen s = look();
    bool gone[BLOBS] = {0};
    if (m.stored[root] && references(&m, root) == 0 && !leases[root])
        gone[root] = true;
    for (bool changed = gone[root]; changed;) {
        changed = false;
        for (int i = 0; i < BLOBS; i++)
            if (gone[i] && m.stored[i]) {
                m.stored[i] = false;
                changed = true;
                for (int k = 0; k < BLOBS; k++) {
                    bool held = false;
                    for (size_t c = 0; c < world[i].count; c++)
                        held = held || (world[i].children[c].role == CHILD_CONTENT && world[i].child[c] == k);
                    for (size_t c = 0; c < world[k].count; c++)
                        held = held || (world[k].children[c].role == CHILD_SUBJECT && world[k].child[c] == i);
                    if (held && m.stored[k] && references(&m, k) == 0 && !leases[k])
                        gone[k] = true;
                }
            }
    }
    for (int i = 0; i < BLOBS; i++)
        if (s.m.stored[i] != m.stored[i])
            fail(m.stored[i] ? "rm took" : "rm left", i);
    S->m = m;
}

/* Which images go is the policy's choice; that they might is checked, and that nothing else went. */
static void retire(void)
{
    struct model before, now;
    struct gc_report r;
    struct err err;
    struct totals totals;
    int64_t cutoff = clock_now_s() - GRACE_S, target;

    cache_totals(cache, &totals);
    target = (int64_t)rnd((uint64_t)totals.bytes + 1);
    before = S->m;
    if (!gc_collect(gc, false, target, &r, &err))
        fail(err.msg, -1);
    gc_report_free(&r);
    struct seen s = look();
    now = before;
    for (int t = 0; t < TAGS; t++)
        if (s.m.tag[t] != before.tag[t]) {
            int m = before.tag[t];
            if (s.m.tag[t] >= 0 || before.pinned[t])
                fail("a tag changed", t);
            if (!before.stored[m] && before.checked[t] > cutoff)
                fail("a tag of nothing went before its time", t);
            for (int o = 0; o < TAGS; o++)
                if (before.stored[m] && before.tag[o] == m && before.pinned[o])
                    fail("an image went that another tag pins", m);
            if (before.stored[m] && (before.used[m] > cutoff || leases[m]))
                fail("an image went that is in use", m);
            now.tag[t] = -1;
            now.pinned[t] = false;
        }
    model_sweep(&now, cutoff);
    S->m = now;
    cache_totals(cache, &totals);
    if (totals.bytes <= target)
        return;
    /* Not enough: then nothing is left that might go. */
    for (int t = 0; t < TAGS; t++) {
        int m = now.tag[t];
        struct model without = now;
        if (m < 0 || !now.stored[m] || now.used[m] > cutoff)
            continue;
        bool pinned = false;
        for (int o = 0; o < TAGS; o++)
            if (now.tag[o] == m) {
                pinned = pinned || now.pinned[o];
                without.tag[o] = -1;
            }
        if (pinned || references(&without, m) > 0)
            continue;
        bool leased = false;
        for (int i = 0; i < BLOBS; i++)
            leased = leased || (leases[i] && now.stored[i]);
        if (!leased)
            fail("an image stayed although room was wanted", m);
    }
}

static void reopen(void);

static const struct {
    void (*run)(void);
    int weight;
} KINDS[] = {{add_image, 20},  {tag, 8},        {untag, 6}, {pin, 5},    {use, 14},       {lease, 10},
             {release_all, 1}, {pass_time, 14}, {sweep, 8}, {retire, 5}, {remove_tag, 4}, {reopen, 1}};

/* ---- a child's life ---- */

static void open_all(void)
{
    const struct gc_options o = {.max_bytes = (int64_t)1 << 40,
                                 .high = 95,
                                 .low = 85,
                                 .grace_ms = GRACE_S * 1000,
                                 .interval_ms = 3600000,
                                 .policy = &POLICY_GDSF};
    struct err err;

    pool = pool_new("io", 1, &err);
    cache = cache_open(folder, pool, NULL, &err);
    gc = cache ? gc_new(cache, &o, &err) : NULL;
    if (!gc)
        fail(err.msg, -1);
    while (!gc_is_reconciled(gc))
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void close_all(void)
{
    gc_free(gc);
    pool_free(pool);
    cache_close(cache);
}

static void reopen(void)
{
    release_all();
    close_all();
    open_all();
}

/* Nothing may be lost but what was being let go of; then the model takes over what is there. */
static void recover(void)
{
    struct seen s = look();
    int doing = life->doing;
    bool lets_go = doing >= 8 && doing <= 10;

    for (int i = 0; i < BLOBS; i++) {
        if (S->m.stored[i] && !s.m.stored[i] && !lets_go)
            fail("was lost in a crash", i);
        if (store_has_blob(cache_store(cache), &world[i].digest) != s.m.stored[i])
            fail("file and entry differ after a crash", i);
        if (s.m.stored[i] && s.m.used[i] > S->m.used[i] && S->m.stored[i] && s.m.used[i] > clock_now_s())
            fail("was used in the future", i);
    }
    int changed = 0;
    for (int t = 0; t < TAGS; t++)
        changed += s.m.tag[t] != S->m.tag[t] || s.m.pinned[t] != S->m.pinned[t];
    if (changed > (doing < 0 ? 0 : lets_go ? TAGS : 1))
        fail("tags were changed by a crash", changed);
    S->m = s.m;
    check_references(&s, &S->m);
    life->doing = -1;
}

static void work(int64_t operations)
{
    int total = 0;

    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
        total += KINDS[i].weight;
    clock_stop(S->began_ms); /* no second may pass between what the cache does and what the model makes of it */
    clock_advance(S->clock_ms);
    memset(leases, 0, sizeof(leases));
    open_all();
    recover();
    while (life->operations < operations) {
        int pick = (int)rnd((uint64_t)total), kind = 0;
        while (pick >= KINDS[kind].weight)
            pick -= KINDS[kind++].weight;
        life->doing = kind;
        KINDS[kind].run();
        check_all(&S->m);
        life->doing = -1;
        life->operations++;
    }
    close_all();
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    folder = argv[1];
    uint64_t seed = strtoull(argv[2], NULL, 10);
    int64_t operations = strtoll(argv[3], NULL, 10);
    S = life_begin(seed, sizeof(*S));
    S->began_ms = clock_now_ms();
    for (int i = 0; i < BLOBS; i++)
        make_blob(i, seed);
    for (int t = 0; t < TAGS; t++) {
        snprintf(names[t], sizeof(names[t]), "v%d", t);
        S->m.tag[t] = -1;
    }
    return life_run(seed, operations, 300, work);
}

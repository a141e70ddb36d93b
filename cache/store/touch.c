#include "cache/store/touch.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/lookup.h"
#include "cache/index/rows.h"

#include <pthread.h>

struct touch {
    struct digest digest;
    int64_t last;         /* seconds since 1970 */
    uint32_t uses, times; /* for its row; requests */
};

struct touch_list {
    struct touch *list;
    size_t count, room;
    struct lookup places;
};

struct touches {
    pthread_mutex_t lock;
    struct touch_list gathered;
    struct requested *written;
    size_t written_count, written_room;
};

struct touch_flush {
    struct touches *all;
    struct touch_list gathered;
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

static void touch_list_free(struct touch_list *l)
{
    free(l->list);
    lookup_free(&l->places);
}

struct touches *touches_new(void)
{
    struct touches *all = xcalloc(1, sizeof(*all));

    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void touches_free(struct touches *all)
{
    if (!all)
        return;
    touch_list_free(&all->gathered);
    free(all->written);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

struct touch_key {
    const struct touch_list *gathered;
    const struct digest *digest;
};

static bool touch_is(const void *arg, uint32_t place)
{
    const struct touch_key *k = arg;

    return digest_eq(&k->gathered->list[place].digest, k->digest);
}

/* NULL: it has none. With the lock held. */
static struct touch *touch_find(struct touches *all, const struct digest *d)
{
    struct touch_list *l = &all->gathered;

    HOLDS(&all->lock);
    uint32_t place = lookup_find(&l->places, lookup_hash_digest(d), touch_is, &(struct touch_key){l, d});
    return place == LOOKUP_NONE ? NULL : &l->list[place];
}

static void touches_note(struct touches *all, const struct digest *d, uint32_t uses)
{
    struct touch_list *l = &all->gathered;
    int64_t now = clock_now_s();

    pthread_mutex_lock(&all->lock);
    struct touch *t = touch_find(all, d);
    if (!t) {
        t = ARRAY_NEXT(l->list, l->count, l->room);
        *t = (struct touch){.digest = *d};
        lookup_add(&l->places, lookup_hash_digest(d), (uint32_t)l->count++);
    }
    t->last = now;
    t->uses += uses;
    t->times++;
    pthread_mutex_unlock(&all->lock);
}

void touches_add(struct touches *all, const struct digest *d)
{
    touches_note(all, d, 1);
}

void touches_add_new(struct touches *all, const struct digest *d)
{
    touches_note(all, d, 0);
}

bool touches_has(struct touches *all, const struct digest *d)
{
    pthread_mutex_lock(&all->lock);
    bool has = touch_find(all, d) != NULL;
    pthread_mutex_unlock(&all->lock);
    return has;
}

static bool touch_apply_flush(struct index_txn *txn, void *arg, struct err *err)
{
    const struct touch_flush *f = arg;

    for (size_t i = 0; i < f->gathered.count; i++) {
        const struct touch *t = &f->gathered.list[i];
        if (!rows_use_blob(txn, &t->digest, t->last, t->uses, err))
            return false;
    }
    return true;
}

static void touches_keep(struct touches *all, const struct touch_list *l)
{
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < l->count && all->written_count < TOUCHES_KEPT; i++) {
        *ARRAY_NEXT(all->written, all->written_count, all->written_room) =
            (struct requested){l->list[i].digest, l->list[i].times};
        all->written_count++;
    }
    pthread_mutex_unlock(&all->lock);
}

size_t touches_take(struct touches *all, struct requested **list)
{
    pthread_mutex_lock(&all->lock);
    size_t count = all->written_count;
    *list = all->written;
    all->written = NULL;
    all->written_count = all->written_room = 0;
    pthread_mutex_unlock(&all->lock);
    return count;
}

static void touch_end_flush(void *arg, const struct err *err)
{
    struct touch_flush *f = arg;

    if (!err)
        touches_keep(f->all, &f->gathered);
    if (f->done)
        f->done(f->arg, err);
    touch_list_free(&f->gathered);
    free(f);
}

void touches_flush(struct touches *all, struct index *index, void (*done)(void *arg, const struct err *err), void *arg,
                   struct loop *loop)
{
    struct touch_flush *f = xcalloc(1, sizeof(*f));

    *f = (struct touch_flush){.all = all, .done = done, .arg = arg};
    pthread_mutex_lock(&all->lock);
    f->gathered = all->gathered;
    all->gathered = (struct touch_list){0};
    pthread_mutex_unlock(&all->lock);
    if (f->gathered.count > 0 || done)
        index_write(index, touch_apply_flush, touch_end_flush, f, loop);
    else
        touch_end_flush(f, NULL);
}

/* Past the disk: an ingest whose part is a window in memory, for one follower. */
#include "cache/ingest/private.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum {
    PUNCH = 64 << 10, /* bytes that are given back at a time, at least */
};

/* ---- how many there may be ---- */

void ingests_set_relays_max(struct ingests *all, int most)
{
    all->relays_max = most;
}

struct relay_stats ingests_relays(const struct ingests *all)
{
    return (struct relay_stats){atomic_load(&all->relays), atomic_load(&all->relays_refused)};
}

static bool take_place(struct ingest *i, struct err *err)
{
    struct ingests *all = i->cache->ingests;

    i->has_place = atomic_fetch_add(&all->relays, 1) < all->relays_max;
    if (i->has_place)
        return true;
    atomic_fetch_sub(&all->relays, 1);
    atomic_fetch_add(&all->relays_refused, 1);
    return err_set(err, ERR_BUSY,
                   "the disk has no room for it, and %d blobs are passed on without being kept already (limits.relays)",
                   all->relays_max);
}

void ingest_leave_relays(struct ingest *i)
{
    if (i->has_place)
        atomic_fetch_sub(&i->cache->ingests->relays, 1);
    i->has_place = false;
}

/* ---- the beginning ---- */

struct ingest *ingest_begin_relay(struct cache *cache, const struct digest *digest, struct loop *owner,
                                  void (*finished)(void *arg, enum ingest_state state, const struct err *err),
                                  void (*deserted)(void *arg), void (*drained)(void *arg), void *arg,
                                  const struct sent_before *sent, struct err *err)
{
    struct ingest *i = ingest_new(cache, digest, owner);

    i->relay = true;
    i->finished = finished;
    i->deserted = deserted;
    i->drained = drained;
    i->arg = arg;
    use_lease(cache->use, digest);
    ingest_list(i);
    i->fd = memfd_create("relay", MFD_CLOEXEC);
    i->sent = *sent;
    if (sent->fd >= 0)
        i->sent.fd = fcntl(sent->fd, F_DUPFD_CLOEXEC, 0);
    bool made = i->fd >= 0 && (sent->fd < 0 || i->sent.fd >= 0);
    if (!made)
        err_errno(err, ERR_IO, "making a window in memory");
    if (!made || !take_place(i, err)) {
        ingest_unref(i);
        return NULL;
    }
    i->hasher = hasher_new(digest->alg);
    return i;
}

/* ---- a relay's window ---- */

/* What the follower may read and has not read yet: not the last segment, all of which has to come before the digest is
 * known. */
static int64_t unread(const struct ingest *i)
{
    return MIN(i->front, ingest_withheld(i)) - MAX(i->taken, (int64_t)0);
}

bool ingest_is_ahead(struct ingest *i)
{
    if (!i->relay)
        return i->asking;
    pthread_mutex_lock(&i->lock);
    i->ahead = i->state == INGEST_RECEIVING && unread(i) > RELAY_WINDOW;
    bool ahead = i->ahead;
    pthread_mutex_unlock(&i->lock);
    return ahead;
}

static void say_drained(void *arg)
{
    struct ingest *i = arg;

    if (!i->over)
        i->drained(i->arg);
    ingest_unref(i);
}

void ingest_give_back(struct ingest *i)
{
    int64_t to = MIN(i->taken, i->front);

    if (i->reading_back) /* needs what it has not hashed yet */
        to = MIN(to, i->read_back_from);
    to = to / PUNCH * PUNCH;
    if (to > i->punched &&
        fallocate(i->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i->punched, to - i->punched) == 0)
        i->punched = to;
    if (i->ahead && unread(i) < RELAY_WINDOW / 2) {
        i->ahead = false;
        i->refs++;
        loop_post(i->owner, say_drained, i);
    }
}

/* Sparse, as the part on a disk would be: what is given back takes no memory. A blob whose size is not known does
 * without, by pwrite(2). */
bool ingest_map_window(struct ingest *i, int64_t size, struct err *err)
{
    if (ftruncate(i->fd, size) != 0)
        return err_errno(err, ERR_IO, "making a window of %lld bytes", (long long)size);
    void *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, i->fd, 0);
    if (at == MAP_FAILED)
        return err_errno(err, ERR_IO, "mapping a window of %lld bytes", (long long)size);
    i->window = at;
    return true;
}

bool ingest_agrees(struct ingest *i, int64_t offset, const char *data, size_t len, struct err *err)
{
    char before[16 << 10];
    int64_t at = MAX(offset, i->sent.first), end = MIN(offset + (int64_t)len, i->sent.end);

    while (i->sent.fd >= 0 && at < end) {
        ssize_t n = io_pread(i->sent.fd, before, (size_t)MIN(end - at, (int64_t)sizeof(before)), at);
        if (n <= 0)
            return err_errno(err, ERR_DIGEST, "what was sent before cannot be compared");
        if (memcmp(before, data + (at - offset), (size_t)n) != 0)
            return err_set(err, ERR_DIGEST, "upstream sends other bytes than it did before");
        at += n;
    }
    return true;
}

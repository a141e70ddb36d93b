/* Without caching: an ingest whose part is a window in memory, for one follower. */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum {
    PUNCH = 64 << 10, /* bytes that are freed at a time, at least */
};

/* ---- the beginning ---- */

struct ingest *ingest_begin_relay(struct ingests *all, const struct digest *digest, struct loop *loop,
                                  const struct ingest_events *events, const struct sent_before *sent, struct err *err)
{
    struct ingest *i = ingest_new(all, digest, loop);

    i->relay = true;
    i->events = *events;
    leases_take(all->leases, digest);
    ingest_list(i);
    i->fd = memfd_create("relay", MFD_CLOEXEC);
    i->sent = *sent;
    if (sent->fd >= 0)
        i->sent.fd = fcntl(sent->fd, F_DUPFD_CLOEXEC, 0);
    bool made = i->fd >= 0 && (sent->fd < 0 || i->sent.fd >= 0);
    if (!made)
        err_errno(err, ERR_IO, "making a window in memory");
    if (!made || !ingest_enter_relays(i, err)) {
        ingest_unref(i);
        return NULL;
    }
    i->hasher = hasher_new(digest->alg);
    return i;
}

/* ---- a relay's window ---- */

/* What the follower may read and has not read yet: not the last MiB, all of which has to come before the digest is
 * known. */
static int64_t unread(const struct ingest *i)
{
    int64_t at = MAX(i->taken, (int64_t)0);

    HOLDS(&i->lock);
    return MIN(at + ingest_present(i, at), i->whole ? ingest_withheld(i) : INT64_MAX) - at;
}

bool ingest_is_ahead(struct ingest *i)
{
    ON_LOOP(i->loop);
    if (!i->relay)
        return i->asking || i->clearing;
    pthread_mutex_lock(&i->lock);
    /* Once it is, ingest_give_back() says when it is not any more: the source waits for that. */
    i->ahead = i->state == INGEST_RECEIVING && (i->ahead || unread(i) > RELAY_WINDOW);
    bool ahead = i->ahead;
    pthread_mutex_unlock(&i->lock);
    return ahead;
}

static void say_drained(void *arg)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    if (!i->over)
        i->events.drained(i->events.arg);
    ingest_unref(i);
}

void ingest_give_back(struct ingest *i)
{
    /* What is before the follower, as far as it has come: of a piece, from the beginning of that on. */
    int64_t to = i->whole ? MIN(i->taken, i->prefix) : MIN(i->taken, i->written_to);

    HOLDS(&i->lock);
    if (i->hashing_file) /* needs what it has not hashed yet */
        to = MIN(to, i->hashing_from);
    to = to / PUNCH * PUNCH;
    if (to > i->punched &&
        fallocate(i->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i->punched, to - i->punched) == 0)
        i->punched = to;
    if (i->ahead && unread(i) < RELAY_WINDOW / 2) {
        i->ahead = false;
        i->refs++;
        loop_post(i->loop, say_drained, i);
    }
}

/* Sparse, as the part on a disk would be: what is given back takes no memory. A blob whose size is not known does
 * without, by pwrite(2). */
bool ingest_map_window(struct ingest *i, int64_t size, struct err *err)
{
    ON_LOOP(i->loop);
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

    ON_LOOP(i->loop);
    while (i->sent.fd >= 0 && at < end) {
        ssize_t n = io_pread(i->sent.fd, before, (size_t)MIN(end - at, (int64_t)sizeof(before)), at);
        if (n <= 0)
            return err_errno(err, ERR_DIGEST, "what was sent before cannot be compared");
        if (memcmp(before, data + (at - offset), (size_t)n) != 0)
            return err_set(err, ERR_DIGEST, "upstream sends other bytes than before");
        at += n;
    }
    return true;
}

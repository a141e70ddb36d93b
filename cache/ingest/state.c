/* What an ingest is made of, as its other files see it: references, and how far it is. */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <sys/mman.h>

/* ---- references ---- */

struct ingest *ingest_new(struct ingests *all, const struct digest *digest, struct loop *loop)
{
    struct ingest *i = xcalloc(1, sizeof(*i));

    i->all = all;
    i->digest = *digest;
    i->loop = loop;
    i->fd = i->sent.fd = -1;
    i->size = -1;
    i->segment = INGEST_SEGMENT;
    i->refs = 1;
    i->taken = -1;
    i->started_ms = clock_mono_ms();
    pthread_mutex_init(&i->lock, NULL);
    TAILQ_INIT(&i->followers);
    SLIST_INIT(&i->repos);
    return i;
}

struct ingest *ingest_ref(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    i->refs++;
    pthread_mutex_unlock(&i->lock);
    return i;
}

void ingest_unref(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    bool last = --i->refs == 0;
    pthread_mutex_unlock(&i->lock);
    if (!last)
        return;
    ingest_unlist(i);
    leases_release(i->all->leases, &i->digest);
    if (i->window)
        munmap(i->window, (size_t)i->size);
    if (i->fd >= 0)
        close(i->fd);
    if (i->sent.fd >= 0)
        close(i->sent.fd);
    ingest_leave_relays(i);
    hasher_free(i->hasher);
    while (!SLIST_EMPTY(&i->repos)) {
        struct repo_name *r = SLIST_FIRST(&i->repos);
        SLIST_REMOVE_HEAD(&i->repos, entry);
        free(r->name);
        free(r);
    }
    free(i->bitmap);
    free(i->fronts);
    pthread_mutex_destroy(&i->lock);
    free(i);
}

/* ---- how far it is ---- */

enum ingest_state ingest_state(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    enum ingest_state state = i->state;
    pthread_mutex_unlock(&i->lock);
    return state;
}

bool ingest_is_stopping(struct ingest *i)
{
    ON_LOOP(i->loop);
    return i->over && !ingest_is_verified(ingest_state(i));
}

int64_t ingest_size(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t size = i->size;
    pthread_mutex_unlock(&i->lock);
    return size;
}

int64_t ingest_received(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t received = i->received;
    pthread_mutex_unlock(&i->lock);
    return received;
}

int64_t ingest_resumed(const struct ingest *i)
{
    return i->resumed;
}

int ingest_followers(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int n = i->follower_count;
    pthread_mutex_unlock(&i->lock);
    return n;
}

const char *ingest_validator(struct ingest *i)
{
    return i->validator;
}

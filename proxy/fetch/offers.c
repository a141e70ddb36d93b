/* The tokens that a private blob can be resumed with. A client's token may expire while a long layer arrives. By then
 * the same client has usually sent another request with a newer one, or another client reads the same repository. While
 * a private blob is being fetched, each client that is admitted to its repository leaves its identity here; one that
 * upstream has refused is not tried again. Identities are dropped when the last such fetch ends.
 */
#include "proxy/fetch/blob.h"

#include "base/assert.h"

#include <string.h>

enum { OFFERS_MAX = 8 };

struct fetch_offers {
    TAILQ_ENTRY(fetch_offers) entry;
    char *name;                         /* of the repository, in full */
    int users;                          /* fetches */
    struct client *clients[OFFERS_MAX]; /* the newest first */
    char dead[OFFERS_MAX][CLIENT_NAME_LEN + 1];
    unsigned next_dead;
};

void fetch_offers_init(struct fetchers *all)
{
    pthread_mutex_init(&all->offers_lock, NULL);
    TAILQ_INIT(&all->offers);
}

void fetch_offers_clear(struct fetchers *all)
{
    pthread_mutex_destroy(&all->offers_lock);
}

/* The following need the lock. */
static struct fetch_offers *offers_find(struct fetchers *all, const char *name)
{
    struct fetch_offers *o;

    HOLDS(&all->offers_lock);
    TAILQ_FOREACH(o, &all->offers, entry)
        if (strcmp(o->name, name) == 0)
            break;
    return o;
}

static void offers_withdraw(struct fetch_offers *o, int n)
{
    client_unref(o->clients[n]);
    memmove(&o->clients[n], &o->clients[n + 1], sizeof(o->clients[0]) * (size_t)(OFFERS_MAX - 1 - n));
    o->clients[OFFERS_MAX - 1] = NULL;
}

static int offers_find_client(const struct fetch_offers *o, const char *client_id)
{
    for (int i = 0; i < OFFERS_MAX && o->clients[i]; i++)
        if (strcmp(o->clients[i]->client_id, client_id) == 0)
            return i;
    return -1;
}

static void offers_add(struct fetch_offers *o, struct client *c)
{
    for (int i = 0; i < OFFERS_MAX; i++)
        if (strcmp(o->dead[i], c->client_id) == 0)
            return;
    int known = offers_find_client(o, c->client_id);
    if (known >= 0)
        offers_withdraw(o, known);
    else if (o->clients[OFFERS_MAX - 1])
        offers_withdraw(o, OFFERS_MAX - 1);
    memmove(&o->clients[1], &o->clients[0], sizeof(o->clients[0]) * (OFFERS_MAX - 1));
    o->clients[0] = client_ref(c);
}

void fetch_offer(struct fetchers *all, const char *name, struct client *c)
{
    if (client_is_nobody(c))
        return;
    pthread_mutex_lock(&all->offers_lock);
    struct fetch_offers *o = offers_find(all, name);
    if (o)
        offers_add(o, c);
    pthread_mutex_unlock(&all->offers_lock);
}

void blob_offers_begin(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct fetchers *all = f->fetcher->all;

    ON_LOOP(f->fetcher->loop);
    if (!f->want.is_private || b->offers)
        return;
    pthread_mutex_lock(&all->offers_lock);
    b->offers = offers_find(all, f->want.name);
    if (!b->offers) {
        b->offers = xcalloc(1, sizeof(*b->offers));
        b->offers->name = xstrdup(f->want.name);
        TAILQ_INSERT_HEAD(&all->offers, b->offers, entry);
    }
    b->offers->users++;
    pthread_mutex_unlock(&all->offers_lock);
}

void blob_offers_end(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct fetchers *all = f->fetcher->all;

    ON_LOOP(f->fetcher->loop);
    if (!b->offers)
        return;
    pthread_mutex_lock(&all->offers_lock);
    bool last = --b->offers->users == 0;
    if (last)
        TAILQ_REMOVE(&all->offers, b->offers, entry);
    pthread_mutex_unlock(&all->offers_lock);
    if (!last)
        return;
    while (b->offers->clients[0])
        offers_withdraw(b->offers, 0);
    free(b->offers->name);
    free(b->offers);
}

bool blob_take_offer(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct fetchers *all = f->fetcher->all;
    struct fetch_offers *o = b->offers;
    struct client *next = NULL;

    ON_LOOP(f->fetcher->loop);
    if (!o || !f->want.client)
        return false;
    pthread_mutex_lock(&all->offers_lock);
    int own = offers_find_client(o, f->want.client->client_id);
    if (own >= 0)
        offers_withdraw(o, own);
    snprintf(o->dead[o->next_dead++ % OFFERS_MAX], sizeof(o->dead[0]), "%s", f->want.client->client_id);
    if (o->clients[0])
        next = client_ref(o->clients[0]);
    pthread_mutex_unlock(&all->offers_lock);
    if (!next)
        return false;
    client_unref(f->want.client);
    f->want.client = next;
    return true;
}

#include "proxy/login.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/secret.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

/* Tokens of ours begin so: others are not looked for. */
#define PREFIX "entrepot."
enum { RANDOM_BYTES = 24, BUCKETS = 1024 };

struct session {
    TAILQ_ENTRY(session) age; /* the oldest first */
    LIST_ENTRY(session) chain;
    struct digest token; /* its hash */
    struct client *client;
    int64_t ends_ms; /* monotonic */
};

struct login {
    pthread_mutex_t lock;
    TAILQ_HEAD(, session) ages;
    LIST_HEAD(, session) buckets[BUCKETS];
    size_t count;
    char registry[REF_HOST_MAX + 1]; /* of logins that do not say which */
};

struct login *login_new(const char *registry)
{
    struct login *l = xcalloc(1, sizeof(*l));

    pthread_mutex_init(&l->lock, NULL);
    TAILQ_INIT(&l->ages);
    login_set_for(l, registry);
    return l;
}

static void end(struct login *l, struct session *s)
{
    TAILQ_REMOVE(&l->ages, s, age);
    LIST_REMOVE(s, chain);
    l->count--;
    client_unref(s->client);
    free(s);
}

void login_free(struct login *l)
{
    if (!l)
        return;
    while (!TAILQ_EMPTY(&l->ages))
        end(l, TAILQ_FIRST(&l->ages));
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void login_get_for(struct login *l, char registry[REF_HOST_MAX + 1])
{
    pthread_mutex_lock(&l->lock);
    memcpy(registry, l->registry, sizeof(l->registry));
    pthread_mutex_unlock(&l->lock);
}

void login_set_for(struct login *l, const char *registry)
{
    pthread_mutex_lock(&l->lock);
    snprintf(l->registry, sizeof(l->registry), "%s", registry ? registry : "");
    pthread_mutex_unlock(&l->lock);
}

/* With the lock held. */
static void drop_old(struct login *l, int64_t now)
{
    struct session *s;

    while ((s = TAILQ_FIRST(&l->ages)) && (s->ends_ms <= now || l->count >= LOGINS_MAX))
        end(l, s);
}

/* Nobody needs no remembering, and cannot push out who does. */
#define NOBODY PREFIX "nobody"
#define UNSAID PREFIX "unsaid"

char *login_issue(struct login *l, struct client *c)
{
    if (client_is_nobody(c))
        return xstrdup(c->unused == CLIENT_UNSAID ? UNSAID : NOBODY);

    unsigned char raw[RANDOM_BYTES];
    char hex[2 * RANDOM_BYTES + 1];
    struct session *s = xcalloc(1, sizeof(*s));
    int64_t now = clock_mono_ms();

    if (RAND_bytes(raw, sizeof(raw)) != 1)
        abort(); /* no randomness, no secrets */
    for (size_t i = 0; i < sizeof(raw); i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    char *token = xasprintf(PREFIX "%s", hex);
    digest_of(DIGEST_SHA256, token, strlen(token), &s->token);
    s->client = client_ref(c);
    s->ends_ms = now + LOGIN_LIFE_S * 1000;
    pthread_mutex_lock(&l->lock);
    drop_old(l, now);
    TAILQ_INSERT_TAIL(&l->ages, s, age);
    LIST_INSERT_HEAD(&l->buckets[digest_hash(&s->token) % BUCKETS], s, chain);
    l->count++;
    pthread_mutex_unlock(&l->lock);
    return token;
}

struct client *login_find(struct login *l, const char *token)
{
    struct client *found = NULL;
    struct session *s;
    struct digest d;

    if (strncmp(token, PREFIX, strlen(PREFIX)) != 0)
        return NULL;
    if (strcmp(token, NOBODY) == 0 || strcmp(token, UNSAID) == 0)
        return client_nobody(strcmp(token, UNSAID) == 0 ? CLIENT_UNSAID : CLIENT_USED);
    digest_of(DIGEST_SHA256, token, strlen(token), &d);
    pthread_mutex_lock(&l->lock);
    LIST_FOREACH(s, &l->buckets[digest_hash(&d) % BUCKETS], chain)
        if (digest_eq(&s->token, &d) && s->ends_ms > clock_mono_ms())
            found = client_ref(s->client);
    pthread_mutex_unlock(&l->lock);
    return found ? found : client_nobody(CLIENT_USED);
}

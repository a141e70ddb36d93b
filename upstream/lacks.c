#include "upstream/lacks.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

enum { SLOTS = 2048 };

struct lack {
    char *key;
    int64_t until_ms; /* monotonic */
};

struct lacks {
    pthread_mutex_t lock;
    struct lack *slots; /* SLOTS of them, once there is an entry */
};

struct lacks *lacks_new(void)
{
    struct lacks *l = xcalloc(1, sizeof(*l));

    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void lacks_free(struct lacks *l)
{
    if (!l)
        return;
    for (int i = 0; l->slots && i < SLOTS; i++)
        free(l->slots[i].key);
    free(l->slots);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static char *lacks_make_key(int endpoint, const char *repository, const char *path)
{
    return xasprintf("%d %s %.*s", endpoint, repository, (int)strcspn(path, "?"), path);
}

static struct lack *lacks_slot_of(struct lacks *l, const char *key)
{
    HOLDS(&l->lock);
    return l->slots ? &l->slots[text_hash(key) % SLOTS] : NULL;
}

void lacks_note(struct lacks *l, int endpoint, const char *repository, const char *path, int64_t life_ms)
{
    if (life_ms <= 0)
        return;
    char *key = lacks_make_key(endpoint, repository, path);
    pthread_mutex_lock(&l->lock);
    if (!l->slots)
        l->slots = xcalloc(SLOTS, sizeof(*l->slots));
    struct lack *s = lacks_slot_of(l, key);
    free(s->key);
    *s = (struct lack){key, clock_mono_ms() + life_ms};
    pthread_mutex_unlock(&l->lock);
}

bool lacks_has(struct lacks *l, int endpoint, const char *repository, const char *path)
{
    _cleanup_free_ char *key = lacks_make_key(endpoint, repository, path);

    pthread_mutex_lock(&l->lock);
    const struct lack *s = lacks_slot_of(l, key);
    bool has = s && s->key && s->until_ms > clock_mono_ms() && strcmp(s->key, key) == 0;
    pthread_mutex_unlock(&l->lock);
    return has;
}

void lacks_forget(struct lacks *l, int endpoint, const char *repository, const char *path)
{
    _cleanup_free_ char *key = lacks_make_key(endpoint, repository, path);

    pthread_mutex_lock(&l->lock);
    struct lack *s = lacks_slot_of(l, key);
    if (s && s->key && strcmp(s->key, key) == 0)
        s->until_ms = 0;
    pthread_mutex_unlock(&l->lock);
}

/* Room for what arrives, as a collector gives it: at once, later, or not at all. */
#include "tests/tools/model/arriving.h"

#include <string.h>

enum { ASKS = 2 * SLOTS };

static struct room_ask {
    void (*done)(void *arg, bool given);
    void *arg;
    int64_t bytes;
    bool given;
} asks[ASKS];
static int64_t room_free;
int64_t room_given;
bool room_bound, room_scarce;

static bool take_room(void *arg UNUSED, int64_t bytes)
{
    if (room_scarce && (rnd(3) == 0 || bytes > room_free))
        return false;
    room_free -= bytes;
    room_given += bytes;
    return true;
}

static void ask_room(void *arg UNUSED, int64_t bytes, enum room_from from UNUSED, void (*done)(void *arg, bool given),
                     void *done_arg, struct loop *loop)
{
    int k = 0;

    while (k < ASKS && asks[k].done)
        k++;
    if (k == ASKS || loop != near)
        life_fail("an ingest asks for room twice");
    asks[k] = (struct room_ask){done, done_arg, bytes, false};
}

static void book_room(void *arg UNUSED, int64_t bytes)
{
    room_given -= bytes;
    room_free += bytes;
    if (room_given < 0)
        life_fail("more room is booked than was given");
}

static void say_room(void *arg)
{
    struct room_ask a = *(struct room_ask *)arg;

    free(arg);
    a.done(a.arg, a.given);
}

static void answer_room(struct room_ask *a, bool given)
{
    struct room_ask *copy = xmalloc(sizeof(*copy));

    a->given = given;
    *copy = *a;
    *a = (struct room_ask){0};
    if (given)
        room_given += copy->bytes, room_free -= copy->bytes;
    for (int k = 0; k < SLOTS && !given; k++)
        if (slots[k].i == copy->arg)
            slots[k].refused = true;
    loop_post(near, say_room, copy);
}

void room_open(void)
{
    struct ingest_room room = {take_room, ask_room, book_room, 0, NULL};

    memset(asks, 0, sizeof(asks));
    room_scarce = rnd(2);
    room_free = room_scarce ? (int64_t)rnd(24 << 20) : (int64_t)1 << 40;
    room_given = 0;
    room.blob_max = rnd(4) ? 0 : (int64_t)CAP;
    room_bound = rnd(3) > 0;
    ingests_set_room(cache_ingests(cache), room_bound ? &room : NULL);
}

void room_answer_one(void)
{
    struct room_ask *a = &asks[rnd(ASKS)];

    if (a->done)
        answer_room(a, rnd(4) > 0);
}

void room_answer_all(void)
{
    for (int k = 0; k < ASKS; k++)
        if (asks[k].done)
            answer_room(&asks[k], rnd(2));
}

bool room_is_asked(void)
{
    for (int k = 0; k < ASKS; k++)
        if (asks[k].done)
            return true;
    return false;
}

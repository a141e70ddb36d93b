/* array.h - an array that grows.
 *
 * Its owner has three variables: the list, how many are in it (`count`) and how many have room (`room`). The list is
 * NULL and both numbers 0 at first; free() ends it. Plain macros and a function; any thread.
 */
#ifndef ENTREPOT_BASE_ARRAY_H
#define ENTREPOT_BASE_ARRAY_H

#include "base/mem.h"

#include <stddef.h>

/* The place behind the last one, which may be written; the caller adds it to `count`. Invalidates pointers into the
 * list. */
#define ARRAY_NEXT(list, count, room)                                                                                  \
    ((list) = (count) < (room) ? (list) : array_grow((list), &(room), sizeof(*(list))), &(list)[count])

/* Doubles the room, from 16 on. */
static inline void *array_grow(void *list, size_t *room, size_t size)
{
    *room = *room ? 2 * *room : 16;
    return xrealloc(list, *room * size);
}

#endif

/* array.h - an array that grows.
 *
 * Its owner has three variables: the list, the number of elements (`count`) and of allocated ones (`room`). At first
 * the list is NULL and both are 0; free() releases it. Plain macros and a function; any thread.
 */
#ifndef ENTREPOT_BASE_ARRAY_H
#define ENTREPOT_BASE_ARRAY_H

#include "base/mem.h"

#include <stddef.h>

/* The element behind the last one, to be written; the caller increments `count`. Invalidates pointers into the list. */
#define ARRAY_NEXT(list, count, room)                                                                                  \
    ((list) = (list) && (count) < (room) ? (list) : array_grow((list), &(room), sizeof(*(list))), &(list)[count])

/* Doubles the room, from 16 on. */
static inline void *array_grow(void *list, size_t *room, size_t size)
{
    *room = *room ? 2 * *room : 16;
    return xrealloc(list, *room * size);
}

#endif

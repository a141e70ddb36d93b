/* array.h - an array that grows.
 *
 * Its owner has three variables: the list, the number of elements (`count`) and of allocated ones (`cap`). At first
 * the list is NULL and both are 0; free() releases it. Plain macros and a function; any thread.
 */
#ifndef ENTREPOT_BASE_ARRAY_H
#define ENTREPOT_BASE_ARRAY_H

#include "base/mem.h"

#include <stddef.h>

/* The element behind the last one, to be written; the caller increments `count`. Invalidates pointers into the list. */
#define ARRAY_NEXT(list, count, cap)                                                                                   \
    ((list) = (list) && (count) < (cap) ? (list) : array_grow((list), &(cap), sizeof(*(list))), &(list)[count])

/* Doubles the cap, from 16 on. */
static inline void *array_grow(void *list, size_t *cap, size_t size)
{
    *cap = *cap ? 2 * *cap : 16;
    return xrealloc(list, *cap * size);
}

#endif

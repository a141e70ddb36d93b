/* shadow.h - caches without content that see the real one's requests, to learn what other settings would have kept.
 *
 * All shadows know the same objects, by id, size and number of requests; each has its own order and evicts like
 * GreedyDual: an object's rank is the shadow's clock plus the object's value for it, the lowest goes, and the clock
 * becomes that rank. Shadow 0 is the reference, plain least recently used, and takes no value.
 *
 * Memory is bounded: at most SHADOW_OBJECTS objects, 240 bytes each, hence 2.5 MiB with the heaps. What no shadow holds
 * is forgotten first, the longest unrequested half; then every other object is left out by its id, and the shadows'
 * capacities are halved with them (Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST '15).
 *
 * Sums are of recent requests: they halve every SHADOW_HALF_LIFE requests. One thread at a time.
 */
#ifndef ENTREPOT_GC_SHADOW_H
#define ENTREPOT_GC_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHADOWS = 16,
    SHADOW_OBJECTS = 8192,
    SHADOW_HALF_LIFE = 20000, /* requests */
};

struct shadows;

struct shadows *shadows_new(void);
void shadows_free(struct shadows *s);
/* Requests of an object that are remembered, also if no shadow holds it; 0 if none is, or it is left out. */
uint32_t shadows_uses(const struct shadows *s, uint64_t id);
/* The object was requested `times` times; `values` are its values from now on. False: it is left out. */
bool shadows_request(struct shadows *s, uint64_t id, int64_t bytes, uint32_t times, const double values[SHADOWS],
                     int64_t capacity);

struct shadow_sums {
    double hits, bytes;
};
struct shadow_sums shadows_sums(const struct shadows *s, size_t shadow);
/* How far its clock moves while it evicts a whole capacity; 0: it has not evicted anything. */
double shadows_pace(const struct shadows *s, size_t shadow);
/* The variance of the difference between two shadows' hits x `hit` + bytes x `byte`: of the requests that only one of
 * them had. */
double shadows_variance(const struct shadows *s, size_t a, size_t b, double hit, double byte);
/* Bytes of memory it has. */
size_t shadows_memory(const struct shadows *s);

#endif

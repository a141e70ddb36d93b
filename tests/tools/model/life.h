/* life.h - what the model tests share: chance from a seed, and a child process that is killed and born again.
 *
 * The child works on the cache; what the model knows lies in memory that it shares with its parent, and so outlives the
 * child, which the parent kills at random moments.
 */
#ifndef ENTREPOT_TESTS_LIFE_H
#define ENTREPOT_TESTS_LIFE_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* The first member of what is shared. */
struct life {
    uint64_t random;
    int64_t operations, crashes;
    int doing; /* the operation under way; -1 none */
    bool failed;
};

extern struct life *life;

/* Memory of so many bytes, for parent and children; it begins with `life`. */
void *life_begin(uint64_t seed, size_t bytes);
/* Below `below`; from the seed. */
uint64_t rnd(uint64_t below);
/* Says what differs, and ends the process. */
_Noreturn void life_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Runs `work` in child processes until so many operations are done, or one fails. `work` ends by _exit(0), and goes on
 * where the one before was killed. Each is, after at most `most_ms`; 0: none is. Returns the exit status. */
int life_run(uint64_t seed, int64_t operations, int64_t most_ms, void (*work)(int64_t operations));

#endif

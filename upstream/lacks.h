/* lacks.h - what an endpoint turned out not to have, so that it is not asked again at once: mirrors lack things, and
 * the next endpoint has them. A table of fixed size in which a later entry may take an earlier one's place; forgetting
 * costs one more request. Any thread. */
#ifndef ENTREPOT_UPSTREAM_LACKS_H
#define ENTREPOT_UPSTREAM_LACKS_H

#include <stdbool.h>
#include <stdint.h>

struct lacks;

struct lacks *lacks_new(void);
void lacks_free(struct lacks *l);

/* `path` as in struct upstream_request; a query does not count. For the blobs of a repository as a whole it is
 * LACKS_BLOBS. */
#define LACKS_BLOBS "blobs/"
void lacks_note(struct lacks *l, int endpoint, const char *repository, const char *path, int64_t life_ms);
bool lacks_has(struct lacks *l, int endpoint, const char *repository, const char *path);
void lacks_forget(struct lacks *l, int endpoint, const char *repository, const char *path);

#endif

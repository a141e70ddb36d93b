/* lacks.h - content that an endpoint turned out not to have, so that it is not requested there again at once: mirrors
 * lack things, and the next endpoint has them. A table of fixed size, where a later entry may replace an earlier one;
 * that costs one more request. Any thread. */
#ifndef ENTREPOT_UPSTREAM_LACKS_H
#define ENTREPOT_UPSTREAM_LACKS_H

#include <stdbool.h>
#include <stdint.h>

struct lacks;

struct lacks *lacks_new(void);
void lacks_free(struct lacks *l);

/* `path` as in struct upstream_request, without its query. LACKS_BLOBS stands for all blobs of a repository. */
#define LACKS_BLOBS "blobs/"
void lacks_note(struct lacks *l, int endpoint, const char *repository, const char *path, int64_t life_ms);
bool lacks_has(struct lacks *l, int endpoint, const char *repository, const char *path);
void lacks_forget(struct lacks *l, int endpoint, const char *repository, const char *path);

#endif

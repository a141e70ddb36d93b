/* grant.h - which client may read which private repository, by a recent answer of upstream.
 *
 * Content that was fetched with the cache's own identity is public. If upstream refuses that identity, it is asked with
 * the client's own: an answer of 200 makes the repository private (in the index) and is stored here as a grant, in
 * memory, under a hash of the client's credentials and the repository, until it expires. Nothing else gives access to
 * private content: not the digest, not another repository's name, not a stale period. A revoked token loses access when
 * its grant expires.
 *
 * Any thread.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_GRANT_H
#define ENTREPOT_PROXY_REGISTRY_GRANT_H

#include <stdbool.h>
#include <stdint.h>

enum { GRANTS_MAX = 65536 };

struct grants;

struct grants *grants_new(int64_t life_ms);
/* Of those that are given from now on. */
void grants_set_life(struct grants *g, int64_t life_ms);
void grants_free(struct grants *g);
/* `client_id` as in struct client, `repo` a full name. */
bool grants_has(struct grants *g, const char *client_id, const char *repo);
void grants_add(struct grants *g, const char *client_id, const char *repo);

#endif

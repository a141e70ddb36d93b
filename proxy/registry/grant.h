/* grant.h - which client may read which private repository: upstream has said so, a while ago at most.
 *
 * Content that came with the cache's own identity is for every client. Where upstream refuses that identity, it is
 * asked about the client's own: an answer of 200 makes the repository private (in the index) and is remembered here, in
 * memory, by a hash of what the client sent and the repository, until it ends. Nothing else opens what is private: not
 * the digest, not another repository's name, not a stale period. Revoked tokens lose access when their grant ends.
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
void grants_free(struct grants *g);
/* `client_id` as in struct client, `repo` a full name. */
bool grants_has(struct grants *g, const char *client_id, const char *repo);
void grants_add(struct grants *g, const char *client_id, const char *repo);

#endif

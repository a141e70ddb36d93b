/* engines.h - when engines last asked this cache for something, by their User-Agent, for `status` and `doctor`.
 *
 * Plain value that begins as {0}; any thread. */
#ifndef ENTREPOT_PROXY_SEEN_ENGINES_H
#define ENTREPOT_PROXY_SEEN_ENGINES_H

#include <jansson.h>
#include <stdatomic.h>

/* podman: all that is built on containers/image, CRI-O apart. containerd: k3s and RKE2, too, whose containerd says no
 * more than a version of its own. */
enum seen_engine {
    SEEN_CONTAINERD,
    SEEN_DOCKER,
    SEEN_PODMAN,
    SEEN_CRIO,
    SEEN_BUILDKIT,
    SEEN_OTHER,
    SEEN_ENGINES,
};

struct engines_seen {
    atomic_llong last_s[SEEN_ENGINES]; /* seconds since 1970; 0: never */
};

/* `user_agent` may be NULL. */
enum seen_engine seen_engine_of(const char *user_agent);
const char *seen_engine_name(enum seen_engine engine);
void seen_note(struct engines_seen *s, const char *user_agent);
/* {"containerd": {"last_request_seconds": 12}}: so long ago; engines that have not asked are left out. */
json_t *seen_json(const struct engines_seen *s);

#endif

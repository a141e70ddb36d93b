#include "proxy/seen/engines.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

static const char *const SEEN_NAMES[] = {"containerd", "docker", "podman", "crio", "buildkit", "other"};

/* How each begins. containers/image says what the program has set, or "containers/5.23 (...)". */
static const struct {
    const char *prefix;
    enum seen_engine engine;
} SEEN_AGENTS[] = {
    {"containerd/", SEEN_CONTAINERD}, {"docker/", SEEN_DOCKER}, {"containers/", SEEN_PODMAN},
    {"libpod/", SEEN_PODMAN},         {"podman/", SEEN_PODMAN}, {"buildah/", SEEN_PODMAN},
    {"skopeo/", SEEN_PODMAN},         {"cri-o/", SEEN_CRIO},    {"crio/", SEEN_CRIO},
    {"buildkit/", SEEN_BUILDKIT},
};

enum seen_engine seen_engine_of(const char *user_agent)
{
    for (size_t i = 0; user_agent && i < ARRAY_LEN(SEEN_AGENTS); i++)
        if (strncasecmp(user_agent, SEEN_AGENTS[i].prefix, strlen(SEEN_AGENTS[i].prefix)) == 0)
            return SEEN_AGENTS[i].engine;
    return SEEN_OTHER;
}

const char *seen_engine_name(enum seen_engine engine)
{
    return SEEN_NAMES[engine];
}

/* Written once a second at most: many loops do this for every request. */
void seen_note(struct engines_seen *s, const char *user_agent)
{
    atomic_llong *last = &s->last_s[seen_engine_of(user_agent)];
    long long now = clock_now_s();

    if (atomic_load_explicit(last, memory_order_relaxed) != now)
        atomic_store_explicit(last, now, memory_order_relaxed);
}

json_t *seen_json(const struct engines_seen *s)
{
    json_t *j = json_object();

    for (int i = 0; i < SEEN_ENGINES; i++) {
        long long last = atomic_load_explicit(&s->last_s[i], memory_order_relaxed);
        if (last > 0)
            json_object_set_new(
                j, SEEN_NAMES[i],
                json_pack("{s:I}", "last_request_seconds", (json_int_t)MAX(clock_now_s() - last, (int64_t)0)));
    }
    return j;
}

#include "proxy/seen/problem.h"

#include "base/mem.h"
#include "base/visible.h"

static const struct {
    const char *name, *title; /* behind what it is about */
} PROBLEMS[PROBLEM_KINDS] = {
    [PROBLEM_DISK_FULL] = {"disk_full", "the disk is full"},
    [PROBLEM_IO_ERROR] = {"io_error", "the disk fails"},
    [PROBLEM_NO_ROOM] = {"no_room", "the cache has no room"},
    [PROBLEM_INDEX] = {"index_rebuilding", "the index is being rebuilt"},
    [PROBLEM_UPSTREAM_DOWN] = {"upstream_down", "it does not answer as it should"},
    [PROBLEM_RATE_LIMITED] = {"rate_limited", "its rate limit is used up"},
    [PROBLEM_CREDENTIALS] = {"credentials_refused", "it refuses the configured credentials"},
    [PROBLEM_CERTIFICATE] = {"certificate_expiring", "its certificate ends soon"},
    [PROBLEM_CERTIFICATE_FILES] = {"certificate_unusable", "its changed certificate cannot be used"},
    [PROBLEM_RELOAD] = {"reload_refused", "its reload was refused"},
};

const char *problem_name(enum problem_kind kind)
{
    return PROBLEMS[kind].name;
}

char *problem_title(const struct problem *p)
{
    return xasprintf("%s: %s", p->about, PROBLEMS[p->kind].title);
}

json_t *problem_json(const struct problem *p)
{
    _cleanup_free_ char *title = problem_title(p);

    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "what", PROBLEMS[p->kind].name, "about", visible_json(p->about),
                     "title", visible_json(title), "why", visible_json(p->why), "since",
                     p->since_s > 0 ? json_integer(p->since_s) : json_null());
}

/* What is wrong, put together from those who know: the cache's ingests and index, upstreams, listeners,
 * the last reload. None of it
 * makes every pull fail: what is cached is served, and what is not kept is passed on. So `/readyz` stays 200. */
#include "proxy/private.h"

#include "base/clock.h"
#include "upstream/registry.h"

#include <string.h>

enum { CERTIFICATE_SOON_S = 14 * 24 * 3600 };

struct health_visit {
    struct proxy *p;
    const char *about; /* of upstreams */
    void (*fn)(void *arg, const struct problem *problem);
    void *arg;
};

/* 0: not known. */
static int64_t health_wall_s(int64_t mono_ms)
{
    return mono_ms > 0 ? clock_wall_s(mono_ms) : 0;
}

/* ---- the disk ---- */

static void health_of_disk(struct health_visit *v)
{
    static const enum problem_kind kinds[UNSTORED_REASONS] = {[UNSTORED_DISK_FULL] = PROBLEM_DISK_FULL,
                                                              [UNSTORED_IO_ERROR] = PROBLEM_IO_ERROR,
                                                              [UNSTORED_NO_ROOM] = PROBLEM_NO_ROOM};
    struct trouble_seen t;

    for (int r = 0; r < UNSTORED_REASONS; r++) {
        if (!ingests_trouble(cache_ingests(v->p->cache), (enum unstored)r, &t))
            continue;
        struct problem problem = {kinds[r], v->p->config->cache_path, "", health_wall_s(t.since_ms)};
        snprintf(problem.why, sizeof(problem.why), "%s; what is fetched is passed on without being kept", t.why);
        v->fn(v->arg, &problem);
    }
}

static void health_of_index(struct health_visit *v)
{
    struct problem problem = {PROBLEM_INDEX, v->p->config->cache_path,
                              "it was damaged or lost; blobs are verified and entered again, and until that is done "
                              "nothing is removed as unreferenced",
                              v->p->started_s};

    if (cache_is_rebuilding(v->p->cache))
        v->fn(v->arg, &problem);
}

/* ---- upstreams ---- */

static void health_of_trouble(void *arg, const struct upstream_trouble *t)
{
    static const enum problem_kind kinds[] = {[UPSTREAM_NO_ANSWER] = PROBLEM_UPSTREAM_DOWN,
                                              [UPSTREAM_HELD] = PROBLEM_RATE_LIMITED,
                                              [UPSTREAM_LOGIN_REFUSED] = PROBLEM_CREDENTIALS};
    struct health_visit *v = arg;
    struct problem problem = {kinds[t->kind], v->about, "", health_wall_s(t->since_ms)};
    char next[48] = "";

    if (t->next_ms > 0)
        snprintf(next, sizeof(next), "; the next request in %lld s", (long long)((t->next_ms + 999) / 1000));
    snprintf(problem.why, sizeof(problem.why), "%.120s%s%s%s", t->endpoint, t->endpoint[0] ? ": " : "", t->why, next);
    v->fn(v->arg, &problem);
}

static void health_of_upstreams(struct health_visit *v)
{
    _cleanup_sites_ struct site_list sites;

    sites_list(v->p->sites, &sites);
    for (int i = 0; i < sites.count; i++) {
        v->about = sites.list[i]->host;
        upstream_each_trouble(sites.list[i]->upstream, health_of_trouble, v);
    }
}

/* ---- our own certificates ---- */

static void health_of_end(struct health_visit *v, const struct certificate_end *end)
{
    int64_t left = end->ends_s - clock_now_s(), hours = left / 3600;
    struct problem problem = {PROBLEM_CERTIFICATE, end->name, "", end->ends_s};

    if (left > CERTIFICATE_SOON_S)
        return;
    if (left > 0)
        snprintf(problem.why, sizeof(problem.why), "it ends in %lld days and %lld hours", (long long)hours / 24,
                 (long long)hours % 24);
    else
        snprintf(problem.why, sizeof(problem.why), "it has ended: clients refuse it");
    if (left > 0)
        problem.since_s = MAX(end->ends_s - CERTIFICATE_SOON_S, end->noted_s);
    v->fn(v->arg, &problem);
}

static void health_of_files(struct health_visit *v, const struct certificate_end *end)
{
    struct problem problem = {PROBLEM_CERTIFICATE_FILES, end->name, "", end->failed_s};

    if (end->failed_s <= 0)
        return;
    snprintf(problem.why, sizeof(problem.why), "%s; the last certificate stays in use", end->why);
    v->fn(v->arg, &problem);
}

static void health_of_certificates(struct health_visit *v)
{
    struct certificates *all = &v->p->certificates;
    struct certificate_end list[ARRAY_LEN(all->list)];

    pthread_mutex_lock(&all->lock);
    int count = all->count;
    memcpy(list, all->list, sizeof(list));
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < count; i++) {
        health_of_end(v, &list[i]);
        health_of_files(v, &list[i]);
    }
}

/* ---- the configuration ---- */

static void health_of_reload(struct health_visit *v)
{
    reload_each_problem(v->p, v->fn, v->arg);
}

/* ---- all ---- */

/* Each knows one kind of thing. */
static void (*const HEALTH[])(struct health_visit *v) = {health_of_disk, health_of_index, health_of_upstreams,
                                                         health_of_certificates, health_of_reload};

void health_each(void *proxy, void (*fn)(void *arg, const struct problem *problem), void *arg)
{
    struct health_visit v = {.p = proxy, .fn = fn, .arg = arg};

    for (size_t i = 0; i < ARRAY_LEN(HEALTH); i++)
        HEALTH[i](&v);
}

static void health_count(void *arg, const struct problem *problem)
{
    ((int *)arg)[problem->kind]++;
}

void health_print(struct proxy *p, struct buf *out)
{
    int counts[PROBLEM_KINDS] = {0};

    health_each(p, health_count, counts);
    buf_adds(out, "# HELP entrepot_problem Whether something needs attention: `entrepot status` says what and why.\n"
                  "# TYPE entrepot_problem gauge\n");
    for (int k = 0; k < PROBLEM_KINDS; k++)
        buf_addf(out, "entrepot_problem{what=\"%s\"} %d\n", problem_name((enum problem_kind)k), counts[k] > 0);
}

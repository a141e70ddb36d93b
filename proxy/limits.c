#include "proxy/limits.h"

#include "proxy/private.h"

#include "base/log.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors. A connection takes one, and one more for the file that it is sent; a request to an upstream takes one
 * for its connection, one for its part file, and sometimes a third. The admin socket, the metrics' listener and what
 * works on the disk (the collector, the index, verify, import) have a share of their own, so that clients cannot lock
 * an operator out. */
enum {
    OWN_LISTENER = 64, /* connections of the admin socket, and of the metrics' listener */
    OTHERS = 96,       /* the disk, helpers of credentials */
    OVER_MAX = 128,    /* connections that wait to be refused; no more than a 16th of all descriptors */
    A_CONNECTION = 2,
    A_CALL = 3,
    CONNECTIONS_LEAST = 16,
    CALLS_LEAST = 8,
    NOFILE_MOST = 1 << 20,
    ARENAS = 4,
    SPARE_MEMORY = 4 << 20, /* bytes; less than this is not worth giving back */
};

void limits_raise(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
    /* A core file would hold passwords and tokens. The hard limit stays, so that prlimit(1) can allow one. */
    if (getrlimit(RLIMIT_CORE, &l) == 0) {
        l.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &l);
    }
    signal(SIGPIPE, SIG_IGN);
#ifdef __GLIBC__
    /* An arena never shrinks, and most of the two dozen threads need little memory of their own. */
    mallopt(M_ARENA_MAX, ARENAS);
#endif
}

#ifdef __GLIBC__
/* Private bytes in memory: without files and other shared pages. */
static int64_t own_memory(void)
{
    _cleanup_close_ int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    long long resident = 0, shared = 0;
    char text[128];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

    text[MAX(n, (ssize_t)0)] = '\0';
    if (sscanf(text, "%*s %lld %lld", &resident, &shared) != 2)
        return 0;
    return (resident - shared) * sysconf(_SC_PAGESIZE);
}

/* malloc returns only free memory at the end of an arena: one block in use behind a hundred free MiB keeps them all. So
 * the free pages in the middle are returned here, if there are many and the use of memory has changed since the last
 * time. */
void limits_give_back_memory(void)
{
    static int64_t left;
    int64_t own = own_memory();

    if (llabs(own - left) < SPARE_MEMORY || mallinfo2().fordblks < SPARE_MEMORY)
        return;
    malloc_trim(0);
    left = own_memory();
}
#else
void limits_give_back_memory(void)
{
}
#endif

struct limits_share limits_share_out(const struct config_limits *c, int64_t nofile, int64_t used)
{
    nofile = MIN(nofile, (int64_t)NOFILE_MOST);
    struct limits_share s = {.over = (int)MIN(nofile / 16, (int64_t)OVER_MAX)};
    int64_t half = (nofile - used - (int64_t)2 * OWN_LISTENER - OTHERS - s.over) / 2;

    s.connections = (int)MIN((int64_t)c->connections, MAX(half / A_CONNECTION, (int64_t)CONNECTIONS_LEAST));
    s.per_client = MIN(c->per_client, s.connections);
    s.calls = (int)MAX(half / A_CALL, (int64_t)CALLS_LEAST);
    return s;
}

/* Who reaches the address for nodes of a cluster need not be one: what is held open there must not keep clients out. Of
 * what the descriptors allow nodes have a third at most. */
static void limits_set_connections(struct proxy *p, const struct config_limits *c)
{
    int clients = MIN(c->connections, p->connections_most), nodes = MAX(clients / 2, (int)CONNECTIONS_LEAST);

    if (p->config->cluster.advertise) {
        nodes = MIN(nodes, MAX(p->connections_most / 3, (int)CONNECTIONS_LEAST));
        clients = MAX(MIN(clients, p->connections_most - nodes), (int)CONNECTIONS_LEAST);
    }
    http_bounds_set(p->bounds, clients, MIN(c->per_client, clients));
    http_bounds_set(p->cluster_bounds, nodes, MIN(c->per_client, nodes));
}

/* The kernel returns the lowest free one. */
static int used_descriptors(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? fd : 0;
}

void limits_apply(struct proxy *p)
{
    const struct config_limits *c = &p->config->limits;
    struct rlimit nofile = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &nofile);
    int64_t allowed = nofile.rlim_cur < (rlim_t)NOFILE_MOST ? (int64_t)nofile.rlim_cur : NOFILE_MOST;
    struct limits_share s = limits_share_out(c, allowed, used_descriptors());
    if (s.connections < c->connections)
        log_info("limits.connections: %d connections need more than the %lld descriptors that the process may have "
                 "(LimitNOFILE=, ulimit -n): %d at most",
                 c->connections, (long long)allowed, s.connections);
    struct config_limits all = *c;
    all.connections = INT32_MAX;
    p->connections_most = limits_share_out(&all, allowed, used_descriptors()).connections;
    int over = p->config->cluster.advertise ? s.over / 2 : s.over;
    p->bounds = http_bounds_new("limits.connections", s.connections, s.per_client, over);
    p->cluster_bounds = http_bounds_new("limits.connections, for other nodes", s.connections, s.per_client, over);
    limits_set_connections(p, c);
    p->admin_bounds = http_bounds_new("connections of the admin socket", OWN_LISTENER, 0, 0);
    p->metrics_bounds = http_bounds_new("connections for metrics", OWN_LISTENER, 0, 0);
    sites_set_slots(p->sites, s.calls);
    ingests_set_relays_max(cache_ingests(p->cache), c->relays);
    for (int i = 0; i < p->serve_loop_count; i++) {
        http_bounds_add_server(p->bounds, p->serve_loops[i].http);
        http_bounds_add_server(p->cluster_bounds, p->serve_loops[i].http);
        http_bounds_add_server(p->admin_bounds, p->serve_loops[i].http);
        http_bounds_add_server(p->metrics_bounds, p->serve_loops[i].http);
    }
    limits_set_places(p, p->places, p->place_count);
}

void limits_set_places(struct proxy *p, const struct place *places, int count)
{
    for (int i = 0; i < count; i++)
        listener_set_bounds(places[i].listener, places[i].kind == PLACE_ADMIN     ? p->admin_bounds
                                                : places[i].kind == PLACE_METRICS ? p->metrics_bounds
                                                : places[i].kind == PLACE_CLUSTER ? p->cluster_bounds
                                                                                  : p->bounds);
}

/* As many connections as the descriptors allowed at the start. */
void limits_change(struct proxy *p, const struct config *c)
{
    limits_set_connections(p, &c->limits);
    ingests_set_relays_max(cache_ingests(p->cache), c->limits.relays);
}

void limits_close(struct proxy *p)
{
    http_bounds_close(p->bounds);
    http_bounds_close(p->cluster_bounds);
    http_bounds_close(p->admin_bounds);
    http_bounds_close(p->metrics_bounds);
}

void limits_free(struct proxy *p)
{
    http_bounds_free(p->bounds);
    http_bounds_free(p->cluster_bounds);
    http_bounds_free(p->admin_bounds);
    http_bounds_free(p->metrics_bounds);
}

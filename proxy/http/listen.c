#include "proxy/http/listen.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/writable.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    BACKLOG = 1024,
    ACCEPTS_A_TURN = 64,
    LOOPS_MAX = 64,
    PAUSE_MS = 100, /* when there are no descriptors left */
};

/* One loop's share of a listener. */
struct listener_door {
    struct loop *loop;
    struct http_server *server;
    struct listener *listener;
    struct event *event, *again;
    int fd;
};

struct listener {
    char *address;
    int first_fd; /* bound by listener_open(); the first loop's, or everybody's if shared */
    bool shared, taken, loopback, forward;
    char *unlink;
    char *label;
    struct http_tls *tls;       /* NULL: plain HTTP */
    struct http_bounds *bounds; /* NULL: none */
    mode_t mode;
    struct listener_door doors[LOOPS_MAX];
    int bound; /* so many doors have a socket */
    int loops; /* that share them out: one each, or more, if there are more sockets than loops */
};

static int bind_unix(const char *path, mode_t mode, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        err_set(err, ERR_INVALID, "%s: longer than a unix socket's path may be", path);
        return -1;
    }
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_errno(err, ERR_IO, "opening a socket");
        return -1;
    }
    /* A socket that refuses connections was left by a daemon that has ended. */
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); /* it may hang */
        if (connect(probe, (struct sockaddr *)&sa, sizeof(sa)) != 0 && errno == ECONNREFUSED)
            unlink(path);
        close(probe);
    }
    /* The socket's mode, less the umask, becomes the file's: it is never more open than `mode`. The umask cannot
     * be changed for this, since all threads share it. */
    if (fchmod(fd, mode) != 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || chmod(path, mode) != 0 ||
        listen(fd, BACKLOG) != 0) {
        _cleanup_free_ char *folder = writable_folder_of(path);
        err_errno(err, ERR_IO, "listening on unix:%s", path);
        writable_explain(folder, err);
        close(fd);
        return -1;
    }
    return fd;
}

/* ADDR:PORT, with ADDR empty or * for any. The caller frees the result. 0, or an error of getaddrinfo(3). */
static int listen_resolve(const char *address, const char *any, struct addrinfo **ai)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':');
    char host[256];

    if (!colon || (size_t)(colon - address) >= sizeof(host))
        return EAI_NONAME;
    size_t len = (size_t)(colon - address);
    bool brackets = len >= 2 && address[0] == '[' && address[len - 1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(brackets ? len - 2 : len), brackets ? address + 1 : address);
    if (strcmp(host, "localhost") == 0)
        strcpy(host, "127.0.0.1");
    return getaddrinfo(host[0] && strcmp(host, "*") != 0 ? host : any, colon + 1, &hints, ai);
}

static int bind_tcp(const char *address, struct err *err)
{
    struct addrinfo *ai;
    int one = 1, rc = listen_resolve(address, NULL, &ai);

    if (rc != 0) {
        err_set(err, ERR_INVALID, "%s is not ADDR:PORT: %s", address, gai_strerror(rc));
        return -1;
    }
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    }
    if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        bool absent = errno == EADDRNOTAVAIL;
        err_errno(err, ERR_IO, "listening on %s", address);
        if (absent)
            err_append(err, "; this machine has no such address");
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(ai);
    return fd;
}

/* SO_REUSEPORT would let a second daemon of the same user share the port silently: a port in use is an error. */
static bool is_taken(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct addrinfo *ai;
    int one = 1;

    if (strcmp(colon + 1, "0") == 0 || listen_resolve(address, "127.0.0.1", &ai) != 0)
        return false;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool taken = fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(ai);
    return taken;
}

static bool is_loopback(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sa = {.v6 = {0}};
    socklen_t len = sizeof(sa);

    if (getsockname(fd, &sa.any, &len) != 0)
        return false;
    if (sa.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&sa.v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&sa.v6.sin6_addr) && sa.v6.sin6_addr.s6_addr[12] == 127);
    return sa.any.sa_family == AF_INET && ntohl(sa.v4.sin_addr.s_addr) >> 24 == 127;
}

struct listener *listener_open(const char *address, mode_t mode, struct err *err)
{
    return listener_open_beside(address, mode, false, err);
}

struct listener *listener_open_beside(const char *address, mode_t mode, bool beside, struct err *err)
{
    struct listener *l = xcalloc(1, sizeof(*l));

    l->address = xstrdup(address);
    l->mode = mode;
    if (strncmp(address, "unix:", 5) == 0) {
        l->shared = true;
        l->first_fd = bind_unix(address + 5, mode, err);
        if (l->first_fd >= 0)
            l->unlink = xstrdup(address + 5);
    } else if (strchr(address, ':') && !beside && is_taken(address)) {
        l->first_fd = -1;
        err_set(err, ERR_IO,
                "listening on %s: the address is in use by another program; stop it or choose another port", address);
    } else {
        l->first_fd = bind_tcp(address, err);
    }
    if (l->first_fd < 0) {
        listener_free(l);
        return NULL;
    }
    l->loopback = is_loopback(l->first_fd);
    return l;
}

char *socket_address(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage any_size;
    } sa = {.any_size = {0}};
    socklen_t len = sizeof(sa);
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, &sa.any, &len) != 0)
        return xasprintf("fd:%d", fd);
    if (sa.any.sa_family == AF_UNIX)
        return xasprintf("unix:%.*s", (int)sizeof(sa.local.sun_path), sa.local.sun_path);
    if (getnameinfo(&sa.any, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return xasprintf("fd:%d", fd);
    return xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

struct listener *listener_from_fd(int fd)
{
    struct listener *l = xcalloc(1, sizeof(*l));

    l->address = socket_address(fd);
    l->first_fd = fd;
    l->shared = true;
    l->loopback = is_loopback(fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return l;
}

struct listener *listener_from_kept(const char *address, const int *fds, int count)
{
    struct listener *l = xcalloc(1, sizeof(*l));

    l->address = xstrdup(address);
    l->first_fd = fds[0];
    l->loopback = is_loopback(fds[0]);
    l->taken = true;
    for (int i = 0; i < count; i++) {
        if (l->bound == LOOPS_MAX)
            close(fds[i]);
        else
            l->doors[l->bound++].fd = fds[i];
    }
    return l;
}

int listener_sockets(const struct listener *l, int *fds, int max)
{
    int count = 0;

    for (int i = 0; i < l->bound && count < max && !l->shared; i++)
        if (l->doors[i].fd >= 0)
            fds[count++] = l->doors[i].fd;
    return count;
}

const char *listener_address(const struct listener *l)
{
    return l->address;
}

bool listener_bound(const struct listener *l, struct sockaddr_storage *out)
{
    socklen_t len = sizeof(*out);

    return getsockname(l->first_fd, (struct sockaddr *)out, &len) == 0;
}

bool listener_is_at(const struct listener *l, const char *address)
{
    return socket_is_at(l->first_fd, address);
}

bool socket_is_at(int fd, const char *address)
{
    struct sockaddr_storage bound = {0};
    struct addrinfo *ai;
    socklen_t len = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return false;
    if (strncmp(address, "unix:", 5) == 0)
        return bound.ss_family == AF_UNIX &&
               strcmp(((const struct sockaddr_un *)(const void *)&bound)->sun_path, address + 5) == 0;
    if (listen_resolve(address, NULL, &ai) != 0)
        return false;
    bool same = len == ai->ai_addrlen && memcmp(&bound, ai->ai_addr, len) == 0;
    freeaddrinfo(ai);
    return same;
}

bool listener_is_loopback(const struct listener *l)
{
    return l->loopback;
}

void listener_set_label(struct listener *l, const char *label)
{
    free(l->label);
    l->label = label ? xstrdup(label) : NULL;
}

const char *listener_label(const struct listener *l)
{
    return l->label;
}

void listener_set_tls(struct listener *l, struct http_tls *tls)
{
    l->tls = tls;
}

void listener_set_forward(struct listener *l, bool forward)
{
    l->forward = forward;
}

void listener_set_bounds(struct listener *l, struct http_bounds *b)
{
    if (l->bounds != b)
        l->bounds = b;
}

/* ---- accepting ---- */

static void on_connect(evutil_socket_t fd, short what UNUSED, void *arg)
{
    struct listener_door *d = arg;

    for (int n = 0; n < ACCEPTS_A_TURN; n++) {
        union {
            struct sockaddr any;
            struct sockaddr_storage any_size;
        } peer = {.any_size = {0}};
        socklen_t len = sizeof(peer);
        int client = accept4(fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            const struct http_arrival arrival = {
                .fd = client, .listener = d->listener, .tls = d->listener->tls, .forward = d->listener->forward};
            if (d->listener->bounds)
                http_bounds_accept(d->listener->bounds, d->server, &arrival, &peer.any);
            else
                http_server_accept(d->server, &arrival);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_limited(LOG_LEVEL_WARN, "accept", "accepting on %s: %s; pausing", d->listener->address,
                        strerror(errno));
            event_del(d->event);
            event_add(d->again, &(struct timeval){.tv_usec = PAUSE_MS * 1000});
            return;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void accept_again(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    event_add(((struct listener_door *)arg)->event, NULL);
}

bool listener_bind(struct listener *l, int count, struct err *err)
{
    l->loops = count;
    while (l->bound < count) {
        struct listener_door *d = &l->doors[l->bound];
        if (l->bound == LOOPS_MAX)
            return err_set(err, ERR_INVALID, "more than %d workers", (int)LOOPS_MAX);
        if (!l->taken)
            d->fd = l->first_fd;
        else
            d->fd = l->shared ? fcntl(l->first_fd, F_DUPFD_CLOEXEC, 0) : bind_tcp(l->address, err);
        if (d->fd < 0)
            return l->shared ? err_errno(err, ERR_IO, "sharing %s", l->address) : false;
        l->taken = true;
        l->bound++;
    }
    return true;
}

static void enter_door(struct listener *l, struct listener_door *d, struct loop *loop, struct http_server *server)
{
    IN_STATE(!d->event);
    d->loop = loop;
    d->server = server;
    d->listener = l;
    d->event = event_new(loop_base(loop), d->fd, EV_READ | EV_PERSIST, on_connect, d);
    d->again = event_new(loop_base(loop), -1, 0, accept_again, d);
    event_add(d->event, NULL);
}

void listener_enter(struct listener *l, int nth, struct loop *loop, struct http_server *server)
{
    ON_LOOP(loop);
    IN_STATE(nth < l->bound && nth < l->loops);
    for (int i = nth; i < l->bound; i += l->loops)
        enter_door(l, &l->doors[i], loop, server);
}

bool listener_add(struct listener *l, struct loop *loop, struct http_server *server, struct err *err)
{
    if (!listener_bind(l, l->bound + 1, err))
        return false;
    listener_enter(l, l->bound - 1, loop, server);
    return true;
}

struct listener *listener_renew(const struct listener *old, struct err *err)
{
    struct listener *l = xcalloc(1, sizeof(*l));

    l->address = xstrdup(old->address);
    l->mode = old->mode;
    l->shared = old->shared;
    l->loopback = old->loopback;
    l->first_fd = -1;
    l->taken = true;
    for (; l->bound < old->bound; l->bound++) {
        l->doors[l->bound].fd = fcntl(old->doors[l->bound].fd, F_DUPFD_CLOEXEC, 0);
        if (l->doors[l->bound].fd < 0) {
            err_errno(err, ERR_IO, "sharing %s", l->address);
            listener_free(l);
            return NULL;
        }
    }
    l->first_fd = l->doors[0].fd;
    return l;
}

void listener_take_over(struct listener *l, struct listener *old)
{
    l->unlink = old->unlink;
    old->unlink = NULL;
}

void listener_remove_file(struct listener *l)
{
    if (l->unlink)
        unlink(l->unlink);
    free(l->unlink);
    l->unlink = NULL;
}

void listener_stop(struct listener *l, struct loop *loop)
{
    ON_LOOP(loop);
    for (int i = 0; i < l->bound; i++) {
        struct listener_door *d = &l->doors[i];
        if (d->loop != loop || d->fd < 0)
            continue;
        event_del(d->event);
        event_del(d->again);
        if (!l->shared)
            close(d->fd);
        d->fd = l->shared ? d->fd : -1;
    }
}

void listener_leave(struct listener *l, struct loop *loop)
{
    ON_LOOP(loop);
    for (int i = 0; i < l->bound; i++)
        if (l->doors[i].loop == loop && l->doors[i].fd >= 0)
            on_connect(l->doors[i].fd, 0, &l->doors[i]);
    listener_stop(l, loop);
    for (int i = 0; i < l->bound; i++) {
        struct listener_door *d = &l->doors[i];
        if (d->loop != loop || !d->event)
            continue;
        event_free(d->event); /* here: the loop goes on */
        event_free(d->again);
        d->event = d->again = NULL;
    }
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->bound; i++) {
        if (l->doors[i].event) {
            event_free(l->doors[i].event);
            event_free(l->doors[i].again);
        }
        if (l->doors[i].fd >= 0)
            close(l->doors[i].fd);
    }
    if (!l->taken && l->first_fd >= 0)
        close(l->first_fd);
    listener_remove_file(l);
    free(l->label);
    free(l->address);
    free(l);
}

/* server_private.h - shared by server.c, which runs the daemon, stages.c, which starts and stops its parts, signals.c,
 * what happens to it meanwhile, and requests.c, what its clients ask. */
#ifndef ENTREPOT_PROXY_SERVER_PRIVATE_H
#define ENTREPOT_PROXY_SERVER_PRIVATE_H

#include "proxy/proxy.h"

struct event;

/* The main thread's own: signals and the clockwork. */
struct server {
    struct proxy proxy;
    const struct config_overrides *overrides;
    struct loop *loop;
    struct event *signals[4], *flush, *deadline;
    int started;  /* stages that have to be stopped */
    bool damaged; /* the index: a restart rebuilds it */
    int draining; /* workers that have not finished yet */
    bool stopping;
};

/* ---- stages.c ---- */

/* Starts every part, in order. Errors: what kept one from starting; stages_stop() stops the others. */
bool stages_start(struct server *s, struct err *err);
/* Stops what was started, in the opposite order. Main thread, whose loop has ended. */
void stages_stop(struct server *s);

/* ---- signals.c ---- */

/* The events of the main loop: signals, clocks. */
void server_add_events(struct server *s);
void server_free_events(struct server *s);
/* The index is damaged. Any thread, from the opening of the index on. */
void server_on_damage(void *server);

/* ---- requests.c ---- */

/* A request, and its end; `worker` is a struct worker. */
void server_on_request(void *worker, struct http_request *req);
void server_on_complete(void *worker, struct http_request *req);

#endif

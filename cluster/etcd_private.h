/* etcd_private.h - shared by the files that make up etcd.h. Each calls those to its left only:
 *
 *     etcd_json.c (messages) ◀ etcd.c (endpoints, login, one call from start to end) ◀ etcd_calls.c (the calls)
 *
 *     begin ─▶ waiting for a token ─▶ sent ┬▶ answered ─▶ done
 *                    ▲                     ├▶ the token is not valid: once more, after a login
 *                    └─────────────────────┴▶ the endpoint fails: the next one, while there are some and time is left
 */
#ifndef ENTREPOT_CLUSTER_ETCD_PRIVATE_H
#define ENTREPOT_CLUSTER_ETCD_PRIVATE_H

#include "base/buf.h"
#include "cluster/etcd.h"

#include <jansson.h>
#include <sys/queue.h>

struct event;

struct etcd {
    /* set once */
    struct loop *loop;
    struct transfer_engine *engine;
    const struct trust *trust;
    char **urls, **hosts; /* NULL-terminated */
    int url_count;
    char *username, *password_file;
    /* owned by the loop */
    int at; /* the endpoint that is used */
    bool ended;
    char *token;   /* NULL: none yet */
    int token_no;  /* of that one */
    bool no_login; /* it does not know users */
    bool logging_in;
    LIST_HEAD(, etcd_call) calls;
    int call_count;
};

enum etcd_call_state { ETCD_CALL_WAITS, ETCD_CALL_RESUMES, ETCD_CALL_SENT };

/* How a call differs from others. */
struct etcd_way {
    const char *path; /* "/v3/kv/put" */
    bool streams;     /* its answers are "result" objects, a line each */
    bool lasts;       /* and go on: a watch */
    bool once;        /* it is not repeated after it was sent */
    bool logs_in;     /* it gets the token */
    bool renews;      /* a lease: one that is unknown is answered without a TTL */
};

struct etcd_call {
    struct etcd *e;
    LIST_ENTRY(etcd_call) entry;
    struct etcd_way way;
    char *body;
    enum etcd_call_state state;
    struct transfer *transfer;
    struct event *timer; /* the end of an attempt, or of the wait for a token */
    int64_t deadline_ms; /* monotonic */
    int at, tried;
    int token_no; /* of the token that was sent */
    bool renewed; /* a token was not valid */
    bool begun;   /* a watch: its first message has come */
    bool *freed;  /* set when it is freed; NULL: nobody looks */
    struct buf got;
    struct err failure; /* what was found while reading; code ERR_OK: nothing */
    etcd_done *on_done;
    void (*on_events)(void *arg, const struct etcd_answer *a);
    void *arg;
};

/* Takes over the document. NULL: as in etcd.h. */
struct etcd_call *etcd_begin(struct etcd *e, const struct etcd_way *way, json_t *body, etcd_done *on_done, void *arg);

#endif

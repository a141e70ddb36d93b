/* private.h - between cred.c and the backends. */
#ifndef ENTREPOT_UPSTREAM_CRED_PRIVATE_H
#define ENTREPOT_UPSTREAM_CRED_PRIVATE_H

#include "base/base64.h"
#include "base/secret.h"
#include "upstream/cred/cred.h"

#include <stdatomic.h>

enum {
    CRED_TIMEOUT_MS = 10000,   /* of one program, or one request to a cloud's service */
    CRED_ANSWER_MAX = 1 << 20, /* bytes of an answer */
    CRED_REREAD_MS = 10000,    /* files are read again after this */
    CRED_HELPER_MS = 300000,   /* a helper's answer is used this long: its protocol has no expiry */
};

/* The requests that an identity is valid for. */
enum cred_scope { CRED_FOR_HOST, CRED_FOR_IMAGE, CRED_FOR_ALL };

struct cred_task {
    const struct cred_options *o;
    const char *host;       /* "123456789012.dkr.ecr.eu-west-1.amazonaws.com" */
    const char *repository; /* "team/app" */
    atomic_bool *stop;
    /* the answer */
    struct cred_identity id;
    int64_t life_ms; /* from now */
    enum cred_scope scope;
};

struct cred_backend {
    const char *name;
    enum cred_scope scope; /* of one query; the answer may differ */
    int64_t young_ms;      /* a younger identity is not queried again when it is refused */
    /* Fills in the answer; blocks for a bounded time. Any worker, several at a time. */
    bool (*ask)(struct cred_task *t, struct err *err);
};

extern const struct cred_backend CRED_PASSWORD, CRED_DOCKER, CRED_HELPER, CRED_KUBELET, CRED_ECR, CRED_GCP, CRED_AZURE,
    CRED_AWS;

/* ---- docker.c ---- */

/* A config.json's entry for a registry: a login, or (the caller frees both) the helper's name and the server to query
 * it for; neither if there is none. False if it is not JSON. */
bool cred_docker_find(const char *text, const char *host, const char *repository, struct cred_identity *id,
                      char **helper, char **server);

/* ---- exec.c ---- */

/* Runs a program in a process group of its own with `input` on its stdin, and collects its stdout. False if it cannot
 * be started, does not end in time (then it is killed), prints too much, or `stop` is set; otherwise *status is its
 * exit status. Its stderr is not read: it may hold secrets. Blocks: on no loop. */
bool cred_run(const char *const *argv, const char *input, atomic_bool *stop, struct buf *out, int *status,
              struct err *err);
/* The same for docker-credential-NAME get (github.com/docker/docker-credential-helpers). `server` as in a config.json.
 * An identity without user if the helper has none. */
bool cred_ask_helper(struct cred_task *t, const char *name, const char *server, struct err *err);

/* ---- http.c ---- */

struct cred_http {
    const char *method, *url;
    const char *const *headers; /* NULL-terminated "Name: value" lines, or NULL */
    const char *body;           /* of a POST or PUT */
    const char *aws;            /* "region:service": sign it (SigV4) */
    const char *access_key, *secret_key;
    bool direct;        /* without a proxy: metadata services */
    int64_t timeout_ms; /* 0: CRED_TIMEOUT_MS */
    atomic_bool *stop;
};

/* One request, without redirects. True if there is an answer; the body in `out`. Errors: ERR_UNREACHABLE, ERR_TIMEOUT,
 * ERR_CANCELLED. Messages hold the URL without its query. Blocks: on no loop. */
bool cred_http(const struct cred_http *r, int *status, struct buf *out, struct err *err);
/* A whole answer of 200 as JSON; NULL with the error set (ERR_DENIED for 400, 401 and 403). The caller decrefs. `what`
 * is for the message: "the metadata service". */
struct json_t;
struct json_t *cred_http_json(const struct cred_http *r, const char *what, struct err *err);
/* A copy of a text in an object, or NULL. */
char *cred_json_text(const struct json_t *object, const char *key);
/* The same for a number, which may be a string; it is truncated, and within 1e15 of 0. */
int64_t cred_json_number(const struct json_t *object, const char *key, int64_t otherwise);

#endif

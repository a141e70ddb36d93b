/* call_private.h - shared by the files that make one request to a registry. Each calls those to its left only:
 *
 *     call_story.c ◀ call_login.c ◀ call_elsewhere.c ◀ call_answer.c ◀ call.c           call_slots.c stands alone
 *     what went      identities,    which endpoint     what an answer   start, steps,
 *     wrong          tokens         has it             means            end
 *
 * A function that decides what is next returns a step, which call.c takes. What has waited (for an identity, a token, a
 * timer) continues by c->resume(). Everything runs on the call's loop.
 */
#ifndef ENTREPOT_UPSTREAM_CALL_PRIVATE_H
#define ENTREPOT_UPSTREAM_CALL_PRIVATE_H

#include "base/buf.h"
#include "upstream/registry_private.h"

enum call_step {
    CALL_WAIT,          /* for a callback; or the call is gone */
    CALL_ATTEMPT,       /* at this endpoint: choose an identity, recall the challenge */
    CALL_SEND,          /* with c->sent as its Authorization */
    CALL_ENOUGH,        /* of a refusal's text: c->refused is the answer */
    CALL_LOGIN_FAILED,  /* neither identity nor token could be had: c->failure */
    CALL_NEXT_IDENTITY, /* of the cache's, at this endpoint from the start */
    CALL_NEXT_ENDPOINT, /* from the start */
    CALL_END,           /* tell the caller c->outcome, and free the call */
    CALL_CANCELLED,     /* while it waited: free it */
};

/* What the caller is told. */
struct call_outcome {
    struct transfer_response response;
    struct err err;
};

struct upstream_call {
    struct upstream *u;
    struct transfer_engine *engine;
    struct loop *loop;
    void (*resume)(struct upstream_call *c, enum call_step step); /* `c` may be gone when it returns */
    enum method method;
    char *repository, *path, *accept, *authorization, *if_range, *client_id;
    char *object;                /* repository and path, for endpoint.c */
    struct cred_identity client; /* of `client_id`, in place of the cache's own */
    int64_t range_first, range_last, range_suffix;
    char *ranges;
    char *direct; /* the URL that is asked in place of the registry; NULL: none, or it was of no use */
    bool decode, optional, bounded, unshared, bulk;
    bool in_queue; /* counted in upstream->waiting */
    bool has_slot; /* counted in upstream->slots */
    bool crowded;  /* over a limit of requests: it is not sent */
    enum budget_kind kind;
    char who[BUDGET_WHO_MAX + 1]; /* a client's name among budgets; "" for the cache's own requests */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
    /* where we are */
    struct transfer *transfer;
    int endpoint;                 /* index; -1: none could be chosen */
    unsigned tried;               /* bits */
    unsigned lacking;             /* bits: those that lack it, now or a moment ago */
    unsigned barred;              /* bits: mirrors, which receive no requests of clients with a login */
    unsigned guessed;             /* bits of `tried` that were skipped by a guess */
    struct call_outcome *outcome; /* for CALL_END */
    struct err *failure;          /* for CALL_LOGIN_FAILED */
    struct call_outcome *kept;    /* the last endpoint's refusal: the answer unless a skipped endpoint has it */
    int64_t lack_ms;
    int own;       /* which of the cache's identities; -1: not chosen yet, or a client's */
    unsigned owns; /* bits: those that were refused at this endpoint */
    bool further;  /* as in registry.h */
    int attempts;
    int64_t begun_ms, sent_ms; /* monotonic */
    bool challenged;           /* a 401 was answered at this endpoint already */
    bool renewed;              /* and once more, with another identity */
    bool rescoped;             /* ... or another scope */
    bool delivering;           /* the head has been passed on */
    bool sent_ns;              /* the request names the registry by ns= */
    bool again;                /* another entrepot answers a request without ns=: repeat with it */
    bool unreadable;           /* the 401 that is coming in has a challenge that exceeds our limits */
    bool answering;            /* the 401 that is coming in is to be answered */
    bool undecided;            /* the body of the 400 or 403 that is coming in decides whether to retry */
    bool refreshed;            /* the token was renewed for that, once */
    bool cancelled, waiting;   /* for an identity or a token */
    char *token;               /* the one sent */
    bool is_bearer;            /* ... which is the identity itself */
    uint64_t identity;         /* its number; 0: none */
    bool anonymous;            /* without an identity, since ours was refused here: public content needs none */
    bool been_anonymous;
    bool login_refused; /* the login was refused, not just access to this repository */
    uint64_t suspect;   /* number of an identity that was refused recently: tried after anonymous access; 0: none */
    /* why our identity was refused, before anonymous access was tried: the registry's text and code; the error */
    char *message_to_own, code_of_own[32];
    struct err *refusal_of_own;
    char *asked; /* the WWW-Authenticate of the last 401 of this endpoint; NULL: there was none */
    struct challenge challenge;
    int64_t counted;
    /* call_story.c */
    int status;                        /* of the answer that is coming in; 0: none yet */
    char *sent;                        /* Authorization */
    struct buf refusal;                /* the body of an answer of 400 or more */
    struct transfer_response *refused; /* its head */
    struct event *enough;              /* timer: its text has been awaited long enough */
    char *why[ENDPOINTS_MAX];          /* what went wrong at each endpoint that was tried */
};

/* ---- call_slots.c ---- */

/* A slot among the requests that wait for an answer, and among those of all upstreams; or c->crowded. The first is
 * given back when it is answered, both when it is freed. */
void call_take_slot(struct upstream_call *c);
void call_leave_queue(struct upstream_call *c);
void call_leave_slot(struct upstream_call *c);

/* ---- call_story.c ---- */

void call_story_clear(struct upstream_call *c);
/* A request begins, with this Authorization or none. */
void call_remember_sent(struct upstream_call *c, const char *authorization);
/* A piece of the body of an answer of 400 or more; false: that is enough of it. */
bool call_take_refusal(struct upstream_call *c, const void *data, size_t len);
/* An answer of 400 or more has begun: its text is awaited for a bounded time. And it has ended. */
void call_begin_refusal(struct upstream_call *c, const struct transfer_response *r);
void call_end_refusal(struct upstream_call *c);
/* Why this endpoint failed. call_note_answer() derives it from the outcome, and notes nothing on success. Other
 * requests, possibly of other clients, see only what is wrong with the endpoint, never what it answered. */
void call_note(struct upstream_call *c, const char *why);
void call_note_answer(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
/* The code and message of the refusal that has arrived. */
void call_keep_refusal_of_own(struct upstream_call *c);
void call_read_refusal(const struct upstream_call *c, struct transfer_response *r);
/* Adds to a failure what went wrong with each endpoint. */
void call_tell(struct upstream_call *c, struct transfer_response *r, const struct err *err);

/* ---- call_elsewhere.c ---- */

/* What mirrors answer for what they do not have. */
static inline bool call_is_denial(int status)
{
    return status == 404 || status == 401 || status == 403;
}

bool call_has_more_endpoints(const struct upstream_call *c);
/* This endpoint does not have it, or refuses it: whether that is not the registry's final answer, and, if so, keeping
 * it while the next endpoint is tried. */
bool call_may_be_elsewhere(const struct upstream_call *c);
enum call_step call_go_elsewhere(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
/* Whether to try the next endpoint instead of passing this answer on. */
bool call_worth_another(const struct upstream_call *c, int status);
/* Marks the endpoints that need not be tried, and those that a client's login must not be sent to. */
void call_recall_lacks(struct upstream_call *c);
/* The answer shows that this endpoint does not have it; which endpoints will have its blobs. */
void call_note_lack(struct upstream_call *c);
void call_guess_blobs(struct upstream_call *c, int status);

/* ---- call_login.c ---- */

/* A client's request, by name and password or by a token that is passed on; or the cache's own. */
static inline bool call_is_clients(const struct upstream_call *c)
{
    return c->client_id[0] != '\0';
}

static inline bool call_is_own(const struct upstream_call *c)
{
    return !call_is_clients(c) && !c->authorization;
}

/* Its name among budgets; may be written to `own`. */
const char *call_asker(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1]);
/* Whether this 401's challenge exceeds our limits, and the error for it. It is not answered by a shorter challenge
 * beside it, nor by Basic. */
bool call_cannot_read_challenge(const struct upstream_call *c, const struct transfer_response *r);
void call_refuse_challenge(const struct upstream_call *c, struct err *err);
/* Whether this 401 can be answered and has not been yet. */
bool call_wants_login(struct upstream_call *c, const struct transfer_response *r);
/* The 401 has ended: answer it. */
enum call_step call_login(struct upstream_call *c);
/* Whether this 400 or 403 may be about an expired token, which its body tells; and whether it is, in which case the
 * request is repeated with another. */
bool call_may_be_expired(const struct upstream_call *c, const struct transfer_response *r);
bool call_refresh(struct upstream_call *c);
/* Whether a refusal (of our identity, or of anonymous access where an identity is left) is not final; and continuing
 * with the other one. */
bool call_may_change_identity(const struct upstream_call *c, int status);
enum call_step call_change_identity(struct upstream_call *c, const struct err *why);
/* Before the first request to an endpoint: an identity that was refused recently is not used first. */
void call_suspect_identity(struct upstream_call *c);
/* Adds the registry's challenge to a refusal, so that clients that have a login, or another one, can send it. */
void call_pass_challenge(const struct upstream_call *c, struct transfer_response *r);
/* The challenge of the last request to this endpoint, with this repository's scope. */
void call_recall_challenge(struct upstream_call *c);
/* Requests one of the cache's identities, and continues with it. */
enum call_step call_get_identity(struct upstream_call *c);
/* Continues with this identity: with a token for it, or Basic. */
enum call_step call_use_identity(struct upstream_call *c, const struct cred_identity *id);
/* With this Authorization or none (NULL). */
enum call_step call_send_with(struct upstream_call *c, const char *authorization);

/* ---- call_answer.c ---- */

/* Callbacks of the transfer. */
bool call_take_head(void *arg, const struct transfer_response *r);
bool call_take_data(void *arg, const void *data, size_t len);
/* The transfer has ended, or enough of it has arrived. */
enum call_step call_answered(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
/* Ends the call with this for its caller. */
enum call_step call_end_with(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
void call_count_bytes(struct upstream_call *c);
/* For metrics and budgets. `answered` is false without an answer, or with one that is not the registry's. */
void call_count_answer(struct upstream_call *c, const struct transfer_response *r, bool answered);

#endif

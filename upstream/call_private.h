/* call_private.h - shared by the files that make one request to a registry. Each calls those to its left only:
 *
 *     call_story.c ◀ call_login.c ◀ call_elsewhere.c ◀ call_answer.c ◀ call.c           call_room.c stands alone
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
    int64_t range_first, range_last;
    bool decode, optional, bounded, unshared;
    bool in_queue; /* counted among those that wait for an answer */
    bool in_room;  /* ... and among those of all upstreams */
    bool crowded;  /* there was no place: it is not made */
    enum budget_kind kind;
    char who[BUDGET_WHO_MAX + 1]; /* whose limit it counts against, if a client's */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
    /* where we are */
    struct transfer *transfer;
    int endpoint;                 /* index; -1: none could be chosen */
    unsigned tried;               /* bits */
    unsigned lacking;             /* bits: those that do not have it, or did not a moment ago */
    unsigned barred;              /* bits: those that are not asked with a client's login */
    unsigned guessed;             /* bits of `tried` that were not asked, only guessed not to have it */
    struct call_outcome *outcome; /* for CALL_END */
    struct err *failure;          /* for CALL_LOGIN_FAILED */
    struct call_outcome *kept;    /* the last one's refusal: it stands if none of the guessed ones has it */
    int64_t lack_ms;
    int own;       /* which of the cache's identities; -1: not chosen yet, or a client's */
    unsigned owns; /* bits: those that were refused at this endpoint */
    int attempts;
    int64_t begun_ms, sent_ms; /* monotonic */
    bool challenged;           /* a 401 was answered at this endpoint already */
    bool renewed;              /* and once more, with another identity */
    bool rescoped;             /* ... or another scope */
    bool delivering;           /* the head has been passed on */
    bool sent_ns;              /* the request says by ns= which registry is meant */
    bool again;                /* it did not, and has to: the answer that is coming in may be of another registry */
    bool unreadable;           /* the 401 that is coming in asks for something that is too long to be read */
    bool answering;            /* the 401 that is coming in is to be answered */
    bool undecided;            /* whether to ask again is in the body of the 400 or 403 that is coming in */
    bool refreshed;            /* it was, once */
    bool cancelled, waiting;   /* for an identity or a token */
    char *token;               /* the one sent */
    bool is_bearer;            /* ... is the identity itself */
    uint64_t identity;         /* its number; 0: nobody's */
    bool anonymous;            /* our identity was refused here: for everybody's content nobody is one */
    bool been_anonymous;
    bool login_refused; /* it is the login that was refused, not what it may read */
    uint64_t suspect;   /* an identity that was refused a while ago waits until nobody is refused, too; 0: none */
    char *said_to_own, code_of_own[32]; /* what the registry said when it refused ours, before nobody was asked */
    struct err *refusal_of_own;         /* why ours was refused, if nobody was asked for after that */
    char *asked; /* the WWW-Authenticate of the last 401 of this endpoint; NULL: there was none */
    struct challenge challenge;
    int64_t counted;
    /* call_story.c */
    int status;                        /* of the answer that is coming in; 0: none yet */
    char *sent;                        /* Authorization */
    struct buf refusal;                /* the body of an answer of 400 or more */
    struct transfer_response *refused; /* its head */
    struct event *enough;              /* its text has been waited for */
    char *why[ENDPOINTS_MAX];          /* what went wrong with each that was asked */
};

/* ---- call_room.c ---- */

/* A place among those that wait for an answer, and among all; or c->crowded. The first is given back
 * when it is answered, both when it is freed. */
void call_take_place(struct upstream_call *c);
void call_leave_queue(struct upstream_call *c);
void call_leave_room(struct upstream_call *c);

/* ---- call_story.c ---- */

void call_story_clear(struct upstream_call *c);
/* A request begins, with this Authorization or none. */
void call_remember_sent(struct upstream_call *c, const char *authorization);
/* A piece of the body of an answer of 400 or more; false: that is enough of it. */
bool call_take_refusal(struct upstream_call *c, const void *data, size_t len);
/* An answer of 400 or more has begun: its text is not waited for longer than it is worth. And it has ended. */
void call_begin_refusal(struct upstream_call *c, const struct transfer_response *r);
void call_end_refusal(struct upstream_call *c);
/* Why this endpoint did not do; call_note_answer() tells by what came of the request, and notes nothing if it is well.
 * Other requests, which may be other clients', are told what is wrong with the endpoint, and nothing of what it said.
 */
void call_note(struct upstream_call *c, const char *why);
void call_note_answer(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
/* What the answer that has come in says about its refusal. */
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
/* Whether the next endpoint should be asked instead of passing this answer on. */
bool call_worth_another(const struct upstream_call *c, int status);
/* What is known before anybody is asked. */
void call_recall_lacks(struct upstream_call *c);
/* This endpoint has answered so: it does not have it; where its blobs will be. */
void call_note_lack(struct upstream_call *c);
void call_guess_blobs(struct upstream_call *c, int status);

/* ---- call_login.c ---- */

/* Whose request it is: a client's, by name and password (else by a token that is passed on), or our own. */
static inline bool call_is_clients(const struct upstream_call *c)
{
    return c->client_id[0] != '\0';
}

static inline bool call_is_own(const struct upstream_call *c)
{
    return !call_is_clients(c) && !c->authorization;
}

/* What it is called among budgets; may be written to `own`. */
const char *call_asker(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1]);
/* Whether this 401 asks for something that is over our limits; and what to say then. A shorter challenge beside it, or
 * Basic, is not what it is answered with. */
bool call_cannot_read_challenge(const struct upstream_call *c, const struct transfer_response *r);
void call_refuse_challenge(const struct upstream_call *c, struct err *err);
/* Whether what this 401 asks for can be given, and was not yet. */
bool call_wants_login(struct upstream_call *c, const struct transfer_response *r);
/* The 401 has ended: answer it. */
enum call_step call_login(struct upstream_call *c);
/* Whether this 400 or 403 may be about a token that has ended, which its body says; and whether it is, and the request
 * is being made again, with another. */
bool call_may_be_expired(const struct upstream_call *c, const struct transfer_response *r);
bool call_refresh(struct upstream_call *c);
/* Whether a refusal of our own identity (or of nobody, for the one that waits) is not the last word; and going on. */
bool call_may_change_identity(const struct upstream_call *c, int status);
enum call_step call_change_identity(struct upstream_call *c, const struct err *why);
/* Before the first request to an endpoint. */
void call_suspect_identity(struct upstream_call *c);
/* A refusal, of our identity or of a client's name and password, goes to clients that may have a login, or another one:
 * with what the registry asks for. */
void call_pass_challenge(const struct upstream_call *c, struct transfer_response *r);
/* What the endpoint asked for last time, for this repository now. */
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
/* The transfer has ended, or enough of it has come. */
enum call_step call_answered(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
/* Ends the call with this for its caller. */
enum call_step call_end_with(struct upstream_call *c, const struct transfer_response *r, const struct err *err);
void call_count_bytes(struct upstream_call *c);
/* For metrics and budgets. `answered` is false without an answer, or with one that is not the registry's. */
void call_count_answer(struct upstream_call *c, const struct transfer_response *r, bool answered);

#endif

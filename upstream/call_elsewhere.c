/* Which endpoint has the content: what mirrors lack, and which answer is final. */
#include "upstream/call_private.h"

#include <string.h>

enum { GUESS_MS = 5 * 60000 /* about as long as a pull takes */ };

bool call_has_more_endpoints(const struct upstream_call *c)
{
    return ((c->tried & ~c->guessed) | 1u << c->endpoint) != (1u << c->u->endpoint_count) - 1;
}

static bool is_last(const struct upstream_call *c)
{
    return c->endpoint == c->u->endpoint_count - 1;
}

bool call_may_be_elsewhere(const struct upstream_call *c)
{
    return is_last(c) ? c->guessed != 0 : !c->kept || call_has_more_endpoints(c);
}

/* 429 and 5xx are the next endpoint's turn; refusals depend on who speaks for the registry. */
bool call_worth_another(const struct upstream_call *c, int status)
{
    if (call_is_denial(status))
        return call_may_be_elsewhere(c);
    return (status >= 500 || status == 429) && call_has_more_endpoints(c);
}

/* Mirrors that lack a manifest which another endpoint has will lack its blobs, too: they are tried last for them. */
void call_guess_blobs(struct upstream_call *c, int status)
{
    if (status != 200 || c->u->endpoint_count == 1 || !call_is_own(c) || strncmp(c->path, "manifests/", 10) != 0)
        return;
    for (int n = 0; n < c->u->endpoint_count - 1; n++)
        if (c->lacking >> n & 1)
            lacks_note(c->u->lacks, n, c->repository, LACKS_BLOBS, GUESS_MS);
    lacks_forget(c->u->lacks, c->endpoint, c->repository, LACKS_BLOBS);
}

/* What is known beforehand: endpoints that lack it, and mirrors that a client's login must not be sent to. */
void call_recall_lacks(struct upstream_call *c)
{
    for (int n = 0; n < c->u->endpoint_count - 1; n++) {
        if (!call_is_own(c))
            c->barred |= c->u->endpoints[n].trusted ? 0 : 1u << n;
        else if (lacks_has(c->u->lacks, n, c->repository, c->path))
            c->lacking |= 1u << n;
        else if (c->kind == BUDGET_BLOBS && lacks_has(c->u->lacks, n, c->repository, LACKS_BLOBS))
            c->guessed |= 1u << n;
    }
    c->tried = c->barred | c->lacking | c->guessed;
}

/* This endpoint does not have it. */
void call_note_lack(struct upstream_call *c)
{
    c->lacking |= 1u << c->endpoint;
    if (!is_last(c) && call_is_own(c))
        lacks_note(c->u->lacks, c->endpoint, c->repository, c->path, c->lack_ms);
}

enum call_step call_go_elsewhere(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    call_note_lack(c);
    if (is_last(c) && !c->kept) {
        c->kept = xcalloc(1, sizeof(*c->kept));
        c->kept->response = *r;
        c->kept->response.next_page = NULL; /* the transfer's */
        if (!err && r->status != 404)
            call_pass_challenge(c, &c->kept->response);
        if (!err && r->status == 401 && c->refusal_of_own)
            err = c->refusal_of_own;
        if (err)
            c->kept->err = *err;
        else
            call_read_refusal(c, &c->kept->response);
    }
    return CALL_NEXT_ENDPOINT;
}

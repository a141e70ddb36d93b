/* What a refusal is to a client: an error, in words of ours and of the registry's. */
#include "proxy/fetch_private.h"

/* What the registry itself says, and where it has several endpoints, what became of each. */
static void say_more(struct err *e, const struct transfer_response *r)
{
    if (r->tried[0] &&
        (e->code == ERR_UNREACHABLE || e->code == ERR_TIMEOUT)) { /* the last one's, which is among them */
        e->msg[0] = '\0';
        err_append(e, "none of its endpoints can be reached");
    }
    if (r->said[0])
        err_append(e, ": %s", r->said);
    if (r->tried[0])
        err_append(e, " (%s)", r->tried);
}

void fetch_refused(struct fetch *f, const struct transfer_response *r, const struct err *err)
{
    struct fetch_result *res = &f->result;
    struct err *e = &res->err;

    res->how = HOW_ERROR;
    res->upstream_status = r->status;
    if (err) {
        *e = *err;
    } else if (r->status == 404) {
        err_set(e, ERR_NOT_FOUND, "upstream does not have it");
    } else if (r->status == 401 || r->status == 403) {
        err_set(e, ERR_DENIED, "upstream refuses access");
        snprintf(res->challenge, sizeof(res->challenge), "%s", r->challenge);
    } else if (r->status == 429) {
        err_set(e, ERR_RATE_LIMIT, "upstream's rate limit is used up");
        e->retry_after = r->retry_after;
    } else {
        err_set(e, ERR_UPSTREAM, "upstream answered %d", r->status);
    }
    if (e->code == ERR_DENIED)
        res->how = HOW_DENIED;
    e->status = r->status;
    say_more(e, r);
    err_wrap(e, "%s%s%s from %s", f->name, f->tag[0] ? ":" : "", f->tag, f->site->host);
}

/* Turns a refusal of upstream's into an error for the client, with the registry's own message. */
#include "proxy/fetch/private.h"

#include <string.h>

/* Appends the registry's own message, and, if it has several endpoints, what each of them answered. */
static void say_more(struct err *e, const struct transfer_response *r)
{
    if (r->tried[0] && (e->code == ERR_UNREACHABLE ||
                        e->code == ERR_TIMEOUT)) { /* the text is of the last endpoint, which is in `tried` */
        e->msg[0] = '\0';
        err_append(e, "none of its endpoints can be reached");
    }
    if (r->message[0])
        err_append(e, ": %s", r->message);
    if (r->tried[0])
        err_append(e, " (%s)", r->tried);
}

bool fetch_is_page(const struct fetch *f, const struct transfer_response *r)
{
    bool page = strcmp(r->content_type, "text/html") == 0 || strcmp(r->content_type, "application/xhtml+xml") == 0;
    bool named = r->digest.alg != DIGEST_NONE && (f->digest.alg == DIGEST_NONE || digest_eq(&r->digest, &f->digest));

    return (r->status == 200 || r->status == 206) && page && !named;
}

void fetch_refused(struct fetch *f, const struct transfer_response *r, const struct err *err)
{
    struct fetch_result *res = &f->result;
    struct err *e = &res->err;

    res->how = HOW_ERROR;
    res->upstream_status = r->status;
    if (err) {
        *e = *err;
    } else if (r->status == 404 && r->is_entrepot && !r->fwd_status) {
        err_set(e, ERR_UPSTREAM, "the upstream cache does not have it, and has not asked its registry");
    } else if (fetch_is_page(f, r)) {
        err_set(e, ERR_UPSTREAM, "upstream answered with a web page (%s) instead", r->content_type);
    } else if (r->status == 404) {
        err_set(e, ERR_NOT_FOUND, "upstream does not have it");
    } else if (r->status == 401 || r->status == 403) {
        err_set(e, ERR_DENIED, "upstream refuses access");
    } else if (r->status == 429) {
        err_set(e, ERR_RATE_LIMIT, "upstream's rate limit is used up");
        e->retry_after = r->retry_after;
    } else {
        err_set(e, ERR_UPSTREAM, "upstream answered %d", r->status);
    }
    if (e->code == ERR_DENIED) {
        res->how = HOW_DENIED;
        snprintf(res->challenge, sizeof(res->challenge), "%s", r->challenge);
    }
    e->status = e->code == ERR_UPSTREAM && r->status == 404 ? 0 : r->status; /* not the registry's 404 */
    say_more(e, r);
    snprintf(e->source, sizeof(e->source), "%s", r->source);
    err_wrap(e, "%s%s%s from %s", f->want.name, f->want.tag[0] ? ":" : "", f->want.tag, f->want.site->host);
}

/* What went wrong with a request, endpoint by endpoint, and what the registry says about it: for error messages. */
#include "upstream/call_private.h"

#include "base/secret.h"
#include "base/url.h"
#include "base/visible.h"
#include "upstream/refusal.h"

#include <event2/event.h>
#include <string.h>

enum { REFUSAL_MS = 2000 };

void call_story_clear(struct upstream_call *c)
{
    if (c->enough)
        event_free(c->enough);
    free(c->refused);
    free(c->message_to_own);
    buf_free(&c->refusal);
    secret_free(c->sent);
    for (int i = 0; i < ENDPOINTS_MAX; i++)
        free(c->why[i]);
}

void call_remember_sent(struct upstream_call *c, const char *authorization)
{
    secret_free(c->sent);
    c->sent = authorization ? xstrdup(authorization) : NULL;
    c->status = 0;
    buf_clear(&c->refusal);
}

bool call_take_refusal(struct upstream_call *c, const void *data, size_t len)
{
    size_t cap = REFUSAL_READ_MAX - c->refusal.len;

    buf_add(&c->refusal, data, MIN(len, cap));
    return len <= cap;
}

/* A refusal's text that arrives slowly must not delay the client or the next endpoint. */
static void take_enough(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct upstream_call *c = arg;

    c->resume(c, CALL_ENOUGH);
}

void call_begin_refusal(struct upstream_call *c, const struct transfer_response *r)
{
    if (!c->refused)
        c->refused = xmalloc(sizeof(*c->refused));
    *c->refused = *r;
    c->refused->next_page = NULL; /* the transfer's */
    if (!c->enough)
        c->enough = event_new(loop_base(c->loop), -1, 0, take_enough, c);
    event_add(c->enough, &(struct timeval){.tv_sec = REFUSAL_MS / 1000});
}

void call_end_refusal(struct upstream_call *c)
{
    if (c->enough)
        event_del(c->enough);
}

void call_read_refusal(const struct upstream_call *c, struct transfer_response *r)
{
    const char *body = c->refusal.data ? c->refusal.data : "";

    if (r->status == 401 && c->anonymous && c->message_to_own) {
        snprintf(r->message, sizeof(r->message), "%s", c->message_to_own);
        snprintf(r->code, sizeof(r->code), "%s", c->code_of_own);
        return;
    }
    refusal_text(r->message, body, c->refusal.len, c->sent, NULL);
    refusal_code(r->code, body, c->refusal.len);
}

/* The refusal of an anonymous request would say less. */
void call_keep_refusal_of_own(struct upstream_call *c)
{
    struct transfer_response read = {0};

    call_read_refusal(c, &read);
    if (c->anonymous || !read.message[0])
        return;
    free(c->message_to_own);
    c->message_to_own = xstrdup(read.message);
    snprintf(c->code_of_own, sizeof(c->code_of_own), "%s", read.code);
}

/* Drops the URL that a message begins with: the endpoint is named already. */
static const char *without_url(const char *msg)
{
    const char *end = strncmp(msg, "http", 4) == 0 ? strstr(msg, ": ") : NULL;

    return end ? end + 2 : msg;
}

void call_note(struct upstream_call *c, const char *why)
{
    why = without_url(why);
    free(c->why[c->endpoint]);
    c->why[c->endpoint] = xstrndup(why, text_whole(why, strnlen(why, ENDPOINT_WHY_MAX)));
}

/* What is wrong with the endpoint itself, for requests that skip it; "" if nothing. Other clients read this: it holds
 * no text of a refusal, which may name users and repositories, and of a failed client's request only the kind. */
static void note_for_all(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    struct endpoint *e = &c->u->endpoints[c->endpoint];
    char why[ENDPOINT_WHY_MAX + 1] = "";

    if (err && call_is_own(c))
        snprintf(why, sizeof(why), "%.*s", (int)ENDPOINT_WHY_MAX, without_url(err->msg));
    else if (err)
        snprintf(why, sizeof(why), "%s", err->code == ERR_TIMEOUT ? "it took too long" : "it could not be reached");
    else if (r->status >= 500)
        snprintf(why, sizeof(why), "answered %d", r->status);
    why[text_whole(why, strlen(why))] = '\0';
    pthread_mutex_lock(&c->u->lock);
    memcpy(e->why, why, sizeof(e->why));
    pthread_mutex_unlock(&c->u->lock);
}

void call_note_answer(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    if (!err || err->code != ERR_CANCELLED)
        note_for_all(c, r, err);
    if (err) {
        call_note(c, err->msg);
    } else if (r->status >= 400) {
        struct transfer_response read = {.status = r->status};
        call_read_refusal(c, &read);
        _cleanup_free_ char *why = xasprintf("answered %d%s%s", r->status, read.message[0] ? ": " : "", read.message);
        call_note(c, why);
    }
}

/* An endpoint that was not tried. */
static void tell_passed_over(struct upstream_call *c, int n, struct buf *out)
{
    struct endpoint *e = &c->u->endpoints[n];

    if (c->barred >> n & 1) {
        buf_adds(out, "a mirror, not asked with a client's login");
        return;
    }
    if (c->lacking >> n & 1) {
        buf_adds(out, "did not have it a moment ago");
        return;
    }
    pthread_mutex_lock(&c->u->lock);
    buf_addf(out, "skipped%s%s", e->why[0] ? ", since a moment ago: " : "", e->why);
    pthread_mutex_unlock(&c->u->lock);
}

static void tell_endpoints(struct upstream_call *c, char out[TRANSFER_TRIED_MAX + 1])
{
    _cleanup_buf_ struct buf list = {0};

    if (c->crowded || (c->u->endpoint_count == 1 && c->endpoint >= 0))
        return; /* there is only one */
    for (int i = 0; i < c->u->endpoint_count; i++) {
        buf_adds(&list, i > 0 ? "; " : "");
        url_redact(&list, c->u->endpoints[i].url);
        buf_adds(&list, ": ");
        if (c->why[i])
            buf_adds(&list, c->why[i]);
        else
            tell_passed_over(c, i, &list);
    }
    snprintf(out, TRANSFER_TRIED_MAX + 1, "%s", list.data);
    out[text_whole(out, strlen(out))] = '\0';
}

void call_tell(struct upstream_call *c, struct transfer_response *r, const struct err *err)
{
    const char *secret = c->sent ? strchr(c->sent, ' ') : NULL;

    if (secret && secret[1] && strstr(r->source, secret + 1)) /* a registry may echo what it was sent */
        r->source[0] = '\0';
    if (err->code != ERR_OK || r->status >= 400)
        tell_endpoints(c, r->tried);
}

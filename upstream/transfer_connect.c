/* Where a transfer may connect to (reach.h), and when it connects again (connect.h). */
#include "upstream/transfer_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/env_proxy.h"
#include "base/secret.h"
#include "base/url.h"
#include "upstream/connect.h"
#include "upstream/reach.h"
#include "upstream/trust.h"

#include <ctype.h>
#include <event2/event.h>
#include <string.h>
#include <strings.h>

enum { PATIENCE_LEAST_MS = 1000 };

/* ---- where it may go ---- */

static bool is_named(struct transfer *t)
{
    char *url = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url); /* after redirects: the current one */
    return t->proxy || t->anywhere || t->internal || (url && reach_is_named(url, t->named));
}

/* ---- through what ---- */

static void free_secret_headers(struct curl_slist *list)
{
    for (struct curl_slist *s = list; s; s = s->next)
        explicit_bzero(s->data, strlen(s->data));
    curl_slist_free_all(list);
}

/* A header for the proxy only (CURLHEADER_SEPARATE). libcurl does not add its own where the first hop had no proxy
 * (7.88). */
static void set_proxy_login(struct transfer *t, const char *proxy)
{
    _cleanup_secret_ char *basic = proxy ? proxy_login(proxy) : NULL;
    _cleanup_secret_ char *line = basic ? xasprintf("Proxy-Authorization: %s", basic) : NULL;
    struct curl_slist *headers = line ? curl_slist_append(NULL, line) : NULL;

    curl_easy_setopt(t->easy, CURLOPT_PROXYHEADER, headers);
    free_secret_headers(t->proxy_headers);
    t->proxy_headers = headers;
}

/* What follows a connection that is all that is wanted is TLS, most often. */
static const char *own_proxy(const struct transfer *t)
{
    _cleanup_free_ char *url = t->connect_only ? xasprintf("https%s", strstr(t->url, "://")) : NULL;

    return t->internal ? NULL : proxy_for(url ? url : t->url, NULL);
}

static void use_proxy(struct transfer *t, const char *proxy)
{
    t->proxy = proxy;
    curl_easy_setopt(t->easy, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(t->easy, CURLOPT_NOPROXY, ""); /* decided: the environment is not read again */
    set_proxy_login(t, proxy);
}

/* ---- where the client certificate is shown ---- */

static void show_certificate(struct transfer *t, const char *url)
{
    if (!t->trust || !t->trust->client_cert)
        return;
    t->shows = url && trust_may_show(t->trust, t->shown_to, url);
    trust_show(t->easy, t->trust, t->shows);
}

static bool shows_too_much(struct transfer *t)
{
    char *url = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    return t->shows && (!url || !trust_may_show(t->trust, t->shown_to, url));
}

/* ---- redirects ---- */

/* libcurl connects after it has passed this header, with the options that are set by then. */
void transfer_follow(struct transfer *t, const char *line, size_t len)
{
    static const char name[] = "location:";
    char *url = NULL;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->followed || status < 300 || status > 399 || len < strlen(name) || strncasecmp(line, name, strlen(name)) != 0)
        return;
    const char *to = line + strlen(name), *end = line + len;
    while (to < end && isspace((unsigned char)*to))
        to++;
    while (end > to && isspace((unsigned char)end[-1]))
        end--;
    _cleanup_free_ char *location = xstrndup(to, (size_t)(end - to));
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (!*location)
        return;
    t->followed = true;
    if (t->internal)
        return;
    use_proxy(t, proxy_for(url ? url : t->url, location));
    _cleanup_free_ char *to_url = url_resolve(url ? url : t->url, location);
    show_certificate(t, to_url);
}

bool transfer_is_elsewhere(struct transfer *t)
{
    char asked[256], answered[256], *url = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url && (url_is_https(url) != url_is_https(t->url) || !url_authority(url, answered, sizeof(answered)) ||
                   !url_authority(t->url, asked, sizeof(asked)) || strcmp(asked, answered) != 0);
}

/* An origin does not answer 407; a proxy requests a login in a header of its own (RFC 9110 §11.7.1). */
bool transfer_is_refused_by_proxy(struct transfer *t)
{
    const struct transfer_response *r = &t->response;
    long connect = 0;

    if (r->status == 407 || (r->status == 401 && r->asks_for_proxy && !r->challenge[0] && !r->challenge_too_long)) {
        t->by_proxy = r->status;
    } else if (t->proxy && r->status == 0) {
        curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &connect);
        t->by_proxy = connect >= 300 ? (int)connect : 0;
    }
    return t->by_proxy != 0;
}

/* An address did not answer in time. libcurl sees that its socket has failed, but may try the next address only when
 * its own time for this one is up (as 7.88 does): changing the pause state makes it check at once. */
static void given_up(void *arg, int fd)
{
    struct transfer *t = arg, *other;
    struct transfer_engine *e = t->engine;

    if (t->cancelled)
        return;
    t->hurried = true;
    curl_easy_pause(t->easy, CURLPAUSE_RECV);
    e->act(e, fd, CURL_CSELECT_OUT | CURL_CSELECT_ERR);
    LIST_FOREACH(other, &e->active, entry)
        if (other == t) { /* it is still alive */
            curl_easy_pause(t->easy, CURLPAUSE_CONT);
            break;
        }
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose UNUSED, struct curl_sockaddr *a)
{
    struct transfer *t = arg;

    if (!t->connect_only && reach_is_circle(&a->addr)) {
        t->circular = true;
        return CURL_SOCKET_BAD;
    }
    bool outside = reach_is_public(&a->addr) && !(t->connect_only && reach_is_own(&a->addr));
    if (!outside && !is_named(t)) {
        t->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    if (shows_too_much(t)) /* transfer_follow() and libcurl disagree about the redirect */
        return CURL_SOCKET_BAD;
    t->opened = true;
    int fd = connect_open(t->engine->connects, a->family, a->socktype, a->protocol, &a->addr, t->round, given_up, t);
    t->hurried = t->hurried || fd < 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* A connection outlives the transfer that opened it, so the argument is the engine. */
static int close_socket(void *arg, curl_socket_t fd)
{
    connect_close(((struct transfer_engine *)arg)->connects, fd);
    return 0;
}

/* Sends the request again over another connection: nothing of an answer has arrived. */
static void make_again(struct transfer *t)
{
    struct transfer_engine *e = t->engine;

    e->depth++;
    curl_multi_remove_handle(e->multi, t->easy);
    t->detail[0] = '\0';
    t->connected = false;
    use_proxy(t, own_proxy(t)); /* a redirect may have changed it */
    show_certificate(t, t->url);
    curl_multi_add_handle(e->multi, t->easy);
    e->depth--;
}

static const struct timeval unheard_wait = {.tv_sec = CONNECT_UNHEARD_MS / 1000,
                                            .tv_usec = CONNECT_UNHEARD_MS % 1000 * 1000};

/* Nothing was received for a request on a reused connection. */
static void look_at_request(evutil_socket_t none UNUSED, short what UNUSED, void *arg)
{
    struct transfer *t = arg;

    if (t->cancelled || !transfer_may_repeat(t))
        return;
    if (!connect_is_unheard(t->engine->connects, t->own_port, t->peer)) {
        if (connect_is_unsure(t->engine->connects, t->own_port, t->peer))
            event_add(t->unheard, &unheard_wait);
        return;
    }
    t->renewed = true;
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    connect_shut(t->engine->connects, t->own_port, t->peer);
    make_again(t);
}

/* Called for connections that another transfer opened, too. */
static int before_request(void *arg, char *address, char *own UNUSED, int port, int own_port)
{
    struct transfer *t = arg;

    if (!reach_is_public_text(address) && !is_named(t)) {
        t->forbidden = true;
        return CURL_PREREQFUNC_ABORT;
    }
    /* libcurl would send it again: a kept connection has ended, or (417) without its expectation, as clients do. */
    if (t->connected && (t->answered || !transfer_may_repeat(t))) {
        t->unrepeatable = true;
        return CURL_PREREQFUNC_ABORT;
    }
    connect_note(t->engine->connects, address, port, t->round);
    t->hurried = false; /* connected: from here on the server is slow, not an address */
    t->connected = true;
    if (!t->opened && !t->renewed) {
        if (!t->unheard)
            t->unheard = event_new(loop_base(t->engine->loop), -1, 0, look_at_request, t);
        event_add(t->unheard, &unheard_wait);
    }
    t->opened = false;
    t->own_port = own_port;
    connect_name(t->peer, address, port);
    return CURL_PREREQFUNC_OK;
}

/* All addresses were skipped, or did not answer at once: try them again, with more time for each. */
bool transfer_is_worth_patience(struct transfer *t, CURLcode code)
{
    int64_t left = t->connect_timeout_ms - (clock_mono_ms() - t->started_ms);

    if (!t->hurried || t->round + 1 == CONNECT_ROUNDS || t->cancelled || t->head_passed || t->forbidden ||
        t->circular || (code != CURLE_COULDNT_CONNECT && code != CURLE_OPERATION_TIMEDOUT))
        return false;
    t->round++;
    t->hurried = false;
    if (t->connect_timeout_ms > 0)
        curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MAX(left, (int64_t)PATIENCE_LEAST_MS));
    make_again(t);
    return true;
}

void transfer_watch_connections(struct transfer *t, const struct transfer_request *req)
{
    CURL *h = t->easy;

    ON_LOOP(t->engine->loop);
    t->url = xstrdup(req->url);
    t->connect_only = req->connect_only;
    t->anywhere = req->anywhere;
    t->internal = req->internal;
    use_proxy(t, own_proxy(t));
    t->named = req->named;
    t->trust = req->trust;
    t->shown_to = req->shown_to;
    t->users = req->users;
    if (t->users)
        atomic_fetch_add(t->users, 1);
    show_certificate(t, t->url);
    t->connect_timeout_ms = req->connect_timeout_ms;
    t->started_ms = clock_mono_ms();
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(h, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(h, CURLOPT_CLOSESOCKETDATA, t->engine);
    curl_easy_setopt(h, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(h, CURLOPT_PREREQDATA, t);
}

void transfer_heard(struct transfer *t)
{
    if (t->unheard)
        event_del(t->unheard);
}

void transfer_forget_connections(struct transfer *t)
{
    connect_forget(t->engine->connects, t);
    free_secret_headers(t->proxy_headers);
    if (t->unheard)
        event_free(t->unheard);
    if (t->users) /* the last look at what is borrowed is over */
        atomic_fetch_sub(t->users, 1);
}

void transfer_note_answer(struct transfer *t)
{
    long status = 0, version = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
    t->response.status = t->answered ? t->answered : (int)status;
    t->response.multiplexed = version == CURL_HTTP_VERSION_2_0;
}

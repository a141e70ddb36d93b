/* Asks all registries at once. Of each endpoint:
 *
 *     GET /v2/ ─┬─ no answer, 5xx: that is it
 *               └─ an answer: Date ─▶ clock.c; of the last endpoint, for each of the credentials:
 *                  identity (a file, a helper, a cloud) ─┬─ Bearer challenge ─▶ a token, without a scope
 *                                                        └─ Basic, or a token of its own ─▶ GET /v2/ with it
 *
 * None of this counts as a pull. What has not come to an end after five seconds is reported as such.
 */
#include "cli/doctor/registries.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/url.h"
#include "upstream/token.h"

#include <event2/event.h>
#include <string.h>

enum { REGISTRY_ASK_MS = 5000, REGISTRY_CRED_THREADS = 8 };

/* ---- findings ---- */

static void probe_find(struct probe *p, enum doctor_level level, const char *what, const char *why, const char *advice)
{
    const char *name = p->u->name;

    p->done = true;
    if (level == DOCTOR_BROKEN && (p->u->built_in || !p->is_last))
        level = DOCTOR_WARNING;
    doctor_add(p->found, &(struct doctor_finding){TOPIC_REGISTRY, level, name, what, why, advice});
}

static void login_find(struct login_probe *l, enum doctor_level level, const char *what, const char *why,
                       const char *advice)
{
    l->done = true;
    doctor_add(l->probe->found, &(struct doctor_finding){TOPIC_REGISTRY, level, l->probe->u->name, what, why, advice});
}

static void registries_end_one(struct registries *all)
{
    if (--all->waiting == 0)
        loop_stop(all->loop);
}

/* ---- requests ---- */

static void registries_send(struct probe *p, const char *authorization, struct login_probe *l,
                            void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err))
{
    size_t len;
    url_split_v2(p->url, &len);
    _cleanup_free_ char *url = xasprintf("%.*s/v2/", (int)len, p->url);

    transfer_start(p->all->engine, &(struct transfer_request){
                                       .method = "GET",
                                       .url = url,
                                       .authorization = authorization,
                                       .range_first = -1,
                                       .trust = &p->u->trust,
                                       .shown_to = p->shown_to,
                                       .insecure = p->u->insecure,
                                       .named = p->named,
                                       .connect_timeout_ms = REGISTRY_ASK_MS,
                                       .total_timeout_ms = REGISTRY_ASK_MS,
                                       .on_head = probe_take_head,
                                       .on_data = probe_take_data,
                                       .on_done = on_done,
                                       .arg = l ? (void *)l : (void *)p,
                                   });
}

bool probe_take_head(void *arg UNUSED, const struct transfer_response *r UNUSED)
{
    return true;
}

bool probe_take_data(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED)
{
    return true;
}

/* ---- logins ---- */

static void login_take_verdict(struct login_probe *l, const struct err *err)
{
    _cleanup_free_ char *refused = xasprintf("it refuses the configured credentials (%s)", l->source);
    _cleanup_free_ char *accepted = xasprintf("it accepts the configured credentials (%s)", l->source);

    if (!err)
        login_find(l, DOCTOR_OK, accepted, NULL, NULL);
    else if (err->code == ERR_DENIED)
        login_find(l, DOCTOR_BROKEN, refused, err->msg,
                   "check user and secret, and that they have not expired; entrepot reads them again by itself");
    else
        login_find(l, DOCTOR_UNKNOWN, "the credentials could not be checked", err->msg, NULL);
    registries_end_one(l->probe->all);
}

static void login_take_answer(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct err refused = {0};

    if (!err && (r->status == 401 || r->status == 403)) {
        err_set(&refused, ERR_DENIED, "it answers %d", r->status);
        err = &refused;
    } else if (!err && r->status >= 400) {
        err_set(&refused, ERR_UPSTREAM, "it answers %d", r->status);
        err = &refused;
    }
    login_take_verdict(arg, err);
}

static void login_take_token(void *arg, const char *token UNUSED, const struct err *err)
{
    login_take_verdict(arg, err);
}

static void login_use(struct login_probe *l, const struct cred_identity *id)
{
    struct probe *p = l->probe;
    char client_id[16];

    if (id->bearer) {
        _cleanup_secret_ char *bearer = xasprintf("Bearer %s", id->bearer);
        registries_send(p, bearer, l, login_take_answer);
    } else if (p->challenge.scheme == CHALLENGE_BEARER) {
        snprintf(client_id, sizeof(client_id), "%d", l->number);
        tokens_get(p->tokens, p->all->engine, p->all->loop, &p->challenge, id, client_id, login_take_token, l);
    } else if (p->challenge.scheme == CHALLENGE_BASIC && id->username) {
        _cleanup_secret_ char *basic = secret_basic(id->username, id->secret);
        registries_send(p, basic, l, login_take_answer);
    } else {
        login_find(l, DOCTOR_OK, "it asks for no login, so the credentials were not checked", NULL, NULL);
        registries_end_one(p->all);
    }
}

static void login_take_identity(void *arg, const struct cred_identity *id, uint64_t number UNUSED,
                                const struct err *err)
{
    struct login_probe *l = arg;
    _cleanup_free_ char *missing = xasprintf("the configured credentials (%s) cannot be had", l->source);

    if (err) {
        login_find(l, DOCTOR_BROKEN, missing, err->msg, "entrepot.yaml(5) says what each source of credentials needs");
    } else if (!id->username && !id->secret && !id->bearer) {
        login_find(l, DOCTOR_WARNING, "the configured credentials have no login for it", l->source, NULL);
    } else {
        login_use(l, id);
        return;
    }
    registries_end_one(l->probe->all);
}

/* Where the credentials come from, as the configuration names it. */
static const char *login_source(const struct cred_options *o)
{
    static const char *const names[CRED_SOURCES] = {
        [CRED_FROM_DOCKER] = "docker_config",      [CRED_FROM_HELPER] = "helper",
        [CRED_FROM_KUBELET] = "provider: kubelet", [CRED_FROM_ECR] = "provider: ecr",
        [CRED_FROM_GCP] = "provider: gcp",         [CRED_FROM_AZURE] = "provider: azure"};
    enum cred_source source = cred_options_source(o);

    return source == CRED_FROM_PASSWORD ? o->username ? o->username : "username" : names[source];
}

static void login_start(struct probe *p, int number)
{
    struct login_probe *l = &p->logins[number];

    l->probe = p;
    l->number = number;
    l->source = login_source(&p->u->credentials[number]);
    l->cred = cred_new(&p->u->credentials[number], p->u->name, p->all->workers);
    p->login_count++;
    p->all->waiting++;
    cred_get(l->cred, p->all->loop, "entrepot/doctor", login_take_identity, l);
}

/* ---- answers ---- */

static const char *probe_advice(const struct err *err)
{
    if (strstr(err->msg, "ertificate"))
        return "if the registry's certificate is of an authority of your own, name it in `ca`; if it has expired, or "
               "is "
               "not valid yet, compare the clocks";
    return "check name service, route, firewall and proxy; cached images are still served";
}

static void probe_judge(struct probe *p, const struct transfer_response *r, const struct err *err)
{
    int64_t ms = clock_mono_ms() - p->all->begun_ms;
    _cleanup_free_ char *answer = NULL;

    if (err) {
        answer = xasprintf("%s cannot be reached", p->shown);
        probe_find(p, DOCTOR_BROKEN, answer, err->msg, probe_advice(err));
    } else if (r->status >= 500) {
        answer = xasprintf("%s answers %d", p->shown, r->status);
        probe_find(p, DOCTOR_BROKEN, answer, NULL, "it, or a proxy before it, is out of order");
    } else if (r->status == 429) {
        answer = xasprintf("%s has too many requests from here (429)", p->shown);
        probe_find(p, DOCTOR_WARNING, answer, NULL, "cached images are still served");
    } else if (r->status != 200 && r->status != 401 && r->status != 403) {
        answer = xasprintf("%s answers %d to /v2/", p->shown, r->status);
        probe_find(p, DOCTOR_WARNING, answer, NULL, "is that URL a registry's?");
    } else {
        p->all->reached++;
        answer = xasprintf("%s answers within %lld ms", p->shown, (long long)ms);
        probe_find(p, DOCTOR_OK, answer, NULL, NULL);
    }
}

static void probe_take_answer(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct probe *p = arg;
    struct registries *all = p->all;

    probe_judge(p, r, err);
    if (!err && r->date > 0) {
        struct clock_sample *s = ARRAY_NEXT(all->samples, all->sample_count, all->sample_cap);
        *s = (struct clock_sample){p->u->name, r->date - clock_now_s()};
        all->sample_count++;
    }
    if (!err && r->status < 500 && p->is_last) {
        challenge_parse(&p->challenge, r->challenge);
        for (int i = 0; i < p->u->credentials_count; i++)
            login_start(p, i);
    }
    registries_end_one(all);
}

/* ---- all of them ---- */

static void probe_name_hosts(struct probe *p)
{
    int n = 0;

    if (url_host(p->url, p->host, sizeof(p->host)))
        p->named[n++] = p->host;
    for (int i = 0; p->u->trusted_hosts[i]; i++)
        p->named[n++] = p->u->trusted_hosts[i];
    n = 0;
    if (p->is_last)
        p->shown_to[n++] = p->url;
    for (int i = 0; p->u->trusted_hosts[i]; i++)
        p->shown_to[n++] = p->u->trusted_hosts[i];
}

static void probe_start(void *arg)
{
    struct probe *p = arg;

    registries_send(p, NULL, NULL, probe_take_answer);
}

static void registries_add(struct registries *all, const struct config_upstream *u, const char *url, bool is_last)
{
    struct probe *p = xcalloc(1, sizeof(*p));
    struct buf shown = {0};

    *ARRAY_NEXT(all->probes, all->probe_count, all->probe_cap) = p;
    all->probe_count++;
    p->all = all;
    p->found = json_array();
    p->u = u;
    p->url = xstrdup(url);
    p->is_last = is_last;
    url_redact(&shown, url);
    p->shown = shown.data;
    probe_name_hosts(p);
    p->tokens = tokens_new(&(struct token_options){.trust = &u->trust,
                                                   .named = p->named,
                                                   .shown_to = p->shown_to,
                                                   .insecure = u->insecure,
                                                   .connect_timeout_ms = REGISTRY_ASK_MS,
                                                   .stall_timeout_ms = REGISTRY_ASK_MS});
    all->waiting++;
    loop_post(all->loop, probe_start, p);
}

static void registries_add_all(struct registries *all, const struct config *c)
{
    for (int i = 0; i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        _cleanup_free_ char *own = xasprintf("https://%s", u->name);
        for (int k = 0; u->endpoints[k]; k++)
            registries_add(all, u, u->endpoints[k], !u->endpoints[k + 1]);
        if (!u->endpoints[0] && !strchr(u->name, '*')) /* of a pattern it is not known which hosts there are */
            registries_add(all, u, own, true);
        if (u->trust.client_cert)
            doctor_look_at_certificate(u->trust.client_cert, TOPIC_REGISTRY, u->name, "client_cert", all->findings);
    }
}

static void registries_time_out(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct registries *all = arg;

    loop_stop(all->loop);
}

/* What has not ended in time. */
static void registries_add_late(struct registries *all)
{
    const struct transfer_response nothing = {0};
    struct err late = {0};

    err_set(&late, ERR_TIMEOUT, "no answer within %d s", (int)REGISTRY_ASK_MS / 1000);
    for (size_t i = 0; i < all->probe_count; i++) {
        struct probe *p = all->probes[i];
        if (!p->done)
            probe_judge(p, &nothing, &late);
        for (int k = 0; k < p->login_count; k++)
            if (!p->logins[k].done)
                login_find(&p->logins[k], DOCTOR_UNKNOWN, "the credentials could not be checked", late.msg, NULL);
        json_array_extend(all->findings, p->found);
    }
    if (all->probe_count > 0 && all->reached == 0)
        doctor_add(all->findings,
                   &(struct doctor_finding){TOPIC_REGISTRY, DOCTOR_BROKEN, NULL, "none can be reached", NULL,
                                            "check name service, route, firewall and proxy; if this node has "
                                            "no way out, set offline: true"});
}

static bool registries_open(struct registries *all, struct err *err)
{
    all->loop = loop_new("doctor", err);
    all->engine = all->loop ? transfer_engine_new(all->loop, err) : NULL;
    all->workers = all->engine ? cred_workers_new(REGISTRY_CRED_THREADS, err) : NULL;
    return all->workers != NULL;
}

/* Nothing of it is freed: it may still be in use by threads that wait, and the process ends. */
void doctor_look_at_registries(const struct config *c, bool offline, json_t *findings)
{
    struct registries *all = xcalloc(1, sizeof(*all));
    struct timeval most = {REGISTRY_ASK_MS / 1000, 0};
    struct err err = {0};

    all->findings = findings;
    if (c->offline || offline) {
        doctor_add(findings, &(struct doctor_finding){
                                 TOPIC_REGISTRY, DOCTOR_WARNING, NULL, "none was asked",
                                 c->offline ? "offline: true in the configuration" : "offline mode is on", NULL});
        return;
    }
    if (!registries_open(all, &err)) {
        doctor_add(findings, &(struct doctor_finding){TOPIC_REGISTRY, DOCTOR_UNKNOWN, NULL, "none could be asked",
                                                      err.msg, NULL});
        return;
    }
    struct event *timer = event_new(loop_base(all->loop), -1, 0, registries_time_out, all);
    event_add(timer, &most);
    all->begun_ms = clock_mono_ms();
    registries_add_all(all, c);
    if (all->waiting > 0)
        loop_run(all->loop);
    cred_workers_stop(all->workers); /* a helper program may still run */
    registries_add_late(all);
    doctor_look_at_clock(all->samples, all->sample_count, findings);
}

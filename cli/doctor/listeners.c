/* Whether engines can reach each listener, and entrepot answers there. */
#include "cli/doctor/doctor.h"

#include "config/config.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

enum { LISTENER_ASK_S = 3 };

/* What can be asked of it. */
enum listener_way {
    LISTENER_HTTP,
    LISTENER_TLS,
    LISTENER_HANDSHAKE, /* TLS that wants a client's certificate */
    LISTENER_CONNECT    /* interception: a connection */
};

struct listener_probe {
    const char *address;
    enum listener_way way;
    CURL *curl;
    bool is_entrepot;
    CURLcode rc;
};

static size_t listener_take_header(char *data, size_t size, size_t count, void *arg)
{
    static const char server[] = "server: entrepot";
    struct listener_probe *p = arg;
    size_t len = size * count;

    if (len >= strlen(server) && strncasecmp(data, server, strlen(server)) == 0)
        p->is_entrepot = true;
    return len;
}

static size_t listener_take_body(char *data UNUSED, size_t size, size_t count, void *arg UNUSED)
{
    return size * count;
}

/* Of all addresses: loopback. */
static char *listener_url(const char *scheme, const char *address)
{
    const char *colon = strrchr(address, ':');

    if (strncmp(address, "unix:", 5) == 0)
        return xasprintf("%s://localhost/v2/", scheme);
    if (strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "*:", 2) == 0 || colon == address)
        return xasprintf("%s://127.0.0.1%s/v2/", scheme, colon);
    if (strncmp(address, "[::]:", 5) == 0)
        return xasprintf("%s://[::1]%s/v2/", scheme, colon);
    return xasprintf("%s://%s/v2/", scheme, address);
}

enum { LISTENER_PROBES = CONFIG_LISTEN_MAX + 1 };

/* Certificates are judged by their files. */
static void listener_start(struct listener_probe *p, CURLM *multi, const char *address, enum listener_way way)
{
    bool tls = way == LISTENER_TLS || way == LISTENER_HANDSHAKE;
    _cleanup_free_ char *url = listener_url(tls ? "https" : "http", address);
    CURL *c = curl_easy_init();

    *p = (struct listener_probe){.address = address, .way = way, .curl = c, .rc = CURLE_OPERATION_TIMEDOUT};
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)LISTENER_ASK_S);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, way >= LISTENER_HANDSHAKE ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "entrepot-doctor/" ENTREPOT_VERSION);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, listener_take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, p);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, listener_take_body);
    curl_easy_setopt(c, CURLOPT_PRIVATE, p);
    if (strncmp(address, "unix:", 5) == 0)
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, address + 5);
    curl_multi_add_handle(multi, c);
}

/* Each has its own time limit. */
static void listeners_wait(CURLM *multi)
{
    int running = 1, left;
    CURLMsg *m;

    while (curl_multi_perform(multi, &running) == CURLM_OK) {
        while ((m = curl_multi_info_read(multi, &left))) {
            char *p = NULL;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p);
            ((struct listener_probe *)(void *)p)->rc = m->data.result;
        }
        if (running == 0 || curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK)
            return;
    }
}

static void listener_judge(const struct listener_probe *p, json_t *findings)
{
    struct doctor_finding f = {TOPIC_LISTENER, DOCTOR_BROKEN, p->address, NULL, NULL, NULL};
    long status = 0;

    curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
    if (p->rc != CURLE_OK) {
        f.what = "entrepot does not answer there";
        f.why = curl_easy_strerror(p->rc);
        f.advice =
            "if it runs, it was started before this was configured, or with --listen: systemctl restart entrepot";
    } else if (p->way >= LISTENER_HANDSHAKE) {
        f.level = DOCTOR_OK;
        f.what =
            p->way == LISTENER_CONNECT ? "it accepts connections" : "it speaks TLS, and wants a client's certificate";
    } else if (!p->is_entrepot) {
        f.what = "another program answers there";
        f.advice = "choose another address under listen, or stop that program";
    } else if (status >= 500) {
        f.what = "entrepot answers, but is too busy or about to stop";
        f.advice = "see its log: journalctl -u entrepot";
    } else {
        f.level = DOCTOR_OK;
        f.what = p->way == LISTENER_TLS ? "entrepot answers over TLS" : "entrepot answers";
    }
    doctor_add(findings, &f);
}

static enum listener_way listener_way_of(const struct config *c, int i)
{
    if (c->listen_intercept[i])
        return LISTENER_CONNECT;
    if (c->listen_tls[i].client_ca)
        return LISTENER_HANDSHAKE;
    return c->listen_tls[i].cert ? LISTENER_TLS : LISTENER_HTTP;
}

void doctor_look_at_listeners(const struct config *c, json_t *findings)
{
    struct listener_probe probes[LISTENER_PROBES];
    CURLM *multi = curl_multi_init();
    int count = 0;

    for (int i = 0; c->listen[i]; i++)
        listener_start(&probes[count++], multi, c->listen[i], listener_way_of(c, i));
    if (c->intercept.address)
        listener_start(&probes[count++], multi, c->intercept.address, LISTENER_HTTP);
    listeners_wait(multi);
    for (int i = 0; i < count; i++) {
        listener_judge(&probes[i], findings);
        curl_multi_remove_handle(multi, probes[i].curl);
        curl_easy_cleanup(probes[i].curl);
    }
    curl_multi_cleanup(multi);
    for (int i = 0; c->listen[i]; i++)
        if (c->listen_tls[i].cert)
            doctor_look_at_certificate(c->listen_tls[i].cert, TOPIC_LISTENER, c->listen[i], "tls.cert", findings);
}

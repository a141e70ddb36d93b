/* Whether engines can reach each listener, and entrepot answers there. */
#include "cli/doctor/doctor.h"

#include "config/config.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

enum { LISTENER_ASK_S = 5 };

struct listener_answer {
    bool is_entrepot;
    long status;
};

static size_t listener_take_header(char *data, size_t size, size_t count, void *arg)
{
    static const char server[] = "server: entrepot";
    struct listener_answer *a = arg;
    size_t len = size * count;

    if (len >= strlen(server) && strncasecmp(data, server, strlen(server)) == 0)
        a->is_entrepot = true;
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

/* What can be asked of it. */
enum listener_way {
    LISTENER_HTTP,
    LISTENER_TLS,
    LISTENER_HANDSHAKE, /* TLS that wants a client's certificate */
    LISTENER_CONNECT    /* interception: a connection */
};

/* Certificates are judged by their files. */
static bool listener_ask(const char *address, enum listener_way way, struct listener_answer *a, struct err *err)
{
    bool tls = way == LISTENER_TLS || way == LISTENER_HANDSHAKE;
    _cleanup_free_ char *url = listener_url(tls ? "https" : "http", address);
    CURL *c = curl_easy_init();
    CURLcode rc = CURLE_FAILED_INIT;

    if (c) {
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)LISTENER_ASK_S);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, way >= LISTENER_HANDSHAKE ? 1L : 0L);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "entrepot-doctor/" ENTREPOT_VERSION);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, listener_take_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, listener_take_body);
        if (strncmp(address, "unix:", 5) == 0)
            curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, address + 5);
        rc = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
    }
    curl_easy_cleanup(c);
    return rc == CURLE_OK || err_set(err, ERR_UNREACHABLE, "%s", curl_easy_strerror(rc));
}

static void look_at_listener(const char *address, enum listener_way way, json_t *findings)
{
    struct finding f = {TOPIC_LISTENER, DOCTOR_BROKEN, address, NULL, NULL, NULL};
    struct listener_answer a = {0};
    struct err err = {0};

    if (!listener_ask(address, way, &a, &err)) {
        f.what = "entrepot does not answer there";
        f.why = err.msg;
        f.advice =
            "if it runs, it was started before this was configured, or with --listen: systemctl restart entrepot";
    } else if (way >= LISTENER_HANDSHAKE) {
        f.level = DOCTOR_OK;
        f.what = way == LISTENER_CONNECT ? "it accepts connections" : "it speaks TLS, and wants a client's certificate";
    } else if (!a.is_entrepot) {
        f.what = "another program answers there";
        f.advice = "choose another address under listen, or stop that program";
    } else if (a.status >= 500) {
        f.what = "entrepot answers, but is too busy or about to stop";
        f.advice = "see its log: journalctl -u entrepot";
    } else {
        f.level = DOCTOR_OK;
        f.what = way == LISTENER_TLS ? "entrepot answers over TLS" : "entrepot answers";
    }
    doctor_add(findings, &f);
}

void doctor_look_at_listeners(const struct config *c, json_t *findings)
{
    for (int i = 0; c->listen[i]; i++) {
        const struct config_tls *t = &c->listen_tls[i];
        look_at_listener(c->listen[i],
                         c->listen_intercept[i] ? LISTENER_CONNECT
                         : t->client_ca         ? LISTENER_HANDSHAKE
                         : t->cert              ? LISTENER_TLS
                                                : LISTENER_HTTP,
                         findings);
        if (t->cert)
            doctor_look_at_certificate(t->cert, TOPIC_LISTENER, c->listen[i], "tls.cert", findings);
    }
    if (c->intercept.address)
        look_at_listener(c->intercept.address, LISTENER_CONNECT, findings);
}

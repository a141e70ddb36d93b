/* members OPTION...: is a node of a cluster, as far as cluster/members.h goes, until SIGTERM or SIGINT. Each change is
 * a line of JSON on stdout: {"nodes": [{"address", "zone", "version", "since"}, ...]}, {"source": "etcd", "ok": true,
 * "why": ""}, at last {"stopped": MILLISECONDS}.
 *
 *     --etcd URL (several) --prefix TEXT --username NAME --password-file FILE --ca FILE --cert FILE --key FILE
 *     --dns NAME --advertise ADDRESS:PORT --zone TEXT --version TEXT */
#include "base/clock.h"
#include "base/log.h"
#include "cluster/members.h"

#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>

/* In place of the product's: members_start() calls nothing else of peers.h. */
struct peers {
    int count;
};

static void print_line(json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT);

    printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(doc);
}

bool peers_has_others(struct peers *all)
{
    return all->count > 1;
}

void peers_set(struct peers *all, const struct member *list, int count)
{
    json_t *nodes = json_array();

    all->count = count;
    for (int i = 0; i < count; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:I}", "address", list[i].address, "zone", list[i].zone,
                                               "version", list[i].version, "since", (json_int_t)list[i].since_s));
    print_line(json_pack("{s:o}", "nodes", nodes));
}

void peers_note_source(struct peers *all UNUSED, const char *from, bool ok, const char *why)
{
    print_line(json_pack("{s:s, s:b, s:s}", "source", from, "ok", ok, "why", why));
}

static bool take_option(struct config_cluster *c, struct member *self, int *urls, const char *name, char *value)
{
    const struct {
        const char *name;
        char **to;
    } texts[] = {{"prefix", &c->prefix},    {"username", &c->username},           {"password-file", &c->password_file},
                 {"ca", &c->etcd_trust.ca}, {"cert", &c->etcd_trust.client_cert}, {"key", &c->etcd_trust.client_key},
                 {"dns", &c->dns},          {"advertise", &c->advertise}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(name, texts[i].name) == 0)
            *texts[i].to = value;
    if (strcmp(name, "etcd") == 0 && *urls < CONFIG_ETCD_MAX)
        c->etcd[(*urls)++] = value;
    else if (strcmp(name, "zone") == 0)
        snprintf(self->zone, sizeof(self->zone), "%s", value);
    else if (strcmp(name, "version") == 0)
        snprintf(self->version, sizeof(self->version), "%s", value);
    return true;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"etcd", "prefix", "username",  "password-file", "ca",     "cert",
                                        "key",  "dns",    "advertise", "zone",          "version"};
    struct option options[ARRAY_LEN(names) + 1] = {{0}};
    struct config_cluster c = {.prefix = "/entrepot"};
    struct member self = {.since_s = clock_now_s()};
    struct peers peers = {0};
    struct err err = {0};
    sigset_t ends;
    int which, got, urls = 0;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        options[i] = (struct option){names[i], required_argument, NULL, 0};
    while ((got = getopt_long(argc, argv, "", options, &which)) != -1)
        if (got != 0 || !take_option(&c, &self, &urls, names[which], optarg))
            return 2;
    snprintf(self.address, sizeof(self.address), "%s", c.advertise ? c.advertise : "");
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    struct members *m = members_start(&c, &self, &peers, NULL, &err);
    if (!m) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    sigwait(&ends, &got);
    int64_t began_ms = clock_mono_ms();
    members_stop(m);
    members_free(m);
    print_line(json_pack("{s:I}", "stopped", (json_int_t)(clock_mono_ms() - began_ms)));
    return 0;
}

/* doctor.h - what stands between this node's engines and a pull through entrepot: one file a topic.
 *
 *     cli/doctor.c ─▶ listeners, daemon, engines      as the user that calls it
 *              └────▶ aside ─▶ disk, registries, cluster in a child, as the user that runs the daemon
 *
 * Each topic appends findings to a list. Nothing is changed, and everything is bounded in time. One thread.
 */
#ifndef ENTREPOT_CLI_DOCTOR_DOCTOR_H
#define ENTREPOT_CLI_DOCTOR_DOCTOR_H

#include "cli/lib/cli.h"

struct config;

/* ---- finding.c ---- */

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_UNKNOWN, /* it could not be looked at */
    DOCTOR_WARNING,
    DOCTOR_BROKEN,
};

enum doctor_topic {
    TOPIC_CONFIGURATION,
    TOPIC_DAEMON,
    TOPIC_LISTENER,
    TOPIC_AUTHORITY,
    TOPIC_ENGINE,
    TOPIC_DISK,
    TOPIC_CLOCK,
    TOPIC_REGISTRY,
    TOPIC_CLUSTER,
};

/* What is found: `what`, why, and what to do about it. `subject`: which one (an address, an engine, a registry); it,
 * `why` and `advice` may be NULL. Everything is copied. */
struct doctor_finding {
    enum doctor_topic topic;
    enum doctor_level level;
    const char *subject, *what, *why, *advice;
};

/* `findings` is a JSON array. */
void doctor_add(json_t *findings, const struct doctor_finding *f);
/* Prints them, by topic; whether nothing is broken. */
bool doctor_print(const json_t *findings, bool json);

/* ---- the topics ---- */

/* What the daemon answers to `status`; NULL: it does not run, or may not be asked. The caller decrefs. */
json_t *doctor_look_at_daemon(const struct cli_options *o, json_t *findings);
/* The proxies in its environment, in place of ours: registries are asked as it asks them. */
void doctor_take_proxies(void);
/* What it answers to `peers`; the same. */
json_t *doctor_ask_peers(const struct cli_options *o);
/* The name of its user, if it differs from ours; NULL: it does not, or is not known. The caller frees. */
char *doctor_daemon_user(void);
/* First: systemd may start the daemon only then. */
void doctor_look_at_listeners(const struct config *c, json_t *findings);
void doctor_look_at_engines(const struct config *c, const json_t *status, json_t *findings);
/* The file system, the limits, the index. */
void doctor_look_at_disk(const struct config *c, json_t *findings);
/* Asks each registry, all of them at once and for five seconds at most: whether it answers, what its clock says,
 * whether it accepts the credentials. `offline`: the daemon is. Uses threads: in a process of its own (aside.c). */
void doctor_look_at_registries(const struct config *c, bool offline, json_t *findings);
/* The cluster, if there is one: etcd, DNS, each node, the bucket, clocks, files. `known`: what the daemon answers to
 * `peers`; NULL: it does not run. Five seconds at most, and those of a resolver. In a process of its own. */
void doctor_look_at_cluster(const struct config *c, const json_t *known, json_t *findings);
/* Where interception is on: its authority's certificate, and whether this system trusts it. */
void doctor_look_at_authority(const struct config *c, json_t *findings);
/* The dates of a certificate; `what`: whose. */
void doctor_look_at_certificate(const char *file, enum doctor_topic topic, const char *subject, const char *what,
                                json_t *findings);

/* ---- aside.c ---- */

struct aside {
    int from; /* a pipe; -1: none */
    int pid;
};

/* Starts a child that collects findings by work(arg, findings). */
bool aside_start(struct aside *a, void (*work)(void *arg, json_t *findings), void *arg, struct err *err);
/* Waits for it, half a minute at most, and appends what it has found. */
bool aside_take(struct aside *a, json_t *findings, struct err *err);

#endif

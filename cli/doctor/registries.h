/* registries.h - requests to registries under way, and what they tell of the clock. Internal to this folder; on one
 * loop. */
#ifndef ENTREPOT_CLI_DOCTOR_REGISTRIES_H
#define ENTREPOT_CLI_DOCTOR_REGISTRIES_H

#include "cli/doctor/doctor.h"

#include "config/config.h"
#include "upstream/challenge.h"
#include "upstream/cred/cred.h"
#include "upstream/transfer.h"

struct probe;
struct tokens;

/* One of the credentials of a registry. */
struct login_probe {
    struct probe *probe;
    struct cred *cred;
    const char *source;
    int number;
    bool done;
};

/* One endpoint of a registry. */
struct probe {
    struct registries *all;
    json_t *found; /* in the order of the configuration, not of the answers */
    const struct config_upstream *u;
    char *url, *shown;
    bool is_last; /* the registry itself, not a mirror */
    char host[256];
    const char *named[CONFIG_TRUSTED_MAX + 2], *shown_to[CONFIG_TRUSTED_MAX + 2];
    struct challenge challenge;
    struct tokens *tokens;
    struct login_probe logins[CONFIG_CREDENTIALS_MAX];
    int login_count;
    bool done;
};

/* How far a registry's clock is ahead of ours, in seconds. */
struct clock_sample {
    const char *registry;
    int64_t ahead_s;
};

struct registries {
    json_t *findings;
    struct loop *loop;
    struct transfer_engine *engine;
    struct cred_workers *workers;
    int64_t begun_ms;
    int waiting; /* requests and logins under way */
    int reached;
    struct probe **probes;
    size_t probe_count, probe_cap;
    struct clock_sample *samples;
    size_t sample_count, sample_cap;
};

bool probe_take_head(void *arg, const struct transfer_response *r);
bool probe_take_data(void *arg, const void *data, size_t len);

/* Whether our clock is right, if most registries agree on that; else which of them is wrong. */
void doctor_look_at_clock(const struct clock_sample *samples, size_t count, json_t *findings);

#endif

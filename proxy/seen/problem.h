/* problem.h - something that needs attention. Pulls may go on. */
#ifndef ENTREPOT_PROXY_SEEN_PROBLEM_H
#define ENTREPOT_PROXY_SEEN_PROBLEM_H

#include <jansson.h>
#include <stdint.h>

enum problem_kind {
    PROBLEM_DISK_FULL,
    PROBLEM_IO_ERROR,
    PROBLEM_NO_ROOM,
    PROBLEM_INDEX,
    PROBLEM_UPSTREAM_DOWN,
    PROBLEM_RATE_LIMITED,
    PROBLEM_CREDENTIALS,
    PROBLEM_CERTIFICATE,
    PROBLEM_CERTIFICATE_FILES,
    PROBLEM_RELOAD,
    PROBLEM_KINDS,
};

struct problem {
    enum problem_kind kind;
    const char *about; /* what it is wrong with: a registry, a folder, a listener, a file; borrowed */
    char why[320];
    int64_t since_s; /* seconds since 1970; 0: not known */
};

/* "upstream_down": for metrics and scripts. */
const char *problem_name(enum problem_kind kind);
/* "docker.io: it does not answer as it should"; the caller frees. */
char *problem_title(const struct problem *p);
/* {"what": "upstream_down", "about": "docker.io", "title": ..., "why": ..., "since": ...}; since is null if it is not
 * known. A new reference. */
json_t *problem_json(const struct problem *p);

#endif

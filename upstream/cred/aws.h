/* aws.h - an AWS access key, wherever it comes from. On a cred worker. Internal to this room. */
#ifndef ENTREPOT_UPSTREAM_CRED_AWS_H
#define ENTREPOT_UPSTREAM_CRED_AWS_H

#include "upstream/cred/private.h"

struct aws_key {
    char *id, *secret, *session; /* session may be NULL */
    int64_t ends_s;              /* seconds since 1970; 0 not said */
};

/* The first that is found; the caller clears it. */
bool aws_find_key(struct cred_task *t, const char *region, struct aws_key *k, struct err *err);
void aws_key_clear(struct aws_key *k);

#endif

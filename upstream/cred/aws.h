/* aws.h - an AWS access key, from any of the usual sources. For ECR its expiry does not matter: ECR's token has a
 * lifetime of its own, and the key is looked up again for the next one. On a cred worker. Internal to this folder. */
#ifndef ENTREPOT_UPSTREAM_CRED_AWS_H
#define ENTREPOT_UPSTREAM_CRED_AWS_H

#include "upstream/cred/private.h"

struct aws_key {
    char *id, *secret, *session; /* session may be NULL */
    int64_t ends_s;              /* when it expires, since 1970; 0: it does not, or that is not known */
};

/* The first one found; the caller clears it. */
bool aws_find_key(struct cred_task *t, const char *region, struct aws_key *k, struct err *err);
void aws_key_clear(struct aws_key *k);

#endif

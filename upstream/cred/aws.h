/* aws.h - an AWS access key, wherever it comes from. When it ends is of no concern: what ECR gives for it has a life of
 * its own, and the next time it is looked for again. On a cred worker. Internal to this room. */
#ifndef ENTREPOT_UPSTREAM_CRED_AWS_H
#define ENTREPOT_UPSTREAM_CRED_AWS_H

#include "upstream/cred/private.h"

struct aws_key {
    char *id, *secret, *session; /* session may be NULL */
};

/* The first that is found; the caller clears it. */
bool aws_find_key(struct cred_task *t, const char *region, struct aws_key *k, struct err *err);
void aws_key_clear(struct aws_key *k);

#endif

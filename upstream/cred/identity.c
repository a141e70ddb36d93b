#include "base/secret.h"
#include "upstream/cred/cred.h"

#include <string.h>

void cred_identity_copy(struct cred_identity *to, const struct cred_identity *from)
{
    *to = (struct cred_identity){
        .username = from->username ? xstrdup(from->username) : NULL,
        .secret = from->secret ? xstrdup(from->secret) : NULL,
        .is_identity_token = from->is_identity_token,
        .bearer = from->bearer ? xstrdup(from->bearer) : NULL,
    };
}

void cred_identity_clear(struct cred_identity *id)
{
    free(id->username);
    secret_free(id->secret);
    secret_free(id->bearer);
    memset(id, 0, sizeof(*id));
}

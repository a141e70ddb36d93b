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
        .session = from->session ? xstrdup(from->session) : NULL,
    };
}

void cred_identity_clear(struct cred_identity *id)
{
    free(id->username);
    secret_free(id->secret);
    secret_free(id->bearer);
    secret_free(id->session);
    memset(id, 0, sizeof(*id));
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool cred_identity_eq(const struct cred_identity *a, const struct cred_identity *b)
{
    return same_text(a->username, b->username) && same_text(a->secret, b->secret) && same_text(a->bearer, b->bearer) &&
           same_text(a->session, b->session) && a->is_identity_token == b->is_identity_token;
}

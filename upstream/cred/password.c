/* credentials: {username: U, password_file: FILE}; and anonymous, without credentials. */
#include "upstream/cred/private.h"

#include <string.h>

enum { FOR_EVER_MS = 0x7fffffff };

static bool password_ask(struct cred_task *t, struct err *err)
{
    if (!t->o->username) {
        t->life_ms = FOR_EVER_MS;
        return true;
    }
    t->id.secret = secret_read(t->o->password_file, err);
    t->id.username = xstrdup(t->o->username);
    return t->id.secret != NULL;
}

const struct cred_backend CRED_PASSWORD = {"password_file", CRED_FOR_HOST, 0, password_ask};

#include "config/credentials.h"

#include "base/mem.h"

#include <string.h>

void cred_options_copy(struct cred_options *to, const struct cred_options *from)
{
    memset(to, 0, sizeof(*to));
#define X(key) to->key = from->key ? xstrdup(from->key) : NULL;
    CRED_KEYS(X)
#undef X
    for (int i = 0; i < CRED_ARGS_MAX && from->args[i]; i++)
        to->args[i] = xstrdup(from->args[i]);
}

void cred_options_free(struct cred_options *o)
{
#define X(key) free(o->key);
    CRED_KEYS(X)
#undef X
    for (int i = 0; i < CRED_ARGS_MAX; i++)
        free(o->args[i]);
    memset(o, 0, sizeof(*o));
}

bool cred_options_given(const struct cred_options *o)
{
    bool any = o->args[0] != NULL;

#define X(key) any = any || o->key;
    CRED_KEYS(X)
#undef X
    return any;
}

/* The keys that each source takes. */
static const struct {
    const char *provider; /* its name as a value of `provider`; NULL: chosen by a key of its own */
    const char *keys;
} SOURCES[] = {
    [CRED_FROM_PASSWORD] = {NULL, " username password_file "},
    [CRED_FROM_DOCKER] = {NULL, " docker_config "},
    [CRED_FROM_HELPER] = {NULL, " helper "},
    [CRED_FROM_KUBELET] = {"kubelet", " provider command args "},
    [CRED_FROM_ECR] = {"ecr", " provider region profile api_endpoint token_endpoint metadata_endpoint "},
    [CRED_FROM_GCP] = {"gcp", " provider key_file token_endpoint metadata_endpoint "},
    [CRED_FROM_AZURE] =
        {"azure", " provider tenant client_id client_secret_file api_endpoint token_endpoint metadata_endpoint "},
};

static int find_source(const struct cred_options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(SOURCES) && o->provider; i++)
        if (SOURCES[i].provider && strcmp(SOURCES[i].provider, o->provider) == 0)
            return (int)i;
    return o->provider ? -1 : o->helper ? CRED_FROM_HELPER : o->docker_config ? CRED_FROM_DOCKER : CRED_FROM_PASSWORD;
}

enum cred_source cred_options_source(const struct cred_options *o)
{
    int source = find_source(o);

    return source < 0 ? CRED_FROM_PASSWORD : (enum cred_source)source;
}

static bool is_among(const char *keys, const char *key)
{
    const char *at = strstr(keys, key);

    return at && at[-1] == ' ' && at[strlen(key)] == ' ';
}

const char *cred_options_fault(const struct cred_options *o, const char **key)
{
    int source = find_source(o);

    *key = "provider";
    if (source < 0)
        return "is none of kubelet, ecr, gcp, azure";
#define X(k)                                                                                                           \
    if (o->k && !is_among(SOURCES[source].keys, #k)) {                                                                 \
        *key = #k;                                                                                                     \
        return "does not belong here: one of username with password_file, docker_config, helper or provider, and "     \
               "what "                                                                                                 \
               "that provider takes";                                                                                  \
    }
    CRED_KEYS(X)
#undef X
    *key = "args";
    if (o->args[0] && !is_among(SOURCES[source].keys, "args"))
        return "is for provider: kubelet";
    *key = "password_file";
    if (source == CRED_FROM_PASSWORD && !o->username != !o->password_file)
        return "username and password_file belong together";
    *key = "username";
    if (source == CRED_FROM_PASSWORD &&
        (!o->username || !o->username[0] || strchr(o->username, ':'))) /* RFC 7617: Basic has no escape for it */
        return "cannot be a user's name";
    *key = "helper";
    if (source == CRED_FROM_HELPER &&
        (!o->helper[0] ||
         strspn(o->helper, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != strlen(o->helper)))
        return "is what follows docker-credential- in a program's name";
    *key = "command";
    if (source == CRED_FROM_KUBELET && (!o->command || o->command[0] != '/'))
        return "has to be the full path of a kubelet credential provider";
    *key = "client_id";
    if (source == CRED_FROM_AZURE && o->client_secret_file && (!o->client_id || !o->tenant))
        return "client_secret_file needs client_id and tenant";
    return NULL;
}

/* credentials.h - the keys of `credentials` in the configuration: where the cache's identity at a registry comes from.
 *
 * Plain values; a struct cred_options owns its strings. Any thread.
 */
#ifndef ENTREPOT_CONFIG_CREDENTIALS_H
#define ENTREPOT_CONFIG_CREDENTIALS_H

#include <stdbool.h>

/* The keys of `credentials` in the configuration. None of them holds a secret: those are in files, or come from the
 * environment. */
#define CRED_KEYS(X)                                                                                                   \
    X(username)                                                                                                        \
    X(password_file)                                                                                                   \
    X(docker_config)                                                                                                   \
    X(helper)                                                                                                          \
    X(provider)                                                                                                        \
    X(command)                                                                                                         \
    X(region)                                                                                                          \
    X(profile)                                                                                                         \
    X(key_file)                                                                                                        \
    X(tenant)                                                                                                          \
    X(client_id)                                                                                                       \
    X(client_secret_file)                                                                                              \
    X(api_endpoint)                                                                                                    \
    X(token_endpoint)                                                                                                  \
    X(metadata_endpoint)

enum { CRED_ARGS_MAX = 16 };

/* Where an identity comes from. A new one: its keys here and in SOURCES (credentials.c), its backend in a file of
 * upstream/cred/, in private.h and in BACKENDS (cred.c). */
enum cred_source {
    CRED_FROM_PASSWORD, /* username and password_file; anonymous, if neither is set */
    CRED_FROM_DOCKER,
    CRED_FROM_HELPER,
    CRED_FROM_KUBELET,
    CRED_FROM_ECR,
    CRED_FROM_GCP,
    CRED_FROM_AZURE,
    CRED_SOURCES,
};

struct cred_options {
#define X(key) char *key;
    CRED_KEYS(X)
#undef X
    char *args[CRED_ARGS_MAX + 1]; /* of `command`; NULL-terminated */
};

void cred_options_copy(struct cred_options *to, const struct cred_options *from);
void cred_options_free(struct cred_options *o);
/* NULL if they are valid; else what is wrong with *key. */
const char *cred_options_fault(const struct cred_options *o, const char **key);
/* Whether any key is set. */
bool cred_options_given(const struct cred_options *o);
/* Of options without a fault. */
enum cred_source cred_options_source(const struct cred_options *o);

#endif

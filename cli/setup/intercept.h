/* intercept.h - for `entrepot setup --intercept`: engines send all their requests through entrepot as a proxy, and the
 * system trusts the certificates that it answers with.
 *
 * An engine gets a file of ours that sets HTTPS_PROXY for it. What others have set already, such as the proxy of a
 * company, stays: then the engine is not set up. The certificate is everybody's (trust.c): it has a journal of its own,
 * and leaves with the last engine that needs it. One thread.
 */
#ifndef ENTREPOT_CLI_SETUP_INTERCEPT_H
#define ENTREPOT_CLI_SETUP_INTERCEPT_H

#include "cli/setup/setup.h"

/* The name of each file of ours that sets a proxy. */
#define SETUP_PROXY_FILE "/entrepot-proxy.conf"

/* What has been found of a variable. */
struct proxy_variable {
    char *value, *file;
    int line;
};

/* The proxy of an engine as others have set it, in any of its files. */
struct proxy_search {
    const char *url, *prefix; /* ours; before the names of variables, "" if there is none */
    struct proxy_variable https, none;
};

/* Takes NAME=VALUE; what is not ours counts more than what is. */
void proxy_take(struct proxy_search *s, const char *assignment, const char *file, int line);
void proxy_search_free(struct proxy_search *s);
/* ERR_BUSY: others have set another proxy. Notes registries that do not go through one. */
bool proxy_check(const struct proxy_search *s, struct setup_view *v, const struct setup_target *t, struct err *err);

bool setup_is_proxy_file(const char *path);
/* run.c: says in the view what leads the engine's requests to t->proxy. */
bool setup_plan_proxy(const struct setup_engine *e, struct setup_view *v, const struct setup_target *t,
                      struct err *err);
/* units.c: by a drop-in for each of the engine's units. */
bool units_plan_proxy(const struct setup_engine *e, struct setup_view *v, const struct setup_target *t,
                      struct err *err);
/* containers.c: podman, buildah. */
bool containers_plan_proxy(struct setup_view *v, const struct setup_target *t, struct err *err);

/* trust.c */
extern const struct setup_engine SETUP_TRUST;
/* Whether an earlier setup has led the engine to the proxy. */
bool setup_has_proxy(const struct setup_engine *e, const char *root);
/* ERR_NOT_FOUND: what programs read does not have the certificate t->ca, which a client would need. */
bool bundle_check(const struct setup_target *t, const struct setup_run *r, struct err *err);

#endif

/* setup.h - leads the engines of a node to entrepot, and back again.
 *
 *     journal ─▶ view: each file as it is, and without what an earlier setup wrote (take_back.h)
 *     engine  ─▶ view: each file as it should be (struct setup_engine, one file an engine)
 *     run     ─▶ diff of the two, or: journal, files (place.h), journal
 *
 * An engine only says what its files should contain, and begins each time with the files as they would be without us.
 * So a second setup finds nothing to do, a setup with other options replaces the first, and undoing is the same as a
 * setup that wants nothing. Paths are the engine's; the view puts the root before them. One thread.
 */
#ifndef ENTREPOT_CLI_SETUP_SETUP_H
#define ENTREPOT_CLI_SETUP_SETUP_H

#include "cli/setup/view.h"

#include <jansson.h>
#include <sys/types.h>

struct setup_target {
    const char *address; /* HOST:PORT of entrepot, as the engines reach it */
    bool tls;
    const struct setup_text *certificate; /* of the authority of its certificate, for engines; NULL: they have it */
    char **registries;
    size_t count, cap;
    bool any; /* registries that are not listed, too, where an engine can be told so */
    /* NULL: entrepot is a mirror. Else it is a proxy at this URL, and `ca` is the file of its certificate. */
    const char *proxy, *ca;
};

/* How an engine names the registry when it asks a mirror. */
enum setup_way {
    SETUP_BY_NS,     /* ?ns=docker.io: containerd and what is built on it */
    SETUP_BY_PREFIX, /* docker.io/library/alpine: podman, CRI-O */
    SETUP_BY_DEFAULT /* not at all: Docker Engine */
};

struct setup_engine {
    const char *name;
    enum setup_way way;
    const char *const *programs; /* either of these is there: so is the engine; NULL-terminated */
    /* Says in the view what the engine's files should contain. What it leaves as it is, it notes. False: this engine
     * cannot be set up, with what to do. */
    bool (*plan)(struct setup_view *v, const struct setup_target *t, struct err *err);
    /* What makes a running engine read a changed `path`: systemctl's arguments, NULL-terminated; NULL: nothing does,
     * and nothing need. */
    const char *const *(*reload)(const char *path);
    /* With a proxy (intercept.h): what has to be done beside drop-ins for `units`; NULL: nothing. The names of
     * variables there have a `prefix`; NULL: none. `restart` makes the engine read them. */
    bool (*plan_proxy)(struct setup_view *v, const struct setup_target *t, struct err *err);
    const char *const *units, *prefix;
    const char *const *restart;
    /* After the files were written, or were found to be right. NULL: there is nothing to do. */
    bool (*settle)(struct setup_view *v, struct err *err);
};

/* engines.c */
extern const struct setup_engine *const SETUP_ENGINES[];
extern const size_t SETUP_ENGINES_COUNT;
const struct setup_engine *setup_engine_find(const char *name);
/* Whether the engine is on the system below `root`. */
bool setup_engine_is_here(const struct setup_engine *e, const char *root);

/* target.c */
struct config;
bool setup_target_has(const struct setup_target *t, const char *registry);
/* Unless it is there. */
void setup_target_add(struct setup_target *t, const char *registry);
/* All that the configuration names, and any other. */
void setup_target_add_all(struct setup_target *t, const struct config *c);
/* The hosts that interception opens. */
void setup_target_add_opened(struct setup_target *t, const struct config *c);
void setup_target_clear(struct setup_target *t);
/* Where engines reach the first listener for all registries, without TLS: they are told http. The caller frees; NULL:
 * there is none. */
char *setup_address(const struct config *c);
/* The same of one listener; NULL: it is a unix socket. */
char *setup_address_of(const char *listen);

/* certificate.c */
/* "http://HOST:PORT" or "https://HOST:PORT"; the caller frees it. */
char *setup_url_of(const struct setup_target *t);
/* The certificates of a file, without what else it has: a key, comments. ERR_NOT_FOUND, ERR_INVALID: there are none. */
bool setup_read_certificates(const char *root, const char *path, struct setup_text *out, struct err *err);
/* Says in the view that the file should have the certificate, if there is one. */
bool setup_plan_certificate(struct setup_view *v, const struct setup_target *t, const char *path, struct err *err);
/* The name of the server that clients of a registry connect to. */
const char *setup_server_of(const char *registry);

/* folder.c */
struct setup_owner {
    uid_t uid;
    gid_t gid;
};
/* "UID" or "UID:GID", numbers; the group is the user's number if none is given. */
bool setup_read_owner(const char *text, struct setup_owner *out);
/* Makes the folder if it is absent, and gives it to the user: not one that has another's files. */
bool setup_give_folder(const char *root, const char *path, const struct setup_owner *o, struct err *err);

/* run.c: each appends to `report`: "changed" (paths), "notes", "diff" (a text; dry), "restart" (a command). */
struct setup_run {
    const char *root; /* "": this system */
    bool dry;
    bool restart;
    bool reread; /* the system's certificates have changed: engines that use them have to read them again */
};
bool setup_apply(const struct setup_engine *e, const struct setup_target *t, const struct setup_run *r, json_t *report,
                 struct err *err);
bool setup_undo(const struct setup_engine *e, const struct setup_run *r, json_t *report, struct err *err);
/* program.c: runs a program of the system, without its output. ERR_NOT_FOUND: there is none. */
bool setup_run_program(const char *const *argv, struct err *err);
/* Whether the engine's files lead each registry to entrepot, and entrepot answers as the engine asks. */
bool setup_check(const struct setup_engine *e, const struct setup_target *t, const struct setup_run *r, json_t *report,
                 struct err *err);

#endif

/* config_user.h - `config check` as the user who will run the daemon, in the unit's view of the file systems.
 *
 * What root can read says nothing about the service. The check gives root up for good, so that all that follows in the
 * process is done as that user. Main thread.
 */
#ifndef ENTREPOT_CLI_CONFIG_USER_H
#define ENTREPOT_CLI_CONFIG_USER_H

#include "base/err.h"

struct config;

/* Who runs entrepot.service and what it may write, as systemd says. Where there is no systemd to ask, or it does not
 * know the unit, what is certain of the unit as it is installed: its user, if there is one, and its folders. */
struct unit_view {
    char *user;      /* User=; NULL: root, or nobody */
    char *state;     /* the folder of StateDirectory=, which systemd makes and hands over; NULL: none */
    char *runtime;   /* that of RuntimeDirectory= */
    char **writable; /* NULL-terminated: ReadWritePaths= */
    char **bound;    /* NULL-terminated: where BindPaths= and BindReadOnlyPaths= lead */
    bool strict;     /* ProtectSystem=strict: the rest is read-only */
    bool no_home;    /* ProtectHome=: there is nothing in /home, /root and /run/user */
    bool own_tmp;    /* PrivateTmp=: what is in /tmp and /var/tmp goes when it stops */
};

void unit_view_read(struct unit_view *v);
void unit_view_free(struct unit_view *v);

/* The process is `name` from here on, with the surroundings that the unit gives it if it is the unit's user. Errors:
 * ERR_NOT_FOUND (there is no such user), ERR_DENIED (only root can become another). */
bool config_user_become(const char *name, const struct unit_view *v, struct err *err);
/* Whether the daemon, as this process's user (and under the unit if `v` is not NULL), can write all that the
 * configuration has it write. Errors: ERR_IO. */
bool config_user_can_write(const struct config *c, const struct unit_view *v, struct err *err);
/* Whether the unit shows the daemon the files that the configuration names: that this user can read them, config_load()
 * has found out. Errors: ERR_IO. */
bool config_user_can_see(const struct config *c, const struct unit_view *v, struct err *err);

#endif

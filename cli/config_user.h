/* config_user.h - `config check` as the user that runs the daemon, under the unit's restrictions of the file system.
 *
 * The check drops root permanently: root could read and write what the service cannot. Main thread.
 */
#ifndef ENTREPOT_CLI_CONFIG_USER_H
#define ENTREPOT_CLI_CONFIG_USER_H

#include "base/err.h"

struct config;

/* The user of entrepot.service and the paths it may write to, according to systemd. If systemd does not run or does not
 * know the unit: the user and folders of the unit as installed, if that user exists. */
struct unit_view {
    char *user;      /* User=; NULL: root, or not known */
    char *state;     /* the folder of StateDirectory=, which systemd creates and chowns; NULL: none */
    char *logs;      /* the same of LogsDirectory= */
    char *runtime;   /* the folder of RuntimeDirectory=; NULL: none */
    char **writable; /* NULL-terminated: ReadWritePaths= */
    char **bound;    /* NULL-terminated: the targets of BindPaths= and BindReadOnlyPaths= */
    bool strict;     /* ProtectSystem=strict: all other paths are read-only */
    bool no_home;    /* ProtectHome=: /home, /root and /run/user are empty */
    bool own_tmp;    /* PrivateTmp=: /tmp and /var/tmp are deleted when it stops */
};

void unit_view_read(struct unit_view *v);
void unit_view_free(struct unit_view *v);

/* Switches the process to the user `name`, with the unit's environment if it is the unit's user. Errors: ERR_NOT_FOUND
 * (unknown user), ERR_DENIED (only root can switch). */
bool config_user_become(const char *name, const struct unit_view *v, struct err *err);
/* Whether the daemon, running as the current user (and under the unit, if `v` is not NULL), could write to the cache
 * and the access log, and create the sockets. Errors: ERR_IO. */
bool config_user_can_write(const struct config *c, const struct unit_view *v, struct err *err);
/* Whether the files that the configuration names are visible under the unit. config_load() has checked that the current
 * user can read them. Errors: ERR_IO. */
bool config_user_can_see(const struct config *c, const struct unit_view *v, struct err *err);

#endif
